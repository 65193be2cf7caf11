r"""One class: the map that carries one normal law to another, a geometric mean.

Among A = S R with S symmetric positive definite exactly one carries :math:`\Gamma` to
:math:`\Sigma`, :math:`S (R \Gamma R') S = \Sigma`:

.. math:: S = (R\Gamma R')^{-1} \# \Sigma, \qquad
    X \# Y = X^{1/2} (X^{-1/2} Y X^{-1/2})^{1/2} X^{1/2}.

With R = I it is the map of Gaussian optimal transport. Source: theory.md section 4, K = 1.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from fairprog.kernels.algebra.blas import cholesky, gram, solve_lower, upper_times
from fairprog.labels import Array


def one_class(root: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array) -> tuple[Array, Array]:
    """Return (S, beta) with S root # N(m, Gamma) = N(mu, Sigma) up to the shift beta.

    Parameters
    ----------
    root : Array, shape (d, d)
    m, mu : Array, shape (d,)
    Gamma, Sigma : Array, shape (d, d)
        Positive definite.

    Raises
    ------
    numpy.linalg.LinAlgError
        If one of them is not.

    Examples
    --------
    >>> S, beta = one_class(np.eye(2), np.ones(2), np.eye(2), np.zeros(2), np.diag([4.0, 9.0]))
    >>> S.round(12)
    array([[2., 0.],
           [0., 3.]])
    >>> beta.round(12)
    array([-2., -3.])
    """
    half = upper_times(cholesky(Gamma), np.array(root.T, order="C"), overwrite=True)
    U = cholesky(gram(half))  # U'U = R Gamma R'
    del half
    inner = gram(upper_times(cholesky(Sigma), np.ascontiguousarray(U.T)))  # U Sigma U'
    values, V = eigh(inner, driver="evd", overwrite_a=True, check_finite=False)
    # S = U^{-1} (U Sigma U')^{1/2} U^{-T} = F'F, F = values^{1/4} V' U^{-T}
    V *= values**0.25
    S = gram(np.ascontiguousarray(solve_lower(U, V, transposed=True, overwrite=True).T))
    return S, mu - S @ (root @ m)
