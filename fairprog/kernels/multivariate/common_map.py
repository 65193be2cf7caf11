"""The common map of two groups' normal cells, if there is one.

Whiten class 0 of both groups. A common affine map is then an orthogonal matrix O that carries
every class difference and every class covariance of one group to the other's. A random symmetric
combination of all of them has, for almost every choice, the finest common eigenspaces; O is block
diagonal in them and each block follows from an already known one through the pieces of a second
combination that link the two. For K = 2 such a map exists iff the population is ideal (theory.md
section 2); for K > 2 it is sufficient.
"""

from __future__ import annotations

import numpy as np

from fairprog.kernels.multivariate.normal import in_units, symmetric_root, symmetrize
from fairprog.labels import Array, Indices

UNLINKED = 1e-6  # links below this are rounding: everything is scaled to order one
ULPS = 4.0  # means are known to a few units in their last place
MOST_STEPS = 50  # least squares in a block: walks of a common map have few singular values


def map_residual(
    A: Array, b: Array, mean: Array, cov: Array, to_mean: Array, to_cov: Array
) -> float:
    """Return the worst whitened residual of (A, b) # N(mean_i, cov_i) against the target cells.

    With L L' the target covariance: the larger of |L^{-1}(A m + b - mu)| and the spectral norm
    of L^{-1} A S A' L^{-T} - I, worst over the K cells.
    """
    moved, to_cov, shift = in_units(to_cov, A @ cov @ A.T, to_cov, mean @ A.T + b - to_mean)
    L = np.linalg.cholesky(to_cov)
    shift = np.linalg.solve(L, shift[..., None])[..., 0]
    white = np.linalg.solve(L, moved)
    white = symmetrize(np.linalg.solve(L, np.swapaxes(white, -1, -2)))
    spread = np.abs(np.linalg.eigvalsh(white) - 1.0).max()
    return float(max(np.sqrt((shift**2).sum(axis=-1)).max(), spread))


def mean_rounding(mean: Array, cov: Array) -> float:
    """Return what rounding of the means themselves may add to :func:`map_residual`.

    A mean of 1e6 is known to 1e-10, whatever the spread: the root mean square length of whitened
    errors of a few units in the last place of every mean (K, d), worst over the cells.
    """
    error = ULPS * np.finfo(float).eps * np.maximum(np.abs(mean), np.abs(mean[0]))
    unit = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    L = np.linalg.cholesky(cov / (unit[:, :, None] * unit[:, None, :]))
    white = np.linalg.inv(L) * (error / unit)[:, None, :]
    return float(np.sqrt((white**2).sum(axis=(1, 2))).max())


def common_map(
    mean: Array, cov: Array, to_mean: Array, to_cov: Array
) -> tuple[Array, Array, float]:
    """Return (A, b, residual): the affine map that best carries all cells to the target cells.

    Parameters
    ----------
    mean, to_mean : Array, shape (K, d)
    cov, to_cov : Array, shape (K, d, d)

    Returns
    -------
    A : Array, shape (d, d)
    b : Array, shape (d,)
    residual : float
        :func:`map_residual`; of the order of rounding iff the search found a common map. When
        none exists the map is only a candidate and its residual is not the smallest possible.
    """
    # units and origins of the features must not matter: unit variances, class 0 at the origin
    unit, to_unit = (np.sqrt(np.diagonal(S, 0, 1, 2).mean(axis=0)) for S in (cov, to_cov))
    cells = (
        (mean - mean[0]) / unit,
        cov / np.outer(unit, unit),
        (to_mean - to_mean[0]) / to_unit,
        to_cov / np.outer(to_unit, to_unit),
    )
    A, residual = _linear_map(*cells)
    A = to_unit[:, None] * A / unit
    return A, to_mean[0] - A @ mean[0], residual


def _linear_map(mean: Array, cov: Array, to_mean: Array, to_cov: Array) -> tuple[Array, float]:
    """Return (A, residual) of the best A found that carries the cells; both mean[0] are zero."""
    root, back = symmetric_root(to_cov[0]), symmetric_root(cov[0], -0.5)
    b = np.zeros(len(root))
    if len(mean) == 1:
        A = root @ back
        return A, map_residual(A, b, mean, cov, to_mean, to_cov)
    pieces = _pieces(mean, cov), _pieces(to_mean, to_cov)
    d = mean.shape[1]
    best: tuple[Array, float] | None = None
    for seed in range(2):
        coefficients = np.random.default_rng(seed).normal(size=(2, pieces[0][1].shape[0]))
        for width in (1e-12, 1e-9, 1e-7, 1e-5, 1e-3):
            O, mismatch = _orthogonal(pieces, coefficients, width)
            A = root @ O @ back
            residual = map_residual(A, b, mean, cov, to_mean, to_cov)
            if best is None or residual < best[1]:
                best = A, residual
            if residual < 1e-13 * d:
                return best
            if mismatch > 1e-3:  # no width helps where even the spectra differ
                break
    assert best is not None
    return best


