r"""Concept vectors by linear probes on resampled subsets, and the subspace they span.

A probe is a logistic regression :math:`P(\text{desired} | h) = \sigma(w'h + c)` on a random subset
of one group's hidden states, as many of each class. With :math:`u = w / |w|` and :math:`m_a` the
midpoint of the group's class means, the subset's concept vector of class i is

.. math:: v_i = u u' (\bar h_i - m_a) ,

a unit probe with the length of what it separates: where the class stands, seen along the probe.
Source: Zhao et al. (2025), arXiv 2410.00153, who keep the unit vectors.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from fairprog.labels import Array, Indices


def logistic_probe(X: Array, y: Indices, penalty: float) -> Array:
    r"""Return (w, c) of a logistic regression, shape (d + 1,).

    Minimises :math:`\frac1n \sum_k \log(1 + e^{-s_k (w'x_k + c)}) + \frac{\lambda}{2} |w|^2` with
    :math:`s = \pm 1`; the offset is free.

    Parameters
    ----------
    X : Array, shape (n, d)
    y : Indices, shape (n,)
        0 or 1.
    penalty : float
        :math:`\lambda > 0`, in squared units of X.
    """
    sign = 2.0 * y - 1.0
    n, d = X.shape
    spread = np.sqrt(X.var(axis=0) + penalty)  # in w * spread the loss bends alike in all features

    def loss(theta: Array) -> tuple[float, Array]:
        w = theta[:d] / spread
        margin = sign * (X @ w + theta[d])
        slope = -sign * expit(-margin) / n
        value = np.logaddexp(0.0, -margin).mean() + 0.5 * penalty * w @ w
        return float(value), np.append((X.T @ slope + penalty * w) / spread, slope.sum())

    found: Array = minimize(
        loss, np.zeros(d + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7}
    ).x
    found[:d] /= spread
    return found


def concept_vectors(
    X: Array,
    y: Indices,
    rows_per_class: int,
    n_probes: int,
    penalty: float,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Return concept vectors (n_probes, 2, d) of one group, probes (n_probes, d + 1), and a check.

    The check, shape (n_probes, 2), is half the difference in log-odds between the class means: of
    the rows a probe was fitted to, and of those left out (NaN where there are none).

    Parameters
    ----------
    X : Array, shape (n, d)
        Hidden states of one group.
    y : Indices, shape (n,)
        0 undesired, 1 desired.
    rows_per_class : int
        Rows each subset has of each class, drawn without replacement.
    n_probes : int
    penalty : float
        Of :func:`logistic_probe`.
    rng : Generator
    """
    cells = [np.flatnonzero(y == i) for i in (0, 1)]
    midpoint = 0.5 * (X[cells[0]].mean(axis=0) + X[cells[1]].mean(axis=0))
    totals = [X[cell].sum(axis=0) for cell in cells]
    vectors = np.empty((n_probes, 2, X.shape[1]))
    probes = np.empty((n_probes, X.shape[1] + 1))
    check = np.full((n_probes, 2), np.nan)
    for k in range(n_probes):
        chosen = [rng.choice(cell, rows_per_class, replace=False) for cell in cells]
        rows = np.concatenate(chosen)
        probes[k] = logistic_probe(X[rows], y[rows], penalty)
        length = float(np.linalg.norm(probes[k, :-1]))
        u = probes[k, :-1] / (length or 1.0)  # classes that do not differ: a vector of zero
        means = [X[part].mean(axis=0) for part in chosen]
        for i in (0, 1):
            vectors[k, i] = u * (u @ (means[i] - midpoint))
        check[k, 0] = 0.5 * probes[k, :-1] @ (means[1] - means[0])
        left = [len(cell) - rows_per_class for cell in cells]
        if min(left) > 0:
            rest = [(totals[i] - rows_per_class * means[i]) / left[i] for i in (0, 1)]
            check[k, 1] = 0.5 * probes[k, :-1] @ (rest[1] - rest[0])
    return vectors, probes, check


def concept_basis(vectors: Array, n_components: int) -> Array:
    """Return an orthonormal basis (d, r) of the concept subspace.

    It holds the mean of every cell, and the directions in which vectors vary most about the means
    of their cells; r = `n_components`, less where the vectors span less.

    Parameters
    ----------
    vectors : Array, shape (G, n_probes, 2, d)
    n_components : int
    """
    d = vectors.shape[-1]
    means = vectors.mean(axis=1)
    first = _orthonormal(means.reshape(-1, d))
    rest = (vectors - means[:, None]).reshape(-1, d)
    rest = rest - (rest @ first) @ first.T
    room = max(0, min(n_components, d) - first.shape[1])
    return np.hstack([first, _orthonormal(rest)[:, :room]])


def _orthonormal(rows: Array) -> Array:
    """Return right singular vectors, largest first, without those that are rounding."""
    _, size, axes = np.linalg.svd(rows, full_matrices=False)
    return axes[size > 1e-9 * max(float(size.max(initial=0.0)), 1e-300)].T
