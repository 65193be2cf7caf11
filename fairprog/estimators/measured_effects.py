"""Effects of steering that were measured in a model, and what is said of groups that differ."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.kernels.statistics.matched_effects import least_strength
from fairprog.labels import Array

NORMAL = 1.96  # standard errors to either side of a 95 % interval
ONE_SIDED = 1.645


@dataclass(frozen=True)
class Effect:
    r"""What steering does to the next word, in the mean over some prompts.

    With p and p' the laws of the next word without and with it, and D, U the desired and the
    undesired words, an effect is the rise of

    .. math:: \log \frac{p(D)}{p(U)} \quad\text{or of}\quad \frac{p(D)}{p(D) + p(U)} .

    Attributes
    ----------
    log_odds, log_odds_error : float
        The rise in log-odds, and its standard error over the prompts.
    probability, probability_error : float
        The same as a probability of the desired among all these words.
    perplexity_ratio, perplexity_error : float
        :math:`\exp(-\sum p' \log p + \sum p \log p)`: the perplexity of the steered next word
        under the model without steering over that of its own, in geometric mean.
    n : int
        Number of prompts.
    """

    log_odds: float
    log_odds_error: float
    probability: float
    probability_error: float
    perplexity_ratio: float
    perplexity_error: float
    n: int

    def __str__(self) -> str:
        parts = (
            ("log-odds", self.log_odds, self.log_odds_error),
            ("probability", self.probability, self.probability_error),
            ("perplexity ratio", self.perplexity_ratio, self.perplexity_error),
        )
        said = ", ".join(f"{name} {x:.3f} ± {error:.3f}" for name, x, error in parts)
        return f"{said} ({self.n} prompts)"


FIELDS = {"log-odds": "log_odds", "probability": "probability"}


def column(effects: Sequence[Effect], name: str) -> Array:
    """Return one figure of several effects."""
    return np.array([getattr(effect, name) for effect in effects], dtype=float)


def at(strengths: Array, values: Array, t: float, first: float = 0.0) -> float:
    """Return a curve's value at a strength, linear from (0, first)."""
    return float(np.interp(t, np.append(0.0, strengths), np.append(first, values)))


def shared_gap(
    strengths: Array, shared: Mapping[Hashable, tuple[Array, Array]], effect: float
) -> tuple[float, float] | None:
    """Return the widest gap that one shared vector leaves, and its standard error.

    Taken at the strength where the group that responds best has the effect; None where no group
    reaches it.

    Parameters
    ----------
    strengths : Array, shape (n,)
    shared : mapping of group to (effects, standard errors), shapes (n,)
    effect : float
    """
    reached = {
        g: least_strength(strengths, curve, effect)
        for g, (curve, _) in shared.items()
        if curve.max() >= effect
    }
    if not reached:
        return None
    best = min(reached, key=lambda g: reached[g])
    found = {
        g: (at(strengths, curve, reached[best]), at(strengths, error, reached[best]))
        for g, (curve, error) in shared.items()
    }
    value, error = found[best]
    gaps = [(value - v, float(np.hypot(error, e))) for g, (v, e) in found.items() if g != best]
    return max(gaps, key=lambda gap: abs(gap[0]), default=(0.0, 0.0))


def calibration_report(
    scale: str,
    effect: float,
    strength: float,
    factors: Mapping[Hashable, float],
    effects: Mapping[Hashable, Sequence[Effect]],
    strengths: Array,
    gap: tuple[float, float] | None,
) -> str:
    """Return what a calibration by next words found, on both scales, in plain text."""
    other = next(name for name in FIELDS if name != scale)
    lines = [
        f"Equalised is the effect in {scale}: {effect:.3g} in every group at strength "
        f"{strength:.3g}.",
        "",
    ]
    rows = [["group", "factor", "log-odds", "probability", "perplexity ratio"]]
    values: dict[str, dict[Hashable, tuple[float, float]]] = {name: {} for name in FIELDS}
    for g, own in effects.items():
        t = strength * factors[g]
        row = [str(g), f"{factors[g]:.3g}"]
        for name, key in FIELDS.items():
            pair = (
                at(strengths, column(own, key), t),
                at(strengths, column(own, f"{key}_error"), t),
            )
            values[name][g] = pair
            row.append(f"{pair[0]:.3f} ± {pair[1]:.3f}")
        rows.append([*row, f"{at(strengths, column(own, 'perplexity_ratio'), t, 1.0):.3f}"])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines += [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    there = values[other].values()
    apart = max(x for x, _ in there) - min(x for x, _ in there)
    lines += ["", f"Equal in {scale} is not equal in {other}: groups are {apart:.3f} apart there."]
    if gap is not None:
        lines.append(_verdict(gap, scale))
    return "\n".join(lines)


def _verdict(gap: tuple[float, float], scale: str) -> str:
    """Return whether a shared vector would do, in a sentence."""
    value, error = gap
    said = f"its gap at this effect, {value:.3f} ± {error:.3f} in {scale},"
    if abs(value) <= NORMAL * error:
        return f"The shared vector suffices: {said} is not told from zero."
    return f"The shared vector does not suffice: {said} is told from zero."


def significant(value: Any, error: Any, limit: float) -> Any:
    """Return whether a value is above a limit by more than chance, at 95 % (one-sided)."""
    return np.asarray(value) - ONE_SIDED * np.asarray(error) > limit
