"""What an answer costs and why you can trust it: prices, bounds, certificate, settings."""

from __future__ import annotations

import numpy as np

from fairprog.evidence.words import (
    bounds_words,
    certificate_words,
    conditions_words,
    family_free_words,
)
from fairprog.plotting.bars import plot_bounds, plot_prices
from fairprog.plotting.html import Markup, data_table, join, paragraphs
from fairprog.plotting.html_page import captioned, pair
from fairprog.plotting.report import proof_section
from fairprog.solution import Inference, Solution


def price_picture(sol: Solution) -> Markup:
    """Return the bars of prices."""
    fig, _ = plot_prices(sol)
    text = "Bars of nats of KL per unit: what each condition costs at the margin."
    return captioned(fig, "Prices", text)


def sure_section(found: Inference) -> Markup:
    """Return the intervals of an answer."""
    level = f"{found.confidence:.0%}"
    rows = [
        (name, f"{e.value:.4g}", f"{e.low:.4g} to {e.high:.4g}") for name, e in found.named.items()
    ]
    head = ("", "estimate", f"{level} interval")
    table = data_table(f"From {found.n:,} rows, by the {found.method}", head, rows)
    return join([paragraphs(found.remarks), table])


def prices_section(sol: Solution) -> Markup:
    """Return prices and sensitivities."""
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
    return join([paragraphs(said), pair(price_picture(sol), *tables)])


def bounds_section(sol: Solution) -> Markup:
    """Return what the original population inherits."""
    fig, _ = plot_bounds(sol.bounds)
    text = "How far each rate can differ between the populations, cell by cell."
    return pair(captioned(fig, "Bounds", text), paragraphs(bounds_words(sol)))


def certificate_section(sol: Solution) -> Markup:
    """Return every residual with its tolerance."""
    words = [*certificate_words(sol.certificate), " ".join(family_free_words(sol))]
    return proof_section(sol.certificate, words)
