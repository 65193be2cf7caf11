"""What a custom condition sees: labelled parameters of every cell.

The expressions are built with operators only; CVXPY stays in `compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.normal import symmetric_root
from fairprog.labels import Array, index_of
from fairprog.populations import Normal, Population
from fairprog.transports import AffineMap

__all__ = ["CellView", "Labelled", "original_view", "steered_view"]


class Labelled:
    """Values indexed ``[class label, group label]``."""

    def __init__(
        self,
        name: str,
        value: Callable[[int, int], Any],
        classes: Sequence[Hashable],
        groups: Sequence[Hashable],
    ) -> None:
        self._name, self._value = name, value
        self._classes, self._groups = classes, groups

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != 2:
            raise ModelError(f"`{self._name}` is indexed [class, group]; found {key!r}.")
        i = index_of(self._classes, key[0], f"{self._name}[class]")
        a = index_of(self._groups, key[1], f"{self._name}[group]")
        return self._value(i, a)


class CellView:
    """The parameters of every cell, indexed ``[class, group]`` (expressions or numbers)."""

    def __init__(self, D: Population, **values: Callable[[int, int], Any]) -> None:
        self.classes, self.groups = D.classes, D.groups
        for name, value in values.items():
            setattr(self, name, Labelled(name, value, D.classes, D.groups))
        self._names = sorted(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"There is no {name!r} here; there are {self.__dict__.get('_names')}."
        )


def steered_view(D: Normal, cells: Sequence[Any], staying: Mapping[int, AffineMap]) -> CellView:
    """Return the steered parameters as expressions; numbers for the groups that stay."""
    by_group = {cell.frame.group: cell for cell in cells}
    U = D.support_basis
    rest = np.eye(len(U)) - U @ U.T

    def parts(i: int, a: int) -> tuple[Any, Any] | None:
        cell = by_group.get(D.groups[a])
        if cell is None:
            return None
        f = cell.frame
        inner = f.C @ cell.matrix(cell.thetas[i]) @ (f.root @ np.linalg.inv(f.C))
        return inner, f.target_center + f.C @ cell.betas[i]

    def squeeze(x: Any) -> Any:
        return x[0] if D.is_univariate else x

    def mean(i: int, a: int) -> Any:
        found = parts(i, a)
        if found is None:
            return squeeze(D.location[i, a])
        f = by_group[D.groups[a]].frame
        # A m + b with b = c_s + C beta - A c_r
        reference = f.C @ f.m[i]
        return squeeze(U @ (found[0] @ reference + found[1]) + rest @ D.location[i, a])

    def factor(i: int, a: int) -> Any:
        found = parts(i, a)
        if found is None:
            return _factor(D, i, a)
        f = by_group[D.groups[a]].frame
        return U @ found[0] @ (f.C @ symmetric_root(f.Gamma[i]))

    def std(i: int, a: int) -> Any:
        if not D.is_univariate:
            raise ModelError("`view.std` exists for univariate populations; use `view.factor`.")
        found = parts(i, a)
        if found is None:
            return float(D.std[i, a])
        f = by_group[D.groups[a]].frame
        return f.sign * found[0][0, 0] * float(f.C[0, 0] * np.sqrt(f.Gamma[i, 0, 0]))

    def matrix(i: int, a: int) -> Any:
        found = parts(i, a)
        return staying[a].matrix if found is None else U @ found[0] @ U.T + rest

    def offset(i: int, a: int) -> Any:
        found = parts(i, a)
        if found is None:
            return squeeze(staying[a].offset)
        f = by_group[D.groups[a]].frame
        return squeeze(U @ (found[1] - found[0] @ f.center))

    return CellView(D, mean=mean, factor=factor, std=std, matrix=matrix, offset=offset)


def _factor(D: Normal, i: int, a: int) -> Array:  # also where the covariance is singular
    values, vectors = np.linalg.eigh(D.cov[i, a])
    out: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return out


def original_view(D: Normal) -> CellView:
    """Return the original parameters as numbers."""
    return CellView(
        D,
        mean=lambda i, a: D.mean[i, a],
        std=lambda i, a: D.std[i, a],
        cov=lambda i, a: D.cov[i, a],
        factor=lambda i, a: _factor(D, i, a),
    )
