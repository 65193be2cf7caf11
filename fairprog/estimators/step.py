"""What steps have in common: fit and transform in one call, mixed groups, files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fairprog.codec import load, save
from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators.first_version import of_now
from fairprog.fields import array, either, labels, read
from fairprog.groups import attribute_names, attributes_in_order, group_shares
from fairprog.labels import Array, Indices, label_array
from fairprog.lots import TOLD_APART
from fairprog.populations.bijections import bijection_from_dict
from fairprog.solution import ScoreSolution, Solution
from fairprog.tables import template_from_dict

UNKNOWN = ("error", "pooled")
AXES = {"groups": labels, "n_features_in_": int}
STEP = AXES | {
    "params": Mapping,
    "classes": labels,
    "solution": either(None, Mapping),
    "attributes?": [str],
}
# `fit` checks all parameters but those that are used without it
PARAMS = {
    "merge_groups": either(None, Mapping),
    "unknown_group": frozenset(UNKNOWN),
    "random_state": either(None, lambda value: type(value) is int),
    "keep_sensitive": bool,
}


def law(G: int) -> Callable[[Any], bool]:
    """Return the kind of a field that holds positive masses of G groups, which sum to one."""
    return lambda p: array(G)(p) and p.min() > 0 and abs(p.sum() - 1.0) < 1e-9


class SavedStep(BaseEstimator):
    """A step whose `fit` needs labels, and which has files of its own.

    A subclass names its kind of file in `_kind`, and in `_kept` the fitted attributes that files
    hold as they are, beside parameters, labels and the solution, each with what it may be where
    there are these groups and d features. What else `to_dict` adds is in `_more`.
    """

    _kind: str
    _kept: Callable[[Sequence[Hashable], int], dict[str, Any]]
    _more: ClassVar[dict[str, Any]] = {}
    _params: ClassVar[dict[str, Any]] = PARAMS
    classes_: Any
    groups_: Any
    n_features_in_: int
    solution_: Solution | None
    _attributes: tuple[str, ...] = ()

    def __sklearn_tags__(self) -> Any:
        """Say that labels are needed to fit."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        check_is_fitted(self, "groups_")
        params = self.get_params(deep=False).items()
        return {
            "params": {k: v.to_dict() if hasattr(v, "to_dict") else v for k, v in params},
            "classes": tuple(self.classes_.tolist()),
            "groups": tuple(self.groups_.tolist()),
            "solution": None if self.solution_ is None else self.solution_.to_dict(),
            "n_features_in_": self.n_features_in_,
            "attributes": self._attributes,
            **{name: getattr(self, name) for name in self._kept((), 0)},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`; DataError where a field does not fit."""
        data = of_now(cls._kind, data)
        read({name: data[name] for name in AXES}, cls._kind, AXES)
        kept = cls._kept(data["groups"], data["n_features_in_"])
        data = read(data, cls._kind, STEP | kept | cls._more)
        params = dict(data["params"])
        used = {name: kind for name, kind in cls._params.items() if name in params}
        read({name: params[name] for name in used}, "params", used)
        for name in ("transport", "notion"):
            if params.get(name) is not None:
                params[name] = template_from_dict(params[name])
        if isinstance(params.get("family"), dict):
            params["family"] = bijection_from_dict(params["family"])
        out = cls(**params)
        out.classes_, out.groups_ = label_array(data["classes"]), label_array(data["groups"])
        out._attributes = tuple(data["attributes"] or ())
        out.n_features_in_, solution = data["n_features_in_"], data["solution"]
        kind: Any = ScoreSolution if solution and "channels" in solution else Solution
        out.solution_ = None if solution is None else kind.from_dict(solution)
        for name in kept:
            setattr(out, name, data[name])
        return out

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


class GroupReader(BaseEstimator):
    """Who reads the groups of rows, and may meet ones that were not there in `fit`."""

    unknown_group: str
    merge_groups: Any
    classes_: Any
    groups_: Any
    _mass: Array
    _attributes: tuple[str, ...]

    def _keep_labels(self, rows: Rows, sensitive_features: Any) -> None:
        """Keep the labels, the groups' masses and the names of sensitive columns."""
        if self.unknown_group not in UNKNOWN:
            raise ModelError(
                f"`unknown_group` must be 'error' or 'pooled'; found {self.unknown_group!r}.",
                argument="unknown_group",
            )
        self.classes_, self.groups_ = label_array(rows.classes), label_array(rows.groups)
        if len(rows.groups) == 1:
            warnings.warn(
                f"All rows are of one group, {rows.groups[0]!r}: there is nobody to be equal to, "
                "and nothing is moved.",
                FairprogWarning,
                stacklevel=3,
            )
        self._attributes = attribute_names(sensitive_features)
        mass = np.bincount(rows.a, rows.weight, len(rows.groups))
        self._mass = mass / mass.sum()

    def _shares(self, sensitive_features: Any, n: int, certain: bool = False) -> Array:
        """Return P(A = group | row), shape (n, G)."""
        pooled = self._mass if self.unknown_group == "pooled" else None
        groups, merged = self.groups_.tolist(), self._merged
        sensitive_features = attributes_in_order(sensitive_features, self._attributes)
        return group_shares(sensitive_features, n, groups, merged, certain, pooled)

    @property
    def _merged(self) -> Any:
        return self.merge_groups


class SteeringStep(TransformerMixin, GroupReader, SavedStep):
    """A step whose `fit` needs labels and groups, and whose `transform` needs groups."""

    fit: Callable[..., Self]
    transform: Callable[..., Any]

    def fit_transform(
        self, X: Any, y: Any, *,
        sensitive_features: Any = None, sample_weight: Any = None, key: Any = None,
    ) -> Any:  # fmt: skip
        """Fit, then transform the same rows."""
        with warnings.catch_warnings():
            if key is not None:  # there it is
                warnings.filterwarnings("ignore", TOLD_APART, FairprogWarning)
            self.fit(X, y, sensitive_features=sensitive_features, sample_weight=sample_weight)
        return self.transform(X, sensitive_features=sensitive_features, key=key)


def mean_over_groups(
    X: Array,
    shares: Array,
    groups: Sequence[Hashable],
    moved: Callable[[Hashable, Indices], Array],
) -> Array:
    """Return sum_a P(a | row) T_a(row), `moved(group, rows)` being T_a of some rows of X."""
    out = np.zeros_like(X)
    for share, g in zip(shares.T, groups, strict=True):
        rows = share.nonzero()[0]
        if rows.size:
            weight = share[rows]
            out[rows] += (weight if X.ndim == 1 else weight[:, None]) * moved(g, rows)
    return out
