"""A notion in one line of text."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array
from fairprog.tables.notions import Event, Mask, Notion
from fairprog.tables.outcome import OutcomeTable

_GRAMMAR = re.compile(r"\s*P\(\s*yhat\s*(!?=)\s*([^|]+?)\s*(?:\|\s*y\s*(!?=)\s*(.+?)\s*)?\)\s*")


def parse_rate(rate: str, classes: tuple[Hashable, ...]) -> tuple[Mask, Mask, list[int]]:
    """Return the outcomes a rate counts, all outcomes of its condition, and its true classes.

    Parameters
    ----------
    rate : str
        ``"P(yhat=J)"`` or ``"P(yhat=J | y=I)"``; see :class:`Parity`.
    classes : tuple
        Labels; without any the text alone is checked.

    Raises
    ------
    ModelError
        If the text is of another form.
    DataError
        If it names an unknown class.
    """
    match = _GRAMMAR.fullmatch(str(rate))
    if match is None:
        raise ModelError(
            f"`rate` cannot be read: {rate!r}. Write 'P(yhat=J)' or 'P(yhat=J | y=I)', with != "
            "for 'is not' and yhat=y for 'the prediction is right'.",
            argument="rate",
        )
    names = [str(c) for c in classes]
    op, predicted, condition_op, true = match.groups()
    known = [(predicted, [*names, "y"]), (true, names)]  # yhat=y: the prediction is right
    for label, allowed in known:
        if classes and label is not None and label not in allowed:
            raise DataError(
                f"{rate!r} names class {label!r}, which is not one of {names}.", argument="rate"
            )
    inside = [
        i for i, t in enumerate(names) if true is None or (t == true) == (condition_op == "=")
    ]
    outcomes = [(i, j) for i in inside for j in range(len(names))]
    counted = [
        (i, j)
        for i, j in outcomes
        if (names[j] == (names[i] if predicted == "y" else predicted)) == (op == "=")
    ]
    return counted, outcomes, inside


def group_rate(table: OutcomeTable, rate: str) -> Array:
    """Return the rate of every group, shape (G,); NaN where its condition has no mass."""
    counted, outcomes, _ = parse_rate(rate, table.classes)
    hit = sum(table.Z[:, i, j] for i, j in counted)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hit / sum(table.Z[:, i, j] for i, j in outcomes))


@dataclass(frozen=True, repr=False)
class Parity(Notion):
    """A notion in one line: the named rate agrees between groups.

    Parameters
    ----------
    rate : str
        ``"P(yhat=J)"`` or ``"P(yhat=J | y=I)"``; ``!=`` may stand for ``=``, J may be ``y`` (the
        prediction is right), and labels are written as they print.
    difference_bound, ratio_bound, positive
        See :class:`Notion`.

    Raises
    ------
    ModelError
        If the text is not of that form, or conditions on the prediction (such a rate is linear
        only at a fixed level).
    DataError
        If a label is unknown to the population.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> fp.Parity("P(yhat=1 | y=1)").gap(table) == fp.EqualOpportunity().gap(table)
    True
    """

    rate: str = ""
    name: ClassVar[str] = "parity"

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_rate(self.rate, ())

    def events(self, classes: tuple[Hashable, ...]) -> list[Event]:
        """Return the one event of the text."""
        counted, _, inside = parse_rate(self.rate, classes)
        return [((self.rate,), counted, inside)]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the rate of every group, shape (1, G)."""
        return group_rate(table, self.rate)[None]
