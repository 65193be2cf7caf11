"""The HTML report of a solution: which figures and tables, in which order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fairprog.labels import Array
from fairprog.plotting.bars import plot_bounds, plot_certificate, plot_prices
from fairprog.plotting.cells import draw_cells, frame_of, legend_handles
from fairprog.plotting.curves import plot_gaps
from fairprog.plotting.html import Markup, data_table, escape, join, paragraphs, tag
from fairprog.plotting.movement import plot_movement
from fairprog.plotting.rates import plot_rates
from fairprog.plotting.style import MARKERS, class_line, group_color, style
from fairprog.plotting.svg import figure_svg, variable_of
from fairprog.plotting.weights import draw_atoms
from fairprog.populations import Evaluation
from fairprog.populations.evaluation import tables_at_thresholds
from fairprog.solution import Solution
from fairprog.solution.evidence import Evidence, Section
from fairprog.solution.movement import LEVELS, Movement, population_movement
from fairprog.solution.words import (
    bounds_words,
    certificate_words,
    conditions_words,
    grown_gaps,
    headline,
    settings_rows,
    warnings_of,
)
from fairprog.tables import (
    AccuracyParity,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    Notion,
    PredictiveEquality,
)
from fairprog.versions import versions

__all__ = ["notebook_html", "panel", "panels", "report_html", "whole_page"]

PANEL = (3.7, 2.9)  # inches: text of 8 points stays readable at the width of a telephone
DRAWN = ("equal opportunity", "predictive equality", "demographic parity")
SAMPLES = 2**12  # where rates have no closed form


def report_html(
    sol: Solution, evidence: Evidence | None = None, *, title: str | None = None
) -> str:
    """Return the whole report as one HTML page that loads nothing.

    Parameters
    ----------
    sol : Solution
    evidence : Evidence, optional
        Figures measured on rows; default: those of the populations alone.
    title : str, optional
        Default "fairprog report".
    """
    found = Evidence() if evidence is None else evidence
    name = "fairprog report" if title is None else title
    before, after = _evaluations(sol)
    movement = found.movement
    if movement is None and sol.moves_rows:
        movement = population_movement(sol)
    thresholds = _threshold_gaps(sol)
    warnings = [
        *found.remarks,
        *grown_gaps(before, after),
        *warnings_of(sol, movement, found.curves, found.ranks, found.card is not None),
    ]
    sections = [
        ("warnings", "What to beware of", _warning_list(warnings)),
        ("populations", "Populations before and after", _populations(sol, movement)),
        ("gaps", "Gaps between groups", _gaps(sol, before, after, thresholds)),
        ("rows", "Gaps on rows", _rows(found)),
        *(
            []
            if movement is None
            else [("movement", "Who moves how far", _movement(movement, found.ranks))]
        ),
        ("prices", "What fairness costs", _prices(sol)),
        ("bounds", "What it says about the original population", _bounds(sol)),
        ("certificate", "Why to believe it", _certificate(sol)),
        ("settings", "Settings and versions", _settings(sol)),
    ]
    lead = tag("p", headline(sol) + ".", class_="lead")
    return whole_page(name, [lead, _facts(sol, before, after, thresholds, found)], sections)


def whole_page(
    name: str, introduction: Sequence[Markup], sections: Sequence[tuple[str, str, Markup]]
) -> str:
    """Return an HTML page that loads nothing, from (key, heading, content) of its sections."""
    contents = tag(
        "nav",
        tag("ul", *(tag("li", tag("a", head, href=f"#{key}")) for key, head, _ in sections)),
        aria_label="Contents",
    )
    body = [
        tag(
            "section",
            tag("h2", head, id=f"{key}-title"),
            content,
            id=key,
            aria_labelledby=f"{key}-title",
        )
        for key, head, content in sections
    ]
    page = tag(
        "div",
        tag(
            "header",
            tag("h1", name),
            *introduction,
            contents,
        ),
        tag("main", *body),
        tag("footer", f"Made by fairprog {versions()['fairprog']}; loads nothing from anywhere."),
        class_="fairprog page",
    )
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(name)}</title><style>{_stylesheet()}"
        "html{color-scheme:light dark}body{margin:0}@media print{html{color-scheme:light}}"
        "@media screen and (prefers-color-scheme:dark){html{background:#14171b}}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{page}</body></html>\n'


def notebook_html(sol: Solution) -> str:
    """Return a short report for a notebook: figures at a glance, populations, prices.

    Its style sheet speaks of the class ``fairprog`` only.
    """
    before, after = _evaluations(sol)
    warnings = [*grown_gaps(before, after), *warnings_of(sol)]
    parts = [
        tag("p", tag("b", headline(sol) + ".")),
        _facts(sol, before, after, _threshold_gaps(sol), Evidence()),
        _warning_list(warnings) if warnings else "",
        _legend(sol.original),
        panels(
            *_population_panels(sol),
            *([_price_picture(sol)] if sol.price or sol.sensitivity else []),
        ),
    ]
    return tag("div", tag("style", Markup(_stylesheet())), *parts, class_="fairprog notebook")


@cache
def _stylesheet() -> str:
    return files("fairprog.plotting").joinpath("report.css").read_text(encoding="utf-8")


def panel(
    draw: Callable[[Axes], object], title: str, description: str, size: tuple[float, float] = PANEL
) -> Markup:
    """Draw on new axes of a size and return the figure element, captioned."""
    with style():
        fig, ax = plt.subplots(figsize=size, layout="constrained")
        draw(ax)
    return _figure(fig, title, description)


def _figure(fig: Figure, title: str, description: str) -> Markup:
    caption = tag("figcaption", tag("b", title), ". ", description)
    return tag("figure", caption, figure_svg(fig, title, description))


def panels(*figures: Markup) -> Markup:
    """Return figures beside each other, as far as there is room."""
    return tag("div", *figures, class_="pictures")


def _pair(figure: object, *others: object) -> Markup:
    """Return a picture with what belongs to it at its side, or below where there is no room."""
    return tag("div", figure, tag("div", *others), class_="pair")


# -- at a glance --


def _evaluations(sol: Solution) -> tuple[Evaluation, Evaluation]:
    before, after = (P.evaluate(n_samples=SAMPLES) for P in (sol.original, sol.population))
    return before, after


def _facts(
    sol: Solution,
    before: Evaluation,
    after: Evaluation,
    thresholds: Mapping[str, tuple[Array, Array, Array]],
    found: Evidence,
) -> Markup:
    cert = sol.certificate
    facts: list[tuple[str, object, str]] = [
        ("KL divergence", f"{sol.kl:.4g} nats", "of the steered from the original population"),
        ("Bayes error", f"{before.error:.4f} → {after.error:.4f}", "before → after, 0-1 cost"),
    ]
    if thresholds:
        worst = [max(float(curves[k].max()) for curves in thresholds.values()) for k in (1, 2)]
        facts.append(
            (
                "Largest gap, all thresholds",
                f"{worst[0]:.4f} → {_zero(worst[1]):.4f}",
                "of the populations, any notion",
            )
        )
    else:
        gaps = [e.gap(EqualizedOdds()) for e in (before, after)]
        facts.append(
            (
                "Equalized odds gap",
                f"{gaps[0]:.4f} → {_zero(gaps[1]):.4f}",
                "of the populations, 0-1 cost",
            )
        )
    if found.card is not None:
        facts.append(found.card)
    for curve in () if found.card is not None else found.curves[:1]:
        first, second = (list(curve.worst.values()) * 2)[:2]
        facts.append(
            (
                "Gap on rows, worst threshold",
                f"{first:.3f} → {second:.3f}",
                f"each ±{curve.half_width:.3f}; {curve.title}",
            )
        )
    verdict = tag("span", "verified" if cert.ok else "NOT verified", class_=_colour(cert.ok))
    scope = "global optimum" if cert.globally_optimal else "local optimum"
    facts.append(("Certificate", verdict, scope))
    cells = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", note)))
        for name, value, note in facts
    ]
    return tag("dl", *cells, class_="facts")


def _colour(good: bool) -> str:
    return "good" if good else "bad"


def _zero(value: float) -> float:
    """Return a number without the minus sign of a rounded zero."""
    return value if abs(value) >= 5e-5 else 0.0


def _warning_list(warnings: Sequence[str]) -> Markup:
    if not warnings:
        return tag("p", "Nothing was found to warn of.")
    return tag("ul", *(tag("li", text) for text in warnings), class_="warnings")


# -- populations --


def _populations(sol: Solution, movement: Movement | None) -> Markup:
    said = _population_words(sol)
    names = None
    if movement is not None and len(movement.features) == sol.original.n_features:
        names = movement.features
    pictures = panels(*_population_panels(sol, names))
    return join([_legend(sol.original), paragraphs(said), pictures])


def _population_panels(sol: Solution, names: Sequence[str] | None = None) -> list[Markup]:
    """Return the figures before, after, and in common coordinates, on the same axes."""
    if not sol.moves_rows:
        both = {"Before": sol.original, "After": sol.population}
        return [
            panel(lambda ax, P=P: draw_atoms(ax, P), name, f"The {what} population.")  # type: ignore[misc]
            for (name, P), what in zip(both.items(), ("original", "steered"), strict=True)
        ]
    D, common = sol.original, sol.aligned
    populations = {
        "Before": (D, "The original population."),
        "After": (sol.population, f"The steered population, {sol.kl:.3g} nats away."),
        "In common coordinates": (common, _common_words(sol)),
    }
    frame = frame_of([P for P, _ in populations.values()], names)
    extra = 0.0 if frame.plane is not None else 0.16 * max(0, D.n_groups - 2)
    return [
        panel(
            lambda ax, P=P: draw_cells(  # type: ignore[misc]
                ax, P, frame, overlay=P is common and not sol.settings["map_bound"]
            ),
            name,
            text,
            (PANEL[0], PANEL[1] + extra),
        )
        for name, (P, text) in populations.items()
    ]


def _population_words(sol: Solution) -> list[str]:
    D = sol.original
    if not sol.moves_rows:
        return [
            "Each line is a class of a group: the probability, within the group, of every value "
            "(atom) together with that class. Steering changes weights, not values."
        ]
    if D.n_features == 1:
        per_unit = (
            ""
            if D.coordinate == "x"
            else f" Densities are per unit of {D.coordinate}, and the axis is spaced by it."
        )
        return [
            "Each curve is a class of a group: its base rate times its density. Where the curves "
            "of a group cross, its Bayes rule for 0-1 cost changes its mind; the bands below show "
            f"what that rule predicts.{per_unit}"
        ]
    text = "Each ellipse holds half of a class of a group; its centre is marked."
    if D.core is not D:
        text += f" Cells are drawn as {D.coordinate}, feature by feature: there they are normal."
    if D.n_features == 2 and not D.null_dimension:
        return [f"{text} Thin lines: where the Bayes rule of a group changes its mind (0-1 cost)."]
    return [
        f"{text} The plane is the one in which the cells of the original population differ most "
        "(discriminant directions)."
    ]


def _common_words(sol: Solution) -> str:
    if sol.settings["map_bound"]:
        return "Each group taken back by its map; a map_bound leaves them apart."
    return "Each group taken back by its map: they coincide, drawn one upon the other."


def _legend(D: Any) -> Markup:
    """Return the legend: colours of groups, lines and markers of classes."""
    items: list[Markup] = []
    for handle in legend_handles(D):
        label = str(handle.get_label())
        if isinstance(handle, Line2D):
            i = len(items) - D.n_groups
            sample, label = _line_sample(i, D.n_features > 1), f"class {D.classes[i]}"
        else:
            color = variable_of(group_color(len(items)))
            sample = Markup(
                '<svg viewBox="0 0 32 12" aria-hidden="true">'
                f'<rect x="4" width="24" height="12" style="fill: {color}"/></svg>'
            )
            label = f"group {D.groups[len(items)]}"
        items.append(tag("li", sample, tag("span", label)))
    return tag("ul", *items, class_="legend")


def _line_sample(i: int, marked: bool) -> Markup:
    """Return a short line as class i is drawn, with its marker."""
    with style():
        fig = plt.figure(figsize=(32 / 72, 12 / 72))
        ax = fig.add_axes((0, 0, 1, 1))
        ax.plot(
            [0, 0.5, 1],
            [0, 0, 0],
            color="black",
            linestyle=class_line(i),
            marker=MARKERS[i % len(MARKERS)] if marked else None,
            markevery=[1],
            markersize=5,
        )
        ax.set_axis_off()
    svg = figure_svg(fig, f"line of class {i}", "sample")
    start = svg.index("</desc>") + len("</desc>")  # the text beside it says what it is
    return Markup('<svg viewBox="0 0 32 12" aria-hidden="true">' + svg[start:])


# -- gaps --


def _threshold_gaps(sol: Solution) -> dict[str, tuple[Array, Array, Array]]:
    """Return thresholds and gaps before and after by notion; empty unless labels are binary."""
    if sol.original.n_classes != 2:
        return {}
    odds = np.linspace(-25.0, 25.0, 301)  # thresholds next to 0 and 1 as well
    t = np.union1d(1.0 / (1.0 + np.exp(-odds)), np.linspace(0.005, 0.995, 199))
    tables = [tables_at_thresholds(P, t) for P in (sol.original, sol.population)]
    gaps = {
        name: [np.array([notion.gap(z) for z in side]) for side in tables]
        for name, notion in _notions(2).items()
    }
    return {name: (t, before, after) for name, (before, after) in gaps.items()}


def _notions(n_classes: int) -> dict[str, Notion]:
    notions: dict[str, Notion] = {
        "equal opportunity": EqualOpportunity(),
        "predictive equality": PredictiveEquality(),
        "demographic parity": DemographicParity(),
        "equalized odds": EqualizedOdds(),
        "accuracy parity": AccuracyParity(),
    }
    if n_classes != 2:
        del notions["predictive equality"]
    return notions


def _gaps(
    sol: Solution,
    before: Evaluation,
    after: Evaluation,
    thresholds: Mapping[str, tuple[Array, Array, Array]],
) -> Markup:
    classes = sol.original.classes
    error = max(before.standard_error, after.standard_error)
    head = ["notion", "before", "after"]
    if thresholds:
        head += ["before, worst threshold", "after, worst threshold"]
    rows = []
    for name, notion in _notions(len(classes)).items():
        row = [name, *(f"{_zero(e.gap(notion)):.4f}" for e in (before, after))]
        if name in thresholds:
            row += [f"{_zero(float(g.max())):.4f}" for g in thresholds[name][1:]]
        rows.append(row)
    sampled = f" (rates by quasi-Monte Carlo, standard error up to {error:.4f})"
    said = [
        "Gaps are the largest minus the smallest rate of a group. They are those of the "
        f"populations and of their own Bayes rules, not of data{sampled if error > 0 else ''}."
    ]
    if thresholds:
        figures = [
            panel(
                lambda ax, c=c: plot_gaps(  # type: ignore[misc]
                    c[0], {"before": c[1], "after": c[2]}, ax=ax, xlabel="threshold (posterior)"
                ),
                name.capitalize(),
                f"Gap at every threshold: at most {c[1].max():.3f} before and "
                f"{_zero(float(c[2].max())):.3f} after.",
                (PANEL[0], 2.5),
            )
            for name, c in thresholds.items()
            if name in DRAWN
        ]
        said.append(
            f"Every cost-sensitive Bayes rule predicts class {classes[1]} where its posterior "
            "exceeds a threshold, so that the pictures show every cost at once."
        )
    else:
        said.append(
            "With more than two classes there is no single threshold; the pictures show the rules "
            "of 0-1 cost, class by class."
        )
        figures = []
    if len(classes) > 2 or sol.original.n_groups > 2:
        figures += [
            panel(
                lambda ax, e=e: plot_rates(  # type: ignore[misc]
                    e.table, ax=ax, standard_error=e.standard_error
                ),
                f"True positive rates {when}",
                f"P(Yhat = class | Y = class) of every group; the largest gap is "
                f"{_rate_gap(e):.3f}.",
            )
            for when, e in (("before", before), ("after", after))
        ]
    table = data_table("Gaps of the 0-1 rule of each population", head, rows)
    return join([paragraphs(said), panels(*figures) if figures else "", table])


def _rate_gap(e: Evaluation) -> float:
    return _zero(float(np.ptp(np.einsum("aii->ia", e.table.rates()), axis=1).max()))


# -- rows --


def _rows(found: Evidence) -> Markup:
    parts: list[object] = []
    if not found.curves and not found.sections:
        parts.append(
            tag(
                "p",
                "This report was made without data. What a population says is an estimate: give "
                "rows that it was not fitted to, and gaps are measured on them with bands.",
            )
        )
    if found.curves:
        names = list(found.curves[0].gaps)
        parts.append(
            paragraphs(
                [
                    found.source,
                    f"Bands: with {found.confidence:.0%} confidence all curves of a picture are "
                    "within them at every threshold at once (Dvoretzky-Kiefer-Wolfowitz, with the "
                    "rows of the cell that the rate conditions on; of more than two groups the "
                    "two least certain ones). They hold if the scores were not fitted to these "
                    "rows.",
                ]
            )
        )
        parts.append(
            panels(
                *(
                    panel(
                        lambda ax, c=c: plot_gaps(  # type: ignore[misc]
                            c.thresholds, c.gaps, bands=c.bands(), ax=ax, xlabel="threshold"
                        ),
                        c.title[0].upper() + c.title[1:],
                        "Gap between groups at every threshold, each within "
                        f"{c.half_width:.3f}. Largest: "
                        + ", ".join(f"{w:.3f} {n}" for n, w in c.worst.items())
                        + ".",
                        (PANEL[0], 2.6),
                    )
                    for c in found.curves
                )
            )
        )
        rows = [
            [
                c.title,
                *(f"{c.worst[n]:.3f}" for n in names),
                f"±{c.half_width:.3f}",
                " / ".join(f"{n:,}" for n in c.counts),
            ]
            for c in found.curves
        ]
        head = ["rate", *names, "known to within", "rows by group"]
        parts.append(data_table("Gaps at the worst threshold", head, rows))
    parts += [_section(s) for s in found.sections]
    return join(parts)


def _section(section: Section) -> Markup:
    return join(
        [
            tag("h3", section.title),
            paragraphs(section.text),
            data_table(section.title, section.head, section.rows),
        ]
    )


# -- movement --


def _movement(move: Movement, ranks: Mapping[Hashable, float] | None) -> Markup:
    said = [
        "Aligning takes each group back into the common coordinates, without labels. "
        "Displacements are in pooled standard deviations of each feature"
        + ("" if move.coordinate == "x" else f" (as {move.coordinate})")
        + (
            ", those of the population: no sampling."
            if move.counts is None
            else ", measured on the rows."
        )
    ]
    if len(move.features) < move.n_features:
        said.append(
            f"Of {move.n_features} features the {len(move.features)} that move most are shown."
        )
    fig, _ = plot_movement(move)
    picture = _figure(
        fig,
        "Displacement by feature",
        "Median (marker of the class), quartiles (thick) and 5% to 95% range (thin) of every "
        "class of a group; groups that stay are left out.",
    )
    head = ["cell", *(["rows"] if move.counts is not None else []), "root mean square"]
    rows = []
    for a, group in enumerate(move.groups):
        for i, label in enumerate(move.classes):
            row = [f"{group}, class {label}"]
            if move.counts is not None:
                row.append(f"{move.counts[i, a]:,}")
            row.append(_number(move.rms[i, a], 2))
            for j in range(len(move.features)):
                low, middle, high = move.quantiles[[0, 2, 4], i, a, j]
                row.append(f"{_signed(middle)} [{_signed(low)}, {_signed(high)}]")
            rows.append(row)
    lowest, highest = (f"{100 * q:.0f}%" for q in (LEVELS[0], LEVELS[-1]))
    moves = data_table(
        f"Displacement: median [{lowest}, {highest}] of every feature, in pooled s.d.",
        [*head, *move.features],
        rows,
    )
    rank_rows = []
    for a, group in enumerate(move.groups):
        score = [] if ranks is None else [_number(ranks[group], 3)]
        rank_rows.append([group, *score, *(_number(float(r), 3) for r in move.rank[a])])
    rank_table = data_table(
        "Ranks within a group: Spearman's correlation before and after (1: kept)",
        ["group", *([] if ranks is None else ["model score"]), *move.features],
        rank_rows,
    )
    return join([paragraphs(said), _pair(picture, rank_table), moves])


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "0.00" if abs(value) < 5e-3 else f"{value:+.2f}"


# -- prices, bounds, certificate, settings --


def _price_picture(sol: Solution) -> Markup:
    fig, _ = plot_prices(sol)
    text = "Bars of nats of KL per unit: what each condition costs at the margin."
    return _figure(fig, "Prices", text)


def _prices(sol: Solution) -> Markup:
    said = [
        "A price is how fast KL falls per unit of a bound that is relaxed; a sensitivity is how "
        "it changes when the target of one condition is shifted by one unit. "
        + conditions_words(sol)
    ]
    if not sol.price and not sol.sensitivity:
        return paragraphs(["This program has no bound and no condition that carries a price."])
    prices = []
    for name, price in sol.price.items():
        low, high = sol.price_interval.get(name, (float("nan"), float("nan")))
        between = "–" if np.isnan(low) else f"[{low:.4f}, {high:.4f}]"
        unit = "map_bound" if name == "consensus" else "its bound"
        prices.append([name, f"{price:.6g}", between, unit])
    rows = []
    for where, value in sol.sensitivity.items():
        flat = np.ravel(value)
        largest = flat[np.argmax(np.abs(flat))] if flat.size else 0.0
        shape = "number" if np.ndim(value) == 0 else " × ".join(map(str, np.shape(value)))
        part = sol.price_by_condition.get(where)
        share = "–" if part is None else f"{part:.4g}"
        rows.append([where, share, shape, f"{np.linalg.norm(flat):.4g}", f"{largest:+.4g}"])
    tables = []
    if prices:
        head = ["price", "nats per unit", "valid prices", "unit"]
        tables.append(data_table("Prices of bounds", head, prices))
    if rows:
        head = ["address", "part of the price", "shape", "norm", "largest entry"]
        title = "Conditions: part of the price of consensus; sensitivity, nats per unit of yours"
        tables.append(data_table(title, head, rows))
    return join([paragraphs(said), _pair(_price_picture(sol), *tables)])


def _bounds(sol: Solution) -> Markup:
    fig, _ = plot_bounds(sol.bounds)
    text = "How far each rate can differ between the populations, cell by cell."
    return _pair(_figure(fig, "Bounds", text), paragraphs(bounds_words(sol)))


def _certificate(sol: Solution) -> Markup:
    cert = sol.certificate
    fig, _ = plot_certificate(cert)
    rows = [
        [name.replace("_", " "), f"{value:.2e}", f"{limit:.2e}", "yes" if value <= limit else "NO"]
        for name, value, limit in cert.checks()
    ]
    table = data_table("Residuals", ["check", "residual", "tolerance", "passes"], rows)
    text = "Each bar must end before its mark, the tolerance."
    return join(
        [paragraphs(certificate_words(cert)), _pair(_figure(fig, "Residuals", text), table)]
    )


def _settings(sol: Solution) -> Markup:
    program = data_table("The program", ["setting", "value"], settings_rows(sol), text=True)
    made = data_table("Versions", ["package", "version"], list(versions().items()), text=True)
    return _pair(program, made)
