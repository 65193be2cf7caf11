"""What the command line prints, at the width of the terminal, in at most 88 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

import numpy as np

from fairprog.cli.audit_split import Comparison, Measure
from fairprog.cli.columns import Design
from fairprog.cli.csv_table import Table, quoted
from fairprog.cli.tabular import Plan
from fairprog.evidence.words import costly_conditions
from fairprog.labels import Array
from fairprog.solution import Solution

WIDTH = 88
MARGIN = 14


def width() -> int:
    """Return the columns there are: those of the terminal, at most 88, at least 40."""
    return max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def filled(text: str, first: str = "", rest: str = "") -> str:
    """Return a paragraph at the width of the terminal."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrapped(title: str, text: str) -> str:
    """Return ``title  text`` with the text in a column of its own.

    Examples
    --------
    >>> from fairprog.cli.printed_report import wrapped
    >>> wrapped("label", "'y'")
    "  label       'y'"
    """
    return filled(text, f"  {title:{MARGIN - 2}}", " " * MARGIN)


def note(text: str) -> str:
    """Return a remark, wrapped."""
    return filled(text, "Note: ", " " * 6)


def warning(text: str) -> str:
    """Return a warning, wrapped."""
    return filled(text, "WARNING: ", " " * 9)


def design_text(table: Table, design: Design, plan: Plan | None, default_positive: bool) -> str:
    """Return what was read from the table and what is asked of it."""
    n, left_out = len(design.y), len(table) - len(design.y)
    lines = [
        f"{table.name}: {len(table):,} rows"
        + (f", of which {left_out:,} left out of the fit (missing values)." if left_out else ".")
    ]
    positive = design.classes[-1]
    share = float(np.mean(design.y == positive))
    if len(design.classes) == 2:
        how = ", the last in order (--positive names another)" if default_positive else ""
        said = f"positive is {positive!r}{how}: {share:.1%} of the rows"
    else:
        said = f"{len(design.classes)} classes: {quoted(design.classes)}"
    lines.append(wrapped("label", f"{design.label}; {said}"))
    sizes = {g: int((design.group == g).sum()) for g in design.groups}
    members = ", ".join(f"{g!r} {size:,}" for g, size in sizes.items())
    lines.append(wrapped("sensitive", f"{' & '.join(design.sensitive)}: {members}"))
    lines.append(wrapped("features", f"{len(design.encoded)}: {', '.join(design.encoded)}"))
    if design.dropped:
        reasons = "; ".join(f"{name} ({why})" for name, why in design.dropped.items())
        lines.append(wrapped("left out", reasons))
    if plan is not None:
        lines.append(wrapped("steered", _who(design, plan, sizes, n)))
    return "\n".join(lines)


def _who(design: Design, plan: Plan, sizes: dict[str, int], n: int) -> str:
    rates = {"equalize": "base rates equalized", "keep": "base rates kept"}[plan.base_rates]
    if plan.steer == "all":
        return f"every group, by {plan.transport!r}, {rates}"
    stay = [g for g in design.groups if g not in plan.steer]
    why = "stays" if len(stay) == 1 else "stay"
    if stay == [max(sizes, key=lambda g: sizes[g])]:
        why = f"({sizes[stay[0]] / n:.0%} of the rows, the largest group) stays"
    moved = f"{quoted(plan.steer)} by {plan.transport!r}, {rates}"
    return f"{moved}; {quoted(stay)} {why}" if stay else moved


def solution_text(solution: Solution) -> str:
    """Return divergence, prices, the most costly conditions and the certificate."""
    cert = solution.certificate
    lines = [
        "Nearest ideal population",
        f"  KL divergence         {solution.kl:10.5f} nats   (solver {solution.solver}, "
        f"{solution.seconds:.2g} s)",
    ]
    for name, price in solution.price.items():
        low, high = solution.price_interval.get(name, (price, price))
        unsure = f", between {low:.4f} and {high:.4f}" if high - low > 1e-6 else ""
        lines.append(
            f"  {'price of ' + name:21} {price:10.5f} nats of KL per unit of map_bound{unsure}"
            if name == "consensus"
            else f"  {'price of ' + name:21} {price:10.5f} nats per unit of its bound{unsure}"
        )
    title, top = costly_conditions(solution)
    lines.append(f"  {title}")
    lines += [f"  {'':21} {cost:10.5f} {where}" for where, cost in top]
    verdict = "ok" if cert.ok else "NOT ok"
    scope = "global optimum" if cert.globally_optimal else "LOCAL optimum"
    line = (
        f"  certificate           {verdict}: {scope}; KKT {cert.kkt_residual:.0e}, ideality "
        f"{cert.ideality_residual:.0e}"
    )
    if cert.conic_gap is not None:
        line += f", conic {cert.conic_gap:.0e}"
    lines.append(line)
    return "\n".join(lines)


