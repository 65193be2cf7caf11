r"""How the answer of a program on normal laws follows their parameters, all derivatives analytic.

Some group stays, and every other group's map minimises a convex cost. The derivative of KL needs
no derivative of a map, those of a price or a bound need one linear system with the Hessian each,
and those of the entries of a map one per entry (:mod:`.map_response`).
Standard errors follow cell by cell: means, covariances and proportions are independent. Cells are
taken in the whitened coordinates of the group problems, which stay fixed while the cells move.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fairprog.kernels.algebra.stacks import apply, both, dot, flip, outer
from fairprog.kernels.line.gap_slopes import Group, gap_slopes, rate_slopes
from fairprog.kernels.multivariate.consensus_price import price_slopes, prices
from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.labels import Array
from fairprog.programs.estimation_error import rows_of_cells
from fairprog.programs.geometries.normal import NormalGeometry
from fairprog.programs.responses.map_response import MapResponse, Motion, Slopes
from fairprog.programs.responses.moved_root import MovedRoot
from fairprog.programs.responses.steered_weights import SteeredWeights

WORK = 6000  # random directions times parameters, where these are not as few
STEP = 0.03  # of differences, in standard deviations of the error
CHUNK = 128  # entries of a map at a time
DRAWS = 64  # random errors at least, for the second order of maps


class CellSlopes(NamedTuple):
    """Derivatives in the parameters of all cells."""

    prior: Array  # (..., K, G)
    mean: Array  # (..., K, G, k)
    cov: Array  # (..., K, G, k, k)


class Nearby(NamedTuple):
    """Weights, reference means and gradients of one group's classes, its R, B and the pool."""

    w: Array  # (n, K)
    m: Array  # (n, K, k)
    G: Array  # (n, K, k, k), in B
    g: Array  # (n, K, k), in beta
    R: Array  # (n, k, k)
    B: Array
    pooled: Array


