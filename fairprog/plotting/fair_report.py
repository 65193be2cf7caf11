"""The report of the nearest fair population."""

from __future__ import annotations

import numpy as np

from fairprog.evidence.fair_words import MOVES, certificate_lines, fair_headline, rates_by_rule
from fairprog.plotting.html import Markup, data_table, join
from fairprog.plotting.html_page import captioned, verdict
from fairprog.plotting.posteriors_picture import plot_posteriors
from fairprog.plotting.report import Report, proof_section, sensitivity_table, settings_section
from fairprog.solution.nearest_fair import NearestFairSolution

BEWARE = (
    "A certificate is about the optimisation. Whether rows that were not used here are treated "
    "alike, only those rows say: train with the weights, and audit on held-out rows."
)


def fair_report(sol: NearestFairSolution) -> Report:
    """Return the report of a nearest fair population."""
    return Report(
        fair_headline(sol) + ".",
        [
            ("population", "The population before and after", lambda: _population(sol)),
            ("prices", "What fairness costs", lambda: _prices(sol)),
            ("certificate", "Why you can trust this", lambda: proof_section(
                sol.certificate, certificate_lines(sol)
            )),
            ("settings", "Settings and versions", lambda: settings_section(
                [[k, _said(v)] for k, v in sol.settings.items() if v is not None]
            )),
        ],
        [lambda: _population(sol)],
        _facts(sol),
        [BEWARE],
    )  # fmt: skip


def _said(value: object) -> str:
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _facts(sol: NearestFairSolution) -> list[tuple[str, object, str]]:
    cert, support = sol.certificate, sol.original.support
    moved = float(support.weight @ np.abs(sol.moved_posterior - support.posterior).sum(axis=1)) / 2
    return [
        ("KL divergence", f"{sol.kl:.4g} nats", MOVES[sol.settings["move"]]),
        ("Lower bound", f"{cert.lower_bound:.4g} nats", "no such population is nearer"),
        ("Posteriors move", f"{moved:.2%}", "total variation, mean over rows"),
        ("The optimisation", verdict(cert.ok), "this says nothing about your rows"),
    ]


def _prices(sol: NearestFairSolution) -> Markup:
    prices = [[name, f"{value:.6g}"] for name, value in sol.price.items()]
    table = data_table("Prices", ["notion", "nats per unit of its bound"], prices)
    return join([table, sensitivity_table(sol.sensitivity, "nats per unit")])


def _population(sol: NearestFairSolution) -> Markup:
    fig, _ = plot_posteriors(sol)
    text = "Shares of each group above every threshold, and where posteriors go."
    D, asked = sol.original, sol.settings
    drawn = captioned(fig, "Posteriors", text)
    if D.n_classes != 2 or asked["rule"] or asked["cost"] is not None:
        return drawn
    thresholds, before, after = rates_by_rule(sol)
    rows = [
        [f"{t:g}", *(f"{x:.3f} → {y:.3f}" for x, y in zip(b, a, strict=True))]
        for t, b, a in zip(thresholds, before, after, strict=True)
    ]
    return join([drawn, data_table("Share above", ["threshold", *map(str, D.groups)], rows)])
