"""From solved maps of univariate families to a verified `Solution`, in numpy."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairprog.labels import Array, address
from fairprog.populations import LocationScale
from fairprog.populations.law import Law
from fairprog.programs.base_rates import base_rate_residual
from fairprog.programs.line_bounded import cone_residual
from fairprog.programs.line_frames import LineFrame
from fairprog.programs.second_answer import SecondAnswer
from fairprog.solution import Certificate, Solution
from fairprog.transports import AffineMap

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled
    from fairprog.programs.nearest_line import NearestLine

__all__ = ["LineAnswer", "LineMaps", "assemble_line"]


@dataclass(eq=False)
class LineMaps:
    """The map of one steered group; multipliers (N, n) where there are custom conditions."""

    frame: LineFrame
    S: float
    beta: float
    multipliers: tuple[Array, Array] | None = None

    def cost(self) -> float:
        """Return the group's part of KL."""
        return float(self.frame.costs(self.S, self.beta).sum())

    def stationarity(self) -> tuple[Array, tuple[Array, Array]]:
        """Return the residual gradient in the free coordinates, and the consensus multipliers."""
        f = self.frame
        N, n = f.gradients(self.S, self.beta)
        total = f.free(float(N.sum()), float(n.sum()))
        if not np.isfinite(f.own_laws[0].support[0]):
            return total, (N, n)
        rest, support = cone_residual(f, self.S, self.beta, total)
        low = np.array([law.support[0] for law in f.laws])
        return rest, (N - support * (f.sign * f.loc + f.scale * low) * f.scales, n - support)


@dataclass(eq=False)
class LineAnswer(SecondAnswer):
    """What a solver returned, before it is believed."""

    groups: list[LineMaps]
    solver: str
    reference: tuple[list[Law], Array, Array] | None = None
    compiled: Compiled | None = None
    residual: float = 0.0  # of free common laws
    fixed: bool = False  # nothing was free: the identity


def assemble_line(program: NearestLine, answer: LineAnswer, seconds: float) -> Solution:
    """Build the steered population and prove it."""
    D = program.population
    by_group = {g.frame.group: g.frame.user_map(g.S, g.beta) for g in answer.groups}
    by_group |= {D.groups[a]: T for a, T in program.staying_maps.items()}
    maps: dict[Hashable, AffineMap] = {g: by_group[g] for g in D.groups}
    laws, loc, scale = answer.reference or program.reference_cells()
    population = _population(program, maps, laws, loc, scale)
    kl = population.kl(D)
    duals, sensitivity, price, by_condition = _prices(program, answer)
    return Solution(
        kl=kl,
        original=D,
        population=population,
        affine=maps,
        duals=duals,
        sensitivity=sensitivity,
        price=price,
        price_by_condition=by_condition,
        price_interval={} if program.constraints else {k: (v, v) for k, v in price.items()},
        certificate=_certify(program, answer, population, maps, (loc, scale), kl),
        settings=program.settings(),
        solver=answer.solver,
        seconds=seconds,
    )


def _population(
    program: NearestLine,
    maps: dict[Hashable, AffineMap],
    laws: list[Law],
    common_loc: Array,
    common_scale: Array,
) -> LocationScale:
    """Push the common laws through the maps; groups that stay are copied to the bit."""
    D = program.population
    loc, scale = D.base_loc.copy(), D.base_scale.copy()
    shape = np.array([[law.shape for law in row] for row in D.laws])
    for a in program.steered:
        T = maps[D.groups[a]]
        A, b = float(T.matrix[0, 0]), float(T.offset[0])
        loc[:, a], scale[:, a] = A * common_loc + b, abs(A) * common_scale
        shape[:, a] = [law.shape for law in laws]
    return D.with_cells(program.prior, loc, scale, shape)


