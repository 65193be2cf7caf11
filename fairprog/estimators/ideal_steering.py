"""`IdealSteering`: the nearest ideal population as a scikit-learn step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fairprog.codec import register
from fairprog.errors import DataError
from fairprog.estimators.fitted_population import (
    base_rate_weights,
    check_options,
    fit_population,
    weigh_classes_equally,
)
from fairprog.estimators.rows import LabelledRows, refuse_text
from fairprog.estimators.snap import lattices, snap_to
from fairprog.estimators.step import STEP, SteeringStep, checked_params, mean_over_groups
from fairprog.fields import array, either, increasing, read, refuse
from fairprog.groups import group_shares, refuse_reordered
from fairprog.labels import Array, Indices, check_number, label_array
from fairprog.populations import Bijection, Normal, Transformed, population_from_dict
from fairprog.populations.bijections import bijection_from_dict
from fairprog.populations.cells import check_classes
from fairprog.programs import NearestIdeal
from fairprog.programs.options import refuse_bound
from fairprog.solution import Solution
from fairprog.tables import template_from_dict
from fairprog.transports import Transport

__all__ = ["IdealSteering"]


class IdealSteering(OneToOneFeatureMixin, SteeringStep):
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
    snap : "auto" or bool
        Round moved values of lattice-valued columns at random to values that occur in the group
        that stays (else the largest), so that trees cannot read the group from the offset.
    min_cell : int, default 2
        Fewest rows a cell (class, group) may have.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    reference : hashable, optional
        The group whose coordinates are the common ones; default the first that stays.
    solver : str, default "auto"
    random_state : int, default 0
        Of the rounding.

    Attributes
    ----------
    solution_ : Solution or None
        The nearest ideal population; None where there is one group only.
    population_ : Normal or Transformed
        The fitted population.
    sample_weight_ : Array, shape (n,)
        Weights of the fitted rows that carry the steered base rates, times those given to `fit`.
    classes_, groups_ : arrays of labels
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
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
        snap: str | bool = "auto",
        min_cell: int = 2,
        merge_groups: Mapping[Any, Any] | None = None,
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
        self.snap = snap
        self.min_cell = min_cell
        self.merge_groups = merge_groups
        self.reference = reference
        self.solver = solver
        self.random_state = random_state

    population_: Normal | Transformed | None
    solution_: Solution | None
    sample_weight_: Array
    _lattices: list[Array | None]
    _kind = "ideal_steering"

    # -- fitting --

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
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
        """
        check_options(self.family, self.class_weight)
        refuse_text(X)
        features = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        n = len(features)
        rows = LabelledRows.check(
            self, X, y, sensitive_features, sample_weight, n, self.merge_groups
        )
        check_classes(rows.classes, n)
        rows.require(self.min_cell)
        self.classes_, self.groups_ = label_array(rows.classes), label_array(rows.groups)
        if len(rows.classes) == 1 and len(rows.groups) > 1:
            raise DataError(
                f"`y` holds the one class {rows.classes[0]!r}; at least two classes are needed. "
                "To match moments without labels solve NearestIdeal with one class.",
                argument="y",
            )
        if len(rows.groups) == 1:  # nobody to be equal to
            self.population_, self.solution_ = None, None
            self.sample_weight_, self._lattices = rows.weight, []
            return self
        everyone = isinstance(self.steer, str) and self.steer == "all"
        if everyone and check_number(self.map_bound, "map_bound") > 0:
            refuse_bound(rows.groups)  # before anything is estimated
        names = getattr(self, "feature_names_in_", None)
        self.population_ = D = fit_population(
            features, rows, self.family, self.covariance, self.shrinkage, names
        )
        equal = self.class_weight == "uniform"
        program = NearestIdeal(
            weigh_classes_equally(D) if equal else D,
            self.steer,
            self.transport,
            reference=self.reference,
            base_rates="equalize" if equal else self.base_rates,
            map_bound=self.map_bound,
        )
        self.solution_ = program.solve(self.solver)
        # weights of classes belong to the program; the rows keep base rates of their own
        self.sample_weight_ = (
            base_rate_weights(D, rows, program.staying, self.base_rates)
            if equal
            else rows.weight
            * self.solution_.sample_weight(rows.label, sensitive_features=rows.group)
        )
        home = rows.a == rows.groups.index(self._home())
        self._lattices = lattices(features[home], self.snap)
        return self

    def _home(self) -> Any:
        """Return the group on whose values the others are rounded."""
        assert self.solution_ is not None
        reference = self.solution_.settings["reference"]
        if reference is not None:
            return reference
        D = self.solution_.original
        return D.groups[int(np.argmax(D.group_mass))]

    # -- moving --

    def transform(self, X: ArrayLike, *, sensitive_features: ArrayLike | None = None) -> Any:
        """Bring rows into the common coordinates; labels are not needed.

        Parameters
        ----------
        X : array_like, shape (n, d)
        sensitive_features : array_like, shape (n,) or (n, k), or probabilities (n, G)
            The group of each row, as in `fit`; or an (n, G) float array P(A = group | row) in the
            order of `groups_`: then the mean over the groups' maps is returned.

        Returns
        -------
        Array, shape (n, d), or a data frame after ``set_output(transform="pandas")``

        Raises
        ------
        DataError
            For groups that are missing or were not seen in `fit`.
        """
        return self._move(X, sensitive_features, inverse=True)

    def inverse_transform(
        self, X: ArrayLike, *, sensitive_features: ArrayLike | None = None
    ) -> Array:
        """Move rows from the common coordinates to their groups' own (rounding is not undone).

        Raises
        ------
        DataError
            As `transform`; for groups known by probabilities only.
        """
        return self._move(X, sensitive_features, inverse=False)

    def _move(self, X: ArrayLike, sensitive_features: Any, inverse: bool) -> Array:
        check_is_fitted(self, "groups_")
        features = validate_data(self, X, dtype=np.float64, reset=False)
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        groups = self.groups_.tolist()
        shares = group_shares(
            sensitive_features, len(features), groups, self.merge_groups, certain=not inverse
        )
        if self.solution_ is None:
            return features
        maps = {g: T.inverse() if inverse else T for g, T in self.solution_.maps.items()}
        still = {g for g in groups if self._is_identity(g)}

        def moved(group: Any, rows: Indices) -> Array:
            X = features[rows]
            return X if group in still else maps[group](X)

        out = mean_over_groups(features, shares, groups, moved)
        if not inverse:
            return out
        stays = shares[:, [g in still for g in groups]].max(axis=1, initial=0.0) == 1.0
        out[stays] = features[stays]  # to the bit
        return snap_to(out, ~stays, self._lattices, np.random.default_rng(self.random_state))

    def _is_identity(self, label: Any) -> bool:
        assert self.solution_ is not None
        return bool(self.solution_.affine[label].is_identity())

    # -- files --

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        check_is_fitted(self, "groups_")
        params = dict(self.get_params(deep=False))
        if self.transport is not None:
            params["transport"] = self.transport.to_dict()
        if isinstance(self.family, Bijection):
            params["family"] = self.family.to_dict()
        return {
            "params": params,
            "classes": tuple(self.classes_.tolist()),
            "groups": tuple(self.groups_.tolist()),
            "n_features": self.n_features_in_,
            "feature_names": tuple(getattr(self, "feature_names_in_", ())),
            "population": None if self.population_ is None else self.population_.to_dict(),
            "solution": None if self.solution_ is None else self.solution_.to_dict(),
            "sample_weight": self.sample_weight_,
            "lattices": tuple(self._lattices),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        data = read(data, "ideal_steering", FIELDS)
        params = checked_params(data["params"])
        if params["transport"] is not None:
            params["transport"] = template_from_dict(params["transport"])
        if isinstance(params["family"], dict):
            params["family"] = bijection_from_dict(params["family"])
        out = cls(**params)
        out.classes_ = label_array(data["classes"])
        out.groups_ = label_array(data["groups"])
        out.n_features_in_ = d = data["n_features"]
        if data["feature_names"]:
            out.feature_names_in_ = np.array(data["feature_names"], dtype=object)
        out.solution_ = out.population_ = None
        if len(data["groups"]) > 1:
            population: Any = population_from_dict(data["population"])
            out.solution_ = Solution.from_dict(data["solution"])
            labels = data["classes"], data["groups"], d
            for D in (population, out.solution_.original):
                same = (D.classes, D.groups, D.n_features) == labels
                if not same or not isinstance(D, (Normal, Transformed)):
                    raise refuse("its populations are not of its classes, groups and features")
                out.population_ = population
        if not {len(data["feature_names"]), len(data["lattices"])} <= {0, d}:
            raise refuse("it has names or lattices of other features")
        out.sample_weight_ = data["sample_weight"]
        out._lattices = list(data["lattices"])
        return out


FIELDS = STEP | {
    "n_features": int,
    "feature_names": [str],
    "population": either(None, Mapping),
    "sample_weight": array(None),
    "lattices": [either(None, increasing)],
}
register("ideal_steering", IdealSteering.from_dict)
