r"""Several linear conditions on the ROC regions of the groups: cutting planes, exact at the end.

The variables are the rates :math:`(x_a, y_a)` = (false, true positive rate) of each group and
levels; conditions and objective are linear in them, each :math:`(x_a, y_a)` lies in the group's
region. The region is the intersection of one half-plane per threshold :math:`\tau` and side,

.. math:: (1-\tau) q_{1a} y - \tau q_{0a} x \le \sum_{\eta > \tau} w (\eta - \tau),

and the mirrored one for rules that select from below. A master LP with few of them gives a point;
the most violated half-plane at a point is that of the quantile with the same selected mass, so a
cut costs O(log n). There are finitely many, and in the plane Kelley's method converges like
Newton's. Source: theory.md section 8; Kelley (1960).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprog.kernels.scores.score_rules import boundary
from fairprog.kernels.scores.sorted_scores import Curve, prefix, total
from fairprog.labels import Array

SCALE = 1e3  # of rows and objective: HiGHS accepts violations of 1e-10, here 1e-13
VIOLATION = 1e-14
MOST_ROUNDS = 500


def cut(curve: Curve, tau: float, top: bool) -> tuple[Array, float]:
    """Return the half-plane (per negative, per positive) . point <= bound of a threshold."""
    eta = curve[0]
    normal = np.array([-tau, 1.0 - tau])
    if top:
        k = int(np.searchsorted(eta, tau, side="right"))
        return normal, float(normal @ (total(curve) - prefix(curve, k)))
    k = int(np.searchsorted(eta, tau, side="left"))
    return -normal, float(-normal @ prefix(curve, k))


def solve_with_cuts(
    curves: Sequence[Curve], objective: Array, A: Array, low: Array, high: Array
) -> tuple[str, Array, Array, int]:
    """Minimise objective . v subject to low <= A v <= high and the regions of the groups.

    Parameters
    ----------
    curves : sequence of G curves
    objective : Array, shape (2 G + L,)
        Per false positive rate and true positive rate of each group in turn, then per level.
    A : Array, shape (m, 2 G + L)
    low, high : Array, shape (m,)
        Infinite where there is no bound; equal for equations.

    Returns
    -------
    status : str
        "optimal", "infeasible", or what the LP solver said.
    v : Array, shape (2 G + L,)
    marginals : Array, shape (m,)
        d optimum / d (low or high, whichever is active).
    rounds : int
        Master problems solved.
    """
    G = len(curves)
    mass = np.array([total(c) for c in curves])
    rows: list[Array] = []
    bounds: list[float] = []
    seen: set[tuple[int, float, bool]] = set()

    def add(a: int, tau: float, top: bool) -> bool:
        if (a, tau, top) in seen:
            return False
        seen.add((a, tau, top))
        normal, bound = cut(curves[a], tau, top)
        row = np.zeros(len(objective))
        row[2 * a : 2 * a + 2] = normal * mass[a]
        size = np.abs(row).max()
        if size > 0:
            rows.append(row / size)
            bounds.append(bound / size)
        return size > 0

    for a, curve in enumerate(curves):
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            tau = float(curve[0][round(share * (len(curve[0]) - 1))])
            add(a, tau, True)
            add(a, tau, False)
    for rounds in range(1, MOST_ROUNDS + 1):
        status, v, marginals = _master(objective, A, low, high, np.array(rows), np.array(bounds))
        if status != "optimal":
            return status, v, marginals, rounds
        reduced = (objective - A.T @ marginals)[: 2 * G].reshape(G, 2)
        new = False
        for a, curve in enumerate(curves):
            point = v[2 * a : 2 * a + 2] * mass[a]
            whole = float(mass[a].sum())
            top, bottom = boundary(curve, min(max(float(point.sum()), 0.0), whole))
            if point[1] - top[2] > VIOLATION * whole:
                new |= add(a, float(top[0]), True)
            if bottom[2] - point[1] > VIOLATION * whole:
                new |= add(a, float(bottom[0]), False)
            with np.errstate(divide="ignore", invalid="ignore"):
                per_mass = np.where(mass[a] > 0, reduced[a] / mass[a], 0.0)
            c0, c1 = float(per_mass[0]), float(per_mass[1])
            if new and c0 != c1 and 0.0 <= c0 / (c0 - c1) <= 1.0:
                k = int(np.searchsorted(curve[0], c0 / (c0 - c1)))
                add(a, float(curve[0][min(k, len(curve[0]) - 1)]), c1 < c0)
        if not new:
            return "optimal", v, marginals, rounds
    return "iteration limit", v, marginals, MOST_ROUNDS


def _master(
    objective: Array, A: Array, low: Array, high: Array, cuts: Array, bounds: Array
) -> tuple[str, Array, Array]:
    """Solve the LP with the cuts so far; marginals of the rows of A."""
    from scipy.optimize import linprog

    equal = low == high
    upper, lower = np.isfinite(high) & ~equal, np.isfinite(low) & ~equal
    result = linprog(
        SCALE * objective,
        A_ub=SCALE * np.concatenate([A[upper], -A[lower], cuts]),
        b_ub=SCALE * np.concatenate([high[upper], -low[lower], bounds]),
        A_eq=SCALE * A[equal] if equal.any() else None,
        b_eq=SCALE * low[equal] if equal.any() else None,
        bounds=(0.0, 1.0),
        method="highs-ds",
        options={
            "presolve": False,
            "primal_feasibility_tolerance": 1e-10,
            "dual_feasibility_tolerance": 1e-10,
        },
    )
    n = len(objective)
    if result.status == 2:
        return "infeasible", np.full(n, np.nan), np.full(len(A), np.nan)
    if result.status != 0:
        return str(result.message), np.full(n, np.nan), np.full(len(A), np.nan)
    marginals = np.zeros(len(A))
    of_rows = np.asarray(result.ineqlin.marginals)
    marginals[upper] += of_rows[: upper.sum()]
    marginals[lower] -= of_rows[upper.sum() : upper.sum() + lower.sum()]
    if equal.any():
        marginals[equal] = result.eqlin.marginals
    return "optimal", np.asarray(result.x), marginals
