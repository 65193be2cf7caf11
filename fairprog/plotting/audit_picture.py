"""Pictures and the HTML report of an audit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.audits import Audit
from fairprog.audits.audit_words import (
    HEAD,
    facts,
    leakage_rows,
    movement_rows,
    rate_rows,
    rates_title,
)
from fairprog.errors import DataError
from fairprog.evidence.held_out import GapCurve
from fairprog.plotting.curves import fit_gaps, plot_gaps
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import panel, panels
from fairprog.plotting.report import Draw, Report
from fairprog.plotting.style import MARKERS, group_color, legend_columns, new_axes, short, style

if TYPE_CHECKING:
    import pandas as pd

MOST = 16  # pictures of curves


def plot_audit(
    found: Audit, ax: Axes | None = None, *, notion: str | None = None
) -> tuple[Figure, Axes]:
    """Draw the gap of a notion at every threshold: band, and the worst gap by chance, dotted.

    Parameters
    ----------
    found : Audit
    notion : str, optional
        Beginning of a curve's title; default the first.

    Raises
    ------
    DataError
        For a notion the audit has not measured.

    Examples
    --------
    >>> import fairprog as fp
    >>> y, s, a = [0, 1, 0, 1] * 9, [.1, .8, .3, .6] * 9, [0, 0, 1, 1] * 9
    >>> found = fp.audit(y, s, sensitive_features=a)
    >>> fig, ax = found.plot(notion="demographic parity")
    >>> ax.get_title()
    'demographic parity'
    """
    known = {c.title: c for c in found.curves}
    wanted = found.curves[0].title if notion is None else notion
    curve = next((c for title, c in known.items() if title.startswith(wanted)), None)
    if curve is None:
        raise DataError(f"`notion` is {notion!r}; measured are {list(known)}.", argument="notion")
    with style():
        fig, axes = new_axes(ax, (4.2, 2.9))
        plot_gaps(
            curve.thresholds,
            curve.gaps,
            bands=curve.bands(),
            xlabel="threshold of the score",
            ax=axes,
        )
        floor = max(found.worst[curve.title, name].floor_high for name in curve.gaps)
        axes.axhline(floor, color="0.4", linewidth=1.0, linestyle=":", label="by chance, 95%")
        fit_gaps(axes)
        axes.set_title(curve.title)
        axes.legend()
    return fig, axes


def plot_class_rates(found: Audit, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the gap of P(predicted = class | class) between groups, class by class, with intervals.

    A tick marks the gap that chance exceeds in 5% of cases.

    Parameters
    ----------
    found : Audit
    ax : Axes, optional
    """
    gaps = list(found.rate_gaps.values())
    K, place = len(gaps), np.arange(len(gaps))
    with style():
        fig, axes = new_axes(ax, (max(3.7, min(9.0, 1.6 + 0.45 * K)), 2.9))
        gap = np.array([g.gap for g in gaps])
        reach = np.array([[g.gap - g.low, g.high - g.gap] for g in gaps]).T
        axes.bar(place, gap, width=0.6, color=group_color(0), alpha=0.75, label="gap")
        axes.errorbar(
            place, gap, yerr=np.maximum(reach, 0.0), color="0.3", linestyle="none", capsize=2.5
        )
        axes.plot(
            place,
            [g.floor_high for g in gaps],
            color=group_color(1),
            marker=MARKERS[1],
            markersize=4.0,
            linestyle="none",
            label="by chance, 95%",
        )
        names = [short(c, 14) for c in found.classes]
        axes.set_xticks(place, names, rotation=90 if sum(map(len, names)) > 40 else 0)
        axes.set(xlabel="class", ylabel="gap of the correct rate")
        axes.set_ylim(0.0, 1.1 * max(1e-3, *(g.high for g in gaps)))
        axes.grid(False, axis="x")
        columns = legend_columns(["gap", "by chance, 95%"], 0.8 * fig.get_figwidth())
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=columns)
    return fig, axes


def audit_report(found: Audit) -> Report:
    """Return the report of an audit."""
    sections: list[tuple[str, str, Draw]] = [
        ("gaps", "Gaps at every threshold", lambda: _gaps(found)),
        ("rates", "Rates of the predictions", lambda: _rates(found)),
        (
            "leakage",
            "How well the score reveals the group within a class",
            lambda: data_table(
                "AUC; 0.5 = not at all",
                ("class", "group", "area", f"{found.confidence:.0%} interval"),
                leakage_rows(found),
            ),
        ),
        ("tool", "Which tool fits", lambda: tag("p", found.recommendation)),
        ("rows", "Rows", lambda: _counts(found)),
    ]
    if found.movement is not None:
        table = partial(
            data_table,
            "Score after steering minus score before",
            ("class, group", "median", "5% to 95%", "rms", "predictions changed"),
            movement_rows(found),
        )
        sections.insert(3, ("movement", "Who moves how far", table))
    short = [lambda: _gaps(found, 2), lambda: _metrics(found)]
    return Report(found.verdict, sections, short, name="fairprog audit")


def _rates(found: Audit) -> Markup:
    drawn = panel(
        lambda ax: plot_class_rates(found, ax),
        "Gaps of the rates, class by class",
        f"The root mean square is {found.rms_gap.gap:.3f}.",
    )
    groups = (f"group {g}" for g in found.groups)
    head = ("class", *groups, "gap", f"{found.confidence:.0%} interval", "by chance")
    return join([panels(drawn), data_table(rates_title(found), head, rate_rows(found))])


def _counts(found: Audit) -> Markup:
    rows = [
        (str(c), *(f"{count:,}" for count in row))
        for c, row in zip(found.classes, found.counts, strict=True)
    ]
    head = ("class", *(f"group {g}" for g in found.groups))
    return data_table(f"{int(found.counts.sum()):,} rows", head, rows)


def _metrics(found: Audit) -> Markup:
    frame = found.by_group()
    names = [c for c in frame.columns if f"{c}, low" in frame.columns]
    counts = [f"{n:,}" for n in frame["rows"]]
    rows = [("rows", *counts), *((name, *map(_interval, *_ends(frame, name))) for name in names)]
    title = f"By group, {found.confidence:.0%} intervals"
    return data_table(title, ("", *(f"group {g}" for g in found.groups)), rows)


def _ends(frame: pd.DataFrame, name: str) -> list[list[float]]:
    return [frame[column].tolist() for column in (name, f"{name}, low", f"{name}, high")]


def _interval(value: float, low: float, high: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _gaps(found: Audit, most: int = MOST) -> Markup:
    level = f"{found.confidence:.0%}"
    said = (
        f"Bands hold at all thresholds at once with {level} confidence ({found.band}), if the "
        "model was not trained on these rows. Dotted, and in brackets in the table: the worst "
        "gap that chance exceeds in 5% of cases (groups permuted within each class). Share of "
        "permutations as unequal: every group is judged in units of what its rows leave open."
    )

    def one(curve: GapCurve) -> Markup:
        worst = ", ".join(f"{name} {gap:.3f}" for name, gap in curve.worst.items())
        return panel(
            lambda ax: plot_audit(found, ax, notion=curve.title),
            curve.title.capitalize(),
            f"At the worst threshold: {worst}. Every gap of this curve is known to within "
            f"{curve.half_width:.3f} (half the width of its band).",
        )

    table = data_table(
        "Gap at the worst threshold",
        tuple(f"{level} interval" if word == "interval" else word for word in HEAD),
        facts(found),
    )
    return join([paragraphs([said]), panels(*map(one, found.curves[:most])), table])
