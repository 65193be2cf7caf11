"""`ScoreSteering`: one label-free map per group, equalized odds at every threshold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fairprog.codec import load, register, save
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators.lattice import collect, evenly, is_lattice, spread
from fairprog.groups import check_cells, group_labels, group_weights, refuse_swapped
from fairprog.kernels.ranking import auc
from fairprog.labels import (
    Array,
    Indices,
    check_finite,
    check_number,
    check_weights,
    encode,
    index_of,
    label_array,
    label_vector,
    sorted_labels,
)
from fairprog.populations import Normal
from fairprog.programs import NearestIdeal
from fairprog.solution import QuantileMap, Solution
from fairprog.transports import Monotone, PiecewiseLinear, PiecewiseLinearMap

__all__ = ["ScoreSteering"]

METHODS = ("quantile", "monotone", "normal")
CLIP = float(np.finfo(np.float64).eps)


class ScoreSteering(TransformerMixin, BaseEstimator):
    r"""Move the scores of every group so that ONE threshold serves all, whatever the cost.

    `fit` finds one increasing map per group; `transform` applies that of the row's group and
    never needs the label. If the maps carry the groups' scores given Y = 1 to one law and those
    given Y = 0 to another, every threshold, and so every cost, has equalized odds: what a
    threshold optimiser gives at a single threshold. How well they do is measured on rows not
    fitted, by the worst gap over all thresholds (:func:`fairprog.audit`).

    Parameters
    ----------
    method : {"quantile", "monotone", "normal"}
        "quantile": match quantiles of the class-balanced scores of every group, without a model
        (:class:`fairprog.QuantileMap`): at every threshold the gaps given Y = 1 and given Y = 0
        of two groups are then opposite, so that no other increasing map has a smaller worst one.
        "monotone": the convex program over piecewise-linear maps between normal fits
        (:class:`fairprog.PiecewiseLinear`; some group must stay).
        "normal": the nearest ideal normal population, increasing affine maps.
    steer : "all" or list of groups, default "all"
        Which groups may move; scores of the others stay exactly as they are, and so do the gaps
        among those.
    space : {"logit", "identity"}
        Where maps act. "logit": scores are probabilities and stay in [0, 1]; they are clipped to
        [eps, 1 - eps], eps = 2.2e-16, so that 0 and 1 have a logit. "identity": any real scores.
    n_quantiles : "auto" or int
        Of method "quantile". "auto": four times the fourth root of the number of rows of the
        smallest cell (class, group), at least 4 and at most 1000. Between q quantiles the map is
        linear, an error of order 1/q^2, to be as small as the sampling error and not smaller.
    ties : {"auto", "spread", "keep"}
        "spread" splits tied scores: each is spread at random over the cell of its value, moved,
        and collected on values that occur. "auto" does so where a group has fewer distinct scores
        than a tenth of its rows.
    min_cell : int, default 2
        Fewest rows a cell may have.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    reference : hashable, optional
        Of the groups that stay, the one others are moved to; default the first.
    random_state : int, default 0
        Of the spreading.

    Attributes
    ----------
    maps_ : dict of group to PiecewiseLinearMap
        From the group's own to the common coordinates, in `space`.
    solution_ : Solution or None
        Of the program, for "monotone" and "normal".
    classes_, groups_ : arrays of labels
        The last class is the positive one.
    n_features_in_ : int
        1.

    Notes
    -----
    Fit on scores of rows the model was NOT trained on, and of the SAME model: scores of training
    rows are too sure of themselves, and cross-validated ones belong to other models than the one
    refitted afterwards (on Law School data a worst gap of .07 becomes .17 that way).
    :class:`fairprog.SteeredClassifier` does it right. Source: theory.md sections 1 and 4.

    Examples
    --------
    >>> import numpy as np, fairprog as fp
    >>> rng = np.random.default_rng(0)
    >>> y, a = rng.integers(2, size=4000), rng.integers(2, size=4000)
    >>> z = rng.normal(size=4000) + 2 * y - 1
    >>> s = 1 / (1 + np.exp(-np.where(a == 1, 0.6 * z - 1, z)))
    >>> step = fp.ScoreSteering(steer=[1]).fit(s, y, sensitive_features=a)
    >>> t = step.transform(s, sensitive_features=a)
    >>> rate = [t[(a == g) & (y == 1)].__gt__(0.5).mean() for g in (0, 1)]
    >>> bool(abs(rate[0] - rate[1]) < 0.05 and (t[a == 0] == s[a == 0]).all())
    True
    """

    def __init__(
        self,
        method: str = "quantile",
        steer: str | Iterable[Any] = "all",
        space: str = "logit",
        *,
        n_quantiles: int | str = "auto",
        ties: str = "auto",
        min_cell: int = 2,
        merge_groups: Mapping[Any, Any] | None = None,
        reference: Any = None,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.steer = steer
        self.space = space
        self.n_quantiles = n_quantiles
        self.ties = ties
        self.min_cell = min_cell
        self.merge_groups = merge_groups
        self.reference = reference
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Say that scores are a vector and that labels are needed to fit."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    maps_: dict[Hashable, PiecewiseLinearMap]
    solution_: Solution | None
    _lattices: dict[Hashable, Array]
    _common_lattice: Array | None

    # -- fitting --

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Find the maps.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, 1)
            Scores of the positive class (the last one), of rows the model was not trained on.
        y : array_like, shape (n,)
            Two classes.
        sensitive_features : array_like, shape (n,) or (n, k), or a data frame
            Group of each row; several columns are crossed, their groups are tuples.
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        DataError
            For missing values, scores outside [0, 1] (space "logit"), a number of classes other
            than two, a cell with too few rows (naming it), a group whose scores are all the same.
        ModelError
            For options that clash.

        Warns
        -----
        FairprogWarning
            If scores are higher for the negative class, or tell two groups and hardly the classes.
        """
        self._check_options()
        s = self._scores(X)
        if y is None:
            raise DataError(
                "ScoreSteering requires y to be passed, but the target y is None.", argument="y"
            )
        labels = label_vector(y, "y", s.size)
        group = group_labels(sensitive_features, s.size, self.merge_groups)
        refuse_swapped(labels, group)
        classes = sorted_labels(labels.tolist())
        _check_binary(classes)
        weight = check_weights(sample_weight, s.size)
        groups = check_cells(labels, group, int(check_number(self.min_cell, "min_cell")), classes)
        moving = self._moving(groups)
        i, a = encode(labels, classes, "y"), encode(group, groups, "sensitive_features")
        z = self._forward(s)
        _warn_of_direction(z, i, a, weight, classes)
        z = self._spread_fitted(z, i, a, groups, moving)
        self.classes_, self.groups_ = label_array(classes), label_array(groups)
        self.n_features_in_ = 1
        self.solution_ = None
        if not moving:  # one group, or nobody moves
            self.maps_ = {}
        elif self.method == "quantile":
            self.maps_ = self._quantile_maps(z, i, a, weight, groups, moving)
        else:
            self.maps_ = self._program_maps(z, labels, group, weight, groups, moving)
        return self

    def _check_options(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("space", ("logit", "identity")),
            ("ties", ("auto", "spread", "keep")),
        ):
            if getattr(self, name) not in known:
                raise ModelError(
                    f"`{name}` must be one of {list(known)}; found {getattr(self, name)!r}.",
                    argument=name,
                )

    def _moving(self, groups: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
        """Return the groups that move; the reference must be one that stays."""
        if isinstance(self.steer, str):
            if self.steer != "all":
                raise ModelError(
                    f"`steer` must be 'all' or a list of groups; found {self.steer!r}.",
                    argument="steer",
                )
            moving = groups if len(groups) > 1 else ()
        else:
            moving = tuple(groups[index_of(groups, g, "steer")] for g in self.steer)
        if self.reference is not None:
            index_of(groups, self.reference, "reference")
            if self.reference in moving and len(moving) < len(groups):
                raise ModelError(
                    f"`reference` is {self.reference!r}, which is to be steered; name a group "
                    "that stays.",
                    argument="reference",
                )
        return moving

    def _home(self, groups: tuple[Hashable, ...], moving: tuple[Hashable, ...]) -> Any:
        """Return the group that the others are moved to; None is their average."""
        if self.reference is not None:
            return self.reference
        return next((g for g in groups if g not in moving), None)

    def _quantile_maps(
        self,
        z: Array,
        i: Indices,
        a: Indices,
        weight: Array,
        groups: tuple[Hashable, ...],
        moving: tuple[Hashable, ...],
    ) -> dict[Hashable, PiecewiseLinearMap]:
        home = self._home(groups, moving)
        kept = [k for k, g in enumerate(groups) if g in moving or g == home]
        rows = np.isin(a, kept)
        fitted = QuantileMap.fit(
            z[rows],
            i[rows],
            sensitive_features=a[rows],
            sample_weight=weight[rows],
            reference=None if home is None else groups.index(home),
            n_quantiles=self._count(i[rows], a[rows]),
        )
        return {g: fitted.maps[groups.index(g)][0] for g in moving if g != home}

    def _count(self, i: Indices, a: Indices) -> int:
        if self.n_quantiles != "auto":
            return int(check_number(self.n_quantiles, "n_quantiles", 2))
        count = np.bincount(2 * a + i)
        return int(np.clip(np.ceil(4.0 * count[count > 0].min() ** 0.25), 4, 1000))

    def _program_maps(
        self,
        z: Array,
        labels: Any,
        group: Any,
        weight: Array,
        groups: tuple[Hashable, ...],
        moving: tuple[Hashable, ...],
    ) -> dict[Hashable, PiecewiseLinearMap]:
        """Solve the program with every class weighing the same."""
        home = self._home(groups, moving)
        if self.method == "monotone" and home is None:
            raise ModelError(
                "method='monotone' moves groups to one that stays: pass steer=[...] without the "
                "group that is to stay, or use method='quantile'.",
                argument="steer",
            )
        kept = [g for g in groups if g in moving or g == home]
        code = encode(group, groups, "sensitive_features")
        rows = np.isin(code, [groups.index(g) for g in kept])
        D = Normal.fit(
            z[rows], labels[rows], sensitive_features=group[rows], sample_weight=weight[rows]
        )
        prior = np.tile(D.group_mass / 2.0, (2, 1))
        D = Normal(prior, D.mean, std=D.std, classes=D.classes, groups=D.groups)
        steer: Any = "all" if home is None else [g for g in moving if g != home]
        transport = PiecewiseLinear() if self.method == "monotone" else Monotone()
        self.solution_ = NearestIdeal(D, steer, transport, reference=home).solve()
        return {g: _increasing(self.solution_.affine[g]) for g in moving if g != home}

    # -- ties --

    def _spread_fitted(
        self,
        z: Array,
        i: Indices,
        a: Indices,
        groups: tuple[Hashable, ...],
        moving: tuple[Hashable, ...],
    ) -> Array:
        """Keep the lattices of tied scores and return the scores with ties spread evenly."""
        members = {g: np.flatnonzero(a == k) for k, g in enumerate(groups)}
        for g, rows in members.items():
            if moving and not np.ptp(z[rows]) > 0:
                raise DataError(
                    f"All scores of group {g!r} are the same: no increasing map can move them "
                    "apart. Was the right column passed?",
                    argument="X",
                    cell=(None, g),
                )
        tied = [g for g, rows in members.items() if is_lattice(z[rows])]
        if self.ties == "keep" or not moving or (self.ties == "auto" and not tied):
            self._lattices, self._common_lattice = {}, None
            return z
        self._lattices = {g: np.unique(z[rows]) for g, rows in members.items()}
        home = self._home(groups, moving)
        self._common_lattice = np.unique(z) if home is None else self._lattices[home]
        out = z.copy()
        for g, rows in members.items():
            out[rows] = spread(z[rows], self._lattices[g], evenly(z[rows], i[rows]))
        return out

    # -- scores --

    def _scores(self, X: ArrayLike) -> Array:
        """Return scores of shape (n,), checked."""
        array = check_finite(X, "X")
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            hint = ""
            if array.ndim == 2 and array.shape[1] == 2:
                hint = " Of two columns of probabilities pass the last: predict_proba(...)[:, 1]."
            raise DataError(
                f"`X` must hold one score per row, shape (n,) or (n, 1); its shape is "
                f"{array.shape}.{hint}",
                argument="X",
            )
        if self.space == "logit":
            out = np.flatnonzero((array < 0) | (array > 1))
            if out.size:
                raise DataError(
                    f"`X` must hold scores in [0, 1]; row {out[0]} is {array[out[0]]:.6g} "
                    f"({out.size} such rows). Pass probabilities, or space='identity' for scores "
                    "without bounds such as those of decision_function.",
                    argument="X",
                )
        return array

    def _forward(self, s: Array) -> Array:
        return np.asarray(logit(np.clip(s, CLIP, 1.0 - CLIP))) if self.space == "logit" else s

    def _backward(self, z: Array) -> Array:
        return np.asarray(expit(z)) if self.space == "logit" else z

    # -- moving --

    def fit_transform(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Fit, then transform the same rows."""
        self.fit(X, y, sensitive_features=sensitive_features, sample_weight=sample_weight)
        return self.transform(X, sensitive_features=sensitive_features)

    def transform(self, X: ArrayLike, *, sensitive_features: ArrayLike) -> Any:
        """Return scores in the common coordinates, in the shape of X; labels are not needed.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, 1)
        sensitive_features : array_like, shape (n,) or (n, k), or probabilities (n, G)
            The group of each row, as in `fit`; or an (n, G) float array P(A = group | row) in the
            order of `groups_`: then the mean of the groups' moved scores is returned.

        Raises
        ------
        DataError
            For scores as in `fit`, groups that are missing or were not seen in `fit`.
        """
        return self._move(X, sensitive_features, inverse=False)

    def inverse_transform(self, X: ArrayLike, *, sensitive_features: ArrayLike) -> Array:
        """Return scores in the groups' own coordinates (spreading of ties is not undone)."""
        return self._move(X, sensitive_features, inverse=True)

    def _move(self, X: ArrayLike, sensitive_features: Any, inverse: bool) -> Array:
        check_is_fitted(self, "groups_")
        s = self._scores(X)
        groups = self.groups_.tolist()
        weight = group_weights(sensitive_features, s.size, groups, self.merge_groups)
        if weight.ndim == 1:
            weight = np.eye(len(groups))[weight]
        z, rng = self._forward(s), np.random.default_rng(self.random_state)
        level = rng.random(s.size)
        out = np.zeros_like(s)
        for share, g in zip(weight.T, groups, strict=True):
            rows = share > 0
            moved = s[rows]
            if g in self.maps_:
                moved = self._backward(self._moved(z[rows], g, level[rows], inverse))
            out[rows] += share[rows] * moved
        return out[:, None] if np.ndim(X) == 2 else out

    def _moved(self, z: Array, group: Hashable, level: Array, inverse: bool) -> Array:
        T = self.maps_[group]
        if inverse:
            return T.inverse()(z)
        if self._common_lattice is None:
            return T(z)
        return collect(T(spread(z, self._lattices[group], level)), self._common_lattice)

    # -- files --

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted step to a .json or .npz file, atomically; read it by :meth:`load`."""
        save(path, "score_steering", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        check_is_fitted(self, "groups_")
        return {
            "params": dict(self.get_params(deep=False)),
            "classes": tuple(self.classes_.tolist()),
            "groups": tuple(self.groups_.tolist()),
            "maps": {g: T.to_dict() for g, T in self.maps_.items()},
            "solution": None if self.solution_ is None else self.solution_.to_dict(),
            "lattices": dict(self._lattices),
            "common_lattice": self._common_lattice,
        }

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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        out = cls(**data["params"])
        out.classes_ = label_array(data["classes"])
        out.groups_ = label_array(data["groups"])
        out.n_features_in_ = 1
        out.maps_ = {g: PiecewiseLinearMap(**T) for g, T in data["maps"].items()}
        solution = data["solution"]
        out.solution_ = None if solution is None else Solution.from_dict(solution)
        out._lattices = dict(data["lattices"])
        out._common_lattice = data["common_lattice"]
        return out


def _increasing(T: Any) -> PiecewiseLinearMap:
    """Return the inverse of a map from common to own coordinates."""
    if isinstance(T, PiecewiseLinearMap):
        return T.inverse()
    back = T.inverse()
    slope, offset = float(back.matrix[0, 0]), float(back.offset[0])
    return PiecewiseLinearMap(np.array([0.0, 1.0]), np.array([offset, offset + slope]))


def _check_binary(classes: tuple[Hashable, ...]) -> None:
    if len(classes) == 2:
        return
    if len(classes) == 1:
        raise DataError(
            f"`y` holds the one class {classes[0]!r}; two are needed to give every class its "
            "weight. Pass rows of both classes.",
            argument="y",
        )
    raise DataError(
        f"`y` holds {len(classes)} classes {list(classes)[:6]}; ScoreSteering moves the score of "
        "two classes. Steer the score of each class against the rest by a step of its own, or "
        "features by IdealSteering; or were `y` and `sensitive_features` swapped?",
        argument="y",
    )


def _warn_of_direction(
    z: Array, i: Indices, a: Indices, weight: Array, classes: tuple[Hashable, ...]
) -> None:
    """Warn if scores run against the classes, or tell the groups and hardly the classes."""
    positive = i == 1
    told = auc(z, positive, weight)
    if told < 0.5:
        warnings.warn(
            f"Scores are higher for class {classes[0]!r} than for {classes[1]!r} (AUC {told:.3f}, "
            "the last class being the positive one): pass the score of the last class.",
            FairprogWarning,
            stacklevel=3,
        )
        return
    if a.max() == 1 and told < 0.65:
        by_group = auc(z, a == 1, weight)
        if max(by_group, 1.0 - by_group) > told + 0.1:
            warnings.warn(
                f"Scores tell the groups (AUC {max(by_group, 1.0 - by_group):.3f}) better than "
                f"the classes ({told:.3f}): were `y` and `sensitive_features` swapped?",
                FairprogWarning,
                stacklevel=3,
            )


register("score_steering", ScoreSteering.from_dict)
