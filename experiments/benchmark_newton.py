"""Embeddings: Newton's method against eigh, against conic solvers, and beside other maps.

Wall times; the pools of BLAS threads are left as they are, since their threads are part of what
is measured. scipy's `eigh` is the unit: one decomposition of a covariance of the same size.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import eigh

import fairprog as fp
from fairprog.kernels.multivariate.one_class import one_class
from fairprog.labels import Array

from .baselines import LEACE, CovarianceMatching
from .claims import Unavailable
from .embeddings import bios, embedding_population
from .timing import Row, benchmark, best_of, growth, peak_memory, point, turns

__all__ = ["by_hand"]

OURS = "Newton, one group"
OUR_MAP = "moments and nearest ideal population"


def by_hand(D: fp.Normal, solver: str, **options: Any) -> tuple[float, Array, Array]:
    """Solve the program of `Monotone()` as one writes it in CVXPY; the second group moves.

    Returns
    -------
    seconds, matrix (d, d), offset (d,)
        The map is applied to the first group's cells.
    """
    import cvxpy as cp

    d, w = D.n_features, D.prior[:, 1]
    started = time.perf_counter()
    R = np.linalg.inv(D.pooled_cov)
    S, b = cp.Variable((d, d), PSD=True), cp.Variable(d)
    cost = -float(w.sum()) * cp.log_det(S)
    for i, weight in enumerate(w):
        T = np.linalg.inv(np.linalg.cholesky(D.cov_of(1)[i]))
        half = R @ np.linalg.cholesky(D.cov_of(0)[i])
        away = S @ (R @ D.location[i, 0]) + b - D.location[i, 1]
        cost += 0.5 * weight * (cp.sum_squares(T @ S @ half) + cp.sum_squares(T @ away))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cp.Problem(cp.Minimize(cost)).solve(solver=solver, **options)
    return time.perf_counter() - started, S.value @ R, b.value


def divergence(D: fp.Normal, matrix: Array, offset: Array) -> float:
    """Return the moved group's part of KL, base rates aside: sum_i w_i KL(A # P_i0 || P_i1)."""
    mean = D.location[:, 0] @ matrix.T + offset
    cov = matrix @ D.cov_of(0) @ matrix.T
    labels: dict[str, Any] = {"prior": np.ones((D.n_classes, 1)) / D.n_classes}
    moved = fp.Normal(mean=mean[:, None], cov=cov[:, None], **labels)
    there = fp.Normal(mean=D.location[:, 1:], cov=D.cov_of(1)[:, None], **labels)
    return float(D.prior[:, 1] @ moved.cell_divergences(there)[:, 0])


def one_group(D: fp.Normal, **options: Any) -> Callable[[], fp.Solution]:
    """Return the call that solves for the second group (base rates as they are)."""
    program = fp.NearestIdeal(D, steer=[D.groups[1]], base_rates="keep", **options)
    return partial(program.solve, solver="newton")


def eigh_of(D: fp.Normal) -> Callable[[], Any]:
    """Return the call that decomposes one covariance."""
    return partial(eigh, np.array(D.cov_of(0)[0]))


def against_eigh(D: fp.Normal, name: str, repeats: int = 3, promised: bool = True) -> list[Row]:
    """Time a solve in units of eigh, and weigh it in units of the moments."""
    solve, K = one_group(D), D.n_classes
    sol = solve()
    unit = float(np.median([best_of(1, eigh_of(D), time.perf_counter)[0] for _ in range(7)]))
    seconds = min(best_of(1, solve, time.perf_counter)[0] for _ in range(repeats))
    moments = 8 * K * D.n_groups * D.n_features**2
    return [
        (f"{name}: solve and certificate", seconds, "s", ""),
        (f"{name}: the same in eigh", seconds / unit, "", f"<= {5 * (K + 4)}" * promised),
        (f"{name}: peak memory over the moments", peak_memory(solve) / moments, "", "<= 1"),
        (f"{name}: Newton decrement (KKT residual)", sol.certificate.kkt_residual, "", ""),
    ]


