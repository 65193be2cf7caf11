r"""Masses that meet their linear conditions exactly: what a conic solver leaves open is closed.

A solver meets conditions to about 1e-8, and posteriors of parts of little mass to much less; Bayes
rules are re-evaluated on the population itself, where every such error is a rule of its own. So
the masses v0 that it found go to

    minimise sum_r w_r v_r log(v_r / v0_r)   subject to   E v = d,  F v <= h,

which moves each by a factor: none changes its sign, and none that is zero appears.
:math:`v = v_0 \exp(C^T y / w)`, y by Newton's method, C being E and the rows of F that v breaks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from fairprog.labels import Array, Indices
from fairprog.programs.fair.question import FairQuestion

LEAST = 1e-13  # mass of a part of an atom that is kept
ROUNDS = 12  # in which inequalities that are broken are added
STEPS = 60
RIDGE = 1e-12  # of normalised rows, some of which may follow from others
MET = 1e-15
STUCK = 1e-10  # below which an error that shrinks no more is rounding
FASTEST = 1.0  # nats by which a mass moves in one step

Rows = tuple[Any, Array]  # matrix and right side


def exact_masses(compiled: Any) -> Array:
    """Return the entries of a solved `CompiledFair`, over the mass of their unit."""
    e, q, levels = compiled.entries, compiled.question, compiled.levels
    v = np.maximum(np.asarray(compiled.v.value), 0.0)
    slots = len(e.unit)
    v[np.bincount(e.slot, e.weight * v, slots)[e.slot] <= LEAST] = 0.0
    free = ~e.known if levels is not None and levels.binary else np.zeros(len(v), dtype=bool)

    def inside(v: Array) -> Array:
        """Put the posterior of every slot into its level; its mass stays."""
        both = np.stack([np.bincount(e.slot, v * free * e.law[:, i], slots) for i in (0, 1)])
        mass, level = both.sum(axis=0), np.zeros(slots, dtype=np.intp)
        level[e.slot] = e.level
        share = np.divide(both[1], mass, out=np.zeros(slots), where=mass > 0)
        share = np.clip(share, levels.low[level], levels.high[level])
        wanted = np.stack([1.0 - share, share]) * mass
        factor = np.divide(wanted, both, out=np.zeros_like(both), where=both > 0)
        factor[:, ((both == 0) & (wanted > 0)).any(axis=0)] = 0.0  # nothing to scale: not there
        return np.asarray(np.where(free, v * (e.law * factor[:, e.slot].T).sum(axis=1), v))

    v = inside(v) if free.any() else v
    equal = [rows for name, rows in compiled.rows.items() if name != "posterior"]
    below = [rows for name, rows in compiled.rows.items() if name == "posterior"]
    for kind, (A, b) in zip((equal, below), table_rows(q, compiled.actions), strict=True):
        kind.append((A @ compiled.sums, b - A @ compiled.fixed))
    v = nearest_masses(v, e.weight, _stacked(equal), _stacked(below))
    return inside(v) if free.any() else v


def _stacked(rows: list[Rows]) -> Rows:
    return sp.vstack([A for A, _ in rows]).tocsr(), np.concatenate([b for _, b in rows])


def table_rows(question: FairQuestion, actions: Indices) -> tuple[Rows, Rows]:
    """Return what a table (L * K * G,) is to be equal to, and what it is to stay below.

    Masses of groups (and of classes), and the notion: rates of one group less those of another.
    """
    D, notion = question.population, question.notion
    L, K, G = len(actions), D.n_classes, D.n_groups
    place = np.arange(L * K * G).reshape(L, K, G)
    equal: list[tuple[Array, float]] = []
    below: list[tuple[Array, float]] = []
    for a in question.steered:
        for kept in ([i] for i in range(K)) if question.keeps_rates else (range(K),):
            row = np.zeros(place.shape)
            row[:, list(kept), a] = 1.0
            equal.append((row.ravel(), D.prior[list(kept), a].sum()))
    ratio, bound = notion.ratio_bound, notion.difference_bound
    for rule in actions.T:
        for _, outcomes, inside in notion.events(D.classes):
            rates = np.zeros((G, place.size))
            for a in range(G):
                for i, j in outcomes:
                    rates[a, place[rule == j, i, a]] = 1.0 / D.prior[inside, a].sum()
            if ratio is None and bound == 0:
                equal += [(rates[a] - rates[a + 1], 0.0) for a in range(G - 1)]
                continue
            factor = 1.0 if ratio is None else ratio
            for a, b in np.argwhere(~np.eye(G, dtype=bool)):
                below.append((factor * rates[a] - rates[b], bound))
    return _rows(equal, place.size), _rows(below, place.size)


def _rows(pairs: list[tuple[Array, float]], n: int) -> Rows:
    right = np.array([b for _, b in pairs], dtype=float)
    return sp.csr_array(np.array([row for row, _ in pairs]).reshape(-1, n)), right


def nearest_masses(v: Array, weight: Array, equal: Rows, below: Rows) -> Array:
    """Return the masses nearest to v in relative entropy with E v = d and F v <= h.

    Parameters
    ----------
    v : Array, shape (n,)
        Not negative, and nearly as it should be.
    weight : Array, shape (n,)
    equal, below : (sparse matrix (m, n), Array (m,))

    Examples
    --------
    >>> from fairprog.programs.compile.exact_masses import nearest_masses
    >>> none = sp.csr_array((0, 2)), np.zeros(0)
    >>> total = sp.csr_array([[1.0, 1.0]]), np.ones(1)
    >>> nearest_masses(np.array([0.3, 0.6]), np.ones(2), total, none)
    array([0.33333333, 0.66666667])
    """
    F, h = below
    active = np.zeros(len(h), dtype=bool)
    for _ in range(ROUNDS):
        C = sp.vstack([equal[0], F[active]]).tocsr()
        v = _newton(v, weight, C, np.concatenate([equal[1], h[active]]))
        broken = ~active & (F @ v - h > MET * (abs(F) @ v + np.abs(h)))
        if not broken.any():  # meeting the others may break one that held
            break
        active |= broken
    return v


def _newton(v: Array, weight: Array, C: Any, target: Array) -> Array:
    """Return v exp(C'y / w) that is at its target."""
    worst = np.inf
    for _ in range(STEPS):
        scale = abs(C) @ v
        rows = scale > 0  # of the others nothing is left to move
        off = (target - C @ v)[rows]
        worst, before = float((np.abs(off) / scale[rows]).max(initial=0.0)), worst
        if worst <= MET or (worst <= STUCK and worst > 0.9 * before):
            break
        own = C[rows]
        N = own @ sp.diags_array(v / weight) @ own.T
        norm = 1.0 / np.sqrt(N.diagonal())
        N = sp.diags_array(norm) @ N @ sp.diags_array(norm) + RIDGE * sp.eye_array(len(norm))
        solver = splu(N.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        step = (own.T @ (norm * solver.solve(norm * off))) / weight
        v = v * np.exp(np.clip(step, -FASTEST, FASTEST))  # little mass may have to vanish
    return v
