"""The cells of one steered group as kernels take them, and the gradient of their cost."""

import numpy as np

from fairprog.kernels.multivariate.one_group import (
    cell_gradients,
    project_gradient,
)


def arguments(D, s=1, r=0):
    """Weights and cells of one steered group, the metric as root."""
    return (
        np.linalg.inv(D.pooled_cov),
        D.prior[:, s],
        D.location[:, r],
        D.cov_of(r),
        D.location[:, s],
        D.cov_of(s),
    )


def gradient(root, w, m, Gamma, mu, Sigma, S, beta):
    G, g = cell_gradients(S @ root, beta, m, Gamma, mu, Sigma)
    G = project_gradient("symmetric", G, root)
    return np.einsum("i,ijk->jk", w, G), w @ g
