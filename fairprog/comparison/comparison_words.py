"""What a comparison says, in a table and in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fairprog.comparison.methods import NOTHING
from fairprog.comparison.result import Best, Comparison, drawn, grown, told, worst_gaps
from fairprog.evidence.few_rows import few_rows_words
from fairprog.evidence.rows import Card
from fairprog.labels import printable

SHOWN = {  # figures of the table: their titles
    "score": "score",
    "gap": "gap",
    "worst gap, Y=1": "worst, Y=1",
    "worst gap, Y=0": "worst, Y=0",
    "worst gap": "worst",
    "chance": "by chance",
    "randomised": "randomised",
    "group AUC": "group AUC",
    "seconds": "seconds",
}
SEEN = 0.0005  # a change that is seen in three decimals
UNSURE = ", which may be chance"


def titles(found: Comparison) -> list[str]:
    """Return the titles of the columns that say something."""
    return [title for figure, title in SHOWN.items() if _said(found, figure)]


def cells(found: Comparison, method: str) -> list[str]:
    """Return the figures of a method as text, with standard errors of score and gaps."""
    out = []
    for figure in SHOWN:
        if not _said(found, figure):
            continue
        mean, error = found.mean(method, figure)
        if np.isnan(mean):
            out.append("–")
        elif figure == "seconds":
            out.append(f"{mean:.1f}")
        elif figure in ("randomised", "group AUC", "chance") or np.isnan(error):
            out.append(f"{mean:.3f}")
        else:
            out.append(f"{mean:.3f} ±{error:.3f}")
    return out


def _said(found: Comparison, figure: str) -> bool:
    if figure == "worst gap" and found.notion.name == "equalized_odds" and len(found.classes) == 2:
        return False  # the larger of the two before
    return not all(np.isnan(found.of(name, figure)).all() for name in found.values)


def legend(found: Comparison) -> str:
    """Return what the columns are."""
    n = int(found.counts.sum())
    positive = f"; Y=1 is {found.classes[-1]!r}" if len(found.classes) == 2 else ""
    return (
        f"Rows held out: {found.n_splits} splits of {n:,} rows, means ± standard errors. Score: "
        f"{found.scoring}. Gap: {found.notion.name.replace('_', ' ')} at the method's own "
        f"threshold; worst: at the worst of all thresholds{positive}; – where a method decides at "
        "one threshold only. By chance: the worst gap with groups permuted within the classes. "
        "Randomised: how often two draws for one row differ. Group AUC: how well boosted trees "
        "read the group from what the learner sees."
    )


def findings_of(found: Comparison) -> list[str]:
    """Return what grew, what tells the group and where rows are few, in sentences."""
    said = []
    larger = [
        f"{name} {found.mean(NOTHING, f)[0]:.3f} -> {found.mean(name, f)[0]:.3f} ({f})"
        for name in found.values
        if name != NOTHING
        for f in grown(found, name)
    ]
    if larger:
        said.append(f"Held-out gaps GREW: {'; '.join(larger)}.")
    easier = {name: areas for name in found.values if (areas := told(found, name))}
    if easier:
        raw, each = found.mean(NOTHING, "group AUC")[0], easier.items()
        said.append(
            f"The group is EASIER to read than from raw features ({raw:.2f}): "
            f"{'; '.join(f'{name} {now:.2f}' for name, (_, now) in each)}."
        )
    if few := few_rows_words(found.counts, found.classes, found.groups):
        said.append(f"{few}: gather more, or join groups.")
    said += [f"{name} could not run: {why}" for name, why in found.failures.items()]
    return said


def cards(found: Comparison, best: str, name: str = "") -> list[Card]:
    """Return what a method does to rows held out: the gap first, then the score."""
    out = []
    larger = [f for f in worst_gaps(found)[1:] if found.change(best, f)[0] > SEEN]
    for title, figure, worse in (
        ("Held-out worst gap", "worst gap", 1.0),
        *((f"Held-out {f}", f, 1.0) for f in larger),
        (f"Held-out {found.scoring}", "score", -1.0),
        ("Group AUC", "group AUC", 1.0),
    ):
        before, after = (found.mean(m, figure)[0] for m in (NOTHING, best))
        rise, error = found.change(best, figure)
        how = change_words(rise, error)
        note = f"{name}: {how}" if name else how
        grew = worse * rise > max(0.0, float(np.nan_to_num(error)))
        if not np.isnan(before + after):
            out.append(Card(title, before, after, grew, note))
    return out


def comparison_summary(
    found: Comparison, fill: Callable[[str], str] = str, columns: int | None = None
) -> str:
    """Return the table and what it says as text.

    Parameters
    ----------
    found : Comparison
    fill : callable
        Wraps a paragraph.
    columns : int, optional
        Where the table is broken into several.
    """
    rows = [["", *titles(found)], *([name, *cells(found, name)] for name in found.values)]
    first, *rest = zip(*rows, strict=True)
    name = [text.ljust(max(map(len, first))) for text in first]
    blocks = [name]
    for column in rest:
        right = ["  " + text.rjust(max(map(len, column))) for text in column]
        if columns is not None and len(blocks[-1][0] + right[0]) > columns:
            blocks.append(name)
        blocks[-1] = [a + b for a, b in zip(blocks[-1], right, strict=True)]
    table = "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)
    said = [fill(legend(found)), *(fill(f"WARNING: {text}") for text in findings_of(found))]
    text = "\n".join([table, "", *said])
    return printable(text, (*found.classes, *found.groups, *found.values))


def best_words(best: Best) -> str:
    """Return which method to take, in words."""
    found = best.comparison
    measured = (
        f"chosen on inner splits, methods change the {gap_words(found, best.change)} on rows not "
        f"used to choose, and the score by {best.change('score')[0]:+.4f}"
    )
    if best.method == NOTHING:
        before = found.mean(NOTHING, "worst gap")[0]
        chance = found.mean(NOTHING, "chance")[0]
        how = "" if best.lots else ", without lots"
        return (
            f"Nothing helps beyond chance at a loss of at most {best.max_loss:g}{how}: the worst "
            f"gap is {before:.3f}, by chance {chance:.3f}; {measured}."
        )
    said = [f"Take {best.method!r}: {measured}.", easier_words([found], best.method)]
    if lot := drawn([found], best.method):
        said.append(
            f"It draws lots: two draws for one row differ in {lot:.2%} of decisions; "
            ".best(lots=False) leaves such methods out."
        )
    return " ".join(filter(None, said))


def gap_words(found: Comparison, change: Callable[[str], tuple[float, float]]) -> str:
    """Return how the worst gap changes, and which of the gaps it is made of grow meanwhile.

    Parameters
    ----------
    found : Comparison
    change : callable
        Of a figure's name: its mean change against nothing, and the standard error.
    """
    said = []
    for figure in worst_gaps(found):
        before, (rise, error) = found.mean(NOTHING, figure)[0], change(figure)
        now = f"{before:.3f} -> {before + rise:.3f} ({change_words(rise, error)})"
        if figure == "worst gap":
            said.append(f"worst gap {now}")
        elif rise > SEEN:
            said.append(f"but that given {figure.split(', ')[1]} GREW {now}")
    return ", ".join(said)


def change_words(rise: float, error: float) -> str:
    r"""Return a change with its standard error, and that it may be chance below two of these.

    Examples
    --------
    >>> from fairprog.comparison.comparison_words import change_words
    >>> change_words(-0.028, 0.017), change_words(-0.028, 0.009)
    ('-0.028\xa0±\xa00.017, which may be chance', '-0.028\xa0±\xa00.009')
    """
    if np.isnan(error):
        return f"{rise:+.3f} on one split{UNSURE}"
    unsure = 0.0 < abs(rise) <= 2.0 * error
    return f"{rise:+.3f}\u00a0±\u00a0{error:.3f}" + UNSURE * unsure


def easier_words(found: Sequence[Comparison], method: str) -> str:
    """Return that the group is easier to read from what a method makes of features, or ''."""
    areas = [pair for c in found if (pair := told(c, method))]
    if not areas:
        return ""
    raw, now = max(areas, key=lambda pair: pair[1] - pair[0])
    return (
        f"But it makes the group EASIER to read from the features (AUC of boosted trees {raw:.2f} "
        f"-> {now:.2f}): a learner of another kind may use that, so measure it, or steer scores."
    )
