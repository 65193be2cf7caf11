r"""The nearest image over ALL invertible affine maps of one group: a search over local optima.

With the offset eliminated the objective of one group is, over every invertible B,

.. math:: f(B) = c + \tfrac12 \langle B, H B\rangle - \langle L, B\rangle - Q \log|\det B|,

a convex quadratic minus a log-determinant. It is not convex: the sign of the determinant splits
the matrices in two halves, and each half has several local optima. But the determinant is linear
in every single row, so the minimum over one row is the better root of a quadratic equation (the
"iterative projection" of independent vector analysis). Sweeps over the rows run on all starts at
once; Newton's method in a trust region finishes the best of them.

The coordinates are those in which one class has the identity as covariance, on both sides, and
the other classes together a diagonal one, sorted. There the maps that match eigenstructures are
signed permutations, which is where most starts come from; the rest are random rotations.

Arrays as in :mod:`fairprog.kernels.multivariate.one_group`: w (K,), m (K, d), Gamma (K, d, d),
mu (K, d), Sigma (K, d, d).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np

from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.kernels.multivariate.one_group import cell_gradients, cell_kl
from fairprog.labels import Array

SWEEPS = (15, 45)  # of all starts, then of the better quarter
FINISHED = (8, 3)  # distinct ends of the sweeps that are finished, up to EXACT and beyond
DENSE = 40  # beyond, the d^4 numbers of the quadratic form take too much room
ROUNDS = 6  # of turning the best map found, while that helps
EXACT = 12  # dimension beyond which Newton's steps are found by Krylov's method
SIGNS = 64  # patterns of signs per eigenstructure


def best_offset(B: Array, w: Array, m: Array, mu: Array, Sigma: Array) -> Array:
    """Return the beta that minimises sum_i w_i V_i for given B (d, d)."""
    P = w[:, None, None] * np.linalg.inv(Sigma)
    right = np.einsum("irs,is->r", P, mu - m @ B.T)
    return np.linalg.solve(P.sum(axis=0), right)


def cost(B: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array) -> float:
    """Return sum_i w_i V_i at B and its best offset, nats."""
    beta = best_offset(B, w, m, mu, Sigma)
    return float(w @ cell_kl(B, beta, m, Gamma, mu, Sigma))


def quadratic_form(
    w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[Array, Array]:
    """Return H (d, d, d, d) and L (d, d) of f: entries [r, c, s, e] of B[r, c], B[s, e]."""
    P = w[:, None, None] * np.linalg.inv(Sigma)
    inverse = np.linalg.inv(P.sum(axis=0))
    moment = Gamma + m[:, :, None] * m[:, None, :]
    H = np.einsum("irs,ice->rcse", P, moment, optimize=True)
    cross = np.einsum("irs,ic->rsc", P, m)  # d (gradient in beta) / d B
    H -= np.einsum("trc,tu,use->rcse", cross, inverse, cross, optimize=True)
    pulled = np.einsum("irs,is->ir", P, mu)
    L = np.einsum("ir,ic->rc", pulled, m)
    L -= np.einsum("trc,tu,u->rc", cross, inverse, pulled.sum(axis=0))
    return H, L


def sweep_rows(B: Array, H: Array, L: Array, Q: float, mirror: bool, sweeps: int) -> Array:
    r"""Minimise f over one row at a time, all starts B (N, d, d) at once.

    With b the row, det B is proportional to c'b, c the same row of :math:`B^{-T}`: the optimum is
    :math:`b = H_{rr}^{-1}(h + Q c / t)` with :math:`t = c'b` a root of
    :math:`t^2 - (c'H_{rr}^{-1}h)\,t - Q\,c'H_{rr}^{-1}c = 0`. Its positive root keeps the sign of
    the determinant; the root with the sign of :math:`c'H_{rr}^{-1}h` is the better one.
    """
    B = B.copy()
    d = B.shape[1]
    inverses = np.stack([np.linalg.inv(H[r, :, r, :]) for r in range(d)])
    for _ in range(sweeps):
        inverse = np.linalg.inv(B)
        for r in range(d):
            c = inverse[:, :, r].copy()
            h = L[r] - np.einsum("cse,nse->nc", H[r], B) + B[:, r] @ H[r, :, r, :]
            solved, pulled = h @ inverses[r], c @ inverses[r]
            a, k = (c * solved).sum(axis=1), Q * (c * pulled).sum(axis=1)
            root = np.sqrt(a * a + 4.0 * k)
            # the root that does not cancel
            large = 0.5 * (np.abs(a) + root)
            t = np.where(a >= 0, large, k / large)
            if mirror:
                t = np.where(a >= 0, large, -large)
            row = solved + (Q / t)[:, None] * pulled
            moved = np.einsum("nc,nce->ne", row - B[:, r], inverse)  # a rank-one update
            inverse -= c[:, :, None] * (moved / t[:, None])[:, None, :]
            B[:, r] = row
    return B


def descend(
    B: Array, w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array
) -> tuple[float, Array]:
    """Return (cost, B) of a local optimum below B on the same side of det B = 0.

    Newton's method in a trust region (it leaves saddle points), with the dense Hessian up to
    d = 12 and with products only beyond.
    """
    from scipy.optimize import minimize

    d, Q = m.shape[1], float(w.sum())
    args = w, m, Gamma, mu, Sigma
    side = float(np.linalg.slogdet(B)[0])
    P = w[:, None, None] * np.linalg.inv(Sigma)
    total = P.sum(axis=0)
    start = cost(B, *args)

    def value(x: Array) -> float:
        X = x.reshape(d, d)
        return cost(X, *args) if np.linalg.slogdet(X)[0] == side else np.inf

    def gradient(x: Array) -> Array:
        X = x.reshape(d, d)
        G, _ = cell_gradients(X, best_offset(X, w, m, mu, Sigma), m, Gamma, mu, Sigma)
        return np.asarray(np.tensordot(w, G, 1).ravel())

    def product(x: Array, z: Array) -> Array:
        inverse, Z = np.linalg.inv(x.reshape(d, d)), z.reshape(d, d)
        moved = m @ Z.T
        moved = moved - np.linalg.solve(total, np.einsum("irs,is->r", P, moved))
        out = np.einsum("irs,isc->rc", P, Z @ Gamma + moved[:, :, None] * m[:, None, :])
        return np.asarray((out + Q * (inverse @ Z @ inverse).T).ravel())

    search = partial(minimize, value, B.ravel(), jac=gradient)
    if d > EXACT:
        options = {"gtol": 1e-8, "maxiter": 500}
        x = search(hessp=product, method="trust-ncg", options=options).x
    else:
        H = quadratic_form(*args)[0].reshape(d * d, d * d)

        def hessian(x: Array) -> Array:
            inverse = np.linalg.inv(x.reshape(d, d))
            barrier = np.einsum("cs,er->rcse", inverse, inverse)
            return np.asarray(H + Q * barrier.reshape(d * d, d * d))

        options = {"gtol": 1e-9, "maxiter": 500}
        x = search(hess=hessian, method="trust-exact", options=options).x
        for _ in range(3):  # the last digits, which differences of costs cannot see
            try:
                step = np.linalg.solve(hessian(x), gradient(x))
            except np.linalg.LinAlgError:  # a direction that changes nothing
                break
            if np.abs(step).max() > 1e-4:
                break
            x = x - step
    end = value(x)
    return (end, x.reshape(d, d)) if end <= start else (start, B)


def structural_starts(
    w: Array, m: Array, Gamma: Array, mu: Array, Sigma: Array, count: int, seed: int
) -> list[Array]:
    """Return maps that match eigenstructures, then random rotations between whitened groups.

    For every class i: both sides in coordinates where class i has the identity and the others
    together a sorted diagonal covariance; signs by the means, then all of them (or random ones),
    then random signed permutations, then random rotations: `count` of each kind.
    """
    rng = np.random.default_rng(seed)
    K, d = m.shape
    out: list[Array] = []
    for i in range(K):
        to, back = (_simultaneous(w, cov, i) for cov in (Sigma, Gamma))
        to_inverse, from_inverse = np.linalg.inv(to), np.linalg.inv(back)
        a = np.delete(mu - mu[i], i, axis=0) @ to_inverse.T
        b = np.delete(m - m[i], i, axis=0) @ from_inverse.T
        guess = np.where((a * b).sum(axis=0) < 0, -1.0, 1.0)
        signs = [guess]
        if 2**d <= SIGNS:
            signs += [np.array(s) for s in itertools.product((1.0, -1.0), repeat=d)]
        else:
            signs += [guess * np.where(np.arange(d) == j, -1.0, 1.0) for j in range(d)]
            signs += list(rng.choice((-1.0, 1.0), size=(count, d)))
        inner = [np.diag(s) for s in signs]
        for _ in range(count):
            inner.append(np.eye(d)[rng.permutation(d)] * rng.choice((-1.0, 1.0), size=d))
        for _ in range(count):
            inner.append(np.linalg.qr(rng.normal(size=(d, d)))[0])
        out += [to @ O @ from_inverse for O in inner]
    return out


def _simultaneous(w: Array, cov: Array, i: int) -> Array:
    """Return T with T T' the covariance of class i and T diag(.) T' that of the others."""
    L = np.linalg.cholesky(cov[i])
    if len(w) == 1:
        return L
    rest = np.delete(w, i)
    others = np.tensordot(rest / rest.sum(), np.delete(cov, i, axis=0), 1)
    white = np.linalg.solve(L, np.linalg.solve(L, others).T)
    return L @ np.linalg.eigh(symmetrize(white))[1]


def search(
    w: Array,
    m: Array,
    Gamma: Array,
    mu: Array,
    Sigma: Array,
    starts: Sequence[Array],
    mirror: bool = False,
    count: int = 16,
    seed: int = 0,
) -> tuple[float, Array]:
    """Return (cost, B) of the best local optimum found; never worse than any of `starts`.

    Parameters
    ----------
    w, m, Gamma, mu, Sigma : Array
        One group, see the module.
    starts : sequence of Array (d, d)
        Maps to start from besides the structural and the random ones.
    mirror : bool
        Whether det B < 0 is allowed.
    count : int
        Starts of every random kind and class.
    seed : int
    """
    args = w, m, Gamma, mu, Sigma
    B = np.stack([*starts, *structural_starts(*args, count=count, seed=seed)])
    value, best = _best_end(B, args, mirror)
    for X in starts:
        value, best = min((value, best), (cost(X, *args), X), key=lambda end: end[0])
    rng = np.random.default_rng(seed)
    whiten = [np.linalg.cholesky(S) for S in Sigma]
    for _ in range(ROUNDS):
        turned = []
        for L in whiten:
            turned += list(L @ _turns(m.shape[1], count, rng) @ np.linalg.solve(L, best))
        lower, found = _best_end(np.stack([best, *turned]), args, mirror)
        gained = value - lower
        if gained > 0:
            value, best = lower, found
        if gained <= 1e-9 * max(1.0, value):
            break
    return value, best


def _turns(d: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` quarter turns and reflections in random pairs of orthogonal directions."""
    out = np.empty((count, d, d))
    for n in range(count):
        u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
        if n % 2 and d > 1:
            j, k = rng.choice(d, size=2, replace=False)
            u, v = np.eye(d)[[j, k]]
        plane = np.outer(u, u) + np.outer(v, v)
        turn = np.outer(v, u) - np.outer(u, v) if n % 4 < 2 else -plane
        out[n] = np.eye(d) - plane + turn
    return out


def _best_end(
    B: Array, args: tuple[Array, Array, Array, Array, Array], mirror: bool
) -> tuple[float, Array]:
    """Return the best local optimum below a batch of starts (N, d, d)."""
    w, d = args[0], B.shape[1]
    Q = float(w.sum())
    if not mirror:  # mirrored starts are turned by one reflection
        B = B.copy()
        B[:, 0] *= np.linalg.slogdet(B)[0][:, None]
    if d <= DENSE:
        H, L = quadratic_form(*args)
        B = sweep_rows(B, H, L, Q, mirror, SWEEPS[0])
        order = np.argsort([cost(X, *args) for X in B])
        B = sweep_rows(B[order[: max(24, len(B) // 4)]], H, L, Q, mirror, SWEEPS[1])
    costs = np.array([cost(X, *args) for X in B])
    ends: list[tuple[float, Array]] = []
    tried: list[float] = []
    for n in np.argsort(costs):
        if any(abs(costs[n] - c) <= 1e-6 * max(1.0, c) for c in tried):
            continue
        tried.append(float(costs[n]))
        ends.append(descend(B[n], *args))
        if len(tried) >= FINISHED[d > EXACT]:
            break
    return min(ends, key=lambda end: end[0])
