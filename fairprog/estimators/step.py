"""What steps have in common: fit and transform in one call, mixed groups, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fairprog.codec import load, save
from fairprog.errors import DataError
from fairprog.fields import either, labels, read
from fairprog.labels import Array, Indices

__all__ = ["STEP", "SavedStep", "SteeringStep", "checked_params", "mean_over_groups"]


STEP = {"params": Mapping, "classes groups": labels, "solution": either(None, Mapping)}


def checked_params(params: Mapping[str, Any], **kinds: Any) -> dict[str, Any]:
    """Return a step's parameters from a file: `fit` checks all but those used without it."""
    kinds |= {"merge_groups": either(None, Mapping), "random_state": either(None, int)}
    used = {k: v for k, v in params.items() if k in kinds}
    return {**params, **read(used, "params", {k: v for k, v in kinds.items() if k in params})}


class SavedStep(BaseEstimator):
    """A step whose `fit` needs labels, and which has files of its own.

    A subclass has `to_dict`, and the name of its kind of file in `_kind`.
    """

    _kind: str
    to_dict: Callable[[], dict[str, Any]]

    def __sklearn_tags__(self) -> Any:
        """Say that labels are needed to fit."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted step to a .json or .npz file, atomically; read it by :meth:`load`."""
        check_is_fitted(self, "groups_")
        save(path, self._kind, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; DataError if the file holds something else."""
        found = load(path)
        if not isinstance(found, cls):
            raise DataError(
                f"{os.fspath(path)!r} holds a {type(found).__name__}; needed is a {cls.__name__}.",
                argument="path",
            )
        return found


class SteeringStep(TransformerMixin, SavedStep):
    """A step whose `fit` needs labels and groups, and whose `transform` needs groups."""

    fit: Callable[..., Self]
    transform: Callable[..., Any]

    def fit_transform(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Fit, then transform the same rows."""
        self.fit(X, y, sensitive_features=sensitive_features, sample_weight=sample_weight)
        return self.transform(X, sensitive_features=sensitive_features)


def mean_over_groups(
    X: Array,
    shares: Array,
    groups: Sequence[Hashable],
    moved: Callable[[Hashable, Indices], Array],
) -> Array:
    """Return sum_a P(a | row) T_a(row), `moved(group, rows)` being T_a of some rows of X."""
    out = np.zeros_like(X)
    for share, g in zip(shares.T, groups, strict=True):
        rows = np.flatnonzero(share > 0)
        if rows.size:
            weight = share[rows].reshape(-1, *[1] * (X.ndim - 1))
            out[rows] += weight * moved(g, rows)
    return out
