"""What every report is: one frame for all kinds of answers, and the sections that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.plotting.bars import plot_certificate
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import (
    captioned,
    fact_list,
    notebook_part,
    pair,
    warning_list,
    whole_page,
)
from fairprog.solution.certificate import Checked
from fairprog.versions import versions

Draw = Callable[[], Markup]


@dataclass(frozen=True)
class Report:
    """A report as a page and as a part of a notebook; what it shows is drawn when it is shown.

    Attributes
    ----------
    headline : str
        One sentence; empty where picture and table say all.
    sections : sequence of (key, heading, function that returns the content)
    notebook : sequence of functions
        What a notebook shows below headline, facts and warnings.
    facts : sequence of (name, value, note)
    warnings : sequence of str, optional
        Default: a kind of answer that is not warned of.
    name : str
        The title, where none is given.
    """

    headline: str
    sections: Sequence[tuple[str, str, Draw]]
    notebook: Sequence[Draw]
    facts: Sequence[tuple[str, object, str]] = ()
    warnings: Sequence[str] | None = None
    name: str = "fairprog report"

    def page(self, title: str | None = None) -> str:
        """Return one HTML page that loads nothing."""
        first = [] if self.warnings is None else [
            ("warnings", "Read this first", warning_list(self.warnings))
        ]  # fmt: skip
        drawn = [*first, *((key, heading, draw()) for key, heading, draw in self.sections)]
        lead = [tag("p", self.headline, class_="lead")]
        lead += [fact_list(self.facts)] if self.facts else []
        return whole_page(self.name if title is None else title, lead, drawn)

    def part(self) -> Markup:
        """Return a short report for a notebook, in a style of its own that leaves theirs alone."""
        return notebook_part(
            tag("p", tag("b", self.headline)) if self.headline else "",
            fact_list(self.facts) if self.facts else "",
            warning_list(self.warnings) if self.warnings else "",
            *(draw() for draw in self.notebook),
        )


def proof_section(certificate: Checked, words: Sequence[str]) -> Markup:
    """Return what proves an answer: every residual with its tolerance, drawn and in a table."""
    fig, _ = plot_certificate(certificate)
    rows = [
        [name.replace("_", " "), f"{value:.2e}", f"{limit:.2e}", "yes" if value <= limit else "NO"]
        for name, value, limit in certificate.checks()
    ]
    table = data_table("Residuals", ["check", "residual", "tolerance", "passes"], rows)
    drawn = captioned(fig, "Residuals", "Each bar must end before its mark, the tolerance.")
    return join([paragraphs(words), pair(drawn, table)])


def settings_section(settings: Sequence[Sequence[object]]) -> Markup:
    """Return the program, from (setting, value), and the versions that it ran on."""
    program = data_table("The program", ["setting", "value"], settings, text=True)
    made = data_table("Versions", ["package", "version"], list(versions().items()), text=True)
    return pair(program, made)


def sensitivity_table(sensitivity: Mapping[str, Any], unit: str, most: int = 40) -> Markup:
    """Return the largest entry of every sensitivity, or nothing where there is none."""
    rows = []
    for where, value in list(sensitivity.items())[:most]:
        flat = np.ravel(value)
        largest = float(flat[np.argmax(np.abs(flat))]) if flat.size else 0.0
        rows.append([where, f"{largest:+.4g}"])
    return data_table(f"Sensitivities, {unit}", ["address", "largest"], rows) if rows else join([])
