r"""Increasing bijections, feature by feature: from the user's units to the family's coordinates.

KL divergence, posteriors and ideality are invariant under them (theory.md section 2), so that a
family seen through one is another family: log + normal is log-normal, log + logistic is
log-logistic, log + exponential is Pareto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri

from fairprog.door import counted
from fairprog.errors import DataError, ModelError
from fairprog.kernels.statistics.weighted_quantiles import repeated_quantiles
from fairprog.labels import Array, check_features, check_finite, check_number, check_weights


@dataclass(frozen=True, eq=False)
class Bijection:
    """An increasing map of every feature; columns of an (n, d) array.

    Examples
    --------
    >>> import fairprog as fp
    >>> isinstance(fp.Log(), fp.Bijection)
    True
    """

    _registry: ClassVar[dict[str, type[Bijection]]] = {}
    domain: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # open interval
    symbol: ClassVar[str] = "g(x)"  # of the value at x

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Bijection._registry[cls.__name__] = cls

    def forward(self, X: Array) -> Array:
        """Map features in the user's units to the family's coordinates."""
        raise ModelError(
            f"The bijection {type(self).__name__} needs the method `forward(X)`.",
            argument="bijection",
        )

    def backward(self, Y: Array) -> Array:
        """Map back."""
        raise ModelError(
            f"The bijection {type(self).__name__} needs the method `backward(Y)`.",
            argument="bijection",
        )

    def check_domain(self, X: Array) -> Array:
        """Return X; DataError naming the first entry outside the domain."""
        low, high = self.domain
        bad = np.argwhere(~((low < X) & (high > X)))
        if bad.size:
            row, column = (int(k) for k in bad[0])
            raise DataError(
                f"`X` must lie strictly between {low:g} and {high:g} for {self!r}; row {row}, "
                f"feature {column} is {X[row, column]:.6g} ({len(bad)} such entries).",
                argument="X",
            )
        return X

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, with the bijection's name."""
        return {"bijection": type(self).__name__, **vars(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@dataclass(frozen=True, eq=False, repr=False)
class Log(Bijection):
    """y = log x, for positive features.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> fp.Log().forward(np.array([[1.0], [np.e]])).ravel()
    array([0., 1.])
    """

    domain: ClassVar[tuple[float, float]] = (0.0, np.inf)
    symbol: ClassVar[str] = "log x"

    def forward(self, X: Array) -> Array:
        """Return log x."""
        return np.asarray(np.log(X))

    def backward(self, Y: Array) -> Array:
        """Return exp y."""
        return np.asarray(np.exp(Y))


@dataclass(frozen=True, eq=False, repr=False)
class Logit(Bijection):
    """y = log(x / (1 - x)), for features in (0, 1).

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> fp.Logit().backward(np.array([[0.0]])).item()
    0.5
    """

    domain: ClassVar[tuple[float, float]] = (0.0, 1.0)
    symbol: ClassVar[str] = "logit x"

    def forward(self, X: Array) -> Array:
        """Return log(x / (1 - x))."""
        return np.asarray(logit(X))

    def backward(self, Y: Array) -> Array:
        """Return 1 / (1 + exp(-y))."""
        return np.asarray(expit(Y))


@dataclass(frozen=True, eq=False, repr=False)
class Power(Bijection):
    """``y = sign(x) |x|^exponent``, for any features.

    Parameters
    ----------
    exponent : float
        Positive.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> fp.Power(.5).forward(np.array([[4.0], [-9.0]])).ravel()
    array([ 2., -3.])
    """

    exponent: float = 0.5

    def __post_init__(self) -> None:
        if not check_number(self.exponent, "exponent") > 0:
            raise DataError(
                f"`exponent` must be positive; found {self.exponent!r}.", argument="exponent"
            )

    def forward(self, X: Array) -> Array:
        """Return ``sign(x) |x|^exponent``."""
        return np.asarray(np.sign(X) * np.abs(X) ** self.exponent)

    def backward(self, Y: Array) -> Array:
        """Return ``sign(y) |y|^(1/exponent)``."""
        return np.asarray(np.sign(Y) * np.abs(Y) ** (1.0 / self.exponent))

    def __repr__(self) -> str:
        return f"Power({self.exponent!r})"


@dataclass(frozen=True, eq=False, repr=False)
class YeoJohnson(Bijection):
    """Yeo and Johnson's power transform, one exponent per feature.

    Source: Yeo and Johnson (2000), Biometrika 87.

    Parameters
    ----------
    exponents : array_like, shape (d,)
        In [0, 2]: then every real number is a value, and the inverse exists everywhere.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> X = np.random.default_rng(0).exponential(size=(500, 1))
    >>> y = fp.YeoJohnson.fit(X).forward(X)
    >>> bool(abs(((y - y.mean()) ** 3).mean()) < ((X - X.mean()) ** 3).mean())  # less skewed
    True
    """

    exponents: Array

    def __post_init__(self) -> None:
        values = np.atleast_1d(check_finite(self.exponents, "exponents"))
        if ((values < 0) | (values > 2)).any():
            raise DataError(
                f"`exponents` must lie in [0, 2], else the transform is not onto the real line; "
                f"found {values.tolist()}.",
                argument="exponents",
            )
        object.__setattr__(self, "exponents", values)

    @classmethod
    def fit(cls, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the exponents in [0, 2] by maximum likelihood of a normal law of all rows."""
        array = check_features(X)
        weight = check_weights(sample_weight, len(array))
        w = weight / weight.sum()
        slopes = w @ (np.sign(array) * np.log1p(np.abs(array)))

        def cost(exponent: float, j: int) -> float:
            y = cls(np.array([exponent])).forward(array[:, [j]])[:, 0]
            return 0.5 * float(np.log(w @ (y - w @ y) ** 2)) - (exponent - 1.0) * slopes[j]

        from scipy.optimize import minimize_scalar

        options: Any = {"bounds": (0.0, 2.0), "method": "bounded", "options": {"xatol": 1e-10}}
        varies = np.ptp(array[w > 0], axis=0) > 0
        found = [minimize_scalar(cost, args=(j,), **options).x if v else 1.0
                 for j, v in enumerate(varies)]  # fmt: skip
        return cls(np.array(found))

    def forward(self, X: Array) -> Array:
        """Return ((x + 1)^l - 1) / l for x >= 0, -((1 - x)^(2-l) - 1) / (2 - l) below."""
        a = np.log1p(np.abs(X))
        power = np.where(X >= 0, self.exponents, 2.0 - self.exponents)
        return np.asarray(np.sign(X) * _box_cox(a, power))

    def backward(self, Y: Array) -> Array:
        """Return the inverse."""
        power = np.where(Y >= 0, self.exponents, 2.0 - self.exponents)
        safe = np.where(power > 1e-12, power, 1.0)
        small = np.log1p(safe * np.abs(Y)) / safe
        return np.asarray(np.sign(Y) * np.expm1(np.where(power > 1e-12, small, np.abs(Y))))

    def __repr__(self) -> str:
        return f"YeoJohnson({np.round(self.exponents, 4).tolist()})"


def _box_cox(log_x: Array, power: Array) -> Array:
    """Return (x^power - 1) / power from log x; log x where the power is 0."""
    safe = np.where(power > 1e-12, power, 1.0)
    return np.asarray(np.where(power > 1e-12, np.expm1(safe * log_x) / safe, log_x))


@dataclass(frozen=True, eq=False, repr=False)
class QuantileNormal(Bijection):
    """Map quantiles to those of the standard normal law, piecewise linearly per feature.

    Beyond the knots the outermost pieces go on, so that every real number has an image and the
    map is a bijection (scikit-learn's `QuantileTransformer` clips instead).

    Parameters
    ----------
    knots : array_like, shape (m, d)
        Strictly increasing quantiles of every feature.
    levels : array_like, shape (m, d)
        Strictly increasing images.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> X = np.random.default_rng(0).exponential(size=(2000, 1))
    >>> y = fp.QuantileNormal.fit(X).forward(X)
    >>> bool(abs(y.mean()) < .05), bool(abs(y.std() - 1) < .05)
    (True, True)
    """

    knots: Array
    levels: Array

    def __post_init__(self) -> None:
        knots = check_finite(self.knots, "knots")
        levels = check_finite(self.levels, "levels", knots.shape)
        for name, values in (("knots", knots), ("levels", levels)):
            if values.ndim != 2 or len(values) < 2 or not (np.diff(values, axis=0) > 0).all():
                raise DataError(
                    f"`{name}` must have shape (m, d), m >= 2, and increase strictly.",
                    argument=name,
                )
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "levels", levels)

    @classmethod
    def fit(
        cls, X: ArrayLike, n_quantiles: int = 100, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the knots (quantiles of all rows); DataError for features with many ties."""
        array = check_features(X)
        weight = check_weights(sample_weight, len(array))
        array, rows = array[weight > 0], counted(weight[weight > 0])
        count = int(min(n_quantiles, rows.sum()))
        at, level = np.linspace(0.0, 1.0, count), ndtri((np.arange(count) + 0.5) / count)
        knots = np.stack([repeated_quantiles(x, rows, at) for x in array.T], axis=1)
        gaps = np.diff(knots, axis=0)
        tied = np.flatnonzero((gaps <= 0).any(axis=0))
        if tied.size:
            raise DataError(
                f"Feature(s) {tied.tolist()} have repeated quantiles, so no bijection goes "
                "through them; use fewer `n_quantiles` or leave discrete features out.",
                argument="X",
            )
        return cls(knots, np.repeat(level[:, None], array.shape[1], axis=1))

    def _map(self, X: Array, xs: Array, ys: Array) -> Array:
        out = np.empty_like(X)
        for j in range(X.shape[1]):
            x, y = xs[:, j], ys[:, j]
            k = np.clip(np.searchsorted(x, X[:, j]) - 1, 0, len(x) - 2)
            out[:, j] = y[k] + (X[:, j] - x[k]) * (y[k + 1] - y[k]) / (x[k + 1] - x[k])
        return out

    def forward(self, X: Array) -> Array:
        """Return normal scores."""
        return self._map(X, self.knots, self.levels)

    def backward(self, Y: Array) -> Array:
        """Return quantiles."""
        return self._map(Y, self.levels, self.knots)

    def __repr__(self) -> str:
        return f"QuantileNormal({len(self.knots)} knots, d={self.knots.shape[1]})"


NAMES = {"log": Log, "logit": Logit}


def as_bijection(value: Any) -> Bijection:
    """Return a bijection: itself, or by its name "log" or "logit"."""
    if isinstance(value, str) and value in NAMES:
        return NAMES[value]()
    if not isinstance(value, Bijection):
        raise ModelError(
            f"`bijection` must be {sorted(NAMES)} or a Bijection such as Power(0.5), "
            f"YeoJohnson.fit(X) or QuantileNormal.fit(X); found {value!r}.",
            argument="bijection",
        )
    return value


def bijection_from_dict(data: Mapping[str, Any]) -> Bijection:
    """Rebuild a bijection from ``to_dict()``; ModelError for an unknown name."""
    arguments = dict(data)
    name = arguments.pop("bijection", None)
    if name not in Bijection._registry:
        raise ModelError(f"Unknown bijection {name!r}; known are {sorted(Bijection._registry)}.")
    return Bijection._registry[name](**arguments)
