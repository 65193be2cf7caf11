"""What a fair classifier must satisfy: its table, its gap, and the risk that HiGHS finds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

__all__ = ["check_classifier"]


def check_classifier(D: Any, sol: Any, parts: dict[str, Any]) -> str:
    """Compare with a linear program that is assembled here and solved by HiGHS through scipy."""
    joint = np.asarray(D.joint)
    Z = np.asarray(sol.table.Z)
    cost, bound = parts["cost"], parts["bound"]
    prior = joint.sum(axis=0)
    if np.abs(Z.sum(axis=2) - prior.T).max() > 1e-9 or Z.min() < -1e-9:
        return "the table is none of this population"
    size = float(np.abs(cost).max())
    risk = float(np.einsum("aij,ij->", Z, cost))
    if abs(risk - sol.risk) > 1e-8 * size:
        return f"the table has risk {risk!r}, not {sol.risk!r}"
    gap = _gap(Z, parts["notion"])
    if gap > bound + 1e-6:
        return f"the gap is {gap!r}, the bound {bound!r}"
    best = _linear_program(joint, cost / size, parts["notion"], bound)
    if best is None:
        return ""
    if abs(risk / size - best) > 2e-6:
        return f"risk {risk / size!r} in units of the largest cost; HiGHS finds {best!r}"
    return ""


def _events(notion: str, K: int) -> list[tuple[int | None, int]]:
    """Return (true class or None, predicted class) of every rate that must be equal."""
    if notion == "DemographicParity":
        return [(None, j) for j in range(K)]
    if notion == "EqualizedOdds":
        return [(i, j) for i in range(K) for j in range(K)]
    return [(K - 1 if notion == "EqualOpportunity" else 0, K - 1)]


def _gap(Z: np.ndarray, notion: str) -> float:
    gaps = []
    for i, j in _events(notion, Z.shape[1]):
        part = Z.sum(axis=1) if i is None else Z[:, i]
        gaps.append(np.ptp(part[:, j] / part.sum(axis=1)))
    return float(max(gaps))


def _linear_program(joint: np.ndarray, cost: np.ndarray, notion: str, bound: float) -> Any:
    """Return the least risk; variables h[x, a, j] and one level per rate."""
    X, K, G = joint.shape
    events = _events(notion, K)
    n = X * G * K

    def at(x: int, a: int, j: int) -> int:
        return (x * G + a) * K + j

    c = np.zeros(n + len(events))
    for x, a, j in np.ndindex(X, G, K):
        c[at(x, a, j)] = joint[x, :, a] @ cost[:, j]
    equal = np.zeros((X * G, len(c)))
    for r, (x, a) in enumerate(np.ndindex(X, G)):
        equal[r, at(x, a, 0) : at(x, a, K - 1) + 1] = 1.0
    rows = []
    for e, (i, j) in enumerate(events):
        for a in range(G):
            weight = joint[:, :, a].sum(axis=1) if i is None else joint[:, i, a]
            row = np.zeros(len(c))
            for x in range(X):
                row[at(x, a, j)] = weight[x] / weight.sum()
            row[n + e] = -1.0
            rows += [row, -row]
    found = linprog(
        c,
        A_ub=np.array(rows),
        b_ub=np.full(len(rows), bound / 2.0),
        A_eq=equal,
        b_eq=np.ones(X * G),
        bounds=(0.0, 1.0),
        method="highs",
    )
    return None if found.status != 0 else float(found.fun)
