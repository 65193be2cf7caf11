"""What the command line prints, at the width of the terminal, in at most 88 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping

import numpy as np

from fairprog.cli.columns import Design
from fairprog.cli.csv_table import Table, quoted
from fairprog.cli.tabular import Plan
from fairprog.evidence.words import costly_conditions, scope_words
from fairprog.solution import Solution

WIDTH = 88
MARGIN = 14
FEW = 3  # columns left out that are named where they are more


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
        lines.append(wrapped("left out", _first_few(design.dropped)))
    if plan is not None:
        lines.append(wrapped("steered", _who(design, plan, sizes, n)))
    return "\n".join(lines)


def _first_few(reasons: Mapping[str, str]) -> str:
    """Return columns and why they are left out: all of a few, else their number and the first."""
    few = [f"{name} ({why})" for name, why in list(reasons.items())[:FEW]]
    if len(reasons) <= FEW:
        return "; ".join(few)
    return f"{len(reasons)} columns: {'; '.join(few)}; and {len(reasons) - FEW} more"


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
    residuals = f"KKT {cert.kkt_residual:.0e}, ideality {cert.ideality_residual:.0e}"
    if cert.conic_gap is not None:
        residuals += f", conic {cert.conic_gap:.0e}"
    lines += [f"  certificate           {verdict}: {scope_words(cert)}", f"  {'':21} {residuals}"]
    return "\n".join(lines)
