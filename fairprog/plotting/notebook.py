"""What notebooks show of small results: the picture and the numbers."""

from __future__ import annotations

import numpy as np

from fairprog.plotting.frontier_picture import plot_frontier
from fairprog.plotting.html import Markup, data_table
from fairprog.plotting.html_page import notebook_part, panel, panels
from fairprog.plotting.rates_picture import plot_rates
from fairprog.solution import Frontier
from fairprog.tables import OutcomeTable

MOST = 12  # rows of a frontier


def frontier_notebook_html(frontier: Frontier) -> Markup:
    """Return a frontier for a notebook."""
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
    return notebook_part(panels(figure), data_table(title, head, rows))


def table_notebook_html(table: OutcomeTable) -> Markup:
    """Return an outcome table for a notebook: its rates by group."""
    figure = panel(
        lambda ax: plot_rates(table, ax=ax),
        "Rates",
        "P(predicted = class | true class) of every group; the grey line is the gap.",
    )
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
    return notebook_part(panels(figure), data_table("Rates of the predictions", head, rows))
