"""`IdealSteering`: the nearest ideal population as a scikit-learn step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fairprog.codec import load, register, save
from fairprog.errors import DataError, ModelError
from fairprog.estimators.snap import lattices, snap_to
from fairprog.groups import check_cells, group_labels, group_weights, refuse_swapped
from fairprog.labels import (
    Array,
    check_number,
    check_weights,
    encode,
    label_array,
    label_vector,
    sorted_labels,
)
from fairprog.populations import (
    Bijection,
    LogNormal,
    Moments,
    Normal,
    QuantileNormal,
    Transformed,
    YeoJohnson,
    population_from_dict,
)
from fairprog.populations.bijections import bijection_from_dict
from fairprog.populations.cells import check_classes
from fairprog.programs import NearestIdeal
from fairprog.solution import Solution
from fairprog.tables import template_from_dict
from fairprog.transports import Transport

__all__ = ["IdealSteering"]

FAMILIES: dict[str, type[Normal]] = {"normal": Normal, "lognormal": LogNormal}
BIJECTIONS: dict[str, Any] = {"yeo-johnson": YeoJohnson.fit, "quantile": QuantileNormal.fit}


class IdealSteering(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
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
        Weights of the fitted rows that carry the steered base rates.
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

    def __sklearn_tags__(self) -> Any:
        """Say that labels are needed to fit."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    population_: Normal | Transformed | None
    solution_: Solution | None
    sample_weight_: Array
    _lattices: list[Array | None]

    # -- fitting --

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
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
        known = [*FAMILIES, *BIJECTIONS]
        if not isinstance(self.family, Bijection) and self.family not in known:
            raise ModelError(
                f"`family` must be one of {known} or a Bijection such as fp.Power(0.5); found "
                f"{self.family!r}.",
                argument="family",
            )
        if self.class_weight not in (None, "uniform"):
            raise ModelError(
                f"`class_weight` must be None or 'uniform'; found {self.class_weight!r}.",
                argument="class_weight",
            )
        features = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        n = len(features)
        if y is None:
            raise DataError(
                "IdealSteering requires y to be passed, but the target y is None.", argument="y"
            )
        labels = label_vector(y, "y", n)
        weight = check_weights(sample_weight, n)
        classes = sorted_labels(labels.tolist())
        check_classes(classes, n)
        group = group_labels(sensitive_features, n, self.merge_groups)
        refuse_swapped(labels, group)
        groups = check_cells(labels, group, int(check_number(self.min_cell, "min_cell")), classes)
        self.classes_, self.groups_ = label_array(classes), label_array(groups)
        if len(classes) == 1 and len(groups) > 1:
            raise DataError(
                f"`y` holds the one class {classes[0]!r}; at least two classes are needed. To "
                "match moments without labels solve NearestIdeal with one class.",
                argument="y",
            )
        if len(groups) == 1:  # nobody to be equal to
            self.population_, self.solution_ = None, None
            self.sample_weight_, self._lattices = np.ones(n), []
            return self
        self.population_ = self._population(features, labels, group, weight)
        self.solution_ = NearestIdeal(
            self._weighted(self.population_),
            self.steer,
            self.transport,
            reference=self.reference,
            base_rates=self.base_rates,
            map_bound=self.map_bound,
        ).solve(self.solver)
        code = encode(group, groups, "sensitive_features")
        self.sample_weight_ = self.solution_.sample_weight(labels, sensitive_features=group)
        self._lattices = lattices(features[code == groups.index(self._home())], self.snap)
        return self

    def _population(self, X: Array, y: Any, group: Any, weight: Array) -> Normal | Transformed:
        """Estimate the population from moments in the family's own coordinates."""
        g = self.family if isinstance(self.family, Bijection) else None
        if self.family in BIJECTIONS:
            g = BIJECTIONS[self.family](X)
        family = Normal if g is not None else FAMILIES[str(self.family)]
        Z = family._forward(family.check_domain(X)) if g is None else g.forward(g.check_domain(X))
        moments = Moments(self.covariance).partial_fit(
            Z, y, sensitive_features=group, sample_weight=weight
        )
        D = moments.population(shrinkage=self.shrinkage)
        if family is not Normal:
            D = _as(family, D, D.prior)
        return D if g is None else Transformed(D, g)

    def _weighted(self, D: Normal | Transformed) -> Normal | Transformed:
        """Return the population whose priors weigh the cells as asked for."""
        if self.class_weight is None:
            return D
        prior = np.tile(D.group_mass / D.n_classes, (D.n_classes, 1))
        if isinstance(D, Transformed):
            return Transformed(_as(Normal, D.base, prior), D.bijection)
        return _as(type(D), D, prior)

    def _home(self) -> Any:
        """Return the group on whose values the others are rounded."""
        assert self.solution_ is not None
        reference = self.solution_.settings["reference"]
        if reference is not None:
            return reference
        D = self.solution_.original
        return D.groups[int(np.argmax(D.group_mass))]

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

    def inverse_transform(self, X: ArrayLike, *, sensitive_features: ArrayLike) -> Array:
        """Move rows from the common coordinates to their groups' own (rounding is not undone)."""
        return self._move(X, sensitive_features, inverse=False)

    def _move(self, X: ArrayLike, sensitive_features: Any, inverse: bool) -> Array:
        check_is_fitted(self, "groups_")
        features = validate_data(self, X, dtype=np.float64, reset=False)
        groups = self.groups_.tolist()
        weight = group_weights(sensitive_features, len(features), groups, self.merge_groups)
        if self.solution_ is None:
            return features
        if weight.ndim == 1:
            weight = np.eye(len(groups))[weight]
        out = np.zeros_like(features)
        stays = np.zeros(len(features), dtype=bool)
        for a, label in enumerate(groups):
            share = weight[:, a]
            if not share.any():
                continue
            T = self.solution_.maps[label]
            rows = share > 0
            if self._is_identity(label):
                stays |= share == 1.0
                out[rows] += share[rows, None] * features[rows]
                continue
            moved = (T.inverse() if inverse else T)(features[rows])
            out[rows] += share[rows, None] * moved
        if not inverse:
            return out
        out[stays] = features[stays]
        rng = np.random.default_rng(self.random_state)
        return snap_to(out, ~stays, self._lattices, rng)

    def _is_identity(self, label: Any) -> bool:
        assert self.solution_ is not None
        return bool(self.solution_.affine[label].is_identity())

    # -- files --

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted step to a .json or .npz file, atomically; read it by :meth:`load`."""
        check_is_fitted(self, "groups_")
        params = dict(self.get_params(deep=False))
        if self.transport is not None:
            params["transport"] = self.transport.to_dict()
        if isinstance(self.family, Bijection):
            params["family"] = self.family.to_dict()
        save(
            path,
            "ideal_steering",
            {
                "params": params,
                "classes": tuple(self.classes_.tolist()),
                "groups": tuple(self.groups_.tolist()),
                "n_features": self.n_features_in_,
                "feature_names": tuple(getattr(self, "feature_names_in_", ())),
                "population": None if self.population_ is None else self.population_.to_dict(),
                "solution": None if self.solution_ is None else self.solution_.to_dict(),
                "sample_weight": self.sample_weight_,
                "lattices": tuple(self._lattices),
            },
        )

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
    def _from_dict(cls, data: dict[str, Any]) -> Self:
        params = dict(data["params"])
        if params["transport"] is not None:
            params["transport"] = template_from_dict(params["transport"])
        if isinstance(params["family"], dict):
            params["family"] = bijection_from_dict(params["family"])
        out = cls(**params)
        out.classes_ = label_array(data["classes"])
        out.groups_ = label_array(data["groups"])
        out.n_features_in_ = data["n_features"]
        if data["feature_names"]:
            out.feature_names_in_ = np.array(data["feature_names"], dtype=object)
        solution = data["solution"]
        out.solution_ = None if solution is None else Solution.from_dict(solution)
        out.population_ = None
        if data["population"] is not None:
            population = population_from_dict(data["population"])
            assert isinstance(population, (Normal, Transformed))
            out.population_ = population
        out.sample_weight_ = data["sample_weight"]
        out._lattices = list(data["lattices"])
        return out


def _as(family: type[Normal], D: Normal, prior: Array) -> Normal:
    """Return the population of a family with the parameters of D and a prior."""
    data = D.to_dict() | {"prior": prior}
    del data["population"]
    return family(**data)


register("ideal_steering", IdealSteering._from_dict)
