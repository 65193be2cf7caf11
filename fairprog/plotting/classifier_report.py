"""The report of a fair classifier: what it decides, what fairness costs, the proof."""

from __future__ import annotations

import numpy as np

from fairprog.plotting.frontier_picture import plot_classifier
from fairprog.plotting.html import Markup, data_table, join, paragraphs
from fairprog.plotting.html_page import panel, panels, verdict
from fairprog.plotting.notebook import rate_table, rates_panel
from fairprog.plotting.report import Report, proof_section, sensitivity_table, settings_section
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.tables import Constraint, Notion

PROOF = (
    "Residuals are recomputed from the answer itself: violations of the constraints by the table "
    "of the returned classifier, feasibility of the primal and dual points, and the duality gap. "
    "Those of the risk are relative to its unit."
)


def classifier_report(sol: ClassifierSolution) -> Report:
    """Return the report of a fair classifier."""
    return Report(
        _headline(sol) + ".",
        [
            ("classifier", "What the classifier does", lambda: _decisions(sol)),
            ("prices", "What fairness costs", lambda: _prices(sol)),
            ("certificate", "Why you can trust this", lambda: proof_section(
                sol.certificate, [PROOF]
            )),
            ("settings", "Settings and versions", lambda: settings_section(_settings(sol))),
        ],
        [lambda: panels(*_pictures(sol)), lambda: _constraint_table(sol)],
        _facts(sol),
        _warnings(sol),
    )  # fmt: skip


def _headline(sol: ClassifierSolution) -> str:
    D = sol.classifier.population
    kind = "Group-aware" if sol.classifier.uses_group else "Group-blind"
    names = ", ".join(sol.settings["constraints"]) or "no constraint"
    return (
        f"{kind} classifier of least {sol.settings['risk'].name} on {D.n_atoms:,} atoms: {names}"
    )


def _facts(sol: ClassifierSolution) -> list[tuple[str, object, str]]:
    cert = sol.certificate
    facts: list[tuple[str, object, str]] = [
        ("Risk", f"{sol.risk:.4g}", sol.settings["risk"].name),
        ("Accuracy", f"{sol.table.accuracy:.4f}", "P(predicted = true class)"),
    ]
    if sol.price:
        key, price = max(sol.price.items(), key=lambda item: item[1])
        facts.append(("Highest price", f"{price:.4g}", f"risk per unit of the bound of {key}"))
    scope = "global optimum" if cert.globally_optimal else "best of the levels searched"
    facts.append(("The optimisation", verdict(cert.ok), scope))
    return facts


def _warnings(sol: ClassifierSolution) -> list[str]:
    D, said = sol.classifier.population, []
    if not sol.certificate.globally_optimal:
        said.append(
            "A notion leaves its level free, so that this is the best of the levels searched; a "
            "better classifier may exist."
        )
    if D.scores_given:
        said.append(
            "Scores were read as posteriors. The gaps below hold for new rows only as far as the "
            "scores are calibrated within every group."
        )
    elif D.effective_rows is not None:
        said.append(
            f"The population was counted from {D.effective_rows:,} rows: gaps of new rows differ "
            "by sampling. Compare the promised gap with that of rows not used here."
        )
    mixed = float(sol.classifier.population.support.weight[_mixed(sol)].sum())
    if mixed > 0.005:
        said.append(f"Predictions are drawn at random for {mixed:.1%} of the population.")
    return said


def _mixed(sol: ClassifierSolution) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return sol.classifier.h.max(axis=1) < 1.0 - 1e-9


def _pictures(sol: ClassifierSolution) -> list[Markup]:
    out = []
    if sol.classifier.population.n_classes == 2:
        text = "Chance of the last class against its posterior, by group; dashed: thresholds."
        out.append(panel(lambda ax: plot_classifier(sol, ax=ax), "Decisions", text))
    return [*out, rates_panel(sol.table)]


def _decisions(sol: ClassifierSolution) -> Markup:
    parts = [panels(*_pictures(sol))]
    thresholds = sol.classifier.thresholds
    if thresholds is not None:
        said = ", ".join(f"{t:.4f} for group {g}" for g, t in thresholds.items())
        label = sol.table.classes[-1]
        parts.append(paragraphs([f"The rule predicts {label} above a posterior of {said}."]))
    return join([*parts, rate_table(sol.table)])


def _constraint_table(sol: ClassifierSolution) -> Markup:
    rows = []
    for key, template in sol.settings["constraints"].items():
        gap = bound = "–"
        if isinstance(template, Notion) and not np.isnan(template.evaluate(sol.table)).any():
            gap = f"{template.gap(sol.table):.4f}"
        if isinstance(template, Constraint) and template.bound is not None:
            bound = f"{template.bound:g}"
        price = f"{sol.price[key]:.4g}" if key in sol.price else "–"
        low, high = sol.price_interval.get(key, (np.nan, np.nan))
        between = "–" if np.isnan(low) else f"[{low:.4g}, {high:.4g}]"
        rows.append([key, gap, bound, price, between])
    if not rows:
        return paragraphs(["No constraint was asked for: this is the Bayes rule of the risk."])
    head = ["constraint", "gap", "bound", "price", "valid prices"]
    return data_table("Constraints: gap, bound, and what a unit of the bound costs", head, rows)


def _prices(sol: ClassifierSolution) -> Markup:
    said = (
        "A price is how fast the risk falls per unit of a bound that is relaxed (of a ratio "
        "bound: rises per unit that it is raised). A sensitivity is how the risk changes when the "
        "target of one constraint is shifted by one unit."
    )
    table = sensitivity_table(sol.sensitivity, "risk per unit", len(sol.sensitivity))
    return join([paragraphs([said]), _constraint_table(sol), table])


def _settings(sol: ClassifierSolution) -> list[tuple[str, str]]:
    D = sol.classifier.population
    constraints = [
        c if isinstance(c, str) else repr(c) for c in sol.settings["constraints"].values()
    ]
    return [
        ("population", f"{D.n_atoms:,} atoms"),
        ("classes", ", ".join(map(str, D.classes))),
        ("groups", ", ".join(map(str, D.groups))),
        ("risk", repr(sol.settings["risk"])),
        ("constraints", "; ".join(constraints) or "none"),
        ("uses_group", "yes" if sol.settings["uses_group"] else "no"),
        ("solver", sol.solver),
        ("seconds", f"{sol.seconds:.2g}"),
    ]
