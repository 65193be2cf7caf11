"""Maps of features: affine, affine feature by feature, seen through a bijection, with knots."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fairprog import fields
from fairprog.errors import DataError
from fairprog.labels import Array, check_features, check_finite, check_number, refuse_large
from fairprog.row_blocks import Move, checked_dtype, map_rows, rows_as_they_lie

KINDS = {"knots values": fields.array(None), "left right": fields.least(0)}


@dataclass(frozen=True, eq=False)
class AffineMap:
    """The map x -> matrix x + offset.

    Parameters
    ----------
    matrix : array_like, shape (d, d)
        Invertible.
    offset : array_like, shape (d,)
        In the units of the features.

    Raises
    ------
    DataError
        For non-finite entries or shapes that do not fit; on ``inverse()`` of a singular matrix.

    Examples
    --------
    >>> import fairprog as fp
    >>> T = fp.AffineMap([[2.0]], [1.0])
    >>> T([0.0, 1.0])
    array([1., 3.])
    >>> T.inverse()(T([0.0, 1.0]))
    array([0., 1.])
    """

    matrix: Array
    offset: Array

    def __post_init__(self) -> None:
        offset = np.atleast_1d(check_finite(self.offset, "offset"))
        matrix = check_finite(self.matrix, "matrix", (offset.size, offset.size))
        for array in (matrix, offset):
            array.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "offset", offset)

    @classmethod
    def identity(cls, dim: int) -> AffineMap:
        """Return x -> x in `dim` dimensions."""
        return cls(np.eye(dim), np.zeros(dim))

    def __call__(
        self,
        X: ArrayLike,
        *,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | str | os.PathLike[str] | None = None,
    ) -> Array:
        """Map rows: shape (n, d) to (n, d); shape (n,) stays (n,) where d = 1.

        Parameters
        ----------
        X : array_like
            A memory map is read block by block.
        dtype : numpy.float32 or numpy.float64, optional
            Of the result and of the products; default that of an `out` array, else float64.
        out : array of the result's shape, or path, optional
            Where the rows are put; a .npy file is written atomically and returned as a memory map.
        """
        kind = checked_dtype(dtype, out)
        rows = rows_as_they_lie(X, self.offset.size)
        moved = map_rows(rows, None, [self.move(kind)], dtype=kind, out=out)
        return moved[:, 0] if np.ndim(X) == 1 else moved

    def move(self, dtype: DTypeLike, about: Array | None = None) -> Move:
        """Return the map as a function of unchecked rows of a type and of where they go.

        With a point amid the rows (d,), products are taken about it: in float32 a common offset
        of 1e4 spreads would otherwise cost four digits.
        """
        # by columns in memory, as BLAS wants the second factor
        matrix = self.matrix.astype(dtype).T
        point = None if about is None else about.astype(dtype)
        moved_point = 0.0 if point is None else self.matrix @ point.astype(np.float64)
        offset = (moved_point + self.offset).astype(dtype)

        def moved(rows: Array, out: Array) -> None:
            np.matmul(rows if point is None else rows - point, matrix, out=out)
            out += offset

        return moved

    def inverse(self) -> AffineMap:
        """Return the inverse map."""
        # rows and columns of one size: units far apart must not choose the pivots
        rows = np.abs(self.matrix).max(axis=1)
        rows[rows == 0.0] = 1.0
        columns = np.abs(self.matrix / rows[:, None]).max(axis=0)
        columns[columns == 0.0] = 1.0
        try:
            inverse = np.linalg.inv(self.matrix / rows[:, None] / columns)
        except np.linalg.LinAlgError:
            raise DataError("The map is singular and has no inverse.", argument="matrix") from None
        inverse = inverse / columns[:, None] / rows
        return AffineMap(inverse, -inverse @ self.offset)

    def __matmul__(self, other: AffineMap) -> AffineMap:
        """Return the composition x -> self(other(x))."""
        return AffineMap(self.matrix @ other.matrix, self.matrix @ other.offset + self.offset)

    def is_identity(self) -> bool:
        """Return whether the map is x -> x, to the bit."""
        return not self.offset.any() and np.array_equal(self.matrix, np.eye(self.offset.size))


class DiagonalMap(AffineMap):
    """The map x -> diagonal * x + offset, feature by feature; no matrix is kept.

    Parameters
    ----------
    diagonal : array_like, shape (d,)
        No entry is zero where the map is to be inverted.
    offset : array_like, shape (d,)
        In the units of the features.

    Attributes
    ----------
    matrix : Array, shape (d, d)
        Formed whenever it is asked for; ModelError where it would take more than a gibibyte.

    Raises
    ------
    DataError
        For non-finite entries or shapes that do not fit; on ``inverse()`` where an entry is zero.

    Examples
    --------
    >>> import fairprog as fp
    >>> T = fp.DiagonalMap([2.0, 1.0], [0.0, 3.0])
    >>> T([[1.0, 1.0]])
    array([[2., 4.]])
    >>> T.matrix
    array([[2., 0.],
           [0., 1.]])
    """

    diagonal: Array

    def __init__(self, diagonal: ArrayLike, offset: ArrayLike) -> None:
        shift = np.atleast_1d(check_finite(offset, "offset"))
        entries = np.atleast_1d(check_finite(diagonal, "diagonal"))
        if shift.ndim != 1 or entries.shape != shift.shape:
            raise DataError(
                f"`diagonal` has shape {entries.shape}; needed is {shift.shape}, as `offset` has.",
                argument="diagonal",
            )
        for name, array in (("diagonal", entries), ("offset", shift)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def matrix(self) -> Array:
        """The matrix of the map, shape (d, d), formed when it is asked for."""
        d = self.offset.size
        refuse_large((d, d), "The matrix of a diagonal map", "its numbers are in `.diagonal`")
        return np.diag(self.diagonal)

    @classmethod
    def identity(cls, dim: int) -> DiagonalMap:
        """Return x -> x in `dim` dimensions."""
        return cls(np.ones(dim), np.zeros(dim))

    def __repr__(self) -> str:
        return f"DiagonalMap(diagonal={self.diagonal!r}, offset={self.offset!r})"

    def move(self, dtype: DTypeLike, about: Array | None = None) -> Move:
        """Return the map as a function of unchecked rows of a type and of where they go.

        Nothing is summed, so that a point amid the rows would gain nothing.
        """
        diagonal, offset = self.diagonal.astype(dtype), self.offset.astype(dtype)

        def moved(rows: Array, out: Array) -> None:
            np.multiply(rows, diagonal, out=out)
            out += offset

        return moved

    def inverse(self) -> DiagonalMap:
        """Return the inverse map."""
        if not self.diagonal.all():
            raise DataError("The map is singular and has no inverse.", argument="diagonal")
        return DiagonalMap(1.0 / self.diagonal, -self.offset / self.diagonal)

    def __matmul__(self, other: AffineMap) -> AffineMap:
        """Return the composition x -> self(other(x)), diagonal where the other is."""
        offset = self.diagonal * other.offset + self.offset
        if isinstance(other, DiagonalMap):
            return DiagonalMap(self.diagonal * other.diagonal, offset)
        return AffineMap(self.diagonal[:, None] * other.matrix, offset)

    def is_identity(self) -> bool:
        """Return whether the map is x -> x, to the bit."""
        return not self.offset.any() and bool((self.diagonal == 1.0).all())


@dataclass(frozen=True, eq=False)
class ConjugatedMap:
    """An affine map seen through a bijection: x -> backward(affine(forward(x))).

    For a log-normal population this is x -> exp(b) x^gamma, feature by feature where A is
    diagonal; ``affine`` is the map in g-space.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> T = fp.ConjugatedMap(fp.AffineMap([[.5]], [1.]), np.log, np.exp)  # x -> e x^.5
    >>> round(float(T(np.array([4.0]))[0] / np.e), 3)
    2.0
    """

    affine: AffineMap
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]

    def __call__(self, X: ArrayLike) -> Array:
        """Map rows in the user's units: (n, d) to (n, d), (n,) to (n,) where d = 1."""
        out = self.backward(self.affine(self.forward(check_features(X))))
        return out[:, 0] if np.ndim(X) == 1 else out

    def inverse(self) -> ConjugatedMap:
        """Return the inverse map."""
        return ConjugatedMap(self.affine.inverse(), self.forward, self.backward)


