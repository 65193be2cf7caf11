"""The class-balanced quantile map: groups into common coordinates, no model of the cells."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.codec import Saved, register
from fairprog.door import Rows, refuse_reordered
from fairprog.errors import DataError, FairprogWarning
from fairprog.fields import read, refuse
from fairprog.kernels.statistics.weighted_quantiles import (
    balanced_weights,
    common_levels,
    matched_knots,
    middle_levels,
)
from fairprog.labels import (
    Array,
    as_given,
    check_count,
    check_features,
    check_finite,
    encode,
    index_of,
)
from fairprog.transports import PiecewiseLinearMap

SHARE, FEW = 0.02, 4  # of the rows of every group, and rows: less is no shared point mass


@dataclass(frozen=True, eq=False)
class QuantileMap(Saved):
    """One increasing map per group and feature that matches class-balanced quantiles.

    Every group is given equal class weights (its base rates play no part), and the quantiles of
    the mixtures are matched: to those of a reference group, or to their average over the groups,
    weighted by group mass (the Wasserstein barycentre of one feature). Where one increasing map
    carries all classes of a group to the common coordinates, this is that map; it never sees a
    label when it moves data. The nonparametric cousin of :class:`PiecewiseLinear`.

    Made by :meth:`fit`.

    Parameters
    ----------
    maps : mapping of group to sequence of PiecewiseLinearMap
        From the group's to the common coordinates, one per feature.

    Notes
    -----
    Ties are taken as one value at the middle of its jump, so that a point mass of a group ends at
    a place of its own, where a threshold can tell the groups apart (a warning says so); that of a
    feature stays in :class:`IdealSteering`, that of a score is split at random by
    :class:`ScoreSteering`. Beyond the outermost quantiles a map goes on with the slope of its
    chord, or to the ends of the `support` where one is given.
    Source: theory.md section 4.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, a = rng.integers(2, size=4000), rng.integers(2, size=4000)
    >>> z = rng.normal(size=4000) + 2 * y
    >>> x = np.where(a == 1, np.exp(z), z)
    >>> Q = fp.QuantileMap.fit(x, y, sensitive_features=a, reference=0)
    >>> moved = Q.transform(x, sensitive_features=a)
    >>> float(np.median(np.abs(moved - z)[a == 1])) < 0.1
    True
    """

    _kind: ClassVar[str] = "quantile_map"

    maps: Mapping[Hashable, Sequence[PiecewiseLinearMap]]

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reference: Any = None,
        n_quantiles: int = 1000,
        support: tuple[float, float] | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> QuantileMap:
        """Fit the maps.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,)
            Every feature is mapped by itself.
        y, sensitive_features : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional
        reference : hashable, optional
            The group whose coordinates are the common ones; default the average of all.
        n_quantiles : int
            Levels (k + 1/2) / n_quantiles.
        support : (float, float), optional
            Ends of the range of every feature, such as ``(0, 1)`` for probabilities: no map
            leaves it. Without, the outermost rows may be moved beyond it.
        classes, groups : sequence, optional
            Label order: given, else sorted.

        Raises
        ------
        DataError
            For missing values, an empty cell, a feature that is constant in a group, or one that
            leaves the `support`.

        Warns
        -----
        FairprogWarning
            Where a value holds many rows of every group and is moved to another place in each.
        """
        features = check_features(X)
        found = Rows.check(
            y,
            sensitive_features,
            sample_weight,
            len(features),
            classes=classes,
            groups=groups,
            X=X,
        )
        features = found.of(features)
        ends = _checked_support(support, features)
        n_quantiles = check_count(n_quantiles, "n_quantiles", 2)
        class_labels, group_labels = found.classes, found.groups
        label, group, weight = found.y, found.a, found.weight
        chosen = None if reference is None else index_of(group_labels, reference, "reference")
        rows = [group == a for a in range(len(group_labels))]
        balanced = []
        for g, own in zip(group_labels, rows, strict=True):
            mass = np.bincount(label[own], weights=weight[own], minlength=len(class_labels))
            if (mass <= 0).any():
                c = class_labels[int(np.argmin(mass))]
                raise DataError(
                    f"Class {c!r}, group {g!r} has no rows; its quantiles are unknown.",
                    argument="y",
                    cell=(c, g),
                )
            balanced.append(balanced_weights(label[own], weight[own], len(class_labels)))
        share = np.array([weight[own].sum() for own in rows])
        share = share / share.sum() if chosen is None else np.eye(len(rows))[chosen]
        maps: dict[Hashable, list[PiecewiseLinearMap]] = {g: [] for g in group_labels}
        for j in range(features.shape[1]):
            laws = [middle_levels(features[o, j], v) for o, v in zip(rows, balanced, strict=True)]
            for g, (values, _) in zip(group_labels, laws, strict=True):
                if values.size < 2:
                    raise DataError(
                        f"Feature {j} is constant in group {g!r}: no increasing map moves it.",
                        argument="X",
                        cell=(None, g),
                    )
            levels = common_levels(laws, n_quantiles)
            own = np.stack([np.interp(levels, at, values) for values, at in laws])
            for a, g in enumerate(group_labels):
                maps[g].append(
                    matched_map(own[a], own[a] if a == chosen else share @ own, j, g, ends)
                )
        _warn_of_parting([(features[own], found.count[own]) for own in rows], [*maps.values()])
        return cls(maps)

    def transform(self, X: ArrayLike, *, sensitive_features: ArrayLike) -> Any:
        """Move every row into the common coordinates; labels are not needed.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,), or a pandas DataFrame or Series
        sensitive_features : array_like, shape (n,)

        Returns
        -------
        Array, shape of X; or a DataFrame or Series, with its index and names

        Raises
        ------
        DataError
            For missing values, another number of features, unknown groups.
        """
        groups = list(self.maps)
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        features = check_features(X, dim=len(self.maps[groups[0]]))
        group = encode(sensitive_features, groups, "sensitive_features", len(features))
        out = np.empty_like(features)
        for a, g in enumerate(groups):
            rows = group == a
            if rows.any():
                moved = [T(features[rows, j]) for j, T in enumerate(self.maps[g])]
                out[rows] = np.stack(moved, axis=1)
        return as_given(out, X)

    def __repr__(self) -> str:
        knots = max(len(T.knots) for Ts in self.maps.values() for T in Ts)
        d = len(next(iter(self.maps.values())))
        return f"QuantileMap(groups={list(self.maps)}, d={d}, at most {knots} knots)"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {"maps": {g: [T.to_dict() for T in Ts] for g, Ts in self.maps.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QuantileMap:
        """Rebuild the maps from :meth:`to_dict`."""
        maps = read(data, "quantile_map", {"maps": {Hashable: [Mapping]}})["maps"]
        if len({len(Ts) for Ts in maps.values()} - {0}) != 1 or not all(maps.values()):
            raise refuse("its groups have no maps of the same features")
        return cls({g: [PiecewiseLinearMap.from_dict(T) for T in Ts] for g, Ts in maps.items()})


def _warn_of_parting(
    groups: Sequence[tuple[Array, Array]], maps: Sequence[Sequence[PiecewiseLinearMap]]
) -> None:
    """Warn of values that hold many rows of every group, and are moved apart."""
    said = []
    for j in range(len(maps[0])):
        shared = reduce(np.intersect1d, (_heavy(X[:, j], count) for X, count in groups))
        moved = np.stack([T[j](shared) for T in maps])
        apart = np.ptp(moved, axis=0) > 1e-6 * max(np.ptp(X[:, j]) for X, _ in groups)
        if apart.any():
            k = int(np.argmax(np.ptp(moved, axis=0)))
            at = ", ".join(f"{value:.4g}" for value in np.unique(moved[:, k]))
            said.append(f"{shared[k]:g} of feature {j} is moved to {at}")
    if said:
        warnings.warn(
            f"Values that hold many rows of every group part: {'; '.join(said[:3])}. A threshold "
            "between tells the groups. IdealSteering keeps such values of features together, "
            "ScoreSteering splits those of scores at random.",
            FairprogWarning,
            stacklevel=3,
        )


def _heavy(x: Array, count: Array) -> Array:
    values, place = np.unique(x, return_inverse=True)
    return np.asarray(values[np.bincount(place, count) >= max(SHARE * count.sum(), FEW)])


def _checked_support(support: Any, features: Array) -> tuple[float, float] | None:
    if support is None:
        return None
    ends = check_finite(support, "support", (2,))
    if not ends[0] < ends[1]:
        raise DataError(
            f"`support` must be two increasing numbers; found {support!r}.", argument="support"
        )
    bad = np.argwhere((features < ends[0]) | (features > ends[1]))
    if len(bad):
        row, column = (int(k) for k in bad[0])
        raise DataError(
            f"`X` must lie in the `support` [{ends[0]:g}, {ends[1]:g}]; row {row}, feature "
            f"{column} is {features[row, column]:.6g} ({len(bad)} such entries).",
            argument="X",
        )
    return float(ends[0]), float(ends[1])


def matched_map(
    own: Array,
    common: Array,
    feature: int,
    group: Hashable,
    support: tuple[float, float] | None = None,
) -> PiecewiseLinearMap:
    """Return the map that carries quantiles to common ones; DataError where there is only one."""
    knots, values = matched_knots(own, common)
    if len(knots) < 2:
        raise DataError(
            f"Feature {feature} has a single quantile in group {group!r}, after ties.",
            argument="X",
            cell=(None, group),
        )
    if support is not None:
        knots, values = _to_the_ends(knots, values, support)
    chord = float((values[-1] - values[0]) / (knots[-1] - knots[0]))
    return PiecewiseLinearMap(knots, values, chord, chord)


def _to_the_ends(knots: Array, values: Array, support: tuple[float, float]) -> tuple[Array, Array]:
    """Carry the ends of the support to themselves where rows could lie between them and a knot."""
    low, high = support
    values = np.clip(values, low, high)  # averages of quantiles, up to rounding
    if knots[0] > low:  # a knot that is mapped to the end gives its place to the end
        inner = slice(int(values[0] <= low), None)
        knots, values = np.append(low, knots[inner]), np.append(low, values[inner])
    if knots[-1] < high:
        inner = slice(None, -1 if values[-1] >= high else None)
        knots, values = np.append(knots[inner], high), np.append(values[inner], high)
    return knots, values


register("quantile_map", QuantileMap.from_dict)
