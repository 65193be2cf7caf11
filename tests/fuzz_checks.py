"""What a nearest ideal population must satisfy, computed by formulas, quadrature, perturbation.

Nothing of the package's own mathematics is used: laws come from scipy, divergences from the
closed forms of textbooks or from quadrature with its error, feasibility from pushing cells
forward, optimality from moving the answer.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tests.fuzz_laws import cells_of, distance, moved_law, total_divergence

__all__ = ["check_nearest"]

TOLERANCE = 1e-6  # of a divergence, relative to max(1, divergence)
STATIONARY = 2e-7  # by how much a feasible neighbour may be nearer, likewise


def check_nearest(D: Any, sol: Any, parts: dict[str, Any]) -> str:
    """Return what is wrong with an answer of `NearestIdeal`, or an empty text."""
    if parts["transport"] == "Identity":
        return _check_finite(D, sol, parts)
    if parts["transport"] == "PiecewiseLinear":
        return _check_bent(D, sol)
    kind = type(D).__name__
    prior = np.asarray(sol.population.prior)
    wrong = _check_rates(D, prior, sol, parts)
    if wrong:
        return wrong
    before, after = cells_of(kind, D), cells_of(kind, sol.population)
    original = np.asarray(D.prior), before
    value, error = total_divergence(kind, prior, after, original)
    if not abs(value - sol.kl) <= TOLERANCE * max(1.0, abs(value)) + 10 * error:
        return f"its population has KL {value!r} (error {error:.1g}), not {sol.kl!r}"
    maps = [sol.affine[g] for g in D.groups]
    maps = [(np.asarray(T.matrix), np.asarray(T.offset)) for T in maps]
    bound = parts.get("map_bound", 0.0)
    common = _common(kind, after, maps)
    for i, a in np.ndindex(*prior.shape):
        apart = distance(kind, moved_law(kind, common[i], *maps[a]), after[i][a])
        if bound == 0 and apart > 3e-6:
            return f"cell {(i, a)} is {apart:.2g} from the image of the common one"
    wrong = _check_transport(D, sol, maps, parts)
    if wrong or bound > 0:
        return wrong or _check_bound(D, sol, parts)
    local = not sol.certificate.globally_optimal
    return _check_optimal(kind, D, prior, common, maps, value, error, parts, original, local)


def _common(kind: str, cells: Any, maps: Any) -> list[Any]:
    """Return the laws of a group in the common coordinates, of that whose map is inverted best."""
    a = min(range(len(maps)), key=lambda g: np.linalg.cond(np.atleast_2d(maps[g][0])))
    A, b = maps[a]
    back = np.linalg.inv(A)
    return [moved_law(kind, row[a], back, -back @ b) for row in cells]


def _check_rates(D: Any, prior: np.ndarray, sol: Any, parts: dict[str, Any]) -> str:
    if abs(prior.sum() - 1) > 1e-9 or (prior <= 0).any():
        return f"the prior is no law: {prior!r}"
    mass = np.asarray(D.prior).sum(axis=0)
    if np.abs(prior.sum(axis=0) / mass - 1).max() > 1e-9:
        return "the groups' masses have changed"
    rates = prior / prior.sum(axis=0)
    own = np.asarray(D.prior) / mass
    if parts["base_rates"] == "keep":
        return "" if np.abs(rates / own - 1).max() < 1e-9 else "base rates were to be kept"
    if np.ptp(rates, axis=1).max() > 1e-9:
        return "base rates differ between groups"
    if parts["everyone"]:
        pooled = np.exp(np.log(own) @ mass)
        if np.abs(rates[:, 0] - pooled / pooled.sum()).max() > 1e-8:
            return "base rates are not the nearest common ones"
    return ""


def _check_transport(D: Any, sol: Any, maps: Any, parts: dict[str, Any]) -> str:
    kind = parts["transport"]
    everyone = parts["everyone"]
    reference = maps[0][0]
    steered = D.groups if everyone else sol.settings["steer"]
    for A, b in (T for g, T in zip(D.groups, maps, strict=True) if g in steered):
        relative = A @ np.linalg.inv(reference) if everyone else A
        scale = np.abs(relative).max()
        diagonal = np.diagonal(relative)
        off = np.abs(relative - np.diag(diagonal)).max() / scale
        if kind == "Translation" and np.abs(relative - np.eye(len(b))).max() > 1e-8:
            return f"{relative!r} is no translation"
        if kind == "Scaling" and (off > 1e-8 or np.ptp(diagonal) > 1e-8 * scale):
            return f"{relative!r} is no scaling"
        if kind == "Diagonal" and off > 1e-8:
            return f"{relative!r} is not diagonal"
        mirrors = np.linalg.det(relative / scale) < 0
        if mirrors and parts["orientation"] == "preserve":
            return f"{relative!r} mirrors"
        if kind == "Monotone" and parts["orientation"] == "preserve":
            metric = _pooled(D)
            S = A @ metric if metric is not None else A
            if np.abs(S - S.T).max() > 1e-7 * np.abs(S).max():
                return "the map is not self-adjoint in the pooled metric"
    return ""


def _pooled(D: Any) -> Any:
    if not hasattr(D, "cov") or np.ndim(D.mean) < 3:
        return None
    cov = np.asarray(D.cov)
    if cov.ndim == 3:
        return None
    return np.einsum("ia,iajk->jk", np.asarray(D.prior), cov)


def _check_bound(D: Any, sol: Any, parts: dict[str, Any]) -> str:
    """Return "" where the price is between one-sided differences of the answer in the bound."""
    import fairprog as fp

    bound, settings = parts["map_bound"], sol.settings
    transport = settings["transport"]
    words: dict[str, Any] = {"steer": list(settings["steer"]), "transport": transport}
    words["base_rates"] = parts["base_rates"]
    values = []
    for step in (0.9, 1.1):
        try:
            found = fp.NearestIdeal(D, map_bound=step * bound, **words).solve()
        except fp.SolverError:
            return ""  # counted where it is asked for
        values.append(found.kl)
    low, high = values
    slack = 2e-7 * max(1.0, abs(low))
    if not high - slack <= sol.kl <= low + slack:
        return f"KL {sol.kl!r} at bound {bound:g} is not between {high!r} and {low!r} around it"
    chord = 0.5 * (low + high)
    if sol.kl > chord + slack:
        return f"KL is not convex in the bound: {low!r}, {sol.kl!r}, {high!r}"
    price = sol.price["consensus"]
    left, right = (low - sol.kl) / (0.1 * bound), (sol.kl - high) / (0.1 * bound)
    noise = 4 * slack / (0.1 * bound) + 1e-3 * price
    if not right - noise <= price <= left + noise:
        return f"price {price!r} is not between the slopes {right!r} and {left!r}"
    return ""


def _check_optimal(
    kind: str,
    D: Any,
    prior: np.ndarray,
    common: Any,
    maps: Any,
    value: float,
    error: float,
    parts: dict[str, Any],
    original: Any,
    local: bool,
) -> str:
    """Return "" unless a neighbour of the same class, and as ideal, is nearer."""
    rng = np.random.default_rng(0)
    G = prior.shape[1]
    moving = list(range(0 if parts["everyone"] else 1, G))
    if parts["everyone"] and parts["transport"] == "Monotone":  # one keeps its coordinates
        size = [np.abs(A).max() for A, _ in maps]
        bend = [np.abs(A - A[0, 0] * np.eye(len(A))).max() for A, _ in maps]
        moving = [a for a in moving if bend[a] > 1e-9 * size[a]]
    limit = STATIONARY * max(1.0, abs(value)) + 20 * error
    for trial in range(24):
        size = 10.0 ** rng.uniform(-4, -3 if local else 0)
        if parts["everyone"] and (trial % 3 == 0 or not moving):  # a common law, in all groups
            i = int(rng.integers(len(common)))
            law = _other_law(kind, common[i], size, rng)
            cells = [[moved_law(kind, law, *T) for T in maps]]
            q, own = prior[[i]], [original[1][i]]
            now = [[moved_law(kind, common[i], *T) for T in maps]]
        elif moving:
            a = int(rng.choice(moving))
            T = _other_map(kind, D, maps, a, common, size, rng, parts)
            cells = [[moved_law(kind, law, *T)] for law in common]
            q, own = prior[:, [a]], [[row[a]] for row in original[1]]
            now = [[moved_law(kind, law, *maps[a])] for law in common]
        there, _ = total_divergence(kind, q, cells, (q, own))
        here, _ = total_divergence(kind, q, now, (q, own))
        if there < here - limit:
            return f"a neighbour is nearer by {here - there:.3g} of {value:.6g} (step {size:.2g})"
    return ""


def _other_law(kind: str, law: Any, size: float, rng: np.random.Generator) -> Any:
    if kind in ("Gamma", "Exponential"):
        return law[0], law[1] * float(np.exp(size * rng.normal() / np.sqrt(law[0])))
    if np.ndim(law[0]) == 0:
        return law[0] + size * law[1] * rng.normal(), law[1]
    root = np.linalg.cholesky(law[1])
    return law[0] + size * root @ rng.normal(size=len(root)), law[1]


def _other_map(
    kind: str,
    D: Any,
    maps: Any,
    a: int,
    common: Any,
    size: float,
    rng: np.random.Generator,
    parts: dict[str, Any],
) -> Any:
    """Return another map of the same class for a group: about the middle of what it moves."""
    A, b = maps[a]
    d = len(b)
    transport = parts["transport"]
    middle, spread = _middle(kind, common, A, b)
    if transport == "Translation":
        change = np.eye(d)
    elif transport == "Scaling" or d == 1:
        change = float(np.exp(size * rng.normal())) * np.eye(d)
    elif transport == "Diagonal":
        change = np.diag(np.exp(size * rng.normal(size=d)))
    elif transport == "Affine":
        change = np.eye(d) + size * rng.normal(size=(d, d)) / d
    else:  # S to another symmetric one: A = S R, R fixed by the transport
        R = _root(D, maps, a, parts)
        S = A @ np.linalg.inv(R)
        values, V = np.linalg.eigh(0.5 * (S + S.T))
        half = (V * np.sqrt(np.abs(values))) @ V.T
        H = rng.normal(size=(d, d)) / d
        inner = np.eye(d) + size * 0.5 * (H + H.T)
        if np.linalg.eigvalsh(inner)[0] <= 0:
            inner = np.eye(d)
        change = half @ inner @ half @ R @ np.linalg.inv(A)
    shift = size * spread @ rng.normal(size=d)
    return change @ A, change @ (b - middle) + middle + shift


def _root(D: Any, maps: Any, a: int, parts: dict[str, Any]) -> np.ndarray:
    if parts["everyone"] and parts["transport"] == "Whitened":
        return np.eye(len(maps[a][1]))
    if parts["transport"] == "Monotone":
        pooled = _pooled(D)
        return np.eye(len(maps[a][1])) if pooled is None else np.linalg.inv(pooled)
    cov = np.asarray(D.cov)[-1, 0]
    full = np.diag(cov) if cov.ndim == 1 else cov
    values, V = np.linalg.eigh(full)
    return (V / np.sqrt(values)) @ V.T


def _middle(kind: str, common: Any, A: np.ndarray, b: np.ndarray) -> tuple[Any, Any]:
    """Return a point amid the moved laws, and the smallest of their spreads as a matrix."""
    if kind in ("Gamma", "Exponential"):
        return np.zeros(1), np.array([[1.0 / np.sqrt(max(law[0] for law in common))]])
    moved = [moved_law(kind, law, A, b) for law in common]
    if np.ndim(moved[0][0]) == 0:
        narrow = min(moved, key=lambda law: law[1])
        return np.array([narrow[0]]), np.array([[narrow[1]]])
    narrow = min(moved, key=lambda law: np.trace(law[1]))
    return narrow[0], np.linalg.cholesky(narrow[1])


def _check_bent(D: Any, sol: Any) -> str:
    """Check KL by quadrature of densities, and the maps by knots that are moved a little."""
    mean, std = np.asarray(D.mean), np.asarray(D.std)
    prior = np.asarray(sol.population.prior)
    total = float((prior * np.log(prior / np.asarray(D.prior))).sum())
    total, other, error = total, 0.0, 1e-12
    rng = np.random.default_rng(0)
    for a, g in enumerate(D.groups):
        T = sol.affine[g]
        bent = hasattr(T, "knots")
        for i in range(len(mean)):
            if not bent:
                law = T.matrix[0, 0] * mean[i, 0] + T.offset[0], abs(T.matrix[0, 0]) * std[i, 0]
                law = law if a else (mean[i, 0], std[i, 0])
                v = np.log(std[i, a] / law[1]) - 0.5
                v += (law[1] ** 2 + (law[0] - mean[i, a]) ** 2) / (2 * std[i, a] ** 2)
                total += prior[i, a] * v
                continue
            v, e = _bent(T.knots, T.theta, mean[i, 0], std[i, 0], mean[i, a], std[i, a])
            total, error = total + prior[i, a] * v, error + prior[i, a] * e
        if bent:
            widths = np.diff(T.values)
            for size in (1e-3, 1e-2):
                step = size * rng.uniform(-1, 1, size=len(T.values)) * 0.4 * widths.min()
                theta = T.theta + np.r_[0.0, step, 0.0]
                here = there = 0.0
                for i in range(len(mean)):
                    args = mean[i, 0], std[i, 0], mean[i, a], std[i, a]
                    here += prior[i, a] * _bent(T.knots, T.theta, *args)[0]
                    there += prior[i, a] * _bent(T.knots, theta, *args)[0]
                other = max(other, here - there)
    far = np.abs(mean).max() / std.min()
    error += 1e-15 * far * 100
    if abs(total - sol.kl) > TOLERANCE * max(1.0, total) + error:
        return f"its population has KL {total!r} (error {error:.1g}), not {sol.kl!r}"
    if other > STATIONARY * max(1.0, total) + error:
        return f"a map with other values at its knots is nearer by {other:.3g}"
    return ""


def _bent(
    knots: Any, theta: Any, m: float, s: float, mu: float, sigma: float
) -> tuple[float, float]:
    """Return KL of T # N(m, s^2) from N(mu, sigma^2), by Gauss-Legendre on every piece."""
    z = (np.asarray(knots) - m) / s
    values = (np.asarray(theta[1:-1]) - mu) / sigma
    left, right = theta[0] * s / sigma, theta[-1] * s / sigma
    ends = np.r_[min(z[0], 0) - 40.0, z, max(z[-1], 0) + 40.0]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    total = 0.0
    for k, (low, high) in enumerate(pairwise(ends)):
        if k == 0:
            slope, at, start = left, values[0], z[0]
        elif k == len(z):
            slope, at, start = right, values[-1], z[-1]
        else:
            slope, at, start = (values[k] - values[k - 1]) / (high - low), values[k - 1], low
        cuts = np.unique(np.clip(np.r_[low, np.arange(-12.0, 13.0), high], low, high))
        for c, e in pairwise(cuts):
            x = 0.5 * (c + e) + 0.5 * (e - c) * nodes
            density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * 0.5 * (e - c) * weights
            total += float(density @ (0.5 * (at + slope * (x - start)) ** 2 - np.log(slope)))
    return total - 0.5, 1e-13 * (1 + abs(total))


