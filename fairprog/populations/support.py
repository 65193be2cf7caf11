"""The support of a finite population: what it stores, and what is counted from it.

The pairs (atom x, group a) with positive mass, their masses P(X=x, A=a) and posteriors
P(Y=i | x, a). Five million scored rows, each its own atom, keep the array of scores as it is and
need a byte per row besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError
from fairprog.labels import Array, label_array, plain

CHUNK = 1 << 16  # rows


@dataclass(frozen=True, eq=False)
class Support:
    """The pairs (x, a) with positive mass, in the order of the atoms.

    Attributes
    ----------
    atom : integer array, shape (m,)
        Position of x among the atoms.
    group : integer array, shape (m,)
        Position of a among the groups.
    weight : Array, shape (m,)
        P(X=x, A=a); may be a read-only broadcast view.
    score : Array, shape (m,) if K = 2 else (m, K)
        P(Y=i | x, a); for binary labels that of the last class only.
    """

    atom: NDArray[np.integer[Any]]
    group: NDArray[np.integer[Any]]
    weight: Array
    score: Array

    @property
    def posterior(self) -> Array:
        """P(Y=i | x, a), shape (m, K)."""
        if self.score.ndim == 2:
            return self.score
        return np.stack([1.0 - self.score, self.score], axis=1)


def support_prior(support: Support, K: int, G: int) -> Array:
    """Return P(Y=i, A=a), shape (K, G), without a temporary as large as the scores."""
    out = np.zeros((K, G))
    for start in range(0, len(support.group), CHUNK):
        rows = slice(start, start + CHUNK)
        score, weight = support.score[rows], support.weight[rows]
        columns = (1.0 - score, score) if score.ndim == 1 else score.T
        for i, column in enumerate(columns):
            out[i] += np.bincount(support.group[rows], weight * column, minlength=G)
    return out


def effective_rows(weight: Array) -> int:
    """Return Kish's effective number of rows, (sum w)^2 / sum w^2."""
    return max(1, int(float(weight.sum()) ** 2 / float(np.vdot(weight, weight)) + 1e-6))


def checked_values(values: Any, n_atoms: int) -> NDArray[Any]:
    """Return what the atoms are as an array; DataError if they are not so many."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else _as_array(list(values))
    if len(array) != n_atoms:
        raise DataError(
            f"`values` lists {len(array)} atoms; `joint` has {n_atoms}.", argument="values"
        )
    return array


def _as_array(values: list[Any]) -> NDArray[Any]:
    if values and all(isinstance(v, (list, np.ndarray)) for v in values):
        return np.asarray(values)
    return label_array([plain(v) for v in values])
