"""Any family seen through an increasing bijection of its features."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import ModelError
from fairprog.labels import Array, check_features
from fairprog.populations.base import Population, population_from_dict
from fairprog.populations.bijections import Bijection, as_bijection, bijection_from_dict
from fairprog.populations.categorical import Categorical
from fairprog.tables import OutcomeTable
from fairprog.transports import AffineMap, ConjugatedMap


def _of_base(name: str) -> Any:
    """Return the method or property of that name that asks the base."""
    inherited = getattr(Population, name)
    if isinstance(inherited, property):
        return property(lambda self: getattr(self.base, name), doc=inherited.__doc__)

    @wraps(inherited)
    def asked(self: Transformed, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.base, name)(*args, **kwargs)

    return asked


class Transformed(Population):
    r"""The law of g^{-1}(Z), Z of a given population: g(X) belongs to the family.

    KL divergence, posteriors and ideality do not change under a bijection, so everything is the
    base population's, except for features: maps act on X in the user's units, and ``.affine`` of
    a map is the affine map of g(X).

    Source: theory.md section 2. A bijection fitted to data is part of the model: both
    populations of a solution share it.

    Parameters
    ----------
    base : Population
        The population of g(X).
    bijection : {"log", "logit"} or Bijection
        g, feature by feature: :class:`Power`, :class:`YeoJohnson`, :class:`QuantileNormal`.

    Raises
    ------
    ModelError
        For something that is no population or no bijection, or whose dimensions clash.

    Examples
    --------
    The Pareto law with smallest value m and exponent c is log + exponential:

    >>> import numpy as np
    >>> import fairprog as fp
    >>> m, c = np.array([[1., 1.], [1., 1.]]), np.array([[3., 2.], [1., 1.5]])
    >>> D = fp.Transformed(fp.ShiftedExponential([[.3, .2], [.3, .2]], np.log(m), 1 / c), "log")
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> bool(sol.population.is_ideal() and np.isfinite(sol.kl))
    True
    """

    family: ClassVar[str] = "transformed"

    def __init__(self, base: Population, bijection: str | Bijection) -> None:
        given: Any = base
        if not isinstance(given, Population) or isinstance(given, Categorical):
            raise ModelError(
                f"`base` must be a population of numbers, such as Normal; found "
                f"{type(base).__name__}. The atoms of a Categorical may have any values: give "
                "those meant.",
                argument="base",
            )
        self.base: Any = base
        self.bijection = as_bijection(bijection)
        self.prior, self.classes, self.groups = base.prior, base.classes, base.groups
        self.feature_names = base.feature_names
        self.n_rows, self.cell_weight = base.n_rows, base.cell_weight
        self.coordinate = base.coordinate.replace("x", self.bijection.symbol)
        for name in ("exponents", "knots"):
            d = np.shape(getattr(self.bijection, name, np.zeros(base.n_features)))[-1]
            if d != base.n_features:
                raise ModelError(
                    f"`bijection` is for {d} features; `base` has {base.n_features}.",
                    argument="bijection",
                )

    # -- what a bijection changes nothing about, in the base's coordinates --

    core = _of_base("core")  # the base, or what that is seen through in its turn
    n_features = _of_base("n_features")
    null_dimension = _of_base("null_dimension")
    coordinate_std = _of_base("coordinate_std")
    cell_density = _of_base("cell_density")
    cell_masses = _of_base("cell_masses")
    cell_quantiles = _of_base("cell_quantiles")
    decision_regions = _of_base("decision_regions")
    density_breaks = _of_base("density_breaks")
    log_odds_cdf = _of_base("log_odds_cdf")
    log_posterior = _of_base("log_posterior")
    common_map = _of_base("common_map")
    laws_of = _of_base("laws_of")
    map_residual = _of_base("map_residual")
    is_ideal = _of_base("is_ideal")
    _worst_threshold = _of_base("_worst_threshold")

    # -- features --

    def as_features(self, X: ArrayLike) -> Array:
        """Return features of shape (n, d), checked against names, shape and domain."""
        self.check_names(X)
        return self.bijection.check_domain(check_features(X, dim=self.n_features))

    def user_map(self, affine: AffineMap) -> ConjugatedMap:
        """Return the affine map of g(X) as a map of X."""
        return self._conjugate(self.base.user_map(affine))

    def _conjugate(self, inner: AffineMap | ConjugatedMap) -> ConjugatedMap:
        g = self.bijection

        def forward(X: Array) -> Array:
            return g.forward(g.check_domain(X))

        if isinstance(inner, ConjugatedMap):  # two bijections in a row
            first, last = inner.forward, inner.backward
            return ConjugatedMap(
                inner.affine, lambda X: first(forward(X)), lambda Y: g.backward(last(Y))
            )
        return ConjugatedMap(inner, forward, g.backward)

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in the base's coordinates."""
        return type(self)(self.base.mapped(maps), self.bijection)

    def pushed(self, prior: Array, laws: Any, maps: Mapping[Hashable, Any]) -> Self:
        """Return the base's, seen through the bijection."""
        return type(self)(self.base.pushed(prior, laws, maps), self.bijection)

    # -- its cells: the base's, in the base's coordinates --

    def _forward(self, X: Array) -> Array:  # type: ignore[override]
        return self.base._forward(self.bijection.forward(X))

    def _backward(self, X: Array) -> Array:  # type: ignore[override]
        return self.bijection.backward(self.base._backward(X))

    def with_rows(self, n_rows: ArrayLike, cell_weight: ArrayLike | None = None) -> Self:
        """Return the population, knowing how many rows its base was estimated from."""
        return type(self)(self.base.with_rows(n_rows, cell_weight), self.bijection)

    def with_prior(self, prior: Array) -> Self:
        """Return the population with the same cells and another prior (K, G)."""
        return type(self)(self.base.with_prior(prior), self.bijection)

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return the base's maps between cells, through the bijection."""
        g = self.bijection

        def lifted(T: Callable[[Array], Array]) -> Callable[[Array], Array]:
            return lambda X: g.backward(T(g.forward(X)))

        inner = target.base.cell_maps_from(self.base)
        return {cell: lifted(T) for cell, T in inner.items()}

    # -- statistics --

    @classmethod
    def fit(
        cls,
        base: type[Any],
        bijection: str | Bijection,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        **options: Any,
    ) -> Self:
        """Fit a family to g(X) by maximum likelihood.

        Parameters
        ----------
        base : type
            The family, such as ``fp.Logistic``.
        bijection : {"log", "logit"} or Bijection
        X, y, sensitive_features, sample_weight, classes, groups
            As for ``base.fit``.
        **options
            What ``base.fit`` takes besides, such as ``covariance`` of ``fp.Normal``.

        Examples
        --------
        >>> import fairprog as fp
        >>> X, y, a = [1., 2., 4., 3., 5., 8.] * 4, [0, 0, 0, 1, 1, 1] * 4, [0] * 12 + [1] * 12
        >>> fp.Transformed.fit(fp.Logistic, "log", X, y, sensitive_features=a).base.loc.round(4)
        array([[0.6931, 0.6931],
               [1.6   , 1.6   ]])
        """
        g = as_bijection(bijection)
        features = g.check_domain(check_features(X))
        rows = {"sensitive_features": sensitive_features, "sample_weight": sample_weight}
        labels = {"classes": classes, "groups": groups}
        return cls(base.fit(g.forward(features), y, **rows, **labels, **options), g)

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows; see the base's `sample`."""
        Z, y, a = self.base.sample(n, random_state)
        return self.bijection.backward(Z), y, a

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G): the base's."""
        self._same_bijection(other, "other")
        return self.base.cell_divergences(other.base)

    def _same_bijection(self, other: Any, argument: str) -> None:
        self._order_of(other, argument)
        here, there = self.bijection.to_dict(), other.bijection.to_dict()
        same = here.keys() == there.keys() and all(
            np.array_equal(value, there[key]) for key, value in here.items()
        )
        if not same:
            raise ModelError(
                f"`{argument}` is seen through {other.bijection!r}; needed is {self.bijection!r}.",
                argument=argument,
            )

    # -- fairness --

    def _table_of_rule(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[OutcomeTable, float]:
        self._same_bijection(rule, "rule_of")
        table, error = self.base._table_of_rule(cost, rule.base, n_samples, random_state)
        return table, error

    def _atoms(
        self, n: int, random_state: int | np.random.Generator
    ) -> tuple[Array, Array, float]:
        joint, atoms, error = self.base._atoms(n, random_state)
        values = np.asarray(atoms, dtype=float)
        X = self.bijection.backward(values.reshape(len(values), -1))
        return joint, X.reshape(values.shape), error

    # -- saving --

    def to_dict(self) -> dict[str, Any]:
        """Return the base and the bijection as plain data."""
        return {
            "population": type(self).__name__,
            "base": self.base.to_dict(),
            "bijection": self.bijection.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(population_from_dict(data["base"]), bijection_from_dict(data["bijection"]))

    def __repr__(self) -> str:
        return f"Transformed({self.base!r}, {self.bijection!r})"
