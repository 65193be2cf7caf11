"""``base_rates="joint"``: base rates and maps chosen together, all groups steered.

For given rates every program of the house finds the maps; for given maps the best rates are a
closed form (theory.md section 3). Alternating the two never raises KL. It is not convex, so the
answer is local, with one exception: with two classes the rates are one number r, the cost of the
best maps is concave in r (a minimum of linear functions), and a branch-and-bound over r with
chords as lower bounds is a proof, wherever the maps for given rates are global optima.
"""

from __future__ import annotations

import heapq
import warnings
from dataclasses import replace

import numpy as np

from fairprog.errors import FairprogWarning
from fairprog.kernels.multivariate.common_rates import best_rates, chord_minimum
from fairprog.labels import Array
from fairprog.programs.answer import Conic
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.prove import prove
from fairprog.solution import Solution

SMALL = 0.01  # a class below one per cent may be on its way out
LEAST = 1e-12  # rates below differ by less than the gap
GAP = 1e-9  # nats, between the answer and its lower bound
EVALUATIONS = 3000
ALTERNATIONS = 200
STEADY = 1e-12  # KL, relative to max(1, KL)


def solve_joint(geometry: Geometry, solver: str, conic: Conic, started: float) -> Solution:
    """Return the best answer over base rates and maps; never worse than with "equalize"."""
    search = _Rates(geometry, solver, conic, started)
    first = search.at(geometry.question.prior.sum(axis=1))
    proven = first.original.n_classes == 2 and first.certificate.globally_optimal
    if proven:
        best, gap = _branch_and_bound(search)
    else:
        ends = [search.at(rho) for rho in geometry.rate_starts()]
        best, gap = min([first, *ends], key=lambda s: s.kl), np.inf
    best = _alternate(search, best)
    _warn_small(best)
    certificate = replace(
        best.certificate,
        kkt_residual=float(np.hypot(best.certificate.kkt_residual, search.residual(best))),
        globally_optimal=best.certificate.globally_optimal and gap <= GAP * max(1.0, best.kl),
        optimality_gap=gap / max(1.0, best.kl) if np.isfinite(gap) else None,
    )
    return replace(
        best, certificate=certificate, settings={**best.settings, "base_rates": "joint"}
    )


class _Rates:
    """The program at given base rates, and the best rates of an answer."""

    def __init__(self, geometry: Geometry, solver: str, conic: Conic, started: float) -> None:
        self.geometry, self.solver, self.conic, self.started = geometry, solver, conic, started
        D = geometry.D
        self.mass, self.log_rates = D.group_mass, np.log(D.base_rates)

    def at(self, rho: Array) -> Solution:
        """Return the answer for fixed rates."""
        rho = np.maximum(rho, LEAST)
        fixed = self.geometry.at(self.geometry.question.at_rates(rho / rho.sum()))
        return prove(fixed, self.solver, self.conic, self.started)

    def best(self, solution: Solution) -> Array:
        """Return the best rates for the maps of an answer."""
        V = solution.population.cell_divergences(solution.original)
        return best_rates(V, self.mass, self.log_rates)[0]

    def residual(self, solution: Solution) -> float:
        """Return how far the rates are from the best ones: half its square is what KL gains."""
        rho, best = solution.population.base_rates[:, 0], self.best(solution)
        return float(np.sqrt(((best - rho) ** 2 / rho).sum()))


def _alternate(search: _Rates, solution: Solution) -> Solution:
    """Improve rates and maps in turn until KL stands still."""
    for _ in range(ALTERNATIONS):
        found = search.at(search.best(solution))
        gained = solution.kl - found.kl
        if gained > 0:
            solution = found
        if gained <= STEADY * max(1.0, solution.kl):
            break
    return solution


def _branch_and_bound(search: _Rates) -> tuple[Solution, float]:
    """Return the global optimum over r = rho(1), two classes, and the gap that is left."""
    mass, log_rates = search.mass, search.log_rates
    # a single class is matched at no cost; 0 is a lower bound of the maps' cost anyway
    heap = [(*_bound((0.0, 0.0), (1.0, 0.0), mass, log_rates), (0.0, 0.0), (1.0, 0.0))]
    best: Solution | None = None
    for _ in range(EVALUATIONS):
        if best is not None and best.kl - heap[0][0] <= 0.5 * GAP * max(1.0, best.kl):
            break
        _, r, low, high = heapq.heappop(heap)
        width = high[0] - low[0]
        r = float(np.clip(r, low[0] + 0.05 * width, high[0] - 0.05 * width))
        r = float(np.clip(r, LEAST, 1.0 - LEAST))
        if not low[0] < r < high[0]:  # an interval too short to be split
            break
        rho = np.array([1.0 - r, r])
        solution = search.at(rho)
        V = solution.population.cell_divergences(solution.original)
        middle = r, float(rho @ V @ mass)
        if best is None or solution.kl < best.kl:
            best = solution
        for ends in ((low, middle), (middle, high)):
            heapq.heappush(heap, (*_bound(*ends, mass, log_rates), *ends))
    assert best is not None
    return best, best.kl - heap[0][0]


def _bound(
    low: tuple[float, float], high: tuple[float, float], mass: Array, log_rates: Array
) -> tuple[float, float]:
    r, value = chord_minimum(low, high, mass, log_rates)
    return value, r


def _warn_small(solution: Solution) -> None:
    before, after = solution.original.base_rates, solution.population.base_rates[:, 0]
    overall = before @ solution.original.group_mass
    for i, c in enumerate(solution.original.classes):
        if after[i] < SMALL and after[i] < 0.5 * overall[i]:
            warnings.warn(
                f"Class {c!r} shrinks from {100 * overall[i]:.3g} % to {100 * after[i]:.3g} % of "
                "the population: with base_rates='joint' it can be nearer to give a class up than "
                "to make it fair. base_rates='equalize' keeps it.",
                FairprogWarning,
                stacklevel=4,
            )
