"""Quadratic forms in normal variables, as textbooks write them."""

import numpy as np

from fairprog.kernels.rates.quadratic_form import spectral_cdf


def spectral_form(A, b, c, mean, cov):
    """Diagonalise x'Ax + b'x + c under x ~ N(mean, cov): weights, slopes, offset."""
    S, centre = np.asarray(A, float), np.asarray(mean, float)
    S, b = (S + S.T) / 2, np.asarray(b, float)
    root = np.linalg.cholesky(np.asarray(cov, float))
    weights, basis = np.linalg.eigh(root.T @ S @ root)
    slopes = basis.T @ (root.T @ (2 * S @ centre + b))
    return weights, slopes, float(centre @ S @ centre + b @ centre + c)


def cdf(x, weights, shifts, sigma=0.0, const=0.0, tol=1e-11):
    """P(Q <= x) for Q = const + sum_j weights_j (z_j + shifts_j)^2 + sigma z_0, and its error."""
    w, h = np.atleast_1d(np.asarray(weights, float)), np.atleast_1d(np.asarray(shifts, float))
    offset = const + float(np.sum(w * h**2))
    return spectral_cdf(x, np.append(w, 0.0), np.append(2 * w * h, sigma), offset, tol)
