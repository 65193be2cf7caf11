"""Effects of steering that were measured in a model, and what is said of groups that differ."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import DataError
from fairprog.kernels.statistics.matched_effects import least_strength
from fairprog.labels import Array, plain

NORMAL = 1.96  # standard errors to either side of a 95 % interval
ONE_SIDED = 1.645
OWN, SHARED = "the groups' own vectors", "the shared vector"


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


def next_word_effects_of(given: Any) -> dict[Hashable, list[Effect]] | None:
    """Return effects on the next word by group; None where they are of another kind."""
    if not hasattr(given, "items"):
        return None
    found = {plain(g): list(own) for g, own in given.items() if np.ndim(own) > 0}
    every = [isinstance(effect, Effect) for own in found.values() for effect in own]
    return found if every and all(every) else None


def column(effects: Sequence[Effect], name: str) -> Array:
    """Return one figure of several effects."""
    return np.array([getattr(effect, name) for effect in effects], dtype=float)


def at(strengths: Array, values: Array, t: float, first: float = 0.0) -> float:
    """Return a curve's value at a strength, linear from (0, first)."""
    return float(np.interp(t, np.append(0.0, strengths), np.append(first, values)))


@dataclass(frozen=True)
class Direction:
    """Vectors of every group that differ from what is used by their lengths only.

    Attributes
    ----------
    name : str
    vectors : mapping of group to Array, shape (d,)
    strengths : Array, shape (n,)
    curves : mapping of group to Array
        Effects as far as texts are fluent, at the first so many strengths.
    effects : mapping of group to n Effects, or None
        Where they are effects on the next word.
    """

    name: str
    vectors: Mapping[Hashable, Array]
    strengths: Array
    curves: Mapping[Hashable, Array]
    effects: Mapping[Hashable, Sequence[Effect]] | None

    def reach(self, target: float = np.inf) -> float:
        """Return the largest effect that all groups reach, up to a target."""
        return min(target, *(float(curve.max(initial=0.0)) for curve in self.curves.values()))

    def require(self, limit: float) -> None:
        """Raise an error where no strength is fluent in some group, or has no effect there."""
        for g, curve in self.curves.items():
            if not curve.size:
                raise DataError(
                    f"`perplexity_ratio` of group {g!r} is above {1.0 + limit:g} at the first "
                    "strength already. Measure at smaller strengths, or on more texts, and say by "
                    "`perplexity_error` how exact it is: the perplexity of steered texts over "
                    "that of unsteered ones.",
                    argument="perplexity_ratio",
                    cell=(None, g),
                )
            if not curve.max() > 0:
                raise DataError(
                    f"Group {g!r} has no positive effect in `effects` at a strength where its "
                    "texts are fluent: no factor makes the effects equal.",
                    argument="effects",
                    cell=(None, g),
                )

    def strength(self, group: Hashable, effect: float) -> float:
        """Return the least strength at which a group has an effect that it reaches."""
        curve = self.curves[group]
        return least_strength(self.strengths[: len(curve)], curve, effect)

    def price(self, effect: float) -> float:
        """Return the perplexity ratio where all groups have an effect, in geometric mean."""
        if self.effects is None or not 0.0 < effect <= self.reach():
            return np.inf
        ratios = [
            at(self.strengths, column(own, "perplexity_ratio"), self.strength(g, effect), 1.0)
            for g, own in self.effects.items()
        ]
        return float(np.exp(np.mean(np.log(ratios))))

    def rank(self, target: float) -> tuple[float, float]:
        """Return what is better the larger it is: the effect up to a target, then the price."""
        effect = self.reach(target)
        return effect, -self.price(effect)


def gap_of(one: Direction, key: str, effect: float) -> tuple[float, float] | None:
    """Return the widest gap that one length for all groups leaves, and its standard error.

    Taken at the strength where the group that responds best has the effect; None where no group
    reaches it.
    """
    assert one.effects is not None
    curves = {g: column(own, key) for g, own in one.effects.items()}
    reached = {
        g: least_strength(one.strengths, curve, effect)
        for g, curve in curves.items()
        if curve.max() >= effect
    }
    if not reached:
        return None
    best = min(reached, key=lambda g: reached[g])
    found = {
        g: [at(one.strengths, column(own, k), reached[best]) for k in (key, f"{key}_error")]
        for g, own in one.effects.items()
    }
    value, error = found.pop(best)
    gaps = [(value - v, float(np.hypot(error, e))) for v, e in found.values()]
    return max(gaps, key=lambda gap: abs(gap[0]), default=(0.0, 0.0))


def calibration_report(
    scale: str,
    effect: float,
    strength: float,
    factors: Mapping[Hashable, float],
    taken: Direction,
    other: Direction | None,
) -> str:
    """Return what a calibration by next words found, on both scales, in plain text."""
    assert taken.effects is not None
    strengths, beside = taken.strengths, next(name for name in FIELDS if name != scale)
    lines = [
        f"Equalised is the effect in {scale}: {effect:.3g} in every group at strength "
        f"{strength:.3g}.",
        "",
    ]
    rows = [["group", "factor", "log-odds", "probability", "perplexity ratio"]]
    values: dict[str, dict[Hashable, tuple[float, float]]] = {name: {} for name in FIELDS}
    for g, own in taken.effects.items():
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
    there = values[beside].values()
    apart = max(x for x, _ in there) - min(x for x, _ in there)
    unequal = f"Equal in {scale} is not equal in {beside}: groups are {apart:.3f} apart there."
    lines += ["", unequal]
    if other is not None:
        shared = taken if taken.name == SHARED else other
        gap = gap_of(shared, FIELDS[scale], effect)
        lines += [] if gap is None else [_verdict(gap, scale)]
        lines.append(
            f"Calibrated, with a length for every group: {taken.name}. At this effect the mean "
            f"perplexity ratio is {taken.price(effect):.3f}; {_said(other, effect)}."
        )
    return "\n".join(lines)


def _said(other: Direction, effect: float) -> str:
    """Return what a direction that was not taken would have cost."""
    if other.reach() < effect:
        return f"with {other.name} no more than {other.reach():.3g} is reached in every group"
    return f"with {other.name} it would be {other.price(effect):.3f}"


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
