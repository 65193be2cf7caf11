"""Figures as inline SVG that follows the colours of the page it stands in, light or dark."""

from __future__ import annotations

import hashlib
import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fairprog.plotting.html import Markup, escape
from fairprog.plotting.style import COLORS, settings

_VARIABLES = {
    "#000000": "ink",  # also the last group colour: it must stay visible in the dark
    "#ffffff": "paper",
    "#e6e6e6": "grid",
    "#4d4d4d": "muted",
    "#666666": "muted",
    "#b0b0b0": "line",
    "#b2b2b2": "line",
    "#b3b3b3": "line",
    "#cccccc": "line",
    **{color.lower(): f"c{k}" for k, color in enumerate(COLORS) if color != "#000000"},
}
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"font: ([\d.]+)px [^;\"]*")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")


def variable_of(color: str) -> str:
    """Return a colour as a CSS value that the page may override.

    Examples
    --------
    >>> from fairprog.plotting.svg import variable_of
    >>> variable_of("#0072B2")
    'var(--fp-c0, #0072B2)'
    """
    name = _VARIABLES.get(color.lower())
    return color if name is None else f"var(--fp-{name}, {color})"


def figure_svg(fig: Figure, title: str, description: str) -> Markup:
    """Return a figure as an ``<svg>`` element and close it.

    Text stays text, colours become CSS variables with the drawn colour as fallback, identifiers
    are made unique by the content, and the size is left to the page.

    Parameters
    ----------
    fig : Figure
    title : str
        What is shown, for those who cannot see it.
    description : str
        What can be seen, in a sentence or two.
    """
    stream = io.BytesIO()
    blank = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with settings({"svg.fonttype": "none", "svg.hashsalt": "fairprog"}):
        fig.savefig(stream, format="svg", transparent=True, metadata=blank)
    plt.close(fig)
    root = ElementTree.fromstring(stream.getvalue())
    prefix = "fp" + hashlib.sha256(stream.getvalue() + title.encode()).hexdigest()[:8]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)  # a style element here would restyle the whole page
    for element in root.iter():
        _tidy(element, prefix)
    box = root.get("viewBox", "")
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    return Markup(
        f'<svg viewBox="{box}" role="img" aria-labelledby="{prefix}-title {prefix}-desc">'
        f'<title id="{prefix}-title">{escape(title)}</title>'
        f'<desc id="{prefix}-desc">{escape(description)}</desc>{inner}</svg>'
    )


def _tidy(element: ElementTree.Element, prefix: str) -> None:
    """Drop namespaces, round numbers, make identifiers unique and colours variables."""
    element.tag = element.tag.rpartition("}")[2]
    for key, value in list(element.attrib.items()):
        del element.attrib[key]
        name = key.rpartition("}")[2]
        if name == "id":
            value = f"{prefix}-{value}"
        elif name == "href":
            value = f"#{prefix}-{value.removeprefix('#')}"
        elif name == "style":
            value = _COLOR.sub(lambda m: variable_of(m[0]), _FONT.sub(r"font-size: \1px", value))
        if name in {"d", "x", "y", "transform", "width", "height"}:
            value = _NUMBER.sub(lambda m: f"{float(m[0]):.2f}", value)
        element.set(name, _REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    if element.text is not None and not element.text.strip():
        element.text = None
    if element.tail is not None and not element.tail.strip():
        element.tail = None
