"""What the numbers of an audit say, in sentences."""

from __future__ import annotations

from fairprog.audits.result import EVENTS, Audit
from fairprog.labels import printable

FEW_SCORES = 20
HEAD = ("notion", "score", "gap", "corrected", "interval", "by chance", "as unequal")
NOTHING = 0.9995  # an upper end that excludes nothing, as printed


def recommendation_words(
    *,
    groups: int,
    classes: int,
    few: str,
    unequal: bool,
    knows: bool,
    distinct: int,
    lattice: float | None,
    rows: int,
) -> str:
    """Return which of the tools fits the data, and why."""
    small = (
        f" {few}: gather more, join groups by merge_groups, or use "
        'ScoreSteering(method="normal"), which needs fewest.'
        if few
        else ""
    )
    if not unequal and not knows:
        return "None can be chosen on these rows, which are too few to say anything." + small
    if not unequal:
        return (
            "No tool is called for by these rows: the gaps are no larger than chance makes them."
            + small
        )
    if classes > 2:
        return (
            "IdealSteering, on the features or the embeddings: with more than two classes no "
            "single score can be moved, and every rule made from aligned features is treated "
            "alike. FairClassifier, if one cost matters only and finite alphabets describe the "
            "rows." + small
        )
    if distinct <= min(FEW_SCORES, 0.1 * rows):
        return (
            f"FairClassifier for one cost, since the score takes {distinct} values only and an "
            "exact answer must split ties at random; ScoreSteering (it spreads ties) for all "
            "thresholds." + small
        )
    if lattice is not None and lattice < 0.5:
        return (
            f"IdealSteering, since {1 - lattice:.0%} of the features are continuous: one step "
            "makes any learner that follows fair. ScoreSteering assumes less and is the better "
            "choice if this one score is all that is used." + small
        )
    why = (
        "it takes any score, whatever it was made from"
        if lattice is None
        else f"{lattice:.0%} of the features take few values, which an affine map shifts off "
        "their lattice, while a score can be moved by quantiles"
    )
    return (
        f"ScoreSteering: {why}, and gives every threshold and cost equalized odds at once. "
        "FairClassifier is more accurate if ONE cost is all that matters." + small
    )


def verdict_words(found: Audit) -> str:
    """Return the main finding: what was decided, by which numbers, and what they leave open.

    The permutations decide, and nothing else; the interval says how large the gap may be.
    """
    notion, gap, unequal = found.decision
    level, n = f"{found.confidence:.0%}", int(found.counts.sum())
    corrected = "" if gap.estimate is None else f" ({gap.estimate:.3f} corrected for chance)"
    measured = f"at the worst threshold the gap ({notion}) is {gap.gap:.3f}"
    as_much = f"groups permuted at random are as unequal in {_share(gap.chance, found)} of cases"
    if not unequal and gap.high >= NOTHING:
        return (
            f"The rows are too few to say anything: {n:,}, of which {int(found.counts.min())} in "
            f"the smallest cell. {measured[0].upper()}{measured[1:]}, {as_much}, and no gap "
            "whatever is excluded."
        )
    if not unequal:
        why = (
            ""
            if gap.high >= gap.gap
            else "; a maximum over thresholds measures more than there is"
        )
        return (
            f"No unequal treatment beyond chance was found: {measured}{corrected}, {as_much}; "
            f"true gaps above {gap.high:.3f} are excluded with {level} confidence{why}."
        )
    many = len(found.groups) > 2
    pair = ""
    if gap.between is not None and many:
        pair = ", surest between {} and {}".format(*gap.between)
    between = (
        f"with {level} confidence between {gap.low:.3f} and {gap.high:.3f}"
        if gap.low > 0
        else f"with {level} confidence at most {gap.high:.3f}, though the rows are too few to "
        "bound it away from zero"
    )
    who = found.worst_threshold(notion, groups=gap.between if many else None)
    return (
        f"Groups are treated unequally: {measured}{corrected}, {between}{pair}; {as_much}. {who}."
        + _other_event(found, notion)
    )


def _other_event(found: Audit, notion: str) -> str:
    """Return what the other event of two classes shows, beside the one that is named."""
    if notion not in EVENTS:
        return ""
    other = EVENTS[1 - EVENTS.index(notion)]
    gap = found.worst[other, found.scores[-1]]
    chance = "" if gap.beyond_chance else ", which is not beyond chance"
    return f" The worst gap of {other} is {gap.gap:.3f}{chance}."


