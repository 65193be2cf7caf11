"""What every report is made of: a page that loads nothing, figures with captions, lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.evidence.rows import Card
from fairprog.plotting.html import Markup, escape, join, tag
from fairprog.plotting.style import style
from fairprog.plotting.svg import figure_svg
from fairprog.versions import versions

PANEL = (3.7, 2.9)  # inches: text of 8 points stays readable at the width of a telephone


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
        tag("header", tag("h1", name), *introduction, contents),
        tag("main", *body),
        tag("footer", f"Made by fairprog {versions()['fairprog']}; loads nothing from anywhere."),
        class_="fairprog page",
    )
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(name)}</title><style>{stylesheet()}"
        "html{color-scheme:light dark}body{margin:0}@media print{html{color-scheme:light}}"
        "@media screen and (prefers-color-scheme:dark){html{background:#14171b}}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{page}</body></html>\n'


def notebook_part(*parts: object) -> Markup:
    """Return parts for a notebook, in a style of their own that leaves theirs alone."""
    return tag("div", tag("style", Markup(stylesheet())), *parts, class_="fairprog notebook")


@cache
def stylesheet() -> str:
    """Return the style sheet, which speaks of the class ``fairprog`` only."""
    return files("fairprog.plotting").joinpath("report.css").read_text(encoding="utf-8")


def panel(
    draw: Callable[[Axes], object], title: str, description: str, size: tuple[float, float] = PANEL
) -> Markup:
    """Draw on new axes of a size and return the figure element, captioned."""
    with style():
        fig, ax = plt.subplots(figsize=size, layout="constrained")
        draw(ax)
    return captioned(fig, title, description)


def captioned(fig: Figure, title: str, description: str) -> Markup:
    """Return the figure element of a drawn figure, and close that."""
    caption = tag("figcaption", tag("b", title), ". ", description)
    return tag("figure", caption, figure_svg(fig, title, description))


def panels(*figures: Markup) -> Markup:
    """Return figures beside each other, as far as there is room."""
    return tag("div", *figures, class_="pictures")


def pair(figure: object, *others: object) -> Markup:
    """Return a picture with what belongs to it at its side, or below where there is no room."""
    return tag("div", figure, tag("div", *others), class_="pair")


def warning_list(warnings: Sequence[str]) -> Markup:
    """Return warnings as a list, or a sentence where there are none."""
    if not warnings:
        return tag("p", "Nothing was found to warn of.")
    return tag("ul", *(tag("li", text) for text in warnings), class_="warnings")


def fact_list(facts: Sequence[tuple[str, object, str]]) -> Markup:
    """Return figures at a glance, from (name, value, note)."""
    cells = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", note)))
        for name, value, note in facts
    ]
    return tag("dl", *cells, class_="facts")


def card_facts(cards: Sequence[Card]) -> list[tuple[str, object, str]]:
    """Return cards for :func:`fact_list`, the figure after in the colour of what it means."""
    out: list[tuple[str, object, str]] = []
    for card in cards:
        same = abs(card.after - card.before) < 5e-4
        colour = "bad" if card.worse else "" if same else "good"
        after = tag("span", f"{card.after:.3f}", class_=colour)
        out.append((card.title, join([f"{card.before:.3f} → ", after]), card.note))
    return out


def verdict(ok: bool) -> Markup:
    """Return whether an answer is verified, in the colour that goes with it."""
    return tag("span", "verified" if ok else "NOT verified", class_="good" if ok else "bad")
