"""`ScoreSteering`: one label-free map per group, equalized odds at every threshold."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from fairprog.codec import register
from fairprog.errors import ModelError
from fairprog.estimators.lattice import collect, spread, spread_fitted
from fairprog.estimators.rows import LabelledRows
from fairprog.estimators.score_maps import Plan, program_maps, quantile_maps
from fairprog.estimators.scores import (
    backward,
    check_binary,
    check_scores,
    forward,
)
from fairprog.estimators.step import STEP, SteeringStep, checked_params, mean_over_groups
from fairprog.fields import either, increasing, read
from fairprog.groups import group_shares, refuse_reordered
from fairprog.labels import Array, Indices, label_array
from fairprog.populations.score_direction import warn_of_direction
from fairprog.solution import Solution
from fairprog.transports import PiecewiseLinearMap

__all__ = ["ScoreSteering"]

OPTIONS = {
    "method": ("quantile", "monotone", "normal"),
    "space": ("logit", "identity"),
    "ties": ("auto", "spread", "keep"),
}


class ScoreSteering(SteeringStep):
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
        """Say that scores are a vector."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    maps_: dict[Hashable, PiecewiseLinearMap]
    solution_: Solution | None
    _lattices: dict[Hashable, Array]
    _common_lattice: Array | None
    _kind = "score_steering"

    # -- fitting --

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
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
            If scores are lower for the positive class, or tell two groups and hardly the classes.
        """
        for name, known in OPTIONS.items():
            if getattr(self, name) not in known:
                raise ModelError(
                    f"`{name}` must be one of {list(known)}; found {getattr(self, name)!r}.",
                    argument=name,
                )
        s = check_scores(X, self.space)
        rows = LabelledRows.check(
            self, X, y, sensitive_features, sample_weight, s.size, self.merge_groups
        )
        check_binary(rows.classes)
        rows.require(self.min_cell)
        plan = Plan.choose(rows.groups, self.steer, self.reference)
        z = forward(s, self.space)
        warn_of_direction(z, rows.y, rows.a, rows.weight, rows.classes, stacklevel=2)
        self._lattices, self._common_lattice = {}, None
        if plan.moving:
            z, self._lattices, self._common_lattice = spread_fitted(z, rows, plan.home, self.ties)
        self.classes_, self.groups_ = label_array(rows.classes), label_array(rows.groups)
        self.n_features_in_ = 1
        self.maps_, self.solution_ = {}, None
        if plan.moving and self.method == "quantile":
            self.maps_ = quantile_maps(z, rows, plan, self.n_quantiles)
        elif plan.moving:
            self.maps_, self.solution_ = program_maps(z, rows, plan, self.method)
        return self

    # -- moving --

    def transform(self, X: ArrayLike, *, sensitive_features: ArrayLike | None = None) -> Any:
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

    def inverse_transform(
        self, X: ArrayLike, *, sensitive_features: ArrayLike | None = None
    ) -> Array:
        """Return scores in the groups' own coordinates (spreading of ties is not undone).

        Raises
        ------
        DataError
            As `transform`; for groups known by probabilities only.
        """
        return self._move(X, sensitive_features, inverse=True)

    def _move(self, X: ArrayLike, sensitive_features: Any, inverse: bool) -> Array:
        check_is_fitted(self, "groups_")
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        s = check_scores(X, self.space)
        groups = self.groups_.tolist()
        shares = group_shares(
            sensitive_features, s.size, groups, self.merge_groups, certain=inverse
        )
        z, level = forward(s, self.space), np.random.default_rng(self.random_state).random(s.size)

        def moved(group: Hashable, rows: Indices) -> Array:
            if group not in self.maps_:
                return s[rows]
            return backward(self._moved(z[rows], group, level[rows], inverse), self.space)

        out = mean_over_groups(s, shares, groups, moved)
        return out[:, None] if np.ndim(X) == 2 else out

    def _moved(self, z: Array, group: Hashable, level: Array, inverse: bool) -> Array:
        T = self.maps_[group]
        if inverse:
            return T.inverse()(z)
        if self._common_lattice is None:
            return T(z)
        return collect(T(spread(z, self._lattices[group], level)), self._common_lattice)

    # -- files --

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
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        data = read(data, "score_steering", FIELDS)
        groups = data["groups"]
        out = cls(
            **checked_params(data["params"], **{k: frozenset(v) for k, v in OPTIONS.items()})
        )
        plan = Plan.choose(groups, out.steer, out.reference)
        moving = plan.to_home if plan.moving else ()
        solved = Mapping if moving and out.method != "quantile" else None
        tied = groups if data["common_lattice"] is not None else ()
        check_binary(data["classes"])
        kinds = {
            "maps": dict.fromkeys(moving, Mapping),
            "solution": solved,
            "lattices": dict.fromkeys(tied, increasing),
        }
        read({name: data[name] for name in kinds}, "score_steering", kinds)
        out.classes_, out.groups_ = label_array(data["classes"]), label_array(groups)
        out.n_features_in_ = 1
        out.maps_ = {g: PiecewiseLinearMap.from_dict(T) for g, T in data["maps"].items()}
        solution = data["solution"]
        out.solution_ = None if solution is None else Solution.from_dict(solution)
        out._lattices = dict(data["lattices"])
        out._common_lattice = data["common_lattice"]
        return out


FIELDS = STEP | {"maps lattices": Mapping, "common_lattice": either(None, increasing)}
register("score_steering", ScoreSteering.from_dict)