@benchmark
def newton_bios() -> list[Row]:
    """Bias in Bios, 384 dimensions, six and twenty occupations, half shrunk."""
    rows: list[Row] = []
    for n in (6, 19):  # of twenty occupations one has two men
        X, y, a = bios(n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            D = fp.Normal.fit(X, y, sensitive_features=a, shrinkage=0.5)
            rows += against_eigh(D, f"Bios, K = {n}")
    return rows


@benchmark
def newton_embeddings() -> list[Row]:
    """Random embeddings, 768 dimensions, 10 and 28 classes; classes far apart."""
    rows = against_eigh(embedding_population(768, 10), "d = 768, K = 10")
    rows += against_eigh(embedding_population(768, 28), "d = 768, K = 28", 2)
    far = embedding_population(768, 10, separation=16.0)
    return rows + against_eigh(far, "d = 768, K = 10, 16 units apart", 2, promised=False)


@benchmark
def newton_growth() -> list[Row]:
    """Measure how time grows with dimensions and classes."""
    sizes = [256.0, 362.0, 512.0, 724.0, 1024.0]
    panel = "features d (K = 4, two groups)"
    by_size, units = [], []
    for d in sizes:
        D = embedding_population(int(d), 4)
        solve = one_group(D)
        seconds, unit = turns(3, solve, eigh_of(D))
        by_size.append(point(panel, OURS, d, seconds))
        units.append(point(panel, "one eigh", d, unit))
    counts = [2.0, 4.0, 8.0, 16.0, 32.0]
    by_class = [
        point(
            "classes K (d = 256)",
            OURS,
            k,
            best_of(3, one_group(embedding_population(256, int(k))), time.perf_counter)[0],
        )
        for k in counts
    ]
    return [
        ("exponent in d, 256 to 1024, K = 4", growth(sizes, by_size), "", "<= 3.1"),
        ("exponent in d of eigh", growth(sizes, units), "", ""),
        ("exponent in K, 2 to 32, d = 256", growth(counts, by_class), "", "<= 1.05"),
    ]


@benchmark
def newton_against_conic() -> list[Row]:
    """Compare with the same program by hand in CVXPY, by Clarabel and SCS."""
    rows: list[Row] = []
    panel = "features d (K = 4, two groups)"
    for d, solver, options, wanted in (
        (8, "CLARABEL", {}, ""),
        (16, "CLARABEL", {}, ""),
        (16, "SCS", {"eps_abs": 1e-7, "eps_rel": 1e-7}, ""),
        (32, "SCS", {"eps_abs": 1e-7, "eps_rel": 1e-7}, ">= 100"),
    ):
        D = embedding_population(d, 2, 1)
        solve = one_group(D)
        fast, sol = best_of(7, solve, time.perf_counter)
        slow, matrix, offset = min((by_hand(D, solver, **options) for _ in range(2)), key=first)
        point(panel, f"CVXPY, {solver} (K = 2)", d, slow)
        rows += [
            (f"d = {d}, K = 2: times faster than CVXPY, {solver}", slow / fast, "", wanted),
            (
                f"d = {d}, K = 2: KL off, {solver}",
                abs(divergence(D, matrix, offset) - sol.kl) / max(1.0, sol.kl),
                "",
                "",
            ),
        ]
    return rows


def first(found: tuple[float, Array, Array]) -> float:
    """Return the seconds."""
    return found[0]


@benchmark
def newton_one_class() -> list[Row]:
    """One class, metric identity: the map of Gaussian optimal transport, beside POT's."""
    if importlib.util.find_spec("ot") is None:
        raise Unavailable("it needs POT (pip install 'fairprog[benchmark]')")
    from ot.gaussian import bures_wasserstein_mapping

    rows: list[Row] = []
    for d in (384, 768):
        D = embedding_population(d, 1)
        solve = one_group(D, transport=fp.Monotone("identity"))
        sol = solve()
        law = (*D.location[0], *(D.cov_of(a)[0] for a in (0, 1)))
        theirs = partial(bures_wasserstein_mapping, *law)
        alone = partial(one_class, np.eye(d), law[0], law[2], law[1], law[3])
        matrix, _ = theirs()
        kernel, ours, pot = turns(7, alone, solve, theirs)
        rows += [
            (f"d = {d}: POT's time over ours, the map alone", pot / kernel, "", ">= 1"),
            (f"d = {d}: POT's time over ours, with certificate", pot / ours, "", ">= 1"),
            (
                f"d = {d}: largest difference of the maps",
                float(np.abs(matrix - sol.affine[D.groups[1]].matrix).max()),
                "",
                "<= 1e-8",
            ),
        ]
    return rows


@benchmark
def maps_from_rows() -> list[Row]:
    """Bias in Bios, six occupations: from rows to a map, side by side, in fits of LEACE."""
    X, y, a = bios(6)

    def ours() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            moments = fp.Moments().partial_fit(X, y, sensitive_features=a)
            one_group(moments.population("normal", shrinkage=0.5))()

    def fitted(make: Any) -> Callable[[], Any]:
        return lambda: make().fit(X, y, sensitive_features=a)

    named: dict[str, Callable[[], Any]] = {
        "LEACE": fitted(LEACE),
        "mean and covariance matching (MiMiC)": fitted(partial(CovarianceMatching, "M")),
        OUR_MAP: ours,
    }
    erasure = importlib.util.find_spec("concept_erasure") and importlib.util.find_spec("torch")
    if erasure:
        import torch
        from concept_erasure import LeaceFitter

        rows_, group = torch.as_tensor(X), torch.as_tensor((a == "M").astype(int))
        named["LEACE (concept-erasure)"] = lambda: LeaceFitter.fit(rows_, group).eraser
    seconds = turns(3, *named.values())
    found: list[Row] = [
        (f"{name}, over LEACE", s / seconds[0], "", "<= 3" * (name == OUR_MAP))
        for name, s in zip(named, seconds, strict=True)
    ]
    missing = (
        "LEACE (concept-erasure): not installed (pip install concept-erasure)",
        np.nan,
        "",
        "",
    )
    return found if erasure else [*found, missing]


@benchmark(long=True)
def newton_tied_4096() -> list[Row]:
    """4096 dimensions, tied covariances, two classes."""
    D = embedding_population(4096, 2, covariance="tied")
    unit = best_of(1, eigh_of(D), time.perf_counter)[0]
    solve = one_group(D)
    seconds, sol = best_of(1, solve, time.perf_counter)
    peak, moments = peak_memory(solve), 8 * D.n_groups * 4096**2
    return [
        ("solve and certificate", seconds, "s", ""),
        ("the same in eigh", seconds / unit, "", ""),
        ("peak memory", peak / 2**30, "GiB", ""),
        ("peak memory over the moments", peak / moments, "", ""),
        ("Newton decrement (KKT residual)", sol.certificate.kkt_residual, "", ""),
    ]