def comparison_text(
    comparison: Comparison, design: Design, test_size: float, requested: int
) -> str:
    """Return the table of held-out figures, before and after, and a warning where gaps grew."""
    if comparison.splits == 0:
        reason = comparison.failures[0] if comparison.failures else "no split was asked for"
        return note(f"There are no held-out figures: {reason}")
    head = (
        f"Logistic model on held-out rows ({comparison.splits} random splits, "
        f"{test_size:.0%} held out; mean and standard error)"
    )
    chance = any(m.by_chance is not None for m in comparison.measures)
    titles = ["before", "after"] + (["by chance"] if chance else [])
    lines = [head, f"  {'':30}" + "".join(f"{title:>18}" for title in titles)]
    for m in comparison.measures:
        cells = [figure_text(v, m.signed) for v in (m.before, m.after)]
        if m.by_chance is not None:
            cells.append(figure_text(m.by_chance, False))
        if comparison.splits == 1:
            cells = [f"{cell}        " for cell in cells]
        lines.append(f"  {m.name:30}" + "".join(f"{cell:>18}" for cell in cells))
    worse = worse_words(comparison)
    if worse:
        lines.append(warning(worse))
    legend = legend_words(comparison.measures, design)
    lines.append(
        textwrap.fill(
            legend, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
    )
    if comparison.failures:
        lines.append(
            note(
                f"{len(comparison.failures)} of {requested} splits were left out; the first: "
                f"{comparison.failures[0]}"
            )
        )
    return "\n".join(line for line in lines if line)


def worse_words(comparison: Comparison) -> str:
    """Return a warning where held-out gaps grew by more than sampling explains, else ''."""
    grown = []
    for m in comparison.measures:
        if m.name == "accuracy":
            continue
        before, after = abs(float(m.before.mean())), abs(float(m.after.mean()))
        error = float(np.sqrt((m.before.var() + m.after.var()) / m.before.size))
        if after > before + 2.0 * error:
            grown.append(f"{m.name} {before:.3f} -> {after:.3f}")
    if not grown:
        return ""
    return (
        f"Some gaps GREW: {'; '.join(grown)}. Aligning without labels is exact for data of the "
        "ideal population; on the rows as they are it is only as fair as the population is near "
        "to it (see KL). Try another --steer or --transport, other features, or none of it."
    )


def figure_text(values: Array, signed: bool) -> str:
    """Return mean and standard error over the splits."""
    mean = f"{values.mean():+.4f}" if signed else f"{values.mean():.4f}"
    if values.size < 2:
        return mean
    return f"{mean} ±{values.std(ddof=1) / np.sqrt(values.size):.4f}"


def legend_words(measures: Sequence[Measure], design: Design) -> str:
    """Return what the figures of a comparison mean."""
    first, last = design.groups[0], design.groups[-1]
    said: list[str] = []
    if any(m.signed for m in measures):
        said.append(f"Signed gaps are {last!r} minus {first!r}.")
    elif len(design.classes) == 2:
        said.append(f"Gaps are those of the worst pair of the {len(design.groups)} groups.")
    if len(design.classes) > 2:
        said.append(
            "With more than two classes there is no threshold: gaps are those of the most "
            "probable class, of the worst pair of groups."
        )
    else:
        said.append(
            f"Y=1 is {design.classes[1]!r}; at the worst threshold a gap is the "
            "Kolmogorov-Smirnov distance of the groups' scores."
        )
    if any(m.by_chance is not None for m in measures):
        said.append("By chance: the groups of the held-out rows shuffled within each class.")
    return " ".join(said)