@dataclass(frozen=True, eq=False)
class PiecewiseLinearMap:
    """An increasing map of the line, linear between knots and beyond them.

    Parameters
    ----------
    knots, values : array_like, shape (n,)
        T(knots[k]) = values[k]; both strictly increasing, n >= 2.
    left, right : float, optional
        Slopes below the first and above the last knot, positive; default those of the first and
        last segment.

    Raises
    ------
    DataError
        If knots or values do not increase strictly or a slope is not positive.

    Examples
    --------
    >>> import fairprog as fp
    >>> T = fp.PiecewiseLinearMap([0., 1., 2.], [0., 2., 3.])
    >>> T([-1.0, 0.5, 1.5, 3.0])
    array([-2. ,  1. ,  2.5,  4. ])
    >>> T.inverse()(T([-1.0, 0.5, 1.5, 3.0]))
    array([-1. ,  0.5,  1.5,  3. ])
    """

    knots: Array
    values: Array
    left: float = 0.0
    right: float = 0.0

    def __post_init__(self) -> None:
        knots = np.atleast_1d(check_finite(self.knots, "knots"))
        values = np.atleast_1d(check_finite(self.values, "values", knots.shape))
        for name, array in (("knots", knots), ("values", values)):
            if array.ndim != 1 or len(array) < 2 or not (np.diff(array) > 0).all():
                raise DataError(
                    f"`{name}` must be at least two strictly increasing numbers.", argument=name
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        slopes = np.diff(values) / np.diff(knots)
        for name, end in (("left", slopes[0]), ("right", slopes[-1])):
            slope = check_number(getattr(self, name), name)
            object.__setattr__(self, name, slope if slope > 0 else float(end))

    def __call__(self, X: ArrayLike) -> Array:
        """Map points: shape (n, 1) to (n, 1); shape (n,) stays (n,)."""
        out = self.at(check_features(X, dim=1)[:, 0])
        return out if np.ndim(X) == 1 else out[:, None]

    def at(self, x: Array) -> Array:
        """Map numbers of shape (n,), unchecked."""
        out = np.interp(x, self.knots, self.values)
        out = np.where(x < self.knots[0], self.values[0] + self.left * (x - self.knots[0]), out)
        last = self.values[-1] + self.right * (x - self.knots[-1])
        return np.where(x > self.knots[-1], last, out)

    def slope(self, x: Array) -> Array:
        """Return T'(x) at points (n,); at a knot the slope of the piece on its left."""
        piece = np.searchsorted(self.knots, np.asarray(x, dtype=float))
        inner = np.diff(self.values) / np.diff(self.knots)
        return np.concatenate([[self.left], inner, [self.right]])[piece]

    def as_affine(self, rtol: float = 1e-9) -> AffineMap | None:
        """Return the map as an affine one where its slopes agree to `rtol`, else None."""
        slopes = self.slope(np.append(self.knots, np.inf))
        rise = float((self.values[-1] - self.values[0]) / (self.knots[-1] - self.knots[0]))
        if np.abs(slopes - rise).max() > rtol * rise:
            return None
        shift = float(self.values[0] - rise * self.knots[0])
        return AffineMap(np.array([[rise]]), np.array([shift]))

    @property
    def theta(self) -> Array:
        """The numbers T is linear in: left slope, values, right slope, shape (n + 2,)."""
        return np.concatenate([[self.left], self.values, [self.right]])

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PiecewiseLinearMap:
        """Rebuild a map from :meth:`to_dict`."""
        return cls(**fields.read(data, "map", KINDS))

    def __matmul__(self, other: PiecewiseLinearMap) -> PiecewiseLinearMap:
        """Return the composition x -> self(other(x))."""
        knots = np.unique(np.concatenate([other.knots, other.inverse()(self.knots)]))
        return PiecewiseLinearMap(
            knots, self(other(knots)), self.left * other.left, self.right * other.right
        )

    def inverse(self) -> PiecewiseLinearMap:
        """Return the inverse map."""
        return PiecewiseLinearMap(self.values, self.knots, 1.0 / self.left, 1.0 / self.right)
