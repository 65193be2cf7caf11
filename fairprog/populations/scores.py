"""Scores as posteriors: what they must satisfy, and bins of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.labels import (
    Array,
    Indices,
    check_finite,
    encode,
    label_order,
    label_vector,
)

__all__ = ["check_posterior", "encode_groups", "score_bins"]


def check_posterior(proba: ArrayLike) -> tuple[Array, int]:
    """Return scores as (n,) (binary: of the last class) or (n, K), and K.

    Float64 arrays of shape (n,) are not copied.

    Raises
    ------
    DataError
        For NaN, scores outside [0, 1] (to 1e-9) or rows that do not sum to one (to 1e-6).
    """
    given = np.asarray(proba)
    in_place = given.dtype == np.float64 and given.ndim == 1
    score = given if in_place else check_finite(proba, "proba")
    if score.ndim == 2 and score.shape[1] == 1:
        score = score[:, 0]
    if score.ndim not in (1, 2) or not len(score):
        raise DataError(
            f"`proba` must have shape (n,) or (n, K); its shape is {score.shape}.",
            argument="proba",
        )
    if not (score.min() >= -1e-9 and score.max() <= 1.0 + 1e-9):  # NaN fails as well
        check_finite(score, "proba")
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


def score_bins(score: Array, bins: Any, weight: Array) -> tuple[Indices, Array]:
    """Return the atom of each row and the atoms' mean scores, (X,) or (X, K).

    Parameters
    ----------
    score : Array, shape (n,) or (n, K)
    bins : int or array_like
        Number of quantile bins per class but the first, or the inner edges (binary labels).
    weight : Array, shape (n,)

    Raises
    ------
    DataError
        For a number of bins below one or edges that do not increase.
    ModelError
        For edges with more than two classes.
    """
    columns = score[:, None] if score.ndim == 1 else score[:, 1:]
    if np.ndim(bins) == 0:
        count = int(bins)
        if count != bins or count < 1:
            raise DataError(
                f"`bins` must be a whole number >= 1; found {bins!r}.", argument="bins"
            )
        levels = np.arange(1, count) / count
        edges = [np.unique(np.quantile(c, levels)) for c in columns.T]
    else:
        inner = np.atleast_1d(check_finite(bins, "bins"))
        if np.any(np.diff(inner) <= 0):
            raise DataError("`bins` must be increasing edges.", argument="bins")
        if columns.shape[1] > 1:
            raise ModelError(
                "Edges of bins are for binary labels; give a number of bins.", argument="bins"
            )
        edges = [inner]
    code = np.stack(
        [np.searchsorted(e, c, side="right") for e, c in zip(edges, columns.T, strict=True)], 1
    )
    _, atom = np.unique(code, axis=0, return_inverse=True)
    atom = atom.reshape(-1)
    total = np.bincount(atom, weight)
    # an atom all of whose rows have weight zero takes their plain mean
    safe = np.where((total > 0)[atom], weight, 1.0)
    total = np.bincount(atom, safe)
    full = score[:, None] if score.ndim == 1 else score
    values = np.stack([np.bincount(atom, safe * c) / total for c in full.T], axis=1)
    return atom, values[:, 0] if score.ndim == 1 else values


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
