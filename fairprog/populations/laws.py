r"""Named families on the whole line (and on a half line): Laplace, logistic, Gumbel, exponential.

Closed forms of :math:`E\,\varphi(\alpha Z + \beta)`, from which divergences follow:
KL = expectation - entropy - log alpha.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import digamma, expit, gammaln

from fairprog.labels import Array
from fairprog.populations.law import Law
from fairprog.populations.location_scale import LocationScale


def _same_family(target: Law, name: str) -> bool:
    return target.name == name


def _tail(alpha: float, beta: float) -> float:
    """Return E exp(-alpha Z - beta), Z of the standard Gumbel law."""
    with np.errstate(over="ignore"):
        return float(np.exp(gammaln(1.0 + alpha) - beta))


class Laplace(LocationScale):
    r"""Laplace law in every cell: density ``exp(-|x - loc| / scale) / (2 scale)``.

    Parameters are those of :class:`LocationScale`. With alpha = s/s' and beta = (loc - loc')/s',
    ``KL = |beta| + alpha exp(-|beta|/alpha) - 1 - log alpha``.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Laplace([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]],
    ...                groups=["a", "b"])
    >>> sol = fp.NearestIdeal(D, steer=["b"]).solve()
    >>> sol.population.is_ideal() and sol.certificate.globally_optimal
    True
    """

    family: ClassVar[str] = "laplace"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    symmetric: ClassVar[bool] = True

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return ``|z| + log 2``."""
        return np.asarray(np.abs(z) + np.log(2.0))

    @staticmethod
    def slope(z: Array) -> Array:
        """Return sign z."""
        return np.asarray(np.sign(z))

    @staticmethod
    def cdf(z: Array) -> Array:
        """Return P(Z <= z)."""
        tail = 0.5 * np.exp(-np.abs(z))
        return np.asarray(np.where(z < 0, tail, 1.0 - tail))

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        return rng.laplace(size=size)

    @staticmethod
    def expectation(target: Law, alpha: float, beta: float) -> float | None:
        """Return v + alpha exp(-v / alpha) + log 2, v the absolute value of beta."""
        if not _same_family(target, "Laplace"):
            return None
        a, v = abs(alpha), abs(beta)
        return float(v + a * np.exp(-v / a) + np.log(2.0))

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the weighted median and the mean absolute deviation from it."""
        order = np.argsort(x, kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        k = int(np.searchsorted(share, 0.5 - 1e-12))
        loc = x[order[k]]
        if abs(share[k] - 0.5) <= 1e-12 and k + 1 < x.size:  # any value between is a median
            loc = 0.5 * (loc + x[order[k + 1]])
        return float(loc), float(weight @ np.abs(x - loc) / weight.sum())


class Logistic(LocationScale):
    """Logistic law in every cell: distribution function 1 / (1 + exp(-(x - loc) / scale)).

    Parameters are those of :class:`LocationScale`. KL has no closed form; quadrature.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Logistic([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> round(D.evaluate().error, 4)
    0.2949
    """

    family: ClassVar[str] = "logistic"
    symmetric: ClassVar[bool] = True

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return z + 2 log(1 + exp(-z))."""
        return np.asarray(np.abs(z) + 2.0 * np.log1p(np.exp(-np.abs(z))))

    @staticmethod
    def slope(z: Array) -> Array:
        """Return tanh(z / 2)."""
        return np.asarray(np.tanh(0.5 * np.asarray(z)))

    @staticmethod
    def cdf(z: Array) -> Array:
        """Return P(Z <= z)."""
        return np.asarray(expit(z))

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        return rng.logistic(size=size)


class Gumbel(LocationScale):
    r"""Gumbel law of maxima in every cell: distribution function exp(-exp(-(x - loc) / scale)).

    Parameters are those of :class:`LocationScale`. With alpha = s/s', beta = (loc - loc')/s',
    KL = (alpha - 1) g + beta + Gamma(1 + alpha) exp(-beta) - 1 - log alpha, g Euler's constant.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Gumbel([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> round(D.evaluate().error, 4)
    0.2383
    """

    family: ClassVar[str] = "gumbel"

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return z + exp(-z)."""
        with np.errstate(over="ignore"):
            return np.asarray(z + np.exp(-np.asarray(z)))

    @staticmethod
    def slope(z: Array) -> Array:
        """Return 1 - exp(-z)."""
        return np.asarray(-np.expm1(-np.asarray(z)))

    @staticmethod
    def cdf(z: Array) -> Array:
        """Return P(Z <= z)."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(-np.exp(-np.asarray(z))))

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        return rng.gumbel(size=size)

    @staticmethod
    def expectation(target: Law, alpha: float, beta: float) -> float | None:
        """Return E (alpha Z + beta) + E exp(-alpha Z - beta)."""
        if not _same_family(target, "Gumbel"):
            return None
        return float(alpha * np.euler_gamma + beta + _tail(alpha, beta))

    @staticmethod
    def expectation_slopes(target: Law, alpha: float, beta: float) -> Array | None:
        """Return the derivatives of `expectation` in alpha and beta, finite for solvers."""
        if not _same_family(target, "Gumbel"):
            return None
        tail = min(_tail(alpha, beta), 1e200)
        return np.array([np.euler_gamma + digamma(1.0 + alpha) * tail, 1.0 - tail])


class GumbelMin(LocationScale):
    """Gumbel law of minima in every cell: -X has the law of :class:`Gumbel`.

    The logarithm of a Weibull variable; parameters are those of :class:`LocationScale`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.GumbelMin([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> E = fp.Gumbel(D.prior, -D.loc, D.scale)
    >>> abs(D.ideality_gap() - E.ideality_gap()) < 1e-9
    True
    """

    family: ClassVar[str] = "gumbel-min"

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return exp(z) - z."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(np.asarray(z)) - z)

    @staticmethod
    def slope(z: Array) -> Array:
        """Return exp(z) - 1."""
        with np.errstate(over="ignore"):
            return np.asarray(np.expm1(np.asarray(z)))

    @staticmethod
    def cdf(z: Array) -> Array:
        """Return P(Z <= z)."""
        with np.errstate(over="ignore"):
            return np.asarray(-np.expm1(-np.exp(np.asarray(z))))

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        return -rng.gumbel(size=size)

    @staticmethod
    def expectation(target: Law, alpha: float, beta: float) -> float | None:
        """Return E exp(alpha Z + beta) - E (alpha Z + beta)."""
        if not _same_family(target, "GumbelMin"):
            return None
        return float(alpha * np.euler_gamma - beta + _tail(alpha, -beta))

    @staticmethod
    def expectation_slopes(target: Law, alpha: float, beta: float) -> Array | None:
        """Return the derivatives of `expectation` in alpha and beta, finite for solvers."""
        if not _same_family(target, "GumbelMin"):
            return None
        tail = min(_tail(alpha, -beta), 1e200)
        return np.array([np.euler_gamma + digamma(1.0 + alpha) * tail, tail - 1.0])


class ShiftedExponential(LocationScale):
    """Exponential law on [loc, inf) in every cell: density exp(-(x - loc) / scale) / scale.

    The logarithm of a Pareto variable; parameters are those of :class:`LocationScale`. The
    divergence from a cell is finite only for laws supported within it.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.ShiftedExponential([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> E = fp.ShiftedExponential(D.prior, D.loc + 1.0, D.scale)
    >>> float(E.kl(D)), D.kl(E)
    (0.9, inf)
    """

    family: ClassVar[str] = "shifted-exponential"
    support: ClassVar[tuple[float, float]] = (0.0, np.inf)

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return z where z >= 0, else infinity."""
        return np.asarray(np.where(np.asarray(z) >= 0, z, np.inf))

    @staticmethod
    def slope(z: Array) -> Array:
        """Return 1."""
        return np.ones_like(z)

    @staticmethod
    def cdf(z: Array) -> Array:
        """Return P(Z <= z)."""
        return np.asarray(-np.expm1(-np.maximum(z, 0.0)))

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        return rng.exponential(size=size)

    @staticmethod
    def expectation(target: Law, alpha: float, beta: float) -> float | None:
        """Return E (alpha Z + beta) = alpha + beta; supports are known to nest."""
        return float(alpha + beta) if target.name == "ShiftedExponential" else None

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the smallest value and the mean distance from it."""
        loc = float(x.min())
        return loc, float(weight @ x / weight.sum() - loc)
