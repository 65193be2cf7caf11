"""Scores as posteriors: what they must satisfy, and bins of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.kernels.statistics.weighted_quantiles import repeated_quantiles
from fairprog.labels import (
    Array,
    Indices,
    check_finite,
    encode,
    label_order,
    label_vector,
    unmasked,
)
from fairprog.numeric import DUST


@dataclass(frozen=True, eq=False)
class ScoreBins:
    """The bins a population was counted in: what tells the atom of a score never seen.

    Attributes
    ----------
    edges : tuple of Array
        Inner edges, one array per class but the first, in units of the scores as given. A score
        equal to an edge belongs to the bin above it.
    codes : integer array, shape (X, K - 1)
        The bin of every atom, per class but the first.
    """

    edges: tuple[Array, ...]
    codes: Indices

    def atoms(self, score: Array, values: Array, known: NDArray[np.bool_]) -> Indices:
        """Return the atom of each score among those `known`.

        A bin that is not known gives way to the known atom with the nearest mean score.

        Parameters
        ----------
        score : Array, shape (n,) or (n, K)
        values : Array, shape (X,) or (X, K)
            Mean scores of the atoms.
        known : boolean array, shape (X,)
        """
        where = np.flatnonzero(known)
        code = np.concatenate([self.codes[where], _codes(score, self.edges)])
        if code.shape[1] == 1:
            distinct, inverse = np.unique(code[:, 0], return_inverse=True)
        else:
            distinct, inverse = np.unique(code, axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        atom_of = np.full(len(distinct), -1, dtype=np.intp)
        atom_of[inverse[: len(where)]] = where
        out = atom_of[inverse[len(where) :]]
        rest = np.flatnonzero(out < 0)
        if rest.size:
            from scipy.spatial import cKDTree

            tree = cKDTree(values[where].reshape(len(where), -1))
            out[rest] = where[tree.query(score[rest].reshape(len(rest), -1))[1]]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {"edges": self.edges, "codes": self.codes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the bins from :meth:`to_dict`."""
        edges = tuple(np.asarray(e, dtype=float) for e in data["edges"])
        return cls(edges, np.asarray(data["codes"], dtype=np.intp))


def check_posterior(proba: ArrayLike) -> tuple[Array, int]:
    """Return scores as (n,) (binary: of the last class) or (n, K), and K.

    Float64 arrays of shape (n,) are not copied.

    Raises
    ------
    DataError
        For NaN, scores outside [0, 1] (to 1e-9) or rows that do not sum to one (to 1e-6).
    """
    given = np.asarray(unmasked(proba))
    in_place = given.dtype == np.float64 and given.ndim == 1
    score = given if in_place else check_finite(proba, "proba", rows=True)
    if score.ndim == 2 and score.shape[1] == 1:
        score = score[:, 0]
    if score.ndim not in (1, 2) or not len(score):
        raise DataError(
            f"`proba` must have shape (n,) or (n, K); its shape is {score.shape}.",
            argument="proba",
        )
    if not (score.min() >= -1e-9 and score.max() <= 1.0 + 1e-9):  # NaN fails as well
        check_finite(score, "proba", rows=True)
        raise DataError(
            f"`proba` must be in [0, 1]; it reaches from {score.min():.6g} to {score.max():.6g}.",
            argument="proba",
        )
    if score.min() < 0 or score.max() > 1:
        score = np.clip(score, 0.0, 1.0)
    if score.ndim == 1:
        return (score.view() if in_place else score), 2
    total = score.sum(axis=1)
    worst = int(np.argmax(np.abs(total - 1.0)))
    if abs(total[worst] - 1.0) > 1e-6:
        raise DataError(
            f"The rows of `proba` must sum to one; row {worst} sums to {total[worst]:.9g}.",
            argument="proba",
        )
    score = score / total[:, None]
    return (score[:, 1].copy() if score.shape[1] == 2 else score), score.shape[1]


def are_labels(score: Array) -> bool:
    """Return whether every score is 0 or 1, so that it looks like a prediction."""
    few = score[:64]
    return not np.any((few != 0) & (few != 1)) and not np.any((score != 0) & (score != 1))


def score_bins(
    score: Array, bins: Any, weight: Array, count: Array
) -> tuple[Indices, Array, ScoreBins]:
    """Return the atom of each row, the atoms' mean scores, (X,) or (X, K), and the bins.

    Parameters
    ----------
    score : Array, shape (n,) or (n, K)
    bins : int or array_like
        Number of quantile bins per class but the first, or the inner edges (binary labels).
    weight : Array, shape (n,)
        Positive.
    count : Array, shape (n,) or (1,)
        How many rows each is among the quantiles.

    Raises
    ------
    DataError
        For a number of bins below one or edges that do not increase.
    ModelError
        For edges with more than two classes.
    """
    columns = score[:, None] if score.ndim == 1 else score[:, 1:]
    if np.ndim(bins) == 0:
        number = np.asarray(bins).item()
        if not (isinstance(number, (int, float)) and number >= 1 and number % 1 == 0):
            raise DataError(
                f"`bins` must be a whole number >= 1 or increasing edges; found {bins!r}.",
                argument="bins",
            )
        levels = np.arange(1, int(number)) / int(number)
        edges = [np.unique(repeated_quantiles(c, count, levels)) for c in columns.T]
    else:
        inner = np.atleast_1d(check_finite(bins, "bins"))
        if np.any(np.diff(inner) <= 0):
            raise DataError("`bins` must be increasing edges.", argument="bins")
        if columns.shape[1] > 1:
            raise ModelError(
                "Edges of bins are for binary labels; give a number of bins.", argument="bins"
            )
        edges = [inner]
    codes, atom = np.unique(_codes(score, edges), axis=0, return_inverse=True)
    atom = atom.reshape(-1)
    total = np.bincount(atom, weight)
    full = score[:, None] if score.ndim == 1 else score
    values = np.stack([np.bincount(atom, weight * c) / total for c in full.T], axis=1)
    bins_of = ScoreBins(tuple(edges), codes)
    return atom, values[:, 0] if score.ndim == 1 else values, bins_of


def _codes(score: Array, edges: Sequence[Array]) -> Indices:
    """Return the bin of each row, per class but the first: shape (n, K - 1)."""
    columns = score[:, None] if score.ndim == 1 else score[:, 1:]
    pairs = zip(edges, columns.T, strict=True)  # a score that is an edge but for dust is the edge
    return np.stack([np.searchsorted(e - DUST * np.abs(e), c, "right") for e, c in pairs], 1)


def encode_groups(
    values: ArrayLike, groups: Sequence[Any] | None, n: int
) -> tuple[NDArray[np.integer[Any]], tuple[Hashable, ...]]:
    """Return the group code of each row in as few bytes as do, and the group labels."""
    vector = label_vector(values, "sensitive_features", n)
    if vector.dtype.kind == "O":
        labels = label_order(groups, vector, "groups")
        code = encode(vector, labels, "sensitive_features", n)
        return code.astype(np.uint8) if len(labels) <= 256 else code, labels
    distinct = np.unique(vector)
    labels = label_order(groups, distinct, "groups")
    codes = encode(distinct, labels, "sensitive_features")
    if len(distinct) > 256:
        return codes[np.searchsorted(distinct, vector)], labels
    out: NDArray[np.integer[Any]] = np.zeros(n, np.uint8 if len(labels) <= 256 else np.intp)
    for label, k in zip(distinct, codes, strict=True):
        if k:
            out += np.multiply(vector == label, int(k), dtype=out.dtype)
    return out, labels
