r"""Families on the positive half line: Weibull, gamma, exponential, solved in log space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammainc, gammaincinv, gammaln, poch

from fairprog.errors import DataError
from fairprog.kernels.line.gamma import SHAPES, fit_shape, gamma_divergence, log_gamma_constant
from fairprog.labels import Array, check_finite
from fairprog.populations.cell_checks import refuse_cells
from fairprog.populations.law import Law
from fairprog.populations.laws import GumbelMin
from fairprog.populations.location_scale import LocationScale, standard_law
from fairprog.populations.lognormal import LogCoordinates


class _Positive(LogCoordinates, LocationScale):
    """What Weibull, gamma and exponential populations share."""


class Weibull(_Positive):
    r"""Weibull law in every cell: P(X > x) = exp(-(x / scale)^shape).

    log X = log scale + Z / shape, Z of the Gumbel law of minima: maps are x -> exp(b) x^A.

    Parameters
    ----------
    prior, shape, scale : array_like, shape (K, G)
        `scale` in the units of X; both positive.
    classes, groups, feature_names : optional
        As for :class:`LocationScale`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Weibull([[.3, .2], [.3, .2]], [[1., 2.], [1., 2.]], [[1., 1.], [3., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> sol.population.is_ideal()
    True
    """

    family: ClassVar[str] = "Weibull"

    def __init__(
        self,
        prior: ArrayLike,
        shape: ArrayLike,
        scale: ArrayLike,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        self._start(prior, classes, groups)
        self._set_feature_names(feature_names)
        self.shape = self._positive(shape, "shape")
        self._scale = self._positive(scale, "scale")
        self._set_cells(np.log(self._scale), 1.0 / self.shape)

    @property
    def scale(self) -> Array:
        """Scales in the units of X, shape (K, G)."""
        return self._scale

    def law(self, i: int, a: int) -> Law:
        """Return the Gumbel law of minima."""
        return standard_law(GumbelMin)

    def with_cells(
        self, prior: Array, loc: Array, scale: Array, shape: Array | None = None
    ) -> Self:
        """Return the population with other locations and scales of log X."""
        return type(self)(prior, 1.0 / scale, np.exp(loc), **self._labels())

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the maximum-likelihood shape and scale, fitted to log X."""
        loc, scale = GumbelMin.fit_cell(np.log(x), weight)
        return 1.0 / scale, float(np.exp(loc))

    def _parameters(self) -> dict[str, Array]:
        return {"shape": self.shape, "scale": self.scale}


class _LogGamma(Law):
    """A law that is pickled as its shape."""

    def __reduce__(self) -> tuple[Callable[[float], Law], tuple[float]]:
        return log_gamma_law, (self.shape,)


@lru_cache(maxsize=64)  # populations hold theirs; a bootstrap has new shapes every time
def log_gamma_law(k: float) -> Law:
    """Return the law of log of a gamma variable with shape k and scale 1."""
    log_k, constant = float(np.log(k)), log_gamma_constant(k)

    def phi(z: Array) -> Array:
        v = np.asarray(z) - log_k
        with np.errstate(over="ignore"):
            return np.asarray(k * (np.expm1(v) - v) + constant)

    def slope(z: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(k * np.expm1(np.asarray(z) - log_k))

    def cdf(z: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(gammainc(k, np.exp(np.asarray(z))))

    def draw(rng: np.random.Generator, size: int) -> Array:
        # X^(1/k) of a gamma(k + 1) and a uniform: no underflow where k is small
        return np.log(rng.gamma(k + 1.0, size=size)) + np.log1p(-rng.random(size)) / k

    def expectation(target: Law, alpha: float, beta: float) -> float | None:
        if target.name != "log-gamma":
            return None
        with np.errstate(over="ignore"):
            tail = poch(k, alpha) * np.exp(beta)
        t = target.shape
        return float(tail - t * (alpha * digamma(k) + beta) + gammaln(t))

    def gap(target: Law, alpha: float, beta: float) -> float | None:
        known = target.name == "log-gamma" and alpha == 1.0
        return gamma_divergence(k, target.shape, beta) if known else None

    return _LogGamma(
        "log-gamma",
        phi,
        draw,
        slope=slope,
        cdf_=cdf,
        expectation=expectation,
        gap=gap,
        shape=float(k),
    )


class Gamma(_Positive):
    r"""Gamma law in every cell: density proportional to x^(shape-1) exp(-shape x / mean).

    The family is closed under x -> exp(b) x only: programs take `Translation()`, a shift of
    log X. With shapes k, k' and means m, m', r = m k' / (m' k):
    KL = (k - k') psi(k) - log Gamma(k) + log Gamma(k') - k' log r + k (r - 1).

    Source: theory.md sections 2 and 5.

    Parameters
    ----------
    prior, shape, mean : array_like, shape (K, G)
        Positive, `shape` from 1e-4 to 1e10; `mean` in the units of X.
    classes, groups, feature_names : optional
        As for :class:`LocationScale`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Gamma([[.3, .2], [.3, .2]], [[2., 2.], [3., 3.]], [[1., 2.], [3., 4.]])
    >>> sol = fp.NearestIdeal(D).solve()
    >>> sol.population.is_ideal() and sol.certificate.globally_optimal
    True
    """

    family: ClassVar[str] = "gamma"
    moves_scale: ClassVar[bool] = False

    def __init__(
        self,
        prior: ArrayLike,
        shape: ArrayLike,
        mean: ArrayLike,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        self._start(prior, classes, groups)
        self._set_feature_names(feature_names)
        self.shape = self._positive(shape, "shape")
        wide = (self.shape < SHAPES[0]) | (self.shape > SHAPES[1])
        words = f"between {SHAPES[0]:g} and {SHAPES[1]:g}"
        refuse_cells(wide, self.shape, "shape", words, self.classes, self.groups)
        self.mean = self._positive(mean, "mean")
        self._laws = {float(k): log_gamma_law(float(k)) for k in self.shape.ravel()}
        self._set_cells(np.log(self.mean / self.shape), np.ones(self.prior.shape))

    def law(self, i: int, a: int) -> Law:
        """Return the law of log of a gamma variable with the cell's shape."""
        return self._laws[float(self.shape[i, a])]

    def with_cells(
        self, prior: Array, loc: Array, scale: Array, shape: Array | None = None
    ) -> Self:
        """Return the population with other shapes and locations of log X."""
        k = self.shape if shape is None else shape
        return type(self)(prior, k, k * np.exp(loc), **self._labels())

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return the increasing map of every cell: a factor, or quantiles where shapes differ."""
        maps = dict(super().cell_maps(target))
        for i, a in np.ndindex(*self.prior.shape):
            k, t = float(self.shape[i, a]), float(target.shape[i, a])
            if k != t:
                source, goal = np.exp(self.base_loc[i, a]), np.exp(target.base_loc[i, a])

                def quantile(
                    X: Array, k: float = k, t: float = t, source: Any = source, goal: Any = goal
                ) -> Array:
                    return np.asarray(goal * gammaincinv(t, gammainc(k, X / source)))

                maps[i, a] = quantile
        return maps

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the maximum-likelihood shape and mean."""
        v = weight / weight.sum()
        return fit_shape(x, v), float(v @ x)

    def _parameters(self) -> dict[str, Array]:
        return {"shape": self.shape, "mean": self.mean}


class Exponential(Gamma):
    r"""Exponential law in every cell: density exp(-x / mean) / mean.

    The gamma law of shape 1: programs take `Translation()`, a shift of log X, x -> exp(b) x.
    KL = m/m' - 1 - log(m/m').

    Source: theory.md sections 2 and 5.

    Parameters
    ----------
    prior, mean : array_like, shape (K, G)
        `mean` positive, in the units of X.
    classes, groups, feature_names : optional
        As for :class:`LocationScale`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Exponential([[.3, .2], [.3, .2]], [[1., 2.], [3., 4.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> round(sol.kl, 6)
    0.008164
    """

    family: ClassVar[str] = "exponential"

    def __init__(
        self,
        prior: ArrayLike,
        mean: ArrayLike,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        size = check_finite(mean, "mean").shape
        if size != np.shape(prior):
            raise DataError(
                f"`mean` has shape {size}; needed is {np.shape(prior)}.", argument="mean"
            )
        super().__init__(
            prior, np.ones(size), mean, classes=classes, groups=groups, feature_names=feature_names
        )

    def with_cells(
        self, prior: Array, loc: Array, scale: Array, shape: Array | None = None
    ) -> Self:
        """Return the population with other locations of log X."""
        return type(self)(prior, np.exp(loc), **self._labels())

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the mean."""
        return (float(weight @ x / weight.sum()),)

    def _parameters(self) -> dict[str, Array]:
        return {"mean": self.mean}