def _check_finite(D: Any, sol: Any, parts: dict[str, Any]) -> str:
    """Compare with the logarithmic pool, the answer where nothing else is asked for."""
    joint, found = np.asarray(D.joint), np.asarray(sol.population.joint)
    prior = found.sum(axis=0)
    wrong = _check_rates(D, prior, sol, parts)
    if wrong:
        return wrong
    used = found > 0
    if (joint[used] <= 0).any():
        return "mass where there was none"
    value = float((found[used] * np.log(found[used] / joint[used])).sum())
    if abs(value - sol.kl) > TOLERANCE * max(1.0, value):
        return f"its population has KL {value!r}, not {sol.kl!r}"
    laws = found / prior
    if np.ptp(laws, axis=2).max() > 1e-8:
        return "the groups' laws differ"
    if not parts["everyone"]:
        stays = np.abs(laws[..., 0] - (joint / joint.sum(axis=0))[..., 0]).max()
        return "" if stays < 1e-9 else "the group that stays has moved"
    own = joint / joint.sum(axis=0)
    share = prior / prior.sum(axis=1, keepdims=True)
    pool = np.exp((np.log(np.where(own > 0, own, 1e-300)) * share).sum(axis=2))
    pool /= pool.sum(axis=0)
    apart = np.abs(laws[..., 0] - pool).max()
    return "" if apart < 1e-6 else f"its laws are {apart:.2g} from the logarithmic pool"
