"""The program over piecewise-linear maps with a sample as reference: a fit criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import refuse_reordered
from fairprog.errors import DataError, SolverError
from fairprog.kernels.line.piecewise_linear import decrement, nearest, sample_moments
from fairprog.kernels.statistics.weighted_quantiles import middle_levels
from fairprog.labels import (
    Array,
    check_features,
    check_finite,
    check_number,
    check_weights,
    encode,
    label_order,
    label_vector,
)
from fairprog.transports import PiecewiseLinearMap


def fit_piecewise_linear(
    X: ArrayLike,
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    n_knots: int = 32,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
) -> PiecewiseLinearMap:
    """Fit one increasing map that carries the classes of a sample to normal laws.

    Minimises the convex criterion
    sum_i w_i mean over class i of ( -log N(T(x); mean_i, std_i^2) - log T'(x) )
    over maps that are piecewise linear on quantiles of the sample. For normal classes of a
    population use ``NearestIdeal(..., transport=PiecewiseLinear())``, which is exact.

    Source: theory.md section 4.

    Parameters
    ----------
    X : array_like, shape (n,) or (n, 1)
        The sample whose coordinates are the map's source.
    y : array_like, shape (n,)
    mean, std : array_like, shape (K,)
        The normal target of every class, in the coordinates the map leads to (after a bijection
        such as the logit where that makes them normal).
    n_knots : int
        Quantiles (k + 1/2) / n_knots of the class-weighted sample.
    class_weight : array_like, shape (K,), optional
        w_i; default equal.
    sample_weight : array_like, shape (n,), optional
    classes : sequence, optional
        Label order: given, else sorted.

    Returns
    -------
    PiecewiseLinearMap

    Raises
    ------
    DataError
        For NaN, shapes that differ, an empty class, fewer than four distinct values.
    SolverError
        If the Newton decrement of the answer is not small.

    Examples
    --------
    >>> import fairprog as fp, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=5000)
    >>> z = rng.normal(size=5000) + 2 * y
    >>> T = fp.fit_piecewise_linear(np.tanh(z / 2), y, [0., 2.], [1., 1.])
    >>> float(np.median(np.abs(T(np.tanh(z / 2)) - z))) < 0.1
    True
    """
    refuse_reordered(X=X, y=y, sample_weight=sample_weight)
    x = check_features(X, dim=1)[:, 0]
    labels = label_order(classes, label_vector(y, "y", len(x)), "classes")
    K = len(labels)
    code, weight = encode(y, labels, "y", len(x)), check_weights(sample_weight, len(x))
    mu, sigma = check_finite(mean, "mean", (K,)), check_finite(std, "std", (K,))
    if (sigma <= 0).any():
        raise DataError(f"`std` must be positive; found {sigma.min():.6g}.", argument="std")
    w = np.full(K, 1.0 / K) if class_weight is None else check_weights(class_weight, K)
    mass = np.bincount(code, weights=weight, minlength=K)
    for c, own in zip(labels, mass, strict=True):
        if own <= 0:
            raise DataError(f"Class {c!r} has no rows.", argument="y", cell=(c, None))
    n = check_number(n_knots, "n_knots", 2)
    center, scale = float(x.mean()), float(x.std())
    to_center, to_scale = float(w @ mu / w.sum()), float(np.sqrt(w @ sigma**2 / w.sum()))
    if not scale > 0:
        raise DataError("`X` is constant.", argument="X")
    u = (x - center) / scale
    knots = _knots(u, weight * (w / mass)[code], int(n))
    moments = np.stack([sample_moments(knots, u[code == i], weight[code == i]) for i in range(K)])
    args = knots, w, moments, (mu - to_center) / to_scale, sigma / to_scale
    theta, _ = nearest(*args)
    size = decrement(theta, *args)
    if size > 1e-6 * np.sqrt(w.sum()):
        raise SolverError(f"Newton's method ends with a decrement of {size:.2g}.")
    ratio = to_scale / scale
    return PiecewiseLinearMap(
        center + scale * knots,
        to_center + to_scale * theta[1:-1],
        float(ratio * theta[0]),
        float(ratio * theta[-1]),
    )


def _knots(x: Array, weight: Array, count: int) -> Array:
    """Return distinct sample values at the quantiles, with values left and right of them."""
    values, levels = middle_levels(x, weight)
    if len(values) < 4:
        raise DataError(f"`X` has only {len(values)} distinct values.", argument="X")
    at = np.searchsorted(levels, (np.arange(count) + 0.5) / count)
    inner = np.unique(np.clip(at, 1, len(values) - 2))
    if len(inner) < 2:  # almost all of the weight is on one value
        inner = np.array([1, len(values) - 2])
    return np.asarray(values[inner])
