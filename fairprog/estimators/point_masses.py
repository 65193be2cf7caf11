"""Point masses that all groups share: their rows stay together, the others move.

A value that holds many rows of every group and stands alone (the zeros of an amount, forty hours a
week) is moved by an affine map to a value that hardly anybody has, another one in every group,
where a tree reads the group. So its rows keep it. Where it is the end of its column the others
keep their side of it: they are scaled from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.labels import Array, Indices

ATOM, FEW = 0.02, 4.0  # share of the rows of every group, and rows: less is no point mass
ALONE = 4.0  # times what its two neighbours hold together


@dataclass(frozen=True, eq=False)
class PointMasses:
    """The point masses of every column.

    Attributes
    ----------
    atoms : list of Array
        The values of every column; an empty list: none anywhere.
    ends : list of Array
        Of every column nothing, or (v, s_1, ..., s_G): see :func:`scales_from`.
    """

    atoms: list[Array] = field(default_factory=list)
    ends: list[Array] = field(default_factory=list)

    @classmethod
    def of(cls, X: Array, rows: Rows, home: int | None, still: NDArray[np.bool_]) -> PointMasses:
        """Return those of rows; `home` is the group that others are moved to, if one stays."""
        atoms = shared_atoms(X, rows.a, rows.count)
        ends = [scales_from(x, v, rows, home, still) for x, v in zip(X.T, atoms, strict=True)]
        return cls(atoms, ends)

    def chosen(
        self, X: Array, rows: Rows, rounded: list[bool], moved: Callable[[PointMasses], Array]
    ) -> PointMasses:
        """Leave out columns whose groups rounding alone brings nearer to each other.

        Parameters
        ----------
        X : Array, shape (n, d)
        rows : Rows
        rounded : list of bool
            Which columns are lattices.
        moved : callable
            Returns aligned rows under given point masses.
        """
        asked = [j for j, v in enumerate(self.atoms) if v.size and rounded[j]]
        if not asked:
            return self
        without, together = moved(PointMasses()), moved(self)
        atoms, ends = list(self.atoms), list(self.ends)
        for j in asked:
            near, far = (apart(Z[:, j], rows.a, rows.count) for Z in (without, together))
            if near < far:
                atoms[j], ends[j] = atoms[j][:0], ends[j][:0]
        return PointMasses(atoms, ends)

    def scaled(self, X: Array, moved: Array, shares: Array, inverse: bool) -> Array:
        """Return moved rows, the columns that a point mass ends scaled from it instead."""
        for j, end in enumerate(self.ends):
            if end.size:
                scale = 1.0 / end[1:] if inverse else end[1:]
                moved[:, j] = end[0] + (X[:, j] - end[0]) * (shares @ scale)
        return self.kept(X, moved)

    def kept(self, X: Array, moved: Array) -> Array:
        """Return moved rows, the values that are point masses as they were."""
        for j, atoms in enumerate(self.atoms):
            if atoms.size:
                moved[:, j] = np.where(np.isin(X[:, j], atoms), X[:, j], moved[:, j])
        return moved


def shared_atoms(X: Array, a: Indices, count: Array) -> list[Array]:
    """Return for every column the point masses that all groups share and that stand alone.

    Parameters
    ----------
    X : Array, shape (n, d)
    a : Indices, shape (n,)
        Group of every row.
    count : Array, shape (n,)
        How many rows each stands for.
    """
    total = np.bincount(a, count).astype(float)
    return [_atoms_of(x, a, count, total) for x in X.T]


def _atoms_of(x: Array, a: Indices, count: Array, total: Array) -> Array:
    values, place = np.unique(x, return_inverse=True)
    if values.size < 3:  # of two values one is the other's neighbour
        return values[:0]
    mass = np.bincount(values.size * a + place, count, values.size * total.size)
    mass = np.pad(mass.reshape(total.size, values.size), ((0, 0), (1, 1)))
    own, beside = mass[:, 1:-1], mass[:, :-2] + mass[:, 2:]
    heavy = own >= np.maximum(ATOM * total[:, None], FEW)
    return np.asarray(values[(heavy & (own >= ALONE * beside)).all(axis=0)])


def scales_from(
    x: Array, atoms: Array, rows: Rows, home: int | None, still: NDArray[np.bool_]
) -> Array:
    """Return (v, s_1, ..., s_G) where an atom v ends the column, else nothing.

    s_a carries distances from v that are common to those of group a: log s_a is the mean over
    classes, weighted by the group's rows, of the difference of mean log |x - v| between the group
    and the one at home (None: the average over groups).
    """
    ends = atoms[(atoms == x.min()) | (atoms == x.max())]
    if not ends.size:
        return ends
    far = x != ends[0]
    logs, weight = np.log(np.abs(x[far] - ends[0])), rows.weight[far]
    K, G = rows.shape
    cell = G * rows.y[far] + rows.a[far]
    mass = np.bincount(cell, weight, K * G).reshape(K, G)
    total = np.bincount(cell, weight * logs, K * G).reshape(K, G)
    if not mass.all():
        return np.concatenate([ends[:1], np.ones(G)])
    mean = total / mass
    common = mean[:, home] if home is not None else mean @ (mass.sum(axis=0) / mass.sum())
    log_scale = ((mean - common[:, None]) * mass).sum(axis=0) / mass.sum(axis=0)
    return np.concatenate([ends[:1], np.exp(np.where(still, 0.0, log_scale))])


def apart(x: Array, a: Indices, count: Array) -> float:
    """Return the largest total variation between two groups' laws of a column.

    Examples
    --------
    >>> import numpy as np
    >>> apart(np.array([0., 0., 0., 1.]), np.array([0, 0, 1, 1]), np.ones(4))
    0.5
    """
    values, place = np.unique(x, return_inverse=True)
    G = int(a.max()) + 1
    mass = np.bincount(values.size * a + place, count, values.size * G).reshape(G, -1)
    law = mass / mass.sum(axis=1, keepdims=True)
    return float(0.5 * np.abs(law[:, None] - law).sum(axis=2).max())
