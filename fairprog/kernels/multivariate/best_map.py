"""The best map of one group for given common cells, by whichever method suits its size."""

from __future__ import annotations

import numpy as np

from fairprog.kernels.multivariate.cells import LARGE
from fairprog.kernels.multivariate.newton_cg import newton_cg
from fairprog.kernels.multivariate.normal import symmetrize, unit_condition
from fairprog.kernels.multivariate.one_class import one_class
from fairprog.kernels.multivariate.one_group import (
    WELL,
    cell_kl,
    first_map,
    newton,
    spectral_factor,
)
from fairprog.kernels.multivariate.small_maps import small_map
from fairprog.labels import Array
from fairprog.transports import Kind

FEW = 15  # Newton steps that usually suffice
DENSE = 12  # dimensions up to which the Hessian of a symmetric S is formed


def best_map(
    kind: Kind, root: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return (S, beta) of the optimum of :mod:`fairprog.kernels.multivariate.one_group`.

    A closed form for one class; else dense Newton steps in few dimensions, conjugate gradients
    for a symmetric S in many, and the small quadratics of
    :mod:`fairprog.kernels.multivariate.small_maps` for the other kinds, whose root is I or -I.
    """
    if kind == "symmetric" and len(w) == 1:
        return one_class(root, m[0], Gamma[0], mu[0], Sigma[0])
    if kind == "symmetric" and len(root) <= DENSE:
        return newton_symmetric(root, w, m, Gamma, mu, Sigma)
    if len(root) <= DENSE or (kind != "symmetric" and len(root) <= LARGE):
        S, beta, _ = newton(kind, root, w, m, Gamma, mu, Sigma)
    elif kind == "symmetric":
        S, beta, _, _ = newton_cg(root, w, m, Gamma, mu, Sigma)
    else:
        scale, beta = small_map(kind, float(root[0, 0]), w, m, Gamma, mu, Sigma)
        S = np.diag(scale)
    return S, beta


def newton_symmetric(
    root: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    r"""Return (S, beta) of the optimum over symmetric S, however far the classes are apart.

    Where a few steps do not do, log det S is first taken :math:`\tau` times, :math:`\tau` falling
    to one (Boyd & Vandenberghe, section 11.3), in coordinates that follow S: S = F Z F' with
    F = V sqrt(eigenvalues). Some eigenvalues are then tiny, and only in their own directions can
    steps be told from rounding. By invariance the problem in Z has the root F'R and the targets
    :math:`F^{-1}\mu_i, F^{-1}\Sigma_i F^{-T}`.
    """
    cells = w, m, Gamma, mu, Sigma
    S, beta = start = first_map("symmetric", root, *cells)
    try:
        S, beta, steps = newton("symmetric", root, *cells, start, FEW)
        if unit_condition(S) < WELL:
            if steps == FEW:
                S, beta, _ = newton("symmetric", root, *cells, (S, beta))
            return S, beta
    except np.linalg.LinAlgError:
        pass
    S, beta = start
    weight = max(1.0, float(w @ cell_kl(S @ root, beta, m, Gamma, mu, Sigma) / w.sum()))
    while True:
        for _ in range(FEW):  # the first of them far away in bad coordinates
            F, away = spectral_factor(S)
            white = symmetrize(away @ Sigma @ away.T)
            near = np.eye(len(S)), away @ beta
            Z, shift, steps = newton(
                "symmetric", F.T @ root, w, m, Gamma, mu @ away.T, white, near, FEW, weight
            )
            S, beta = symmetrize(F @ Z @ F.T), F @ shift
            if steps < FEW:
                break
        if weight == 1.0:
            return S, beta
        weight = max(1.0, 0.1 * weight)
