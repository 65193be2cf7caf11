"""HTML from parts that escape what they are given."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from fairprog.labels import printable


class Markup(str):
    """Text that is HTML already; everything else is escaped where it enters."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """Return a value as HTML: markup as it is, anything else escaped, quotes included.

    Examples
    --------
    >>> from fairprog.plotting.html import escape
    >>> escape('<b>&"')
    '&lt;b&gt;&amp;&quot;'
    """
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value))))


def join(parts: Iterable[object]) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(escape(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; a trailing underscore of an attribute is dropped, others become dashes.

    Examples
    --------
    >>> from fairprog.plotting.html import tag
    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{said}>{join(children)}</{name}>")


def paragraphs(texts: Iterable[object]) -> Markup:
    """Return every text as a paragraph."""
    return join(tag("p", text) for text in texts)


def data_table(
    caption: object,
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    text: bool = False,
) -> Markup:
    """Return a table whose first column names the rows, in a box that scrolls by itself.

    Parameters
    ----------
    caption : str
    head : sequence
        Titles of the columns.
    rows : iterable of sequences
    text : bool
        Cells hold text that may wrap, not numbers.
    """
    columns = tag("tr", *(tag("th", title, scope="col") for title in head))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    table = tag(
        "table",
        tag("caption", caption),
        tag("thead", columns),
        tag("tbody", *body),
        class_="text" if text else "numbers",
    )
    return tag("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)