def _prices(
    program: NearestLine, answer: LineAnswer
) -> tuple[dict[str, Array], dict[str, Array], dict[str, float], dict[str, float]]:
    """Return duals (CVXPY's sign), sensitivities, prices, and that of consensus by condition."""
    D = program.population
    sensitivity: dict[str, Array] = {}
    shares: dict[str, float] = {}
    for g in answer.groups:
        N, n = g.stationarity()[1] if g.multipliers is None else g.multipliers
        by_linear, by_offset = g.frame.prices(N, n)
        linear, offset = g.frame.user_multipliers(N, n)
        for i, c in enumerate(D.classes):
            if linear is not None:
                where = address("linear", g.frame.group, c)
                sensitivity[where], shares[where] = np.asarray(linear[i]), float(by_linear[i])
            where = address("offset", g.frame.group, c)
            sensitivity[where], shares[where] = np.asarray(offset[i]), float(by_offset[i])
    duals = {where: np.asarray(-value) for where, value in sensitivity.items()}
    price = {"consensus": float(sum(shares.values()))}
    if answer.compiled is not None:
        own, prices = answer.compiled.condition_prices()
        duals, price = duals | own, price | prices
        sensitivity |= {where: np.asarray(-value) for where, value in own.items()}
    return duals, sensitivity, price, shares


def _certify(
    program: NearestLine,
    answer: LineAnswer,
    population: LocationScale,
    maps: dict[Hashable, AffineMap],
    common: tuple[Array, Array],
    kl: float,
) -> Certificate:
    """Return residuals computed from the answer itself."""
    kkt = answer.residual
    if not answer.fixed:
        kkt = float(np.hypot(kkt, _stationarity(program, answer)))
    feasibility = 0.0
    if answer.compiled is not None:
        worst = max(answer.compiled.worst_violation(), answer.compiled.worst_slackness())
        feasibility = worst / max(1.0, kl)
    return Certificate(
        kkt_residual=kkt / float(np.sqrt(max(1.0, kl))),
        ideality_residual=_ideality(program, population, maps, common, program.steered),
        staying_residual=_ideality(program, population, maps, common, program.staying),
        feasibility_residual=feasibility,
        conic_gap=answer.conic_gap,
        parameter_gap=answer.parameter_gap,
        globally_optimal=True,
    )


def _stationarity(program: NearestLine, answer: LineAnswer) -> float:
    """Return the Newton decrement of the Lagrangian's gradient over all groups."""
    from_conditions: dict[int, Array] = {}
    if answer.compiled is not None and program.constraints:
        found = answer.compiled.condition_gradients()
        if found is None:  # a condition without gradients: its multipliers cannot be checked
            return float("inf")
        from_conditions = found
    squares = 0.0
    for k, g in enumerate(answer.groups):
        f = g.frame
        rest, (N, n) = g.stationarity()
        if g.multipliers is not None and answer.compiled is not None:
            cell = answer.compiled.cells[k]
            extra = np.zeros((2, len(N)))
            for i in range(len(N)):
                if cell.thetas[i] is not None:
                    extra[0, i] = float(np.sum(from_conditions.get(cell.thetas[i].id, 0.0)))
                extra[1, i] = float(np.sum(from_conditions.get(cell.betas[i].id, 0.0)))
                off = f.free(
                    float(N[i] + extra[0, i] - g.multipliers[0][i]),
                    float(n[i] + extra[1, i] - g.multipliers[1][i]),
                )
                squares += f.decrement(g.S, g.beta, off) ** 2
            rest = rest + f.free(float(extra[0].sum()), float(extra[1].sum()))
        if np.isfinite(f.own_laws[0].support[0]):
            # the cost is -Q log S plus a linear function: measured against its only curvature
            squares += float(rest @ rest) / float(f.w.sum())
        else:
            squares += f.decrement(g.S, g.beta, rest) ** 2
    return float(np.sqrt(squares))


def _ideality(
    program: NearestLine,
    population: LocationScale,
    maps: dict[Hashable, AffineMap],
    common: tuple[Array, Array],
    groups: list[int],
) -> float:
    """Return the worst residual of a cell against maps[g] # R_i, plus that of base rates."""
    D = program.population
    off = base_rate_residual(D, population, groups, program.reference, program.base_rates)
    worst = 0.0
    for a in groups:
        T = maps[population.groups[a]]
        A, b = float(T.matrix[0, 0]), float(T.offset[0])
        s = population.base_scale[:, a]
        shift = np.abs(A * common[0] + b - population.base_loc[:, a]) / s
        worst = max(worst, float(shift.max()), float(np.abs(abs(A) * common[1] / s - 1.0).max()))
    return worst + off
