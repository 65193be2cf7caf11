"""Several sensitive attributes: whose groups a notion compares, and inside which strata.

Groups of several attributes are crossed, ("f", "north"), ("f", "south"), .... A notion with
``on="sex"`` adds up the groups that agree in sex, one with ``within="region"`` compares in each
region by itself. Both only choose sums of a table's rows: what a notion says of a table or a view
it says of each of these parts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array, printable
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import TableView, Term


@dataclass(frozen=True, eq=False)
class PartTable(OutcomeTable):
    """The table of one stratum, its groups added up: notions take it as it is."""


def names_of(which: Any) -> tuple[Any, ...]:
    """Return the attributes that `on` or `within` names, as a tuple."""
    if which is None:
        return ()
    return tuple(which) if isinstance(which, (tuple, list)) else (which,)


def check_whole(notion: Any, what: str) -> None:
    """Raise ModelError for a notion that adds up groups or compares inside strata."""
    if notion.splits:
        raise ModelError(
            f"{what} compares all groups that it is given, so that `on` and `within` have no "
            f"meaning there; found {notion!r}. Give one attribute as the group, "
            "sensitive_features=frame['sex'], or ask FairClassifier, which takes a constraint per "
            "attribute.",
            argument="notion",
        )


def _positions(table: Any, which: Any, argument: str) -> list[int]:
    """Return the positions of attributes, given by name or position, in a crossed group."""
    depth = _depth(table)
    out = []
    for name in names_of(which):
        if name in table.attributes:
            out.append(table.attributes.index(name))
        elif isinstance(name, int) and not isinstance(name, bool) and 0 <= name < depth:
            out.append(name)
        else:
            known = list(table.attributes) or list(range(depth))
            raise ModelError(
                f"`{argument}` names {name!r}, but the attributes of the groups are {known}. Pass "
                "`sensitive_features` as a data frame with a column for each.",
                argument=argument,
            )
    return out


def _depth(table: Any) -> int:
    """Return how many attributes the groups cross."""
    if len(table.attributes) == 1:
        return 1
    sizes = {len(g) if isinstance(g, tuple) else 1 for g in table.groups}
    return sizes.pop() if len(sizes) == 1 else 1


def _parts(table: Any, notion: Any) -> list[tuple[str, tuple[Hashable, ...], list[list[int]]]]:
    """Return the strata: the start of their addresses, their groups and whom each adds up."""
    depth = _depth(table)
    inside = _positions(table, notion.within, "within")
    on = _positions(table, notion.on, "on") or [k for k in range(depth) if k not in inside]
    strata: dict[Any, dict[Any, list[int]]] = {}
    for a, group in enumerate(table.groups):
        label = group if depth > 1 else (group,)
        stratum = tuple(label[k] for k in inside)
        own = label[on[0]] if len(on) == 1 else tuple(label[k] for k in on)
        strata.setdefault(stratum, {}).setdefault(own, []).append(a)
    if max(map(len, strata.values())) < 2:
        raise ModelError(
            f"{notion!r} compares nothing: no stratum holds two groups.",
            argument="on" if notion.within is None else "within",
        )
    return [
        (
            "".join(printable(str(label), [label]) + "," for label in stratum),
            tuple(members),
            list(members.values()),
        )
        for stratum, members in strata.items()
    ]


def split_tables(table: OutcomeTable, notion: Any) -> list[OutcomeTable]:
    """Return the tables a notion compares groups in: the table itself, or one per stratum."""
    if isinstance(table, PartTable) or not notion.splits:
        return [table]
    parts: list[OutcomeTable] = []
    for _, groups, members in _parts(table, notion):
        Z = np.array([table.Z[m].sum(axis=0) for m in members])
        parts.append(PartTable(Z / Z.sum(), table.classes, groups))
    return parts


class PartView:
    """The view of one stratum, its groups added up."""

    def __init__(
        self, view: TableView, start: str, groups: tuple[Hashable, ...], members: list[list[int]]
    ) -> None:
        self._view, self._start, self._members = view, start, members
        self.groups = groups
        self.mass: Array = np.array([np.asarray(view.mass)[m].sum(axis=0) for m in members])
        self.Z = self

    def __getitem__(self, cell: tuple[int, int, int]) -> Any:
        a, i, j = cell
        return sum(self._view.Z[b, i, j] for b in self._members[a])

    def level(self, name: str, size: int | None = None) -> Any:
        """Return the stratum's own free scalar of that name."""
        return self._view.level(f"{self._start}{name}", size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


def by_table(evaluate: Callable[..., Array]) -> Callable[..., Array]:
    """Make a notion's `evaluate` stack the rates of its parts; NaN for groups a stratum lacks."""

    @wraps(evaluate)
    def faced(self: Any, table: OutcomeTable) -> Array:
        rates = [evaluate(self, part) for part in split_tables(table, self)]
        if len(rates) == 1:
            return rates[0]
        width = max(r.shape[1] for r in rates)
        pad = [np.pad(r, ((0, 0), (0, width - r.shape[1])), constant_values=np.nan) for r in rates]
        return np.concatenate(pad)

    return faced


def by_view(express: Callable[..., list[Term]]) -> Callable[..., list[Term]]:
    """Make a notion's `express` join the terms of its parts, addressed by stratum."""

    @wraps(express)
    def faced(self: Any, view: Any) -> list[Term]:
        if isinstance(view, PartView) or not self.splits:
            return express(self, view)
        terms = []
        for start, groups, members in _parts(view, self):
            part = PartView(view, f"{self.key}[{start}", groups, members)
            for term in express(self, part):
                rest = term.address.removeprefix(f"{self.name}[")
                terms.append(replace(term, address=f"{self.key}[{start}{rest}"))
        return terms

    return faced
