"""What a classifier's adjusted costs make of scores that were not there when it was decided."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices
from fairprog.tables.divergence import check_laws

TIE = 1e-9  # adjusted costs closer than this (times the largest) are a tie


def tilted(rule: Any, rows: Array, group: Indices, reference: ArrayLike | None) -> Array:
    """Return the rows' laws proportional to reference_j exp(-cost_j / divergence_weight)."""
    cost, pi = _cost(rule, rows, group), check_laws(reference)
    if pi.shape != cost.shape:
        raise DataError(
            f"`reference` has shape {pi.shape}; needed is {cost.shape}, a law per row.",
            argument="reference",
        )
    return np.asarray(softmax(np.log(pi) - cost / rule.divergence_weight, axis=1))


def cheapest(
    rule: Any,
    asked: tuple[Array, Indices],
    known: tuple[Array, Indices],
    weight: Array,
    h: Array,
) -> Array:
    """Return who has the smallest adjusted cost; ties are as those `known` were, by h."""
    tied = _tied(rule, *asked)
    out = tied / tied.sum(axis=1, keepdims=True)
    code, known_code = (t @ (1 << np.arange(h.shape[1])) for t in (tied, _tied(rule, *known)))
    for a in np.unique(asked[1]):
        for c in np.unique(code[(asked[1] == a) & (tied.sum(axis=1) > 1)]):
            rows = (known[1] == a) & (known_code == c)
            if rows.any():
                here = (asked[1] == a) & (code == c)
                out[here] = _at_ties(asked[0][here], known[0][rows], weight[rows], h[rows])
    return out


def _tied(rule: Any, rows: Array, group: Indices) -> NDArray[np.int_]:
    """Return which predictions have the smallest adjusted cost, shape (n, K)."""
    cost = _cost(rule, rows, group)
    scale = TIE * (float(np.abs(rule.costs).max()) or 1.0)
    return (cost <= cost.min(axis=1, keepdims=True) + scale).astype(int)


def _cost(rule: Any, rows: Array, group: Indices) -> Array:
    """Return the adjusted cost of every prediction, shape (n, K)."""
    if rule.costs is None:
        blind = not rule.uses_group and rule.population.group_known
        raise ModelError(
            "This classifier is a table over its population, not a rule on posteriors: "
            + (
                "it does not see the group"
                if blind
                else "a template speaks about single individuals, or keeps near a reference and "
                "was not solved as a tilt"
            )
            + ". Make the population by `Categorical.from_scores(..., bins=...)`, whose "
            "classifiers put new scores into the same bins"
            + (
                "; or, where the group is not known, from scores of label and group, (n, K, G), "
                "and pass such scores here."
                if blind
                else "."
            )
        )
    if rows.ndim == 3:
        return np.asarray(np.einsum("nia,aij->nj", rows, rule.costs))
    if not rule.uses_group:
        raise ModelError(
            "This classifier does not see the group: pass scores of label and group, P(Y, A | x) "
            "of shape (n, K, G), such as its population was made from.",
            argument="proba",
        )
    return np.asarray(np.einsum("ni,nij->nj", rows, rule.costs[group]))


def _at_ties(asked: Array, known: Array, weight: Array, h: Array) -> Array:
    """Return what known rows of equal scores got on average; for others, what all of them got."""
    both = np.concatenate([known, asked]).reshape(len(known) + len(asked), -1)
    code = np.unique(np.round(both, 10), axis=0, return_inverse=True)[1].ravel()
    of_known, of_asked = np.split(code, [len(h)])
    size = int(code.max()) + 1
    mass = np.bincount(of_known, weight, size)
    sums = np.stack([np.bincount(of_known, weight * column, size) for column in h.T], axis=1)
    everywhere = weight @ h / weight.sum()
    found = mass > 0
    mean: Array = np.where(found[:, None], sums / np.where(found, mass, 1.0)[:, None], everywhere)
    return mean[of_asked]
