r"""One group steered to a reference: objective, gradient, closed form and Newton's method.

Arrays of one group: weights w (K,), reference cells m (K, d), Gamma (K, d, d), target cells
mu (K, d), Sigma (K, d, d). With V_i = KL((B, beta) # N(m_i, Gamma_i) || N(mu_i, Sigma_i)),

.. math:: f(B, \beta) = \sum_i w_i V_i, \qquad B = S R,

is convex in (S, beta) for S symmetric positive definite and R fixed (theory.md, Theorem B).
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.multivariate.normal import kl, symmetrize, unit_condition
from fairprog.labels import Array
from fairprog.transports import Kind, Pattern

WELL = 1e4  # condition of S that any coordinates can hold


def cell_kl(B: Array, beta: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array) -> Array:
    """Return V_i = KL((B, beta) # N(m_i, Gamma_i) || N(mu_i, Sigma_i)), shape (K,).

    B may be (d, d) or one map per class (K, d, d); beta (d,) or (K, d); and so on, as arrays
    broadcast over leading axes.
    """
    mean = (B @ m[..., None])[..., 0] + beta
    cov = symmetrize(B @ Gamma @ np.swapaxes(B, -1, -2))
    return kl(mean, cov, mu, Sigma)


def cell_gradients(
    B: Array, beta: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    r"""Return the gradients of every V_i in (B, beta), shapes (K, d, d) and (K, d).

    :math:`\nabla_B V_i = \Sigma_i^{-1}(B\Gamma_i + r_i m_i') - B^{-T}`,
    :math:`\nabla_\beta V_i = \Sigma_i^{-1} r_i`, :math:`r_i = B m_i + \beta - \mu_i`.
    """
    r = (B @ m[..., None])[..., 0] + beta - mu
    g = np.linalg.solve(Sigma, r[..., None])[..., 0]
    G = np.linalg.solve(Sigma, B @ Gamma) + g[..., :, None] * m[..., None, :]
    G = G - np.swapaxes(np.linalg.inv(B), -1, -2)
    return G, g


def linear_basis(kind: Kind, d: int) -> Array:
    """Return an orthonormal basis of the linear space S lives in, shape (p, d, d)."""
    if kind == "fixed":
        return np.zeros((0, d, d))
    if kind == "scalar":
        return np.eye(d)[None] / np.sqrt(d)
    if kind == "diagonal":
        return np.eye(d)[:, :, None] * np.eye(d)[:, None, :]
    if kind == "full":
        return np.eye(d * d).reshape(d * d, d, d)
    rows, cols = np.nonzero(
        np.triu(kind.mask(d) if isinstance(kind, Pattern) else np.ones((d, d)))
    )
    E = np.zeros((rows.size, d, d))
    k = np.arange(rows.size)
    scale = np.where(rows == cols, 1.0, np.sqrt(0.5))
    E[k, rows, cols] = scale
    E[k, cols, rows] = scale
    return E


def linear_size(kind: Kind, d: int) -> int:
    """Return the dimension p of the linear space S lives in."""
    if isinstance(kind, Pattern):
        return sum(len(block) * (len(block) + 1) // 2 for block in kind.blocks)
    return {"fixed": 0, "scalar": 1, "diagonal": d, "full": d * d}.get(kind, d * (d + 1) // 2)


def project_gradient(kind: Kind, G: Array, root: Array) -> Array:
    """Return the gradient in S of a function with gradient G in B = S R, both (..., d, d).

    The projection of G R' on the linear space of the kind: for symmetric variables only the
    symmetric part of a gradient is determined.
    """
    d = root.shape[-1]
    raw = G @ np.swapaxes(root, -1, -2)
    if kind == "fixed":
        return np.zeros_like(raw)
    if kind == "scalar":
        trace = np.trace(raw, axis1=-2, axis2=-1)[..., None, None]
        return np.asarray(trace * np.eye(d) / d)
    if kind == "diagonal":
        return np.asarray(raw * np.eye(d))
    if isinstance(kind, Pattern):
        raw = raw * kind.mask(d)
    return np.asarray(raw) if kind == "full" else symmetrize(raw)


def closed_form(
    w: Array, m: Array, s: Array, mu: Array, sigma: Array, mirror: bool = False
) -> tuple[float, float]:
    r"""Return the optimal (gamma, b) of x -> gamma x + b for d = 1 and any K.

    With u_i = w_i / sigma_i^2, bars u-weighted means and Q = sum w:

    .. math::
        \gamma = \frac{R + \sqrt{R^2 + 4 Q (S + V)}}{2 (S + V)}, \quad
        V = \sum u_i (m_i - \bar m)^2,\quad R = \sum u_i (m_i - \bar m)(\mu_i - \bar\mu),\quad
        S = \sum w_i s_i^2 / \sigma_i^2 .

    Source: theory.md section 4.

    Parameters
    ----------
    w : Array, shape (K,)
        Positive weights.
    m, s : Array, shape (K,)
        Means and standard deviations of the reference.
    mu, sigma : Array, shape (K,)
        Means and standard deviations of the group that is steered.
    mirror : bool
        Take gamma < 0 instead (the same formula with m -> -m).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(2)
    >>> closed_form(0.5 * one, np.array([0., 1.]), one, np.array([3., 5.]), 2 * one)
    (2.0, 3.0)
    """
    sign = -1.0 if mirror else 1.0
    u = w / sigma**2
    center, target = float(u @ m / u.sum()), float(u @ mu / u.sum())
    dm, dmu = sign * (m - center), mu - target
    curvature = float(w @ (s / sigma) ** 2 + u @ dm**2)
    R = float(u @ (dm * dmu))
    disc = np.sqrt(R * R + 4.0 * float(w.sum()) * curvature)
    # the root that does not cancel
    g = (R + disc) / (2.0 * curvature) if R >= 0 else 2.0 * float(w.sum()) / (disc - R)
    gamma = sign * float(g)
    return gamma, target - gamma * center


def newton(
    kind: Kind,
    root: Array,
    w: Array,
    m: Array,
    Gamma: Array,
    mu: Array,
    Sigma: Array,
    start: tuple[Array, Array] | None = None,
    max_iter: int = 200,
    barrier: float = 1.0,
) -> tuple[Array, Array, int]:
    r"""Minimise f(S root, beta) over (S, beta) by damped Newton steps.

    f / sum(w) is a quadratic minus log det S, hence self-concordant: the step 1 / (1 + lambda),
    lambda the Newton decrement, stays in the domain and converges from any start (Boyd &
    Vandenberghe, section 9.6). Far from the optimum the best step along the direction is taken
    instead: f is a quadratic minus sum log(1 + t mu_j) there, mu_j eigenvalues of S^{-1} dS.

    Parameters
    ----------
    kind : {"fixed", "scalar", "diagonal", "symmetric"}
        Linear space of S; "fixed" is S = I.
    root : Array, shape (d, d)
    w, m, Gamma, mu, Sigma : Array
        See the module.
    start : (S, beta), optional
        A point of the domain.
    max_iter : int
        Ten usually suffice; the caller checks the gradient.
    barrier : float
        How many times log det S is taken.

    Returns
    -------
    S : Array, shape (d, d)
    beta : Array, shape (d,)
    iterations : int

    Notes
    -----
    Cost: dense linear algebra with d(d+1)/2 + d unknowns; meant for d up to about 40.
    """
    K, d = m.shape
    Q = barrier * float(w.sum())
    E = linear_basis(kind, d)
    p = len(E)
    J = _jacobian(E, root)
    fixed_hessian, to_gradient = _quadratic_part(J, w, m, Gamma, Sigma)
    z = np.concatenate([m, np.ones((K, 1))], axis=1)
    P = np.linalg.inv(Sigma)
    pulled = (P @ mu[..., None])[..., 0]
    linear = J @ np.einsum("i,ir,ic->rc", w, pulled, z).ravel()

    S, beta = start if start is not None else first_map(kind, root, w, m, Gamma, mu, Sigma)
    if kind == "fixed":
        S = np.eye(d)
    x = np.concatenate([np.einsum("prs,rs->p", E, S), beta])
    base = np.zeros((d, d)) if p else S
    constant = to_gradient @ np.pad(base @ root, ((0, 0), (0, 1))).ravel()
    flat = E.reshape(p, d * d)
    last, iterations = np.inf, 0
    while iterations < max_iter:
        iterations += 1
        S = np.tensordot(x[:p], E, 1) + base
        inverse = inverse_by_scales(S)
        gradient = fixed_hessian @ x + constant - linear
        gradient[:p] -= Q * (flat @ inverse.ravel())
        step = -solve_by_scales(_with_barrier(fixed_hessian, E, inverse, Q), gradient)
        size = np.sqrt(max(float(-gradient @ step), 0.0) / Q)
        if size > 0.25:
            moved = np.tensordot(step[:p], E, 1)
            slope = float(step @ (fixed_hessian @ x + constant - linear))
            curvature = float(step @ fixed_hessian @ step)
            ratios = _ratios(S, moved)
            x = x + exact_step(curvature, slope, Q, ratios) * step
            continue
        if size >= 0.5 * last:  # quadratic convergence has ended in rounding
            break
        x = x + step
        last = size
        if size < 1e-15:
            break
    return np.tensordot(x[:p], E, 1) + base, x[p:], iterations


def spectral_factor(S: Array) -> tuple[Array, Array]:
    """Return F with F F' = S along its eigenvectors, and its inverse; LinAlgError if none is."""
    scale = np.sqrt(np.maximum(np.diagonal(S), np.finfo(float).tiny))
    values, V = np.linalg.eigh(S / scale[:, None] / scale)
    if not values[0] > 0:
        raise np.linalg.LinAlgError("not positive definite")
    root = np.sqrt(values)
    return scale[:, None] * V * root, (V / root).T / scale


def exact_step(a: float, b: float, Q: float, ratios: Array) -> float:
    """Minimise a t^2 / 2 + b t - Q sum log(1 + t ratio_j) over t > 0, convex: by bisection."""

    def slope(t: float) -> float:
        return float(a * t + b - Q * (ratios / (1.0 + t * ratios)).sum())

    smallest = float(ratios.min())
    high = 1.0
    while smallest >= 0 and slope(high) < 0:
        high *= 2.0
    low, high = 0.0, high if smallest >= 0 else -1.0 / smallest
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return low


def inverse_by_scales(S: Array) -> Array:
    """Return S^{-1}, S positive definite, as exact as its correlations allow in any units."""
    scale = 1.0 / np.sqrt(np.diagonal(S))
    return np.asarray(np.linalg.inv(S * scale[:, None] * scale) * scale[:, None] * scale)


def solve_by_scales(H: Array, g: Array) -> Array:
    """Return H^{-1} g, H positive definite, by unknowns in units that make its diagonal one."""
    scale = 1.0 / np.sqrt(np.diagonal(H))
    return np.asarray(scale * np.linalg.solve(H * scale[:, None] * scale, scale * g))


def _ratios(S: Array, moved: Array) -> Array:
    """Return the eigenvalues of S^{-1} moved, S positive definite and `moved` symmetric."""
    scale = 1.0 / np.sqrt(np.diagonal(S))
    scales = scale[:, None] * scale
    L = np.linalg.cholesky(S * scales)
    half = np.linalg.solve(L, moved * scales)
    return np.linalg.eigvalsh(symmetrize(np.linalg.solve(L, half.T)))


def first_map(
    kind: Kind, root: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return the best (g S_0, beta): S_0 root orthogonal, or S_0 = I for scalars and diagonals."""
    d = root.shape[0]
    if kind in ("fixed", "scalar"):
        return np.eye(d), np.zeros(d)
    S = np.eye(d)
    if kind == "symmetric" or isinstance(kind, Pattern):
        values, vectors = np.linalg.eigh(root @ root.T)
        S = (vectors / np.sqrt(values)) @ vectors.T
    scale, beta = best_scale(S @ root, w, m, Gamma, mu, Sigma)
    return scale * S, beta


def best_scale(
    B: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[float, Array]:
    r"""Return the best (s, beta) of the maps s B x + beta, s > 0.

    With beta at its best the cost is :math:`as^2/2 - cs - dw_\cdot\log s` and a constant: s is the
    positive root of :math:`as^2 - cs - dw_\cdot`.
    """
    P = w[:, None, None] * np.linalg.inv(Sigma)
    moved = m @ B.T
    u, v = ((P @ x[..., None])[..., 0] for x in (moved, mu))
    Q, u0, v0 = P.sum(axis=0), u.sum(axis=0), v.sum(axis=0)
    pulled = np.linalg.solve(Q, u0)
    a = float((P * (B @ Gamma @ B.T)).sum() + (u * moved).sum() - u0 @ pulled)
    c = float((u * mu).sum() - v0 @ pulled)
    mass = len(B) * float(w.sum())
    s = (c + np.sqrt(c * c + 4.0 * a * mass)) / (2.0 * a)
    if c < 0:  # without cancellation
        s = 2.0 * mass / (np.sqrt(c * c + 4.0 * a * mass) - c)
    return s, np.linalg.solve(Q, v0 - s * u0)


def decrement(
    kind: Kind,
    root: Array,
    S: Array,
    w: Array,
    m: Array,
    Gamma: Array,
    Sigma: Array,
    gradient: tuple[Array, Array],
) -> float:
    r"""Return the Newton decrement :math:`\sqrt{g' H^{-1} g}` of a gradient (N, n) in (S, beta).

    Half its square is how far f is above its minimum, to second order; it does not depend on
    units or on the choice of coordinates. H is the Hessian of f at S (beta does not enter), its
    eigenvalues taken by their size where f is not convex.
    """
    if kind == "symmetric" and unit_condition(S) > WELL:  # in coordinates that follow S
        F, away = spectral_factor(S)
        root, S, Sigma = F.T @ root, np.eye(len(S)), symmetrize(away @ Sigma @ away.T)
        gradient = F.T @ gradient[0] @ F, F.T @ gradient[1]
    E = linear_basis(kind, root.shape[0])
    J = _jacobian(E, root)
    hessian, _ = _quadratic_part(J, w, m, Gamma, Sigma)
    inverse = np.linalg.inv(S) if kind == "full" else inverse_by_scales(S)
    hessian = _with_barrier(hessian, E, inverse, float(w.sum()))
    g = np.concatenate([np.einsum("prs,rs->p", E, gradient[0]), gradient[1]])
    if kind != "full":
        return float(np.sqrt(max(float(g @ solve_by_scales(hessian, g)), 0.0)))
    # not convex: curvature counts by its size, so that no saddle point looks better than it is
    values, vectors = np.linalg.eigh(hessian)
    size = np.maximum(np.abs(values), 1e-10 * np.abs(values).max())
    return float(np.sqrt(((vectors.T @ g) ** 2 / size).sum()))


def _jacobian(E: Array, root: Array) -> Array:
    """Return d vec[B | beta] for every coordinate of (S, beta), shape (p + d, d (d + 1))."""
    p, d = len(E), root.shape[0]
    J = np.zeros((p + d, d, d + 1))
    J[:p, :, :d] = E @ root
    J[p + np.arange(d), np.arange(d), d] = 1.0
    return J.reshape(p + d, -1)


def _quadratic_part(
    J: Array, w: Array, m: Array, Gamma: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return the Hessian J Q J' of f without its log det, and J Q, Q acting on vec[B | beta]."""
    K, d = m.shape
    z = np.concatenate([m, np.ones((K, 1))], axis=1)
    moment = z[:, :, None] * z[:, None, :]
    moment[:, :d, :d] += Gamma
    size = d * (d + 1)
    P = np.linalg.inv(Sigma)
    quadratic = np.einsum("i,irs,icd->rcsd", w, P, moment, optimize=True).reshape(size, size)
    JQ = J @ quadratic
    return JQ @ J.T, JQ


def quadratics(
    kind: Kind, root: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return H (K, n, n) and c (K, n) of every class's cost, less its -w_i log det S.

    That is x'Hx / 2 - c'x + constant in the coordinates x of (S, beta) on `linear_basis`.
    """
    E = linear_basis(kind, root.shape[0])
    J, base = _jacobian(E, root), np.pad(root, ((0, 0), (0, 1))).ravel() * (not len(E))
    H, c = [], []
    for i in range(len(w)):
        k = slice(i, i + 1)
        hessian, to_gradient = _quadratic_part(J, w[k], m[k], Gamma[k], Sigma[k])
        pulled = w[i] * np.linalg.solve(Sigma[i], mu[i])
        H.append(hessian)
        c.append(J @ np.outer(pulled, np.append(m[i], 1.0)).ravel() - to_gradient @ base)
    return np.stack(H), np.stack(c)


def barrier(kind: Kind, d: int, x: Array) -> tuple[Array, Array] | None:
    """Return gradient and Hessian of -log det S in the same coordinates; None unless S > 0."""
    E, n = linear_basis(kind, d), len(x)
    g, H = np.zeros(n), np.zeros((n, n))
    if not len(E):
        return g, H
    S = np.tensordot(x[: len(E)], E, 1)
    if np.diagonal(S).min() <= 0:
        return None
    scale = 1.0 / np.sqrt(np.diagonal(S))
    if np.linalg.eigvalsh(S * scale[:, None] * scale).min() <= 0:
        return None
    inverse = inverse_by_scales(S)
    g[: len(E)] = -np.tensordot(E, inverse, 2)
    return g, _with_barrier(H, E, inverse, 1.0)


def _with_barrier(hessian: Array, E: Array, inverse: Array, Q: float) -> Array:
    """Add the Hessian of -Q log|det S|, given S^{-1}."""
    p, d = len(E), inverse.shape[0]
    out = hessian.copy()
    flat = E.reshape(p, d * d)
    moved = np.swapaxes(inverse @ E @ inverse, 1, 2)
    out[:p, :p] += Q * (flat @ moved.reshape(p, d * d).T)
    return out
