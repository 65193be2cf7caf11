"""An outcome table that remembers the individuals it was summed over."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import DataError
from fairprog.labels import Array
from fairprog.tables.outcome import OutcomeTable


@dataclass(frozen=True, eq=False)
class AtomTable(OutcomeTable):
    """The outcome table of a randomised classifier on a finite population, with its support.

    Row m stands for a pair (x, a) with positive mass. Made by ``Categorical.table``.

    Attributes
    ----------
    weight : Array, shape (m,)
        P(X=x, A=a).
    posterior : Array, shape (m, K)
        P(Y=i | x, a).
    atom, group : integer arrays, shape (m,)
        Positions of x and a.
    h : Array, shape (m, K)
        P(Yhat=j | x, a).

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> D.table([[1, 0], [0, 1], [1, 0], [0, 1]]).accuracy
    0.775
    """

    weight: Any = None
    posterior: Any = None
    atom: Any = None
    group: Any = None
    h: Any = None

    @classmethod
    def of(
        cls,
        weight: Array,
        posterior: Array,
        atom: NDArray[np.integer[Any]],
        group: NDArray[np.integer[Any]],
        h: Array,
        classes: tuple[Hashable, ...],
        groups: tuple[Hashable, ...],
        attributes: tuple[str, ...] = (),
    ) -> AtomTable:
        """Sum Z[a, i, j] = sum over x of weight posterior_i h_j."""
        K, G = len(classes), len(groups)
        Z = np.zeros((G, K, K))
        for i in range(K):
            joint = weight * posterior[:, i]
            for j in range(K):
                Z[:, i, j] = np.bincount(group, joint * h[:, j], minlength=G)
        return cls(Z, classes, groups, attributes, weight, posterior, atom, group, h)

    @property
    def mass(self) -> Array:
        """P(A=a, Y=i), shape (G, K)."""
        return self.cell_mass


def atoms_of(table: OutcomeTable, template: Any) -> AtomTable:
    """Return the table if it knows its individuals, else raise a DataError."""
    if not isinstance(table, AtomTable):
        raise DataError(
            f"{template!r} speaks about single individuals, which this table does not know; use "
            "Categorical.table(h), or the table of a FairClassifier's solution.",
            argument="table",
        )
    return table