def _pieces(mean: Array, cov: Array) -> tuple[Array, Array]:
    """Return whitened class differences (K-1, d) and the matrices every O must intertwine."""
    W = symmetric_root(cov[0], -0.5)
    delta = (mean[1:] - mean[0]) @ W
    matrices = [symmetrize(W @ S @ W) for S in cov[1:]]
    # covariances may be of any size: compare S / (1 + S), whose spectrum lies in (0, 1)
    matrices = [symmetrize(np.linalg.solve(np.eye(len(W)) + M, M)) for M in matrices]
    scaled = delta / np.sqrt(1.0 + (delta**2).sum(axis=1, keepdims=True))
    for i in range(len(scaled)):
        for j in range(i + 1):
            matrices.append(symmetrize(np.outer(scaled[i], scaled[j])))
    return scaled, np.stack(matrices)


def _orthogonal(
    pieces: tuple[tuple[Array, Array], tuple[Array, Array]], coefficients: Array, width: float
) -> tuple[Array, float]:
    """Return the orthogonal matrix that intertwines the pieces, and how far spectra differ."""
    (delta_r, N_r), (delta_s, N_s) = pieces
    first, second = coefficients
    K = len(delta_r) + 1
    values, U = np.linalg.eigh(np.tensordot(first, N_r, 1))
    others, Us = np.linalg.eigh(np.tensordot(first, N_s, 1))
    cuts = np.flatnonzero(np.diff(values) > width * max(1.0, float(np.abs(values).max()))) + 1
    blocks = np.split(np.arange(len(values)), cuts)
    # links between blocks; the mean differences link every block to the known number 1
    link_r, link_s = (
        U.T @ np.tensordot(second, N_r, 1) @ U,
        Us.T @ np.tensordot(second, N_s, 1) @ Us,
    )
    dr, ds = delta_r @ U, delta_s @ Us
    # a maximum spanning tree over the blocks (Prim): best known link of every block still open
    best = {k: ds[:, block].T @ dr[:, block] for k, block in enumerate(blocks)}
    size = {k: float(np.linalg.norm(target)) for k, target in best.items()}
    O: dict[int, Array] = {}
    while size:
        k = max(size, key=size.__getitem__)
        target = best[k]
        if size.pop(k) < UNLINKED and len(blocks[k]) > 1:
            # K = 2: an eigenspace of the only covariance, and any map of it will do
            target = np.eye(len(target)) if K == 2 else _intertwiner(link_r, link_s, blocks, k)
        left, _, right = np.linalg.svd(target)
        O[k] = left @ right
        for other in size:
            rows = np.ix_(blocks[other], blocks[k])
            through = link_s[rows] @ O[k] @ link_r[rows].T
            length = float(np.linalg.norm(through))
            if length > size[other]:
                best[other], size[other] = through, length
    inner = np.zeros_like(U)
    for k, block in enumerate(blocks):
        inner[np.ix_(block, block)] = O[k]
    return Us @ inner @ U.T, float(np.abs(values - others).max())


def _intertwiner(link_r: Array, link_s: Array, blocks: list[Indices], k: int) -> Array:
    """Return a matrix X with L_s X = X L_r for the closed walks L from block k to itself.

    Where nothing known reaches a block, the walks through the other blocks are all there is to
    respect; the polar factor of a generic solution intertwines as well. The solution is the
    projection of a random matrix onto all solutions, by least squares with products of the
    block's size only. Where the walks are multiples of the identity (equal or proportional
    covariances) every X will do.
    """
    from scipy.sparse.linalg import LinearOperator, lsqr  # takes its time

    rng = np.random.default_rng(len(blocks))
    size = len(blocks[k])
    pairs = []
    for _ in range(2):
        weight, other = (
            np.repeat(rng.normal(size=len(blocks)), [len(b) for b in blocks]) for _ in range(2)
        )
        walks = [
            ((V * weight) @ V @ (other[:, None] * V))[np.ix_(blocks[k], blocks[k])]
            for V in (link_r, link_s)
        ]
        pairs += [walks, [walk.T for walk in walks]]

    def defects(x: Array) -> Array:
        X = x.reshape(size, size)
        return np.concatenate([(L_s @ X - X @ L_r).ravel() for L_r, L_s in pairs])

    def adjoint(y: Array) -> Array:
        parts = zip(pairs, y.reshape(-1, size, size), strict=True)
        return np.sum([L_s.T @ Y - Y @ L_r.T for (L_r, L_s), Y in parts], axis=0).ravel()

    start = rng.normal(size=size**2)
    wrong = defects(start)
    if np.linalg.norm(wrong) <= UNLINKED * np.linalg.norm(start):
        return np.eye(size)
    system = LinearOperator((len(wrong), size**2), matvec=defects, rmatvec=adjoint, dtype=float)
    # beyond condition 1 / UNLINKED it would fit rounding
    step = lsqr(system, -wrong, atol=0, btol=1e-15, conlim=1 / UNLINKED, iter_lim=MOST_STEPS)[0]
    return (start + step).reshape(size, size)
