"""`IdealSteering`: the nearest ideal population as a scikit-learn step."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_array, check_is_fitted

from fairprog.codec import register
from fairprog.door import Rows, refuse_reordered
from fairprog.errors import DataError, FairprogWarning
from fairprog.estimators.feature_reader import FeatureReader
from fairprog.estimators.first_version import of_now
from fairprog.estimators.fitted_population import (
    base_rate_weights,
    check_options,
    fit_population,
    weigh_classes_equally,
)
from fairprog.estimators.group_reading import warn_of_gap, warn_of_group, warn_of_staying
from fairprog.estimators.lattice import rounded
from fairprog.estimators.score_maps import Plan
from fairprog.estimators.sensitive_column import column_position, insert_column, take_column
from fairprog.estimators.step import SteeringStep, law, mean_over_groups
from fairprog.estimators.tied_columns import (
    Columns,
    moving_columns,
    warn_of_contradictions,
    warn_of_loss,
)
from fairprog.evidence.few_rows import warn_of_few_rows
from fairprog.fields import array, either, increasing, read, refuse
from fairprog.labels import Array, Indices, check_finite, check_number
from fairprog.lots import (
    Keys,
    column_order,
    effective_lots,
    keys_for,
    lots,
    row_keys,
    shared_too_widely,
    together_words,
)
from fairprog.populations import Bijection, Normal, Transformed, population_from_dict
from fairprog.populations.cell_checks import check_classes
from fairprog.programs import NearestIdeal
from fairprog.programs.geometries.base import refuse_bound
from fairprog.solution import Solution
from fairprog.transports import Transport

TIED = "Tied values"  # what lots tell apart
LOTS = 40  # by fewer lots a group is split so coarsely that its gaps can grow


class IdealSteering(FeatureReader, SteeringStep):
    r"""Bring every group into the common coordinates of the nearest ideal population.

    `fit` estimates a population, finds the ideal one nearest to it and keeps one map
    :math:`T_a` per group; `transform` returns :math:`T_a^{-1}(x)` for a row of group a. It needs
    the group and never the label.

    Parameters
    ----------
    steer : "all" or list of groups, default "all"
        Which groups may move; the others stay exactly as they are.
    transport : Transport, default Monotone()
        The class of maps; see :class:`fairprog.NearestIdeal`.
    family : {"normal", "lognormal", "yeo-johnson", "quantile"} or Bijection
        What is normal: the features, their logarithms, or their images under a bijection, fitted
        feature by feature (Yeo and Johnson's powers; normal scores, for continuous features only)
        or given, such as ``fp.Power(0.5)``.
    covariance : {"full", "tied", "diagonal"}
        Of the cells: own ones, one per group, or variances only.
    shrinkage : "auto" or float in [0, 1], default "auto"
        Weight of the group's own pooled covariance in those of its cells.
    class_weight : {None, "uniform"}
        What the cells weigh in the divergence: their steered prior, or every class of a group the
        same, which favours small classes.
    base_rates : see :class:`fairprog.NearestIdeal`
    map_bound : float, default 0.0
        How far the classes' maps may differ: partial steering, nearer to the data and less fair.
        Above 0 only with groups that stay, not with steer="all": in a search over both write two
        grids, ``[{"steer": ["all"]}, {"steer": [["b"]], "map_bound": [0., .1]}]``.
    marginal_weight : float in [0, 1], default 0.0
        Weight of the groups' whole laws, all rows with the classes as frequent as they are,
        against that of the classes' own; see :class:`fairprog.NearestIdeal`.
    snap : "auto" or bool
        Which columns are moved by ranks instead of by the program's map: "auto" those of whole
        numbers and those in which some group has few values or a point mass (from where an
        affine map puts these, a tree would read the group), True all, False none. See the notes.
    min_cell : int, default 2
        Fewest rows a cell (class, group) may have.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    unknown_group : {"error", "pooled"}
        What becomes of a row of a group that was not there in `fit`: refused, or moved by the
        mean of the groups' maps, weighted as the groups were.
    sensitive_column : str or int, optional
        Name (of a data frame) or position of the column of X that holds the group: read, and no
        feature. Tools that pass nothing but X and y then work without metadata routing.
    keep_sensitive : bool, default False
        Whether `transform` returns that column at its place; it is never moved.
    reference : hashable, optional
        The group whose coordinates are the common ones; default the first that stays.
    solver : str, default "auto"
    random_state : int, default 0
        Seed of the lots by which ties are split. Where a row goes depends on its `key` and the
        seed only.

    Attributes
    ----------
    solution_ : Solution or None
        The nearest ideal population; None where there is one group only. Its `align` is not
        `transform` where columns are tied: it maps all that move, `transform` those by ranks.
    population_ : Normal or Transformed
        The fitted population.
    sample_weight_ : Array, shape (n,)
        Weights of the fitted rows that carry the steered base rates, times those given to `fit`.
    coarse_ : bool
        Whether a group that moves has so many copies of so few rows (as many as 40 different ones
        in effect, or fewer) that without a `key` ties go to the middle of where they would.
    classes_, groups_ : arrays of labels
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Where all groups move, common coordinates are a matter of choice: aligned rows keep every
    column's overall mean (in the family's own coordinates, such as logarithms), so that they lie
    where the data lie and move with a column's zero and unit.

    Columns with tied values are moved one by one, by the increasing map of class-balanced
    quantiles that `ScoreSteering` has, to values that occur in the group that stays, else to
    the groups' average; a tie is split at random where the groups' shares of it differ, whole
    numbers stay whole, and the column's mean is kept no more. A row has one lot for all
    columns. Columns of two values that exclude each other (a category written as indicators,
    standardised or not) stay as they are and are no features of the program: what they say of
    the group is left. An end of a column that holds a point mass of every group and stands
    alone (the zeros of an amount) keeps its rows. Prices, certificate and `map_bound` are the
    program's, which such columns follow only in that their cells count in it.

    Aligned rows are fair to every classifier as far as the data follow the steered population:
    `solution_.bounds` says how far rates can be off, held-out rows say how far they are. For
    mostly categorical tables steer scores instead. Source: theory.md sections 1, 4, 9.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> X, y, a = D.sample(2000, random_state=0)
    >>> step = fp.IdealSteering(steer=["b"]).fit(X, y, sensitive_features=a)
    >>> Z = step.transform(X, sensitive_features=a)
    >>> bool((Z[a == "a"] == X[a == "a"]).all()), step.solution_.certificate.ok
    (True, True)
    """

    def __init__(
        self,
        steer: str | Iterable[Any] = "all",
        *,
        transport: Transport | None = None,
        family: str | Bijection = "normal",
        covariance: str = "full",
        shrinkage: float | str = "auto",
        class_weight: str | None = None,
        base_rates: str | ArrayLike = "equalize",
        map_bound: float = 0.0,
        marginal_weight: float = 0.0,
        snap: str | bool = "auto",
        min_cell: int = 2,
        merge_groups: Mapping[Any, Any] | None = None,
        unknown_group: str = "error",
        sensitive_column: str | int | None = None,
        keep_sensitive: bool = False,
        reference: Any = None,
        solver: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.steer = steer
        self.transport = transport
        self.family = family
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.class_weight = class_weight
        self.base_rates = base_rates
        self.map_bound = map_bound
        self.marginal_weight = marginal_weight
        self.snap = snap
        self.min_cell = min_cell
        self.merge_groups = merge_groups
        self.unknown_group = unknown_group
        self.sensitive_column = sensitive_column
        self.keep_sensitive = keep_sensitive
        self.reference = reference
        self.solver = solver
        self.random_state = random_state

    population_: Normal | Transformed | None
    solution_: Solution | None
    sample_weight_: Array
    _lattices: list[Array | None]
    _order: Indices | None
    _columns: Columns
    _shared: bool
    coarse_: bool
    _kind = "ideal_steering"
    _more: ClassVar[dict[str, Any]] = {
        "feature_names": [str],
        "population": either(None, Mapping),
        "ties": [Mapping],
        "whole": array(None),
        "moving": array(None),
        "coarse?": bool,
    }

    @staticmethod
    def _kept(groups: Sequence[Hashable], d: int) -> dict[str, Any]:
        return {
            "sample_weight_": array(None),
            "_lattices": [either(None, increasing)],
            "_mass": law(len(groups)),
            "_order": either(None, permutation),
            "_shared": bool,
        }

    # -- fitting --

    def fit(
        self, X: Any, y: Any, *, sensitive_features: Any = None, sample_weight: Any = None
    ) -> Self:
        """Find the nearest ideal population.

        Parameters
        ----------
        X : array_like, shape (n, d)
        y : array_like, shape (n,)
            Class of each row.
        sensitive_features : array_like, shape (n,) or (n, k), or a data frame
            Group of each row; several columns are crossed, their groups are tuples.
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        DataError
            For missing values, unknown labels, a cell with too few rows (naming it).
        ModelError
            For options that clash.
        InfeasibleError, SolverError
            As :class:`fairprog.NearestIdeal`.

        Warns
        -----
        FairprogWarning
            Where a cell has few rows; where most rows repeat others, so that ties need a `key` in
            `transform`; where columns that stay, or moved ones, tell the group, or a category
            that stays says what a moved number says; where values ran together; where a linear
            model's worst gap grew on the rows fitted.
        """
        check_options(self.family, self.class_weight)
        features, groups = self._read(X, sensitive_features, reset=True)
        n, merged = len(features), self.merge_groups
        rows = Rows.check(y, groups, sample_weight, n, merge_groups=merged, cross=True, X=X)
        check_classes(rows.classes, n)
        rows.require(self.min_cell)
        features = rows.of(features)
        self._keep_labels(rows, groups)
        self._order = column_order(features, rows.weight)
        self._lattices, self._shared, self.coarse_ = [], False, False
        self._columns = Columns.resting(features.shape[1])
        if len(rows.classes) == 1 and len(rows.groups) > 1:
            raise DataError(
                f"`y` holds the one class {rows.classes[0]!r}; at least two classes are needed. "
                "To match moments without labels solve NearestIdeal with one class.",
                argument="y",
            )
        if len(rows.groups) == 1:  # nobody to be equal to
            self.population_, self.solution_ = None, None
            self.sample_weight_ = rows.spread(rows.weight)
            return self
        everyone = isinstance(self.steer, str) and self.steer == "all"
        if everyone and check_number(self.map_bound, "map_bound") > 0:
            refuse_bound(rows.groups)  # before anything is estimated
        names = [f"column {j}" for j in range(features.shape[1])]
        named = hasattr(self, "feature_names_in_")
        if named:
            names = [str(name) for name in self._features_only(self.feature_names_in_)]
        moving = moving_columns(features, self.snap)
        self.population_ = D = fit_population(
            features[:, moving],
            rows,
            self.family,
            self.covariance,
            self.shrinkage,
            [name for name, moves in zip(names, moving, strict=True) if moves],
            named,
        )
        equal = self.class_weight == "uniform"
        program = NearestIdeal(
            weigh_classes_equally(D) if equal else D,
            self.steer,
            self.transport,
            reference=self.reference,
            base_rates="equalize" if equal else self.base_rates,
            map_bound=self.map_bound,
            marginal_weight=self.marginal_weight,
            marginal_rates=D.base_rates if self.marginal_weight else None,
        )
        self.solution_ = program.solve(self.solver)
        # weights of classes belong to the program; the rows keep base rates of their own
        self.sample_weight_ = rows.spread(
            base_rate_weights(D, rows, program.question.staying, self.base_rates)
            if equal
            else rows.weight
            * self.solution_.sample_weight(rows.label, sensitive_features=rows.group)
        )
        self._columns = Columns.of_rows(features, rows, self._plan(), self.snap, moving)
        tied, still = self._columns.tied, np.flatnonzero(~moving)
        if tied:
            own = row_keys(features)
            self._shared = shared_too_widely(rows.a, rows.a, own)
            movers = [rows.groups.index(g) for g in self._plan().moving]
            self.coarse_ = bool((effective_lots(rows.a, own)[movers] < LOTS).any())
        if self._shared:
            warnings.warn(together_words(TIED), FairprogWarning, stacklevel=2)
        keys, shares = row_keys(np.arange(rows.a.size)), np.eye(len(rows.groups))[rows.a]
        out = self._aligned(features, shares, keys)
        warn_of_few_rows(rows.cells, rows.classes, rows.groups)
        warn_of_loss(features[:, tied], out[:, tied], rows, [names[j] for j in tied])
        kept, of_kept = features[:, still], [names[j] for j in still]
        warn_of_staying(kept, rows.a, of_kept)
        if still.size:
            said = kept == kept.max(axis=0)
            moved = [names[j] for j in np.flatnonzero(moving)]
            warn_of_contradictions(features[:, moving], out[:, moving], said, moved, of_kept)
        warn_of_group(features, out, rows.a)
        warn_of_gap(features, out, rows)
        return self

    def _plan(self) -> Plan:
        """Return who is moved by ranks, and to whom."""
        groups = self.groups_.tolist()
        home = next((g for g in (self._home(), *groups) if self._is_still(g)), None)
        return Plan(tuple(g for g in groups if not self._is_still(g)), home)

    def _home(self) -> Any:
        """Return the group whose coordinates are the common ones, else the largest."""
        assert self.solution_ is not None
        reference = self.solution_.settings["reference"]
        if reference is not None:
            return reference
        D = self.solution_.original
        return D.groups[int(np.argmax(D.group_mass))]

    # -- moving --

    def transform(self, X: Any, *, sensitive_features: Any = None, key: Any = None) -> Any:
        """Bring rows into the common coordinates; labels are not needed.

        Parameters
        ----------
        X : array_like, shape (n, d)
        sensitive_features : array_like, shape (n,) or (n, k), or probabilities (n, G)
            The group of each row, as in `fit`; or an (n, G) float array P(A = group | row) in the
            order of `groups_` (of a data frame by name): then the mean over the groups' maps is
            returned.
        key : array_like, shape (n,), optional
            Identifiers of the rows, numbers or text, by which ties are split; default the rows
            themselves; but where a group has hardly 40 different rows, repetitions counted, a tie
            goes to the middle of where its rows would. A row with the same key goes the same way,
            alone and in any batch.

        Returns
        -------
        Array, shape (n, d), or a data frame after ``set_output(transform="pandas")``

        Raises
        ------
        DataError
            For groups that are missing or were not seen in `fit`.

        Warns
        -----
        FairprogWarning
            Where ties are split, there is no `key`, and most rows are repetitions.
        """
        check_is_fitted(self, "groups_")
        features, groups = self._read(X, sensitive_features, reset=False)
        refuse_reordered(X=X, sensitive_features=groups, key=key)
        n, out = len(features), features
        shares = self._shares(groups, n)
        if self.solution_ is not None:
            keys = keys_for(features, key, n, self._order, TIED * self._shared, self._draws)
            out = self._aligned(features, shares, keys, self.coarse_ and key is None)
        if self.sensitive_column is not None and self.keep_sensitive:
            return insert_column(out, column_position(X, self.sensitive_column), groups)
        return out

    @property
    def _draws(self) -> bool:
        """Whether lots decide where some rows go."""
        return self._columns.draws

    def inverse_transform(self, X: Any, *, sensitive_features: Any = None) -> Array:
        """Move rows from the common coordinates to their groups' own.

        What a lot split comes back together, what ran together to the middle of where it was.

        Raises
        ------
        DataError
            As `transform`; for groups known by probabilities only.
        """
        check_is_fitted(self, "groups_")
        column = self.sensitive_column if self.keep_sensitive else None
        X, groups = take_column(X, column, sensitive_features)
        refuse_reordered(X=X, sensitive_features=groups)
        features = check_finite(check_array(X, dtype=np.float64), "X", rows=True)
        d = self.n_features_in_ - (self.sensitive_column is not None)
        if features.shape[1] != d:
            raise DataError(f"`X` has {features.shape[1]} features; needed are {d}.", argument="X")
        shares = self._shares(groups, len(features), certain=True)
        if self.solution_ is None:
            return features
        stays = self._stays(shares)
        out = self._moved(features, shares, False)
        self._columns.rank(out, features, shares, self.groups_.tolist(), 0.5, False)
        out[stays] = features[stays]
        return out

    def _aligned(
        self, features: Array, shares: Array, keys: Keys, together: bool = False
    ) -> Array:
        """Return rows in the common coordinates; not a bit of one whose group stays changes.

        Ties that move together go to the middle of where their rows would.
        """
        moves, out = ~self._stays(shares), features.copy()
        moved = self._moved(features[moves], shares[moves], True)
        lot: Any = 0.5
        if not together:  # one for all columns, so that they agree
            lot = lots(self.random_state, "split ties", keys[moves])
        groups = self.groups_.tolist()
        self._columns.rank(moved, features[moves], shares[moves], groups, lot, True)
        for j, lattice in enumerate(self._lattices):  # of a file of version 0.1.0
            if lattice is not None:
                own = lots(self.random_state, f"round column {j}", keys[moves])
                moved[:, j] = rounded(moved[:, j], lattice, own)
        out[moves] = moved
        return out

    def _moved(self, features: Array, shares: Array, inverse: bool) -> Array:
        """Return sum_a P(a | row) T_a^{-1}(row), or T_a(row)."""
        assert self.solution_ is not None
        maps, moving = self.solution_.maps, self._columns.moving

        def moved(group: Any, rows: Indices) -> Array:
            own = features[rows]
            if not self._is_still(group):
                T = maps[group].inverse() if inverse else maps[group]
                own[:, moving] = T(own[:, moving])
            return own

        return mean_over_groups(features, shares, self.groups_.tolist(), moved)

    def _stays(self, shares: Array) -> Any:
        """Return which rows belong for certain to a group that stays: not a bit of them moves."""
        still = [self._is_still(g) for g in self.groups_.tolist()]
        return shares[:, still].max(axis=1, initial=0.0) == 1.0

    def _is_still(self, label: Any) -> bool:
        assert self.solution_ is not None
        return bool(self.solution_.affine[label].is_identity())

    # -- files --

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        population = None if self.population_ is None else self.population_.to_dict()
        own = {
            "feature_names": tuple(getattr(self, "feature_names_in_", ())),
            "population": population,
            "coarse": self.coarse_,
        }
        return super().to_dict() | own | self._columns.to_dict()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        data = of_now(cls._kind, data)
        out = super().from_dict(data)
        d = out.n_features_in_ - (out.sensitive_column is not None)
        if data["feature_names"]:
            out.feature_names_in_ = np.array(data["feature_names"], dtype=object)
        solved = Mapping if len(out.groups_) > 1 else None
        needed = dict.fromkeys(("population", "solution"), solved)
        read({name: data[name] for name in needed}, cls._kind, needed)
        out.population_, out.coarse_ = None, bool(data.get("coarse"))
        if out.solution_ is not None:
            labels = data["classes"], data["groups"], int(data["moving"].sum())
            for D in (population_from_dict(data["population"]), out.solution_.original):
                same = (D.classes, D.groups, D.n_features) == labels
                if not same or not isinstance(D, (Normal, Transformed)):
                    raise refuse("its populations are not of its classes, groups and features")
                out.population_ = out.population_ or D
        moved = out._plan().to_home if out.solution_ is not None else ()
        out._columns = Columns.from_dict(data, d, moved)
        sizes = {len(out._lattices) or d, d if out._order is None else out._order.size}
        if sizes != {d} or len(data["feature_names"]) not in (0, out.n_features_in_):
            raise refuse("it has names or values of other features")
        return out


def permutation(value: Any) -> bool:
    """Return whether a value holds the ranks of columns."""
    return array(None)(value) and bool((np.sort(value) == np.arange(value.size)).all())


register("ideal_steering", IdealSteering.from_dict)
