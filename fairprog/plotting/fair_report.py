"""Pictures and page of the nearest fair population."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairprog.evidence.fair_words import (
    MOVES,
    certificate_lines,
    fair_headline,
    rates_by_rule,
)
from fairprog.plotting.bars import plot_certificate
from fairprog.plotting.html import Markup, data_table, join, paragraphs, tag
from fairprog.plotting.html_page import (
    captioned,
    fact_list,
    pair,
    stylesheet,
    verdict,
    whole_page,
)
from fairprog.plotting.style import figure_of, group_color, short, style
from fairprog.plotting.weights import plot_weights
from fairprog.solution.nearest_fair import NearestFairSolution
from fairprog.versions import versions


def plot_posteriors(
    sol: NearestFairSolution, ax: Sequence[Axes] | None = None
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Draw the groups' laws of the posterior before and after, and where posteriors go.

    Of more than two classes: the masses of the cells before and after.

    Parameters
    ----------
    sol : NearestFairSolution
    ax : two Axes, optional
        Default: a new figure.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .4, .7, .3, .6, .8], sensitive_features=list("aaabbb"))
    >>> fig, (laws, moves) = fp.NearestFair(D, .5).solve().plot()
    >>> laws.get_ylabel(), moves.get_xlabel()
    ('share above', 'posterior before')
    """
    D = sol.original
    if D.n_classes != 2:
        return plot_weights(sol, ax)
    with style():
        panels = ax
        if panels is None:
            panels = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")[1]
        laws, moves = panels
        fig = figure_of(laws)
        for a, group in enumerate(D.groups):
            for E, dash, name in ((D, ":", "before"), (sol.population, "-", "after")):
                own = E.support.group == a
                x, w = E.support.score[own], E.support.weight[own]
                order = np.argsort(x)
                above = 1.0 - np.cumsum(w[order]) / w.sum()
                laws.step(
                    np.concatenate([[0.0], x[order], [1.0]]),
                    np.concatenate([[1.0], above, [0.0]]),
                    where="post", color=group_color(a), linestyle=dash,
                    label=f"{short(group, 16)}, {name}",
                )  # fmt: skip
            own = D.support.group == a
            order = np.argsort(D.support.score[own])
            x, y = D.support.score[own][order], sol.moved_posterior[own, 1][order]
            moves.plot(x, y, color=group_color(a), label=short(group, 16))
        moves.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, zorder=0)
        given = sol.settings["thresholds"]
        for t in () if given == "all" else given[:12]:
            for panel, draw in ((laws, laws.axvline), (moves, moves.axhline)):
                draw(t, color="0.4", linewidth=0.8, linestyle="--")
                panel.set(xlim=(0, 1), ylim=(0, 1))
        laws.set(xlabel="threshold on P(Y=1 | x, group)", ylabel="share above", xlim=(0, 1))
        moves.set(xlabel="posterior before", ylabel="posterior after", xlim=(0, 1), ylim=(0, 1))
        laws.set_title(f"KL {sol.kl:.3g} nats")
        laws.legend()
        moves.legend()
    return fig, (laws, moves)


def fair_html(sol: NearestFairSolution, title: str | None = None) -> str:
    """Return the whole report as one HTML page that loads nothing.

    Parameters
    ----------
    sol : NearestFairSolution
    title : str, optional
        Default "fairprog report".
    """
    settings = [[k, _said(v)] for k, v in sol.settings.items() if v is not None]
    made = data_table("Versions", ["package", "version"], list(versions().items()), text=True)
    program = data_table("The program", ["setting", "value"], settings, text=True)
    residuals = data_table(
        "Residuals",
        ["check", "residual", "tolerance", "passes"],
        [[n.replace("_", " "), f"{v:.2e}", f"{t:.2e}", "yes" if v <= t else "NO"]
         for n, v, t in sol.certificate.checks()],
    )  # fmt: skip
    fig, _ = plot_certificate(sol.certificate)  # type: ignore[arg-type]
    drawn = captioned(fig, "Residuals", "Each bar must end before its mark, the tolerance.")
    beware = (
        "A certificate is about the optimisation. Whether rows that were not used here are "
        "treated alike, only those rows say: train with the weights, and audit on held-out rows."
    )
    prices = [[name, f"{value:.6g}"] for name, value in sol.price.items()]
    duals = [[w, f"{float(np.ravel(v)[0]):+.4g}"] for w, v in list(sol.sensitivity.items())[:40]]
    sections = [
        ("warnings", "Read this first", paragraphs([beware])),
        ("population", "The population before and after", _population(sol)),
        ("prices", "What fairness costs", join([
            data_table("Prices", ["notion", "nats per unit of its bound"], prices),
            data_table("Sensitivities", ["address", "nats per unit"], duals),
        ])),
        ("certificate", "Why you can trust this", join([
            paragraphs(certificate_lines(sol)), pair(drawn, residuals),
        ])),
        ("settings", "Settings and versions", pair(program, made)),
    ]  # fmt: skip
    lead = [tag("p", fair_headline(sol) + ".", class_="lead"), _facts(sol)]
    return whole_page("fairprog report" if title is None else title, lead, sections)


def fair_notebook_html(sol: NearestFairSolution) -> str:
    """Return a short report for a notebook, in a style of its own that leaves theirs alone."""
    parts = [tag("p", tag("b", fair_headline(sol) + ".")), _facts(sol), _population(sol)]
    return tag("div", tag("style", Markup(stylesheet())), *parts, class_="fairprog notebook")


def _said(value: object) -> str:
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _facts(sol: NearestFairSolution) -> Markup:
    cert = sol.certificate
    moved = float(sol.original.support.weight @ np.abs(
        sol.moved_posterior - sol.original.support.posterior
    ).sum(axis=1)) / 2  # fmt: skip
    return fact_list([
        ("KL divergence", f"{sol.kl:.4g} nats", MOVES[sol.settings["move"]]),
        ("Lower bound", f"{cert.lower_bound:.4g} nats", "no such population is nearer"),
        ("Posteriors move", f"{moved:.2%}", "total variation, mean over rows"),
        ("Certificate", verdict(cert.ok), "nearest of all with these group masses"),
    ])  # fmt: skip


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