def _share(chance: float, found: Audit) -> str:
    """Return the share of permutations as it can be known."""
    least = 1.0 / max(found.n_permutations, 1)
    return f"less than {least:.1%}" if chance < least else f"{chance:.1%}"


def facts(found: Audit) -> list[tuple[str, ...]]:
    """Return rows (notion, score, gap, corrected, interval, chance, as unequal)."""
    return [
        (
            notion,
            name,
            f"{gap.gap:.3f}",
            "" if gap.estimate is None else f"{gap.estimate:.3f}",
            f"{gap.low:.3f} to {gap.high:.3f}",
            f"{gap.floor:.3f} ({gap.floor_high:.3f})",
            f"{gap.chance:.1%}",
        )
        for (notion, name), gap in found.worst.items()
    ]


def rate_rows(found: Audit) -> list[tuple[str, ...]]:
    """Return rows (class, rate of every group, gap, interval, chance)."""
    return [
        (
            str(c),
            *(f"{p:.3f}" for p in found.rates[i]),
            f"{gap.gap:.3f}",
            f"{gap.low:.3f} to {gap.high:.3f}",
            f"{gap.floor:.3f} ({gap.floor_high:.3f})",
        )
        for i, (c, gap) in enumerate(found.rate_gaps.items())
    ]


def leakage_rows(found: Audit) -> list[tuple[str, ...]]:
    """Return rows (class, group, area, interval)."""
    return [
        (str(k.class_), str(k.group), f"{k.auc:.3f}", f"{k.low:.3f} to {k.high:.3f}")
        for k in found.leakage
    ]


def movement_rows(found: Audit) -> list[tuple[str, ...]]:
    """Return rows (class, group, median, 5% to 95%, root mean square, flipped)."""
    move = found.movement
    if move is None:
        return []
    return [
        (
            f"{c}, {g}",
            f"{move.quantiles[2, i, a]:+.3f}",
            f"{move.quantiles[0, i, a]:+.3f} to {move.quantiles[4, i, a]:+.3f}",
            f"{move.rms[i, a]:.3f}",
            f"{move.flipped[i, a]:.1%}",
        )
        for i, c in enumerate(found.classes)
        for a, g in enumerate(found.groups)
    ]


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    width = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def rates_title(found: Audit) -> str:
    """Return what the rates are of."""
    rule = (
        "the class of the largest score"
        if len(found.classes) > 2
        else f"{found.classes[-1]} where the score is at least {found.threshold:g}"
    )
    after = "after steering, " if found.movement is not None else ""
    return f"P(predicted = class | class, group), {after}predicting {rule}"


def audit_summary(found: Audit) -> str:
    """Return the findings as text."""
    n = int(found.counts.sum())
    level = f"{found.confidence:.0%}"
    lines = [
        f"Audit of {n:,} rows, {len(found.classes)} classes, groups "
        f"{', '.join(map(str, found.groups))}; smallest cell {int(found.counts.min()):,} rows."
        + (f" Positive is class {found.classes[-1]!r}." if len(found.classes) == 2 else ""),
        found.verdict,
        "",
        f"Gap at the worst threshold, measured and corrected, {level} {found.band} interval; "
        "groups permuted: median (95%), share as unequal",
        *_aligned(HEAD, facts(found)),
        "",
        f"{rates_title(found)}; gap, {level} interval, by chance",
        *_aligned(
            ("class", *(f"group {g}" for g in found.groups), "gap", "interval", "by chance"),
            rate_rows(found),
        ),
        f"  root mean square over classes: {found.rms_gap.gap:.3f} "
        f"({found.rms_gap.low:.3f} to {found.rms_gap.high:.3f}), by chance "
        f"{found.rms_gap.floor:.3f} ({found.rms_gap.floor_high:.3f})",
        "",
        f"How well the score reveals the group within a class (AUC; 0.5 = not at all; {level})",
        *_aligned(("class", "group", "area", "interval"), leakage_rows(found)),
    ]
    if found.movement is not None:
        lines += [
            "",
            "How far scores moved: after - before",
            *_aligned(
                ("class, group", "median", "5% to 95%", "rms", "predictions changed"),
                movement_rows(found),
            ),
        ]
    lines += ["", f"Which tool: {found.recommendation}"]
    return printable("\n".join(lines), (*found.classes, *found.groups))
