"""How often the test of ideality rejects where the population is ideal, and where it is not.

Samples are drawn as sufficient statistics (multinomial counts, normal means, Wishart scatters),
so that a draw costs the solve only. Rejections at nominal 5 %, at 2,000 and 10,000 rows; power
against the noncentral chi-square with noncentrality 2 n KL.

    python -m experiments.ideality_size --draws 4000
    python -m experiments.ideality_size --cases 0 0 --power-draws 4000  # the power curve alone
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import stats

import fairprog as fp

Drawn = Callable[[int, np.random.Generator], Any]


def ideal_normal(d: int, K: int, G: int, seed: int = 0) -> fp.Normal:
    """Return an ideal population: common laws, moved by one monotone map per group."""
    rng = np.random.default_rng(seed)
    mean = 2.0 * rng.standard_normal((K, d)) / np.sqrt(d) + np.arange(K)[:, None]
    scale = np.exp(0.5 * rng.standard_normal((K, d)))
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    cov = np.einsum("kd,de->kde", scale, np.eye(d)) + 0.3 * Q @ Q.T
    cells, spreads = [], []
    for a in range(G):
        B = rng.standard_normal((d, d)) / 3.0
        A, b = np.exp(0.2 * rng.standard_normal()) * (np.eye(d) + B @ B.T), rng.standard_normal(d)
        if not a:  # from here every other group's map is monotone
            A, b = np.eye(d), np.zeros(d)
        cells.append(mean @ A.T + b)
        spreads.append(A @ cov @ A.T)
    rates, mass = rng.dirichlet(np.full(K, 20.0)), rng.dirichlet(np.full(G, 20.0))
    return fp.Normal(np.outer(rates, mass), np.stack(cells, axis=1), cov=np.stack(spreads, axis=1))


def draw_normal(D: fp.Normal, n: int, rng: np.random.Generator) -> fp.Normal:
    """Return the maximum-likelihood fit to n rows, drawn as moments."""
    count = rng.multinomial(n, D.prior.ravel()).reshape(D.prior.shape)
    d = D.n_features
    mean, cov = np.empty((*count.shape, d)), np.empty((*count.shape, d, d))
    for i, a in np.ndindex(*count.shape):
        L, m = np.linalg.cholesky(D.cov[i, a]), int(count[i, a])
        mean[i, a] = D.location[i, a] + L @ rng.standard_normal(d) / np.sqrt(m)
        B = np.tril(rng.standard_normal((d, d)), -1)  # Bartlett
        B[np.diag_indices(d)] = np.sqrt(rng.chisquare(m - 1 - np.arange(d)))
        cov[i, a] = L @ B @ (L @ B).T / m
    labels: dict[str, Any] = {"classes": D.classes, "groups": D.groups}
    spread = {"std": np.sqrt(cov[..., 0, 0])} if d == 1 else {"cov": cov}
    mean = mean[..., 0] if d == 1 else mean
    return fp.Normal(count / n, mean, **spread, **labels).with_rows(count)


def cases() -> Iterator[tuple[str, Drawn, dict[str, Any]]]:
    """Yield name, how a fitted population is drawn, and the options of the test."""

    def normal(d: int, K: int, G: int) -> Drawn:
        D = ideal_normal(d, K, G, seed=100 * d + 10 * K + G)
        return lambda n, rng: draw_normal(D, n, rng)

    fixed: dict[str, Any] = {"transport": fp.Monotone("identity")}
    for K in (2, 3):
        yield f"normal d=1 K={K} G=2, one", normal(1, K, 2), {"steer": [1]}
    for d, K in ((2, 2), (2, 3), (4, 2), (4, 3)):
        yield f"normal d={d} K={K} G=2, one, fixed metric", normal(d, K, 2), fixed | {"steer": [1]}
    E = fp.Exponential([[0.3, 0.2], [0.3, 0.2]], [[1.0, 2.0], [3.0, 6.0]])

    def exponential(n: int, rng: np.random.Generator) -> fp.Exponential:
        count = rng.multinomial(n, E.prior.ravel()).reshape(2, 2)
        return fp.Exponential(count / n, E.mean * rng.gamma(count) / count).with_rows(count)

    yield "exponential K=2 G=2, all", exponential, {}
    yield "exponential K=2 G=2, one", exponential, {"steer": [1]}
    L = ideal_normal(1, 2, 2, seed=7)

    def log_normal(n: int, rng: np.random.Generator) -> fp.LogNormal:
        D: Any = draw_normal(L, n, rng)
        rows = D.n_rows
        return fp.LogNormal(D.prior, D.location[..., 0],
                            std=np.sqrt(D.cov[..., 0, 0])).with_rows(rows)  # fmt: skip

    yield "log-normal K=2 G=2, one", log_normal, {"steer": [1]}
    yield "normal d=1 K=2 G=2, all", normal(1, 2, 2), {}
    yield "normal d=1 K=2 G=2, rates kept", normal(1, 2, 2), {"base_rates": "keep"}
    yield "normal d=1 K=2 G=3, two", normal(1, 2, 3), {"steer": [1, 2]}
    for K, G in ((3, 2), (2, 3), (3, 3)):
        yield f"normal d=1 K={K} G={G}, all", normal(1, K, G), {}
    yield "normal d=2 K=2 G=2, all, fixed metric", normal(2, 2, 2), fixed
    yield "normal d=2 K=2 G=2, one, Affine", normal(2, 2, 2), {"steer": [1]}


def size(draw: Drawn, options: dict[str, Any], n: int, draws: int) -> tuple[float, float, int]:
    """Return the share of rejections at 5 %, the mean statistic, and its degrees of freedom."""
    rejected, total, df = 0, 0.0, 0
    for seed in range(draws):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fp.ideality_test(draw(n, np.random.default_rng([seed, n])), **options)
        rejected, total, df = rejected + (found.pvalue < 0.05), total + found.statistic, found.df
    return rejected / draws, total / draws, df


def power(n: int, draws: int, shift: float) -> tuple[float, float, float]:
    """Return KL, the power measured, and that of the noncentral chi-square, for all groups."""
    D = ideal_normal(1, 2, 2, seed=122)
    mean, std = D.location[..., 0].copy(), D.std[..., 0]
    mean[1, 1] += shift * std[1, 1]
    E = fp.Normal(D.prior, mean, std=std)
    kl = fp.NearestIdeal(E).solve(solver="newton").kl
    measured, _, df = size(lambda m, rng: draw_normal(E, m, rng), {}, n, draws)
    critical = stats.chi2.isf(0.05, df)
    return kl, measured, float(stats.ncx2.sf(critical, df, 2.0 * n * kl))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 10000])
    parser.add_argument("--cases", type=int, nargs=2, default=(0, 100), help="first and last")
    parser.add_argument("--power-draws", type=int, default=1000, help="0: no power curve")
    args = parser.parse_args()
    for n in args.rows:
        for name, draw, options in list(cases())[slice(*args.cases)]:
            rejected, mean, df = size(draw, options, n, args.draws)
            print(f"{name:45} n={n:6} draws={args.draws:5} df={df:3} mean {mean:7.3f} "
                  f"rejects {rejected:.4f}", flush=True)  # fmt: skip
    for shift in (0.05, 0.1, 0.15, 0.2) if args.power_draws else ():
        kl, measured, expected = power(2000, args.power_draws, shift)
        print(f"power, shift {shift:.2f}: KL {kl:.5f} measured {measured:.3f} noncentral "
              f"chi-square {expected:.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
