"""What notebooks show of small results: the picture and the numbers."""

from __future__ import annotations

import numpy as np

from fairprog.plotting.frontier_picture import plot_frontier
from fairprog.plotting.html import Markup, data_table, join
from fairprog.plotting.html_page import panel, panels
from fairprog.plotting.rates_picture import plot_rates
from fairprog.plotting.report import Report
from fairprog.solution import Frontier
from fairprog.tables import OutcomeTable

MOST = 12  # rows of a frontier


def frontier_report(frontier: Frontier) -> Report:
    """Return what a notebook shows of a frontier."""
    return Report("", [], [lambda: _frontier(frontier)])


def table_report(table: OutcomeTable) -> Report:
    """Return what a notebook shows of an outcome table: its rates by group."""
    return Report("", [], [lambda: join([panels(rates_panel(table)), rate_table(table)])])


def rates_panel(table: OutcomeTable) -> Markup:
    """Return the picture of the rates of every class by group."""
    text = "P(predicted = class | true class) of every group; the grey line is the gap."
    return panel(lambda ax: plot_rates(table, ax=ax), "Rates", text)


def rate_table(table: OutcomeTable) -> Markup:
    """Return the rates of every true cell."""
    rates = table.rates()
    rows = [
        (
            f"group {g}, class {c}",
            f"{table.cell_mass[a, i]:.4f}",
            *("–" if np.isnan(r) else f"{r:.4f}" for r in rates[a, i]),
        )
        for a, g in enumerate(table.groups)
        for i, c in enumerate(table.classes)
    ]
    head = ("true cell", "its share", *(f"predicted {c}" for c in table.classes))
    return data_table("Rates of the predictions", head, rows)


def _frontier(frontier: Frontier) -> Markup:
    name = frontier.bound_name.replace("_", " ")
    figure = panel(
        lambda ax: plot_frontier(frontier, ax=ax),
        "Frontier",
        "The optimum at every bound; short lines are the slopes that the prices say.",
    )
    shown = np.unique(np.linspace(0, len(frontier.bounds) - 1, MOST).round().astype(int))
    rows = [
        (f"{frontier.bounds[k]:.4g}", f"{frontier.risks[k]:.5g}", f"{frontier.prices[k]:.4g}")
        for k in shown
    ]
    title = f"{len(shown)} of {len(frontier.bounds)} bounds"
    head = (name, frontier.risk_name.replace("_", " "), "price")
    return join([panels(figure), data_table(title, head, rows)])
