"""Counts, weights, means and scatters of cells, added up from any number of pieces."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fairprog.door import counted
from fairprog.fields import array, fits, least, read, refuse
from fairprog.kernels.moments.streaming import between, stream_moments
from fairprog.labels import Array, Indices
from fairprog.populations.cell_checks import room_for_covariances

Cell = tuple[Hashable, Hashable]


class CellSums:
    """Sums over the rows of each cell (class, group) that occurs.

    Attributes
    ----------
    covariance : {"full", "tied", "diagonal"}
    count : dict of cell to int
        Rows of positive weight; a whole weight is that many.
    mass : dict of cell to float
        Sums of weights.
    mean : dict of cell to Array, shape (d,)
    scatter : dict of slot to Array, shape (d, d), or (d,) where diagonal
        About the mean of each row's own cell; a slot is a cell, or a group where tied.
    """

    def __init__(self, covariance: str) -> None:
        self.covariance = covariance
        self.count: dict[Cell, int] = {}
        self.mass: dict[Cell, float] = {}
        self.mean: dict[Cell, Array] = {}
        self.scatter: dict[Hashable, Array] = {}

    @classmethod
    def of_rows(
        cls,
        covariance: str,
        X: NDArray[Any],
        code: Indices,
        cells: Sequence[Cell],
        weight: Array | None,
    ) -> Self:
        """Return the sums of rows whose cell is ``cells[code]``; not finite where X is not.

        Products of float32 and float16 rows are float32 where that resolves every direction (see
        :mod:`fairprog.kernels.moments.streaming`), of all others float64.
        """
        out = cls(covariance)
        slots = list(dict.fromkeys(out._slot(cell) for cell in cells))
        slot = np.array([slots.index(out._slot(cell)) for cell in cells])
        with (
            np.errstate(invalid="ignore", over="ignore"),
            room_for_covariances(len(slots), X.shape[1], covariance),
        ):
            count, mass, mean, scatter = stream_moments(
                X, code, weight, slot, covariance == "diagonal"
            )
        if weight is not None:
            count = np.bincount(code, counted(weight), len(cells))
        for c, cell in enumerate(cells):
            if count[c]:
                out.count[cell], out.mass[cell] = int(count[c]), float(mass[c])
                out.mean[cell] = mean[c]
                out.scatter[out._slot(cell)] = scatter[slot[c]]
        return out

    def _slot(self, cell: Cell) -> Hashable:
        """Return under which name the scatter of a cell is summed."""
        return cell[1] if self.covariance == "tied" else cell

    def is_finite(self) -> bool:
        """Return whether every sum is finite."""
        arrays = (*self.mean.values(), *self.scatter.values())
        return all(bool(np.isfinite(x).all()) for x in arrays)

    def add(self, other: CellSums, *, copy: bool) -> None:
        """Add another's sums; without `copy` its arrays become ours."""
        diagonal = self.covariance == "diagonal"
        for slot, scatter in other.scatter.items():
            if slot in self.scatter:
                self.scatter[slot] += scatter
            else:
                self.scatter[slot] = scatter.copy() if copy else scatter
        for cell, m in other.mass.items():
            if cell not in self.count:
                self.count[cell], self.mass[cell] = other.count[cell], m
                self.mean[cell] = other.mean[cell].copy() if copy else other.mean[cell]
                continue
            n, gap = self.mass[cell], other.mean[cell] - self.mean[cell]
            self.scatter[self._slot(cell)] += between(n * m / (n + m), gap, diagonal)
            self.mean[cell] += (m / (n + m)) * gap
            self.mass[cell] = n + m
            self.count[cell] += other.count[cell]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "cells": tuple(self.count),
            "count": tuple(self.count.values()),
            "mass": tuple(self.mass.values()),
            "mean": tuple(self.mean.values()),
            "slots": tuple(self.scatter),
            "scatter": tuple(self.scatter.values()),
        }

    @classmethod
    def from_dict(cls, covariance: str, data: Mapping[str, Any], d: int) -> Self:
        """Rebuild sums over rows of d features from :meth:`to_dict`; DataError unless they fit."""
        out = cls(covariance)
        shape = (d,) if covariance == "diagonal" else (d, d)
        kinds = {
            "cells": lambda v: fits(v, [(Hashable, Hashable)]) and len(set(v)) == len(v),
            "count": [int],
            "mass": [least(np.finfo(float).tiny)],
            "mean": [array(d)],
            "slots": tuple,
            "scatter": [lambda S: array(*shape)(S) and _is_scatter(S)],
        }
        data = read(data, "moments", kinds)
        for name in ("count", "mass", "mean"):
            setattr(out, name, dict(zip(data["cells"], data[name], strict=True)))
        out.scatter = dict(zip(data["slots"], data["scatter"], strict=True))
        if set(out.scatter) != set(map(out._slot, out.count)) or 0 in out.count.values():
            raise refuse("`moments` has scatters of other cells, or empty cells")
        return out


def _is_scatter(S: Array) -> bool:
    """Return whether no variance is negative, and no covariance larger than variances allow."""
    variance = S if S.ndim == 1 else np.diagonal(S)
    rounding = 1e-9 * variance.max(initial=0.0)
    if S.ndim == 1 or variance.min(initial=0.0) < -rounding:
        return bool(variance.min(initial=0.0) >= -rounding)
    root = np.sqrt(np.maximum(variance, 0.0))
    limit = 2.0 * rounding + 1.0001 * np.outer(root, root)
    return bool((np.maximum(np.abs(S), np.abs(S - S.T)) <= limit).all())
