"""Populations of binned scores, their curves, and the best fair rule by a linear program."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linprog

import fairprog as fp
from fairprog.kernels.scores.roc_hulls import roc_hull
from fairprog.programs.scores.question import ask_score


def random_population(
    rng: np.random.Generator, G: int, n: int, monotone: bool = False
) -> fp.Categorical:
    """Binned scores: ties, zero cells, posteriors that may fall."""
    joint = rng.gamma(rng.choice([0.2, 1.0]), size=(n, 2, G))
    if monotone:
        eta, weight = np.sort(rng.random((n, G)), axis=0), rng.random((n, G))
        joint = np.stack([weight * (1 - eta), weight * eta], axis=1)
    else:
        joint[rng.random(joint.shape) < 0.2] = 0.0
        if rng.random() < 0.5:
            joint = np.round(3.0 * joint)  # equal slopes
    joint[rng.integers(n, size=G), 0, range(G)] += 0.05
    joint[rng.integers(n, size=G), 1, range(G)] += 0.05
    return fp.Categorical(joint / joint.sum(), values=np.sort(rng.random(n)))


def curves_of(D: fp.Categorical) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    question = ask_score(D, None, "all", "uniform", ())
    return list(question.mass), [roc_hull(m)[1] for m in question.mass], question.q


def events_of(D: fp.Categorical, notion: fp.Notion) -> np.ndarray:
    return ask_score(D, notion, "all", "uniform", ()).events


def best_fair_rule(
    curves: list[np.ndarray], q: np.ndarray, events: np.ndarray, bound: float, cost: float
) -> float:
    """The written-out LP: mixtures of thresholds, all pairs of groups within the bound."""
    sizes = [len(c) for c in curves]
    start = np.concatenate([[0], np.cumsum(sizes)])
    objective = np.concatenate(
        [c @ [cost * q[0, a], -(1 - cost) * q[1, a]] for a, c in enumerate(curves)]
    )
    A_eq = np.zeros((len(curves), start[-1]))
    for a in range(len(curves)):
        A_eq[a, start[a] : start[a + 1]] = 1.0
    A_ub = []
    for event, (a, b) in itertools.product(events, itertools.permutations(range(len(curves)), 2)):
        row = np.zeros(start[-1])
        row[start[a] : start[a + 1]] = curves[a] @ event[a]
        row[start[b] : start[b + 1]] -= curves[b] @ event[b]
        A_ub.append(row)
    found = linprog(
        objective,
        A_ub=A_ub,
        b_ub=np.full(len(A_ub), bound),
        A_eq=A_eq,
        b_eq=np.ones(len(curves)),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert found.status == 0
    return float(found.fun + (1 - cost) * q[1].sum())