class NormalResponse:
    """Derivatives of an answer, and standard errors from the rows behind its population.

    Parameters
    ----------
    geometry : NormalGeometry
        Of a question that lets some group stay.
    affine : mapping of group to AffineMap
        The maps of the answer.
    """

    def __init__(self, geometry: NormalGeometry, affine: Any) -> None:
        question, D = geometry.question, geometry.D
        self.D, self.n, self.reference = D, rows_of_cells(D), question.reference
        self.steered = list(question.steered)
        self.weights = SteeredWeights(D.prior, question.base_rates, question.staying[0])
        self.frames, self.groups = [], []
        for frame in geometry.frames():
            frame, (S, beta) = frame.from_user(affine[frame.group])
            self.frames.append(frame)
            args = frame.kind, frame.w, *frame.args, frame.root, S, beta
            self.groups.append(MapResponse(*args))
        inverse = self.frames[0].inverse
        self.cov = inverse @ D.support_cov @ inverse.T
        self.pooled = inverse @ D.pooled_cov @ inverse.T
        self.roots = [
            MovedRoot(question.transport, f, f.Gamma, self.pooled, D.classes) for f in self.frames
        ]

    # -- from the groups' problems to the cells --

    def _gathered(self, slopes: list[Slopes], by_pooled: Array | float = 0.0) -> CellSlopes:
        """Return derivatives in all cells of a sum over the steered groups."""
        lead = slopes[0].weight.shape[:-1]
        prior = np.zeros(lead + self.D.prior.shape)
        mean, cov = np.zeros((*prior.shape, len(self.pooled))), np.zeros(lead + self.cov.shape)
        r = self.reference
        pool: Array = np.zeros((*lead, *self.pooled.shape)) + by_pooled
        for s, root, own in zip(self.steered, self.roots, slopes, strict=True):
            prior += self.weights.pulled(s, own.weight)
            mean[..., r, :] += own.mean
            cov[..., r, :, :] += own.cov
            mean[..., s, :] += own.own_mean
            cov[..., s, :, :] += own.own_cov
            by_pool, by_cov = root.pulled(own.root)
            pool = pool + by_pool
            cov[..., r, :, :] += by_cov
        if np.any(pool):  # the pooled covariance is that of all cells
            pool = symmetrize(pool)
            cov += self.D.prior[:, :, None, None] * pool[..., None, None, :, :]
            prior += np.einsum("...jk,iajk->...ia", pool, self.cov)
        return CellSlopes(prior, mean, cov)

    def errors(self, slopes: CellSlopes) -> Array:
        """Return the standard error of a number with these derivatives."""
        q, n = self.D.prior, self.n
        square = (q * slopes.prior**2).sum(axis=(-2, -1)) - (q * slopes.prior).sum((-2, -1)) ** 2
        square = square / n.sum()
        square += ((slopes.mean * apply(self.cov, slopes.mean)).sum(axis=-1) / n).sum((-2, -1))
        if self.D.covariance == "tied":  # one covariance, and one error, for all classes
            white = slopes.cov.sum(axis=-4) @ self.cov[0]
            square += (2.0 * dot(white, np.swapaxes(white, -1, -2)) / n.sum(axis=0)).sum(axis=-1)
        else:
            white = slopes.cov @ self.cov
            square += (2.0 * dot(white, np.swapaxes(white, -1, -2)) / n).sum(axis=(-2, -1))
        return np.sqrt(np.maximum(square, 0.0))

    # -- numbers --

    @cached_property
    def kl(self) -> CellSlopes:
        """The derivatives of the least KL: those with the maps held."""
        own = [r.slopes(r.w)._replace(weight=r.values) for r in self.groups]
        out = self._gathered(own)
        return out._replace(prior=out.prior + self.weights.divergence_slopes(self.steered))

    def gap(self, t: float) -> float:
        """Return the standard error of the largest gap of rates, at its threshold t."""
        D, inverse = self.D, self.frames[0].inverse
        cells = D.prior, (D.support_mean @ inverse.T)[..., 0], self.cov[..., 0, 0]
        groups: list[Group] = [
            (D.prior[:, a], cells[1][:, a], cells[2][:, a]) for a in range(D.n_groups)
        ]
        rates = [rate_slopes(g, t)[0] for g in groups]
        at = int(np.argmax(rates)), int(np.argmin(rates))
        slopes = [np.zeros(part.shape) for part in cells]
        for a, own in zip(at, gap_slopes(groups[at[0]], groups[at[1]], t), strict=True):
            for part, value in zip(slopes, own, strict=True):
                part[:, a] += value
        prior, mean, var = slopes
        return float(self.errors(CellSlopes(prior, mean[..., None], var[..., None, None])))

    def numbers(
        self, by_cell: Array, rng: np.random.Generator
    ) -> tuple[Array, tuple[float, float], float]:
        """Return errors of sums of V_ia, error and bias of the price of consensus, bias of KL.

        Parameters
        ----------
        by_cell : Array, shape (n, K, G)
            Of each sum the weights of the cells' divergences.
        rng : numpy Generator
        """
        found, pool, second = [], np.zeros((len(by_cell) + 1, *self.pooled.shape)), np.zeros(2)
        draws = self._draws(rng)
        for k, (s, r) in enumerate(zip(self.steered, self.groups, strict=True)):
            bend = self._bend(k, draws)
            G, g = r.gradients
            own = by_cell[..., s]
            priced, *rhs = self._price(r)
            pool[-1] += priced[1]
            direct = Slopes(*map(np.concatenate, zip(r.slopes(own), priced[0], strict=True)))
            N, n = r.in_map(np.einsum("ai,ijk->ajk", own, G), own @ g)
            X, x = r.solve(
                np.concatenate([N, rhs[0], bend[1]]), np.concatenate([n, rhs[1], bend[2]])
            )
            at = len(own) + 1
            found.append(self._less(r, direct, X[:at], x[:at]))
            second += (
                float((bend[0] - dot(bend[1], X[at:]) - (bend[2] * x[at:]).sum(-1)).sum()),
                self._price_bend(k, draws, X[at - 1 :], x[at - 1 :]),
            )
        slopes = self._gathered(found, pool)
        errors, biases = self.errors(slopes), self._first_bias(self.kl.cov) + 0.5 * second[0]
        of_price = self._first_bias(slopes.cov[-1]) + 0.5 * second[1]
        return errors[:-1], (float(errors[-1]), float(of_price)), float(biases)

    def _price(self, r: MapResponse) -> tuple[tuple[Slopes, Array], Array, Array]:
        """Return direct derivatives of a group's price of consensus, and those in its map."""
        G, g = r.gradients
        N, n = r.in_map(r.w[:, None, None] * G, r.w[:, None] * g)
        X, x, by_pooled, by_root = price_slopes(r.kind, N, n, self.pooled, r.root)
        if len(r.w) == 1:  # one class agrees with itself
            X, x, by_pooled, by_root = (np.zeros_like(part) for part in (X, x, by_pooled, by_root))
        X, x = X[None], x[None]
        direct = r.along(X, x)
        # lengths of offsets are measured at the mean of the reference cells, which moves
        center = -apply(r.root.T @ np.swapaxes(X, -1, -2), r.w[:, None] * g).sum(axis=-2)
        center = center / r.w.sum()
        direct = direct._replace(
            root=direct.root + by_root,
            mean=direct.mean + r.w[:, None] * center[:, None, :],
            weight=direct.weight + center @ r.m.T,
        )
        return (direct, by_pooled), *r.product(X, x)

    def _price_bend(self, k: int, draws: CellSlopes, X: Array, x: Array) -> float:
        """Return the sum of second derivatives of a group's price along directions of the error.

        With (X, x) = H^{-1} (its slope in the map, then the changes of the gradient): to second
        order the price follows phi - lambda'g, lambda the first, where the map goes straight on.
        """
        r = self.groups[k]
        if len(r.w) == 1:  # one class agrees with itself
            return 0.0

        def at(t: float, few: slice) -> Array:
            v = CellSlopes(*(part[few] for part in draws))
            near = self._nearby(k, v, X[1:][few], x[1:][few], t)
            back, W = flip(near.R)[:, None], near.w[..., None, None]
            center = (near.w / near.w.sum(axis=1, keepdims=True))[:, None] @ near.m
            N, n = r.project(W * (near.G - outer(near.g, center)) @ back), W[..., 0] * near.g
            price = prices(r.kind, N, n, near.pooled, near.R)
            return (
                price - dot(X[0], r.project(W * near.G @ back).sum(axis=1)) - n.sum(axis=1) @ x[0]
            )

        h = STEP / math.sqrt(max(1.0, self._size / len(draws.prior)))
        ends = at(h, slice(None)) + at(-h, slice(None))
        return float((ends - 2.0 * at(0.0, slice(1))).sum()) / h**2

    def _nearby(self, k: int, v: CellSlopes, X: Array, x: Array, t: float) -> Nearby:
        """Return a group's gradients where cells moved t times v, the map t times -(X, x)."""
        r, s, a = self.groups[k], self.steered[k], self.reference
        prior, cov = self.D.prior + t * v.prior, self.cov + t * v.cov
        pooled = np.einsum("nia,niajk->njk", prior, cov)
        w = replace(self.weights, prior=prior).weights(s)
        R = self.roots[k].at(pooled, cov[:, :, a])
        B, m, beta = (r.S - t * X) @ R, r.m + t * v.mean[:, :, a], r.beta - t * x
        off = apply(B[:, None], m) + beta[:, None] - r.mu - t * v.mean[:, :, s]
        P = np.linalg.inv(cov[:, :, s])
        g = apply(P, off)
        G = P @ B[:, None] @ cov[:, :, a] + outer(g, m) - flip(np.linalg.inv(B))[:, None]
        return Nearby(w, m, G, g, R, B, pooled)

    @staticmethod
    def _less(r: MapResponse, direct: Slopes, X: Array, x: Array) -> Slopes:
        """Return total derivatives: direct ones less those through the map."""
        through = r.along(X[:, None], x[:, None])
        return Slopes(*(a - b for a, b in zip(direct, through, strict=True)))

    def entries(self, k: int, rng: np.random.Generator) -> list[tuple[Array, Array]]:
        """Return standard error and bias of matrix and offset of the k-th steered group's map.

        To second order: the error is that of the first order, and that of the second beside it.
        """
        frame, r = self.frames[k], self.groups[k]
        U, d = frame.basis, len(frame.basis)
        left, right = U @ frame.C, U @ frame.inverse.T  # A = left B right'
        center = frame.inverse @ frame.center
        j, m = (np.append(x.ravel(), np.arange(d)) for x in np.indices((d, d)))
        out = np.empty(d * d + d)
        for start in range(0, len(out), CHUNK):
            at = np.arange(start, min(start + CHUNK, len(out)))
            offset = at >= d * d
            x = np.where(offset[:, None], left[j[at]], 0.0)
            B = outer(left[j[at]], np.where(offset[:, None], -center, right[m[at]]))
            none = r.slopes(np.zeros((len(at), len(r.w))))._replace(root=r.S.T @ B)
            slopes = [g.slopes(np.zeros((len(at), len(g.w)))) for g in self.groups]
            slopes[k] = self._less(r, none, *r.solve(*r.in_map(B, x), many=True))
            out[at] = self.errors(self._gathered(slopes))
        first = out[: d * d].reshape(d, d), out[d * d :]
        B, x = self._bent_map(k, rng)
        bent = left @ B @ right.T, (x - B @ center) @ left.T
        return [
            (np.hypot(se, part[1:].std(axis=0, ddof=1)), part[0] + part[1:].mean(axis=0))
            for se, part in zip(first, bent, strict=True)
        ]

    def _bent_map(self, k: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the drift of B = S R and beta, then their second-order parts in random errors.

        Along an error v the map goes straight on with -(X, x), (X, x) = H^{-1} (the change of the
        gradient). Its second derivative is -H^{-1} times that of the gradient on this line, to
        which B adds that of (S - t X) R(t). The drift is that of covariances divided by n.
        """
        r, size = self.groups[k], self._size
        draws = self._errors(rng.standard_normal((max(DRAWS, math.ceil(WORK / size)), size)))
        zero = np.zeros((1, *self.cov.shape[:-1]))
        drift = CellSlopes(zero[..., 0], zero, -(self.cov * self._share[..., None, None])[None])
        line = r.solve(*self._bend(k, draws)[1:], many=True)

        def at(t: float) -> tuple[Array, ...]:
            near = self._nearby(k, draws, *line, t)
            G = np.einsum("ni,nijk->njk", near.w, near.G)
            return near.B, r.project(G @ flip(near.R)), np.einsum("ni,nij->nj", near.w, near.g)

        h = STEP / math.sqrt(size)
        ends = zip(at(h), at(-h), at(0.0), strict=True)
        B, N, n = (0.5 * (up + down - 2.0 * mid) / h**2 for up, down, mid in ends)
        _, N1, n1 = self._bend(k, drift)
        X, x = r.solve(np.concatenate([N1, N]), np.concatenate([n1, n]), many=True)
        pooled = np.einsum("ia,niajk->njk", self.D.prior, drift.cov)
        R1 = self.roots[k].moved(pooled, 0.0 * pooled, drift.cov[:, :, self.reference])[0]
        return np.concatenate([r.S @ R1, B]) - X @ r.root, -x

    # -- the bias of KL --

    def _first_bias(self, slopes: Array) -> float:
        """Return g.beta / n: of covariances divided by n, by derivatives in them."""
        return -float((slopes * self.cov * self._share[..., None, None]).sum())

    @property
    def _share(self) -> Array:
        """Return what covariances divided by n lack, (K, G), of themselves."""
        if self.D.covariance == "tied":
            return np.broadcast_to(len(self.n) / self.n.sum(axis=0), self.n.shape)
        return np.asarray(1.0 / self.n)

    def _bend(self, k: int, v: CellSlopes) -> tuple[Array, Array, Array]:
        """Return a group's KL to second order along directions, and how its gradient changes.

        With the map held; u being the change of the gradient, the map takes u'H^{-1}u off. The
        sum over directions v_j with sum v_j v_j' = V/n is tr(H V) / n.
        """
        r, a, b = self.groups[k], self.reference, self.steered[k]
        prior, mean, cov = v
        pooled = np.einsum("ia,...iajk->...jk", self.D.prior, cov)
        pooled = pooled + np.einsum("...ia,iajk->...jk", prior, self.cov)
        pooled2 = 2.0 * np.einsum("...ia,...iajk->...jk", prior, cov)
        w1, w2, own = self.weights.moved(b, prior)
        steps = self.roots[k].moved(pooled, pooled2, cov[..., a, :, :])
        cells = mean[..., a, :], cov[..., a, :, :], mean[..., b, :], cov[..., b, :, :]
        value, N, n = r.curvature(Motion(w1, *cells, steps[0], w2, steps[1]))
        return value + own, N, n

    @property
    def _size(self) -> int:
        """How many independent numbers make an error."""
        (K, G), k = self.n.shape, len(self.pooled)
        return K * G * (1 + k) + (1 if self.D.covariance == "tied" else K) * G * k * (k + 1) // 2

    def _draws(self, rng: np.random.Generator) -> CellSlopes:
        """Return directions v_j of the error, sum_j v_j v_j' its covariance.

        All there are, or random ones: they leave about 3 % of the bias to chance.
        """
        size = self._size
        few = max(2, math.ceil(WORK / size))
        signs = rng.choice([-1.0, 1.0], (few, size)) if few < size else None
        return self._errors(np.eye(size) if signs is None else signs / np.sqrt(few))

    def _errors(self, unit: Array) -> CellSlopes:
        """Return the errors that independent standard numbers make."""
        (K, G), k, n = self.n.shape, len(self.pooled), self.n
        tied = self.D.covariance == "tied"
        r, c = np.triu_indices(k)
        sizes = np.cumsum([K * G, K * G * k])
        rates, shifts, spreads = np.split(unit, sizes, axis=1)
        root = np.sqrt(self.D.prior.ravel())
        prior = root * (rates - (rates @ root)[:, None] * root) / np.sqrt(n.sum())
        L = np.linalg.cholesky(self.cov)
        mean = apply(L, shifts.reshape(-1, K, G, k)) / np.sqrt(n)[..., None]
        W = np.zeros((len(unit), 1 if tied else K, G, k, k))
        off = np.where(r == c, 0.5, np.sqrt(0.5))  # W + W' has entries of norm one
        W[..., r, c] = spreads.reshape(*W.shape[:3], -1) * off
        rows = n.sum(axis=0)[None] if tied else n
        cov = L @ (both(W) * np.sqrt(2.0 / rows)[..., None, None]) @ np.swapaxes(L, -1, -2)
        return CellSlopes(prior.reshape(-1, K, G), mean, cov)
