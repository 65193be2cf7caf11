"""The best map of one group for given common cells, by whichever method suits its size."""

from __future__ import annotations

import numpy as np

from fairprog.kernels.cells import LARGE
from fairprog.kernels.newton_cg import newton_cg
from fairprog.kernels.one_class import one_class
from fairprog.kernels.one_group import newton, newton_symmetric
from fairprog.kernels.small_maps import small_map
from fairprog.labels import Array
from fairprog.transports import Kind

DENSE = 12  # dimensions up to which the Hessian of a symmetric S is formed


def best_map(
    kind: Kind, root: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return (S, beta) of the optimum of :mod:`fairprog.kernels.one_group`.

    A closed form for one class; else dense Newton steps in few dimensions, conjugate gradients
    for a symmetric S in many, and the small quadratics of :mod:`fairprog.kernels.small_maps` for
    the other kinds, whose root is I or -I.
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
