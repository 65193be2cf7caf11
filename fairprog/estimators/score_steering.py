"""`ScoreSteering`: one label-free map per group, equalized odds at every threshold."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from fairprog.codec import register
from fairprog.door import Rows, refuse_reordered
from fairprog.errors import ModelError
from fairprog.estimators.first_version import of_now
from fairprog.estimators.lattice import refuse_constant
from fairprog.estimators.score_channel import check_notion, fit_channel, weighted_for
from fairprog.estimators.score_columns import backward, check_binary, check_scores, forward
from fairprog.estimators.score_maps import (
    OPTIONS,
    Plan,
    check_options,
    in_order,
    n_quantiles_of,
    program_maps,
    quantile_maps,
    warn_of_growth,
)
from fairprog.estimators.step import PARAMS, SteeringStep, law, mean_over_groups
from fairprog.evidence.few_rows import warn_of_few_rows
from fairprog.fields import read
from fairprog.labels import Array, Indices, column_names
from fairprog.lots import Keys, drawn, keys_for, lots, row_keys, shared_too_widely
from fairprog.numeric import without_dust
from fairprog.populations import Categorical, ScoreCounts
from fairprog.populations.score_counts import counted_rows
from fairprog.populations.score_direction import warn_of_direction
from fairprog.solution import Channel, ScoreSolution, Solution, SplitMap
from fairprog.solution.channel import PURPOSE
from fairprog.tables import DemographicParity
from fairprog.transports import PiecewiseLinearMap

LITTLE = 0.05  # of a tie that parts from the rest: no split to speak of


class ScoreSteering(OneToOneFeatureMixin, SteeringStep):
    r"""Move the scores of every group so that ONE threshold serves all, whatever the cost.

    `fit` finds one increasing map per group; `transform` applies that of the row's group and
    never needs the label. If the maps carry the groups' scores given Y = 1 to one law and those
    given Y = 0 to another, every threshold, and so every cost, has equalized odds: what a
    threshold optimiser gives at a single threshold. How well they do is measured on rows not
    fitted, by the worst gap over all thresholds (:func:`fairprog.audit`).

    Parameters
    ----------
    steer : "all" or list of groups, default "all"
        Which groups may move; scores of the others stay exactly as they are, and so do the gaps
        among those.
    method : {"quantile", "monotone", "normal", "channel"}
        "quantile": match quantiles of the class-balanced scores of every group, without a model
        (:class:`fairprog.QuantileMap`): at every threshold the gaps given Y = 1 and given Y = 0
        of two groups are then opposite, so that no other increasing map has a smaller worst one.
        "monotone": the convex program over piecewise-linear maps between normal fits
        (:class:`fairprog.PiecewiseLinear`), to a group that stays: where all may move the first.
        "normal": the nearest ideal normal population, increasing affine maps.
        "channel": :class:`fairprog.FairScore`, randomised, with ranks kept in distribution: the
        RAW rows, as new ones come, are fair at every threshold, which no map can give. It levels
        groups down; `solution_` says by how much. Released scores are costs: at cost c the
        threshold is c. (Before `steer` in older code: still read, with a warning.)
    notion : notion, optional
        Of method "channel" (default ``EqualizedOdds()``, its ``difference_bound`` the worst gap
        over all thresholds); of method "quantile" a one-sided notion: its quantiles are then those
        of the rows it is about, and ``DemographicParity()`` needs no labels (``y=None``).
    space : {"logit", "identity"}
        Where maps act. "logit": scores are probabilities and stay in [0, 1]; they are clipped to
        [eps, 1 - eps], eps = 2.2e-16, so that 0 and 1 have a logit. "identity": any real scores.
    n_quantiles : "auto" or int
        Of method "quantile". "auto": four times the fourth root of the number of rows of the
        smallest cell (class, group), at least 4 and at most 1000. Between q quantiles the map is
        linear, an error of order 1/q^2, to be as small as the sampling error and not smaller.
        Of method "channel": bins that scores are counted in first; "auto": none.
    ties : {"auto", "spread", "keep"}
        "spread" splits all tied scores at random, "auto" those that hold more of a group's
        rows than chance hides, and all of a group that has fewer distinct scores than a tenth of
        its rows (programs: only these); "keep" moves every tie to the middle of its jump. A row's
        lot depends on its `key` alone: without one ties are kept. Where all scores are few, moved
        ones are scores that occur.
    min_cell : int, default 2
        Fewest rows a cell may have.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    unknown_group : {"error", "pooled"}
        What becomes of a row of a group that was not there in `fit`: refused, or moved by the
        mean of the groups' maps, weighted as the groups were.
    reference : hashable, optional
        Of the groups that stay, the one others are moved to; default the first.
    random_state : int, default 0
        Seed of the lots.

    Attributes
    ----------
    maps_ : dict of group to PiecewiseLinearMap, SplitMap or Channel
        From the group's own to the common coordinates, in `space`; maps that split ties, and
        channels, take scores as given.
    solution_ : Solution, ScoreSolution or None
        Of the program, for "monotone" and "normal", and for "channel".
    classes_, groups_ : arrays of labels
        The last class is the positive one.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn: 1, and the name of a data frame's column.

    Notes
    -----
    Fit on scores of rows the model was NOT trained on, and of the SAME model: scores of training
    rows are too sure of themselves, and cross-validated ones belong to other models than the one
    refitted afterwards (on Law School data a worst gap of 0.07 becomes 0.17 that way).
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
        steer: str | Iterable[Any] = "all",
        method: str | Iterable[Any] = "quantile",
        space: str = "logit",
        *,
        notion: Any = None,
        n_quantiles: int | str = "auto",
        ties: str = "auto",
        min_cell: int = 2,
        merge_groups: Mapping[Any, Any] | None = None,
        unknown_group: str = "error",
        reference: Any = None,
        random_state: int = 0,
    ) -> None:
        self.steer = steer
        self.method = method
        self.space = space
        self.notion = notion
        self.n_quantiles = n_quantiles
        self.ties = ties
        self.min_cell = min_cell
        self.merge_groups = merge_groups
        self.unknown_group = unknown_group
        self.reference = reference
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Say that scores are a vector."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    maps_: dict[Hashable, Any]
    solution_: Solution | ScoreSolution | None  # type: ignore[assignment]
    _shared: bool
    _kind = "score_steering"
    _params = PARAMS | {"space": frozenset(OPTIONS["space"])}
    _more: ClassVar[dict[str, Any]] = {"maps": Mapping, "feature_names?": [str]}

    @staticmethod
    def _kept(groups: Sequence[Hashable], d: int) -> dict[str, Any]:
        return {"_mass": law(len(groups)), "_shared": bool}

    # -- fitting --

    def fit(
        self, X: Any, y: Any = None, *, sensitive_features: Any = None, sample_weight: Any = None
    ) -> Self:
        """Find the maps.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, 1)
            Scores of the positive class (the last one), of rows the model was not trained on. Or
            :class:`ScoreCounts` of unweighted rows alone, read as the rows counted.
        y : array_like, shape (n,)
            Two classes; None for demographic parity by quantiles.
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
            If a cell has few rows; if scores are lower for the positive class, or tell two groups
            and hardly the classes; if the worst gap grew, by a program or to a group that stays.
        """
        steer, method = in_order(self.steer, self.method)
        if steer is not self.steer:
            warnings.warn(
                f"ScoreSteering takes `steer` first, as IdealSteering does; write "
                f"ScoreSteering(method={method!r}, ...). The old order will be refused later.",
                FutureWarning,
                stacklevel=2,
            )
        check_options(method=method, space=self.space, ties=self.ties)
        if isinstance(X, (ScoreCounts, Categorical)):
            X, y, sensitive_features = counted_rows(X)
        check_notion(method, self.notion, y)
        s, blind = check_scores(X, self.space), y is None
        rows = Rows.check(
            np.zeros(s.size, int) if blind else y, sensitive_features, sample_weight, s.size,
            merge_groups=self.merge_groups, cross=True, X=X,
        )  # fmt: skip
        if not blind:
            check_binary(rows.classes)
        rows.require(self.min_cell)
        plan = Plan.choose(rows.groups, steer, self.reference, method)
        s = without_dust(rows.of(s))
        if not blind:
            z = forward(s, self.space)
            warn_of_direction(z, rows.y, rows.a, rows.weight, rows.classes, stacklevel=2)
        self._keep_labels(rows, sensitive_features)
        self.n_features_in_ = 1
        self._keep_name(column_names(X))
        self.maps_, self.solution_, self._shared = {}, None, False
        if not plan.moving:
            return self
        refuse_constant(s, rows)
        if not blind:
            warn_of_few_rows(rows.cells, rows.classes, rows.groups)
        if method == "channel":
            self.solution_ = fit_channel(s, rows, self.notion, steer, self.n_quantiles)
            self.maps_ = {g: self.solution_.channels[g] for g in plan.moving}
            self._shared = self._shares_lots(rows.a, s, row_keys(s))
            return self
        own, y = weighted_for(self.notion, rows)
        of = replace(rows, y=y, a=rows.a[own], weight=rows.weight[own])
        if method == "quantile":
            count = n_quantiles_of(rows, plan, self.n_quantiles)
            self.maps_ = quantile_maps(s[own], of, plan, self.space, count, self.ties)
        else:
            found = program_maps(s, rows, plan, self.space, method, self.ties)
            self.maps_, self.solution_ = found
        self._shared = self._shares_lots(rows.a, s, row_keys(s))
        if method != "quantile" or len(plan.moving) < len(rows.groups) - 1:
            level = self._levels(row_keys(np.arange(of.a.size)))
            moved = self._steered(s[own], np.eye(len(rows.groups))[of.a], level)
            warn_of_growth(s[own], moved, of, method)
        return self

    def _keep_name(self, names: Sequence[str] | None) -> None:
        self.__dict__.pop("feature_names_in_", None)
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)

    # -- moving --

    def transform(self, X: Any, *, sensitive_features: Any = None, key: Any = None) -> Any:
        """Return scores in the common coordinates, in the shape of X; labels are not needed.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, 1)
            After ``set_output(transform="pandas")`` a data frame is returned.
        sensitive_features : array_like, shape (n,) or (n, k), or probabilities (n, G)
            The group of each row, as in `fit`; or an (n, G) float array P(A = group | row) in the
            order of `groups_` (of a data frame by name): then the mean of the groups' moved
            scores is returned.
        key : array_like, shape (n,), optional
            Identifiers of the rows: numbers or text. A tied row goes where its lot says, which
            depends on the key and `random_state` only: the same alone, in a batch, in any order.
            Without, a tie goes to the middle of where its rows would.

        Raises
        ------
        DataError
            For scores as in `fit`, groups that are missing or were not seen in `fit`.

        Warns
        -----
        FairprogWarning
            Where ties are split and there is no `key`: tied rows then move together; and where
            most of the keys given are repetitions.
        """
        check_is_fitted(self, "groups_")
        refuse_reordered(X=X, sensitive_features=sensitive_features, key=key)
        s = check_scores(X, self.space)
        shares = self._shares(sensitive_features, s.size)
        keys = keys_for(s, key, s.size, None, "Tied scores" * self._shared, self._draws)
        out = self._steered(s, shares, self._levels(keys, together=key is None))
        return out[:, None] if np.ndim(X) == 2 else out

    def inverse_transform(self, X: Any, *, sensitive_features: Any = None) -> Array:
        """Return scores in the groups' own coordinates (spreading of ties is not undone).

        Raises
        ------
        DataError
            As `transform`; for groups known by probabilities only.
        ModelError
            For method "channel".
        """
        check_is_fitted(self, "groups_")
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        if isinstance(self.solution_, ScoreSolution):
            raise ModelError(
                "A channel draws lots, which cannot be undone: method='channel' has no inverse. "
                "Keep the scores as they were."
            )
        s = check_scores(X, self.space)
        shares = self._shares(sensitive_features, s.size, certain=True)
        out = mean_over_groups(s, shares, self.groups_.tolist(), lambda g, rows: (
            self._moved(self.maps_[g].inverse(), s[rows], 0.5) if g in self.maps_ else s[rows]
        ))  # fmt: skip
        return out[:, None] if np.ndim(X) == 2 else out

    @property
    def _draws(self) -> bool:
        """Whether lots decide where some scores go."""
        maps = [T for T in self.maps_.values() if isinstance(T, Channel | SplitMap)]
        spread = self.ties != "keep"
        return any(T.draws for T in maps if spread or isinstance(T, Channel))

    def _levels(self, keys: Keys, together: bool = False) -> Array:
        """Return where in its tie, or in its channel's law, a row's score goes, in [0, 1).

        A tie that moves together goes to the middle.
        """
        channel = in_order(self.steer, self.method)[1] == "channel"
        if not channel and (together or self.ties == "keep"):
            return np.full(keys.size, 0.5)
        return lots(self.random_state, PURPOSE if channel else "spread ties", keys)

    def _shares_lots(self, a: Indices, s: Array, keys: Keys) -> bool:
        """Return whether rows that lots tell apart share so many that these set the error."""
        cell, start = np.full(s.size, -1), 0
        for k, g in enumerate(self.groups_.tolist()):
            T, own = self.maps_.get(g), np.flatnonzero(a == k)
            if isinstance(T, Channel):
                cell[own] = start + T.blocks(s[own])
                start += len(T.chance)
            elif isinstance(T, SplitMap) and self.ties != "keep":
                tie = np.searchsorted(T.scores, s[own])
                parts = T.at(s[own], self._levels(row_keys(own))) != T.at(s[own], 0.5)
                split = np.bincount(tie, parts) > LITTLE * np.bincount(tie)
                cell[own[split[tie]]] = start + tie[split[tie]]
                start += T.scores.size + 1
        own = np.flatnonzero(cell >= 0)
        return shared_too_widely(a[own], cell[own], keys[own], np.bincount(a))

    def _steered(self, s: Array, shares: Array, level: Array) -> Array:
        """Return the moved scores of rows with these shares of the groups and these levels."""
        if isinstance(self.solution_, ScoreSolution):  # last digits of a lot draw the group
            shares = np.eye(shares.shape[1])[drawn(shares, level * 2.0**26 % 1.0)]
        return mean_over_groups(s, shares, self.groups_.tolist(), lambda g, rows: (
            self._moved(self.maps_[g], s[rows], level[rows]) if g in self.maps_ else s[rows]
        ))  # fmt: skip

    def _moved(self, T: Any, s: Array, level: Any) -> Array:
        if isinstance(T, PiecewiseLinearMap):
            return backward(T.at(forward(s, self.space)), self.space)
        return np.asarray(T.at(s, level))

    # -- files --

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        names = tuple(getattr(self, "feature_names_in_", ()))
        maps = {g: T.to_dict() for g, T in self.maps_.items()}
        return super().to_dict() | {"maps": maps, "feature_names": names}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        data = of_now(cls._kind, data)
        out = super().from_dict(data)
        if not isinstance(out.notion, DemographicParity):
            check_binary(data["classes"])
        out._keep_name(data.get("feature_names"))
        steer, method = in_order(out.steer, out.method)
        plan = Plan.choose(data["groups"], steer, out.reference, method)
        moving = plan.moving if method == "channel" else plan.to_home if plan.moving else ()
        kinds = {
            "maps": dict.fromkeys(moving, Mapping),
            "solution": Mapping if moving and method != "quantile" else None,
        }
        read({name: data[name] for name in kinds}, cls._kind, kinds)
        kind: Any = Channel if method == "channel" else PiecewiseLinearMap
        out.maps_ = {
            g: (SplitMap if "low" in T else kind).from_dict(T) for g, T in data["maps"].items()
        }
        return out


register("score_steering", ScoreSteering.from_dict)
