"""Many dimensions: error, gaps and divergences of every way of steering, d = 2 to 16.

Means over random populations of equal base rates, with standard errors. Error, gaps and KL are
exact; the Jensen-Shannon divergence comes from randomised quasi-Monte Carlo points and its error
is stated. With equal base rates these orders are theorems, because the maps of one row are among
those of the next: translation, scaling, diagonal; scaling, monotone, all groups; scaling,
whitened. Nothing is said about the order of diagonal, whitened and monotone maps.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, MARKERS, style
from fairprog.populations.evaluation import gap_at_thresholds

from .claims import Claim, write_csv
from .measures import jensen_shannon_sampled
from .pictures import save_picture
from .random_populations import random_population, steps

SEED = 7
TRANSPORTS = {
    "translation": fp.Translation(),
    "scaling": fp.Scaling(),
    "diagonal": fp.Diagonal(),
    "whitened": fp.Whitened(),
    "monotone": fp.Monotone(),
}
ROWS = ("original", *TRANSPORTS, "all groups, monotone")
COLUMNS = (
    "Bayes error",
    "DP gap",
    "EO gap",
    "equalized odds gap",
    "worst equalized odds gap on 61 thresholds",
    "KL (nats)",
    "Jensen-Shannon (nats)",
    "standard error of Jensen-Shannon (nats)",
    "ideality residual",
    "KKT residual",
    "conic gap",
)
ORDERS = (
    ("scaling", "translation"),
    ("diagonal", "scaling"),
    ("whitened", "scaling"),
    ("monotone", "scaling"),
    ("all groups, monotone", "monotone"),
)
THRESHOLDS = expit(np.linspace(-6.0, 6.0, 61))  # of the posterior of class 1
NOTIONS = (fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds())
EXACT, IDEAL, ROUNDING, AGREE = 1e-9, 1e-8, 1e-9, 1e-6


def measure(D: fp.Normal, P: fp.Normal, sol: fp.Solution | None, n: int) -> list[float]:
    """Return the columns of one row for one population."""
    E = P.evaluate()
    certificate = [0.0, 0.0, np.nan]
    if sol is not None:
        c = sol.certificate
        gap = np.nan if c.conic_gap is None else c.conic_gap
        certificate = [c.ideality_residual, c.kkt_residual, gap]
    worst = float(gap_at_thresholds(P, fp.EqualizedOdds(), THRESHOLDS).max())
    gaps = [E.gap(notion) for notion in NOTIONS]
    return [E.error, *gaps, worst, P.kl(D), *jensen_shannon_sampled(D, P, n), *certificate]


def rows(D: fp.Normal, n: int) -> Array:
    """Return the table of one population, rows `ROWS` and columns `COLUMNS`."""
    sols = {
        name: fp.NearestIdeal(D, steer=["b"], transport=t).solve(
            "auto" if name == "monotone" else "newton"
        )
        for name, t in TRANSPORTS.items()
    }
    sols["all groups, monotone"] = fp.NearestIdeal(D, steer="all").solve()
    found = [measure(D, D, None, n)]
    found += [measure(D, sol.population, sol, n) for sol in sols.values()]
    return np.array(found)


def run(out: Path, quick: bool) -> list[Claim]:
    """Write populations.csv, table.csv and dimensions.png."""
    dims = (2, 16) if quick else (2, 4, 8, 12, 16)
    count, n = (2, 2**8) if quick else (10, 2**10)
    rng = np.random.default_rng(SEED)
    cases = [(k, s) for k in range(len(dims)) for s in range(count)]
    values = np.empty((len(dims), count, len(ROWS), len(COLUMNS)))
    for k, s in steps(cases, "dimensions"):
        values[k, s] = rows(random_population(rng, dims[k]), n)
    write_csv(
        out / "populations.csv",
        ["d", "population", "row", *COLUMNS],
        [
            [dims[k], s, ROWS[r], *values[k, s, r].tolist()]
            for k, s in cases
            for r in range(len(ROWS))
        ],
    )
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(count)
    write_csv(
        out / "table.csv",
        ["d", "row", *(part for c in COLUMNS[:7] for part in (c, f"{c}, standard error"))],
        [
            [d, row, *np.stack([mean[k, r, :7], error[k, r, :7]], axis=1).ravel().tolist()]
            for k, d in enumerate(dims)
            for r, row in enumerate(ROWS)
        ],
    )
    _draw(dims, mean, error, out / "dimensions.png")
    return _claims(dims, values)


def _claims(dims: tuple[int, ...], values: Array) -> list[Claim]:
    total, gaps = values.shape[0] * values.shape[1], values[:, :, :, 4]
    ideal, kkt, conic = values[..., 8].max(), values[..., 9].max(), np.nanmax(values[..., 10])
    js, js_error = values[..., 6], values[..., 7]
    before = gaps[:, :, 0]
    claims = [
        Claim(
            "every way of steering is exactly fair in every dimension (equalized odds gap < 1e-9 "
            "at 61 thresholds)",
            f"largest {gaps[:, :, 1:].max():.1e} over {total} populations, d = {dims[0]} to "
            f"{dims[-1]}; before {before.mean():.3f} on average, {before.min():.3f} at least",
            gaps[:, :, 1:].max() < EXACT < before.min(),
        ),
        Claim(
            "every certificate is ok (ideality < 1e-8, conic answer equal to 1e-6 up to d = 12)",
            f"ideality residual {ideal:.1e}, KKT residual {kkt:.1e}, conic gap {conic:.1e} nats",
            bool(ideal < IDEAL and conic < AGREE),
        ),
    ]
    for less, more in ORDERS:
        difference = values[:, :, ROWS.index(more), 5] - values[:, :, ROWS.index(less), 5]
        claims.append(
            Claim(
                f"KL: {less} at most {more}",
                f"smallest advantage {difference.min():.1e}, mean {difference.mean():.3f} nats",
                bool(difference.min() >= -ROUNDING),
            )
        )
    change = values[:, :, ROWS.index("monotone"), 0] - values[:, :, 0, 0]
    se = float(change.std(ddof=1) / np.sqrt(change.size))
    claims += [
        Claim(
            "steering one group leaves the error where it was on average (it goes to that of the "
            "group that stays)",
            f"mean change {change.mean():+.4f} (s.e. {se:.4f}), from {change.min():+.3f} to "
            f"{change.max():+.3f}",
            bool(abs(change.mean()) < 3.0 * se),
            "here neither group is harder on average; where the group that stays is the harder "
            "one, fairness costs error",
        ),
        Claim(
            "the Jensen-Shannon divergence is known to 0.01 nats (standard error)",
            f"largest standard error {js_error.max():.1e}; values up to {js.max():.3f} of at "
            f"most log 2 = {np.log(2.0):.3f} nats",
            bool(js_error.max() < 0.01),
        ),
    ]
    return claims


def _draw(dims: tuple[int, ...], mean: Array, error: Array, path: Path) -> None:
    few = ("original", "monotone", "all groups, monotone")
    panels = (
        ("divergence", "KL (nats)", 5, ROWS[1:]),
        (f"worst of {len(THRESHOLDS)} thresholds", "equalized odds gap (probability)", 4, few),
        ("0-1 Bayes rule", "error (probability)", 0, few),
    )
    with style():
        fig, axes = plt.subplots(1, 3, figsize=(7.6, 3.3), layout="constrained")
        for ax, (title, ylabel, column, names) in zip(axes, panels, strict=True):
            for name in names:
                r = ROWS.index(name)
                ax.errorbar(
                    np.array(dims) * (1.0 + 0.012 * (r - 3)), mean[:, r, column],
                    error[:, r, column], color=COLORS[(r - 1) % len(COLORS)],
                    marker=(*MARKERS, "x")[r], markersize=3.5, linewidth=1.2, label=name,
                )  # fmt: skip
            ax.set(title=title, xlabel="number of features d", ylabel=ylabel)
            ax.set_xscale("log", base=2)
            ax.set_xticks(dims, [str(d) for d in dims])
            ax.minorticks_off()
        axes[0].set_ylim(bottom=0.0)
        axes[1].set_ylim(bottom=-0.02)
        axes[2].set_ylim(bottom=0.0)
        named = {
            label: handle
            for ax in axes
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        order = [name for name in ROWS if name in named]
        fig.legend([named[k] for k in order], order, loc="outside lower center", ncols=4)
    save_picture(fig, path)
