"""What exact fairness costs as two groups drift apart, in three ways.

Group a stays N(0, 1) for class 0 and N(2, 1) for class 1. Group b starts as its copy; then the
mean of its class 1 falls, or both its spreads change at fixed means, or its base rate falls.
(In the first two the thresholds are symmetric and the demographic parity gap of the 0-1 cost is
zero from the start.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import plot_curves, style

from .claims import Claim, write_csv
from .pictures import save_picture

SHARE = np.array([0.6, 0.4])
DP, EO = fp.DemographicParity(), fp.EqualOpportunity()
KL_COLUMNS = ("one group, monotone", "all groups, monotone", "one group, translation")
EXACT, ROUNDING = 1e-9, 1e-10


def population(shift: float = 0.0, ratio: float = 1.0, difference: float = 0.0) -> fp.Normal:
    """Return the population at one point of a sweep."""
    rate = np.array([0.5, 0.5 - difference])
    return fp.Normal(
        [SHARE * (1.0 - rate), SHARE * rate],
        [[0.0, 0.0], [2.0, 2.0 - shift]],
        std=[[1.0, ratio], [1.0, ratio]],
        groups=["a", "b"],
    )


SWEEPS: dict[str, tuple[str, Callable[[float], fp.Normal], tuple[float, float]]] = {
    "mean shift": (
        "fall of mean 1 in b (s.d. of a)", lambda v: population(shift=v), (0.0, 1.5),
    ),
    "spread ratio": (
        "spread of b over that of a", lambda v: population(ratio=v), (0.4, 2.5),
    ),
    "base rate": (
        "fall of P(Y=1) in b (probability)", lambda v: population(difference=v), (0.0, 0.4),
    ),
}  # fmt: skip

MEASURED = (
    *(f"KL {c} (nats)" for c in KL_COLUMNS),
    "error before (probability)",
    "error, one group (probability)",
    "error, all groups (probability)",
    "DP gap before",
    "EO gap before",
    "largest gap after",
)


def measure(D: fp.Normal) -> list[float]:
    """Return the columns `MEASURED` of one population."""
    one, everyone, shifted = (
        fp.NearestIdeal(D, steer=["b"]).solve(solver="closed-form"),
        fp.NearestIdeal(D, steer="all").solve(),
        fp.NearestIdeal(D, steer=["b"], transport=fp.Translation()).solve(solver="closed-form"),
    )
    before, *after = (P.evaluate() for P in (D, one.population, everyone.population))
    gaps = [E.gap(n) for E in (*after, shifted.population.evaluate()) for n in (DP, EO)]
    return [
        one.kl,
        everyone.kl,
        shifted.kl,
        before.error,
        *(E.error for E in after),
        before.gap(DP),
        before.gap(EO),
        max(gaps),
    ]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write one table per sweep, and sweeps.png."""
    n = 13 if quick else 61
    found: dict[str, tuple[Array, Array]] = {}
    for name, (label, make, ends) in SWEEPS.items():
        x = np.linspace(*ends, n)
        values = np.array([measure(make(float(v))) for v in x])
        found[name] = x, values
        write_csv(
            out / f"{name.replace(' ', '_')}.csv",
            [label, *MEASURED],
            np.column_stack([x, values]).tolist(),
        )
    _draw(found, out / "sweeps.png")
    return _claims(found)


ROWS = (
    ("KL (nats)", slice(0, 3)),
    ("error (probability)", slice(3, 6)),
    ("gap (probability)", slice(6, 9)),
)
CURVES = (
    *KL_COLUMNS,
    "before",
    "one group",
    "all groups",
    "DP, before",
    "EO, before",
    "DP and EO, after",
)


def _draw(found: dict[str, tuple[Array, Array]], path: Path) -> None:
    with style():
        fig, axes = plt.subplots(
            3, 3, figsize=(7.6, 6.2), sharex="col", sharey="row", layout="constrained"
        )
        for k, (name, (x, values)) in enumerate(found.items()):
            for row, (ylabel, part) in enumerate(ROWS):
                plot_curves(
                    x,
                    dict(zip(CURVES[part], values.T[part], strict=True)),
                    xlabel=SWEEPS[name][0] if row == 2 else "",
                    ylabel="" if k else ylabel,
                    ax=axes[row, k],
                    legend=False,
                )
            axes[0, k].set_title(name)
        for row in range(3):
            axes[row, 0].set_ylim(top=1.15 * axes[row, 0].get_ylim()[1])
            axes[row, 0].legend(loc="upper left")
    save_picture(fig, path)


def _claims(found: dict[str, tuple[Array, Array]]) -> list[Claim]:
    claims = []
    for name, (x, values) in found.items():
        one, everyone, shifted = values.T[:3]
        after = float(values[:, -1].max())
        claims.append(
            Claim(
                f"{name}: every steered population is exactly fair (gaps < 1e-9)",
                f"largest gap after {after:.1e}, before up to {values[:, 6:8].max():.3f}",
                after < EXACT,
            )
        )
        claims.append(
            Claim(
                f"{name}: KL of the monotone map is at most that of a translation",
                f"largest excess {float((one - shifted).max()):.1e} nats",
                bool((one <= shifted + ROUNDING).all()),
            )
        )
        excess = everyone - one
        worst = int(np.argmax(excess))
        holds = bool((excess <= ROUNDING).all())
        claims.append(
            Claim(
                f"{name}: KL of steering all groups is at most that of steering one",
                f"largest excess {excess[worst]:.1e} nats (at {x[worst]:.3g})",
                holds,
                ""
                if holds
                else "base rates are fixed before the maps, each program to its own target, so "
                "the order is no theorem where they differ",
            )
        )
        error = values[:, 3:6]
        rise = float((error[:, 1:] - error[:, :1]).max())
        claims.append(
            Claim(
                f"{name}: the Bayes error never rises",
                f"largest rise {rise:.4f}",
                rise <= ROUNDING,
                ""
                if rise <= ROUNDING
                else "fairness means equal experiments, not better ones: where a is harder to "
                "predict than b, taking its law (or a common one) costs error",
            )
        )
    return claims
