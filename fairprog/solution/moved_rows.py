"""Rows of data moved by the maps of a solution: aligned without labels, or steered with them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fairprog.door import refuse_reordered
from fairprog.labels import Array, Indices, as_given, encode
from fairprog.populations import Normal
from fairprog.row_blocks import Move, checked_dtype, map_rows, rows_as_they_lie
from fairprog.transports import AffineMap, ConjugatedMap, PiecewiseLinearMap

FAR = 8.0  # standard deviations from the origin, where float32 begins to lose digits


class MovedRows:
    """What a solution does with rows; its fields are those of `Solution`."""

    original: Any
    population: Any
    affine: Mapping[Hashable, Any]

    @property
    def maps(self) -> dict[Hashable, AffineMap | ConjugatedMap | PiecewiseLinearMap]:
        """Maps from common to steered coordinates by group, acting on X in the user's units."""
        return {g: self.original.user_map(T) for g, T in self.affine.items()}

    def _by_group(self, values: ArrayLike | None, n: int) -> Indices:
        return encode(values, self.original.groups, "sensitive_features", n)

    @cached_property
    def _inverses(self) -> tuple[Any, ...]:
        """The maps back to the common coordinates, None for a group that stays as it is."""
        stays = [isinstance(T, AffineMap) and T.is_identity() for T in self.affine.values()]
        maps = self.maps.values()
        return tuple(None if s else T.inverse() for s, T in zip(stays, maps, strict=True))

    @cached_property
    def _cell_maps(self) -> Mapping[tuple[int, int], Any]:
        """The transports of `steer`, by (class, group) position."""
        return self.population.cell_maps_from(self.original)

    def align(
        self,
        X: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | str | os.PathLike[str] | None = None,
    ) -> Any:
        """Bring every group into the common coordinates; labels are not needed.

        Rows are taken block by block, so that X and `out` may be larger than memory; with one
        matrix product per block the time is that of ``X @ A.T``.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,) where d = 1, or a pandas DataFrame or Series
            A memory map is read as it lies.
        sensitive_features : array_like, shape (n,), or (n, k) columns that `fit` crossed
            The group of each row.
        dtype : numpy.float32 or numpy.float64, optional
            Of the result and of the products; default that of an `out` array, else float64.
        out : array of X's shape, or path, optional
            Where the rows are put: an array or memory map, X itself if you like, or the name of a
            .npy file, which is written atomically and returned as a memory map.

        Returns
        -------
        Array, shape of X
            ``maps[a].inverse()`` of the rows of group a. A DataFrame or Series comes back as one,
            with its index and names.

        Raises
        ------
        DataError
            For missing values, wrong shapes or column names, or unknown groups.

        Examples
        --------
        >>> import fairprog as fp, pandas as pd
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 3.]], std=[[1., 1.], [1., 1.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> table = pd.DataFrame({"x": [2., 2.]}, index=["Ann", "Bob"])
        >>> sol.align(table, sensitive_features=[0, 1]).round(6)
               x
        Ann  2.0
        Bob  1.0
        """
        kind = checked_dtype(dtype, out)
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        self.original.check_names(X)
        rows = rows_as_they_lie(X, self.original.n_features)
        moves = [
            None if T is None else _move(T, kind, _amid(self.original, a, kind))
            for a, T in enumerate(self._inverses)
        ]
        group = self._by_group(sensitive_features, len(rows))
        check = self.original.check_domain
        moved = map_rows(rows, group, moves, dtype=kind, out=out, check=check)
        if out is None:
            return as_given(moved, X)
        return moved[:, 0] if np.ndim(X) == 1 else moved

    def align_chunks(
        self, chunks: Iterable[tuple[ArrayLike, ArrayLike]], *, dtype: DTypeLike | None = None
    ) -> Iterator[Any]:
        """Yield every chunk (X, sensitive_features) in the common coordinates, when asked for it.

        Parameters
        ----------
        chunks : iterable of (X, sensitive_features)
            Of any length; nothing is kept.
        dtype : numpy.float32 or numpy.float64, optional
            As for :meth:`align`.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> [Z.round(3) for Z in sol.align_chunks([([1.], [0]), ([1.], [1])])]
        [array([1.]), array([0.217])]
        """
        for X, group in chunks:
            yield self.align(X, sensitive_features=group, dtype=dtype)

    def steer(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: ArrayLike) -> Any:
        """Move every row to the steered population in its own group's coordinates.

        Applies per cell the monotone transport P_ia -> P~_ia (of normal populations: in the
        pooled metric); needs labels. Changed base rates travel as :meth:`sample_weight`. A cell's
        transport, a (d, d) matrix, is computed when the first of its rows comes, and kept.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,) where d = 1, or a pandas DataFrame or Series
        y, sensitive_features : array_like, shape (n,); groups as for :meth:`align`

        Returns
        -------
        Array, shape of X
            A DataFrame or Series comes back as one, with its index and names.

        Raises
        ------
        DataError
            For missing values, wrong shapes or unknown labels.
        """
        refuse_reordered(X=X, y=y, sensitive_features=sensitive_features)
        features = self.original.as_features(X)
        label = encode(y, self.original.classes, "y", len(features))
        group = self._by_group(sensitive_features, len(features))
        out = np.empty_like(features)
        for (i, a), T in self._cell_maps.items():
            rows = (label == i) & (group == a)
            if rows.any():
                out[rows] = T(features[rows])
        return as_given(out, X)

    def sample_weight(self, y: ArrayLike, *, sensitive_features: ArrayLike) -> Array:
        """Return q~_ia / q_ia per row: the weights that carry the steered base rates.

        Parameters
        ----------
        y, sensitive_features : array_like, shape (n,); groups as for :meth:`align`

        Returns
        -------
        Array, shape (n,)
        """
        refuse_reordered(y=y, sensitive_features=sensitive_features)
        label = encode(y, self.original.classes, "y")
        group = self._by_group(sensitive_features, len(label))
        return (self.population.prior / self.original.prior)[label, group]


def _amid(D: Any, group: int, dtype: np.dtype[Any]) -> Array | None:
    """Return the mean of a group where it is so far from zero that float32 would lose digits."""
    if dtype != np.float32 or not isinstance(D, Normal) or D.covariance == "diagonal":
        return None
    mean = D.location[:, group].mean(axis=0)
    spread = np.sqrt(np.diagonal(D.cov_of(group), axis1=1, axis2=2).mean(axis=0))
    return mean if (np.abs(mean) > FAR * spread).any() else None


def _move(T: Any, dtype: np.dtype[Any], about: Array | None) -> Move:
    """Return a map as a function of rows of a type, and of where they go."""
    if isinstance(T, AffineMap):
        return T.move(dtype, about)

    def moved(rows: Array, out: Array) -> None:
        out[...] = T(rows)

    return moved
