"""From a solved program over classifiers to a verified `ClassifierSolution`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fairprog.labels import Array
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.solution.classifier import RandomizedClassifier
from fairprog.solution.classifier_solution import ClassifierCertificate, ClassifierSolution
from fairprog.tables import Constraint

ZERO = 1e-9  # prices below this are rounding


def assemble_classifier(
    question: ClassifierQuestion,
    compiled: Any,
    form: Any,
    price_intervals: bool,
    seconds: float,
    globally_optimal: bool = True,
) -> ClassifierSolution:
    """Read the classifier, choose the smallest prices, recompute everything in numpy."""
    D, constraints = question.population, question.constraints
    vectors = price_vectors(compiled, form, constraints)
    own = {key: constraints[key].unit(D.classes) for key in vectors}
    vectors = {key: (own[key] * v[0], own[key] * v[1]) for key, v in vectors.items()}
    intervals: dict[str, tuple[float, float]] = {}
    if price_intervals and vectors and form.read().linear:
        intervals = _smallest_prices(form, vectors)
    unit = compiled.unit
    per = {key: unit / own[key] for key in vectors}
    price = {key: per[key] * _clean(_price(form.y, *v)) for key, v in vectors.items()}
    intervals = {
        key: (per[key] * _clean(low), per[key] * _clean(high))
        for key, (low, high) in intervals.items()
    }
    for where, key in compiled.owners.items():
        if not isinstance(constraints.get(key), Constraint) and compiled.is_inequality(where):
            price[where] = float(np.sum(compiled.dual(where)))
    h = _classifier(question, compiled)
    table = D.table(h)
    risk = question.risk.evaluate(table)
    missed = [
        t.violation(table) / t.unit(D.classes)
        for t in constraints.values()
        if isinstance(t, Constraint)
    ]
    missed += [
        float(np.max(c.violation()))
        for where, c in compiled.constraints.items()
        if not isinstance(constraints.get(compiled.owners.get(where, "")), Constraint)
    ]
    costs = None
    if compiled.table_level:
        costs = compiled.adjusted_costs().reshape(D.n_groups, D.n_classes, D.n_classes)
    residual = form.residuals()
    certificate = ClassifierCertificate(
        violation=max([0.0, *missed]),
        risk_gap=abs(compiled.goal.evaluate(table) / unit - float(compiled.problem.value)),
        primal_residual=residual["primal"],
        dual_residual=residual["dual"],
        slackness=max(residual["slackness"], _excess(question, h, costs) / unit),
        duality_gap=residual["gap"],
        globally_optimal=globally_optimal,
    )
    return ClassifierSolution(
        risk=risk,
        table=table,
        classifier=RandomizedClassifier(
            D, h, question.uses_group, costs if question.uses_group or not D.group_known else None
        ),
        price=price,
        price_interval=intervals,
        duals={where: compiled.dual(where) for where in compiled.constraints},
        sensitivity={where: compiled.sensitivity(where) for where in compiled.constraints},
        certificate=certificate,
        settings=question.settings(),
        solver=form.solver,
        seconds=seconds,
    )


def _excess(question: ClassifierQuestion, h: Array, costs: Array | None) -> float:
    """Return by how much the classifier misses the smallest adjusted cost, in units of risk."""
    if costs is None:
        return 0.0
    s = question.population.support
    cost = np.einsum("mi,mij->mj", s.posterior, costs[s.group]) * np.asarray(s.weight)[:, None]
    paid = float((h * cost).sum())
    if not question.uses_group:
        both = np.zeros((question.population.n_atoms, cost.shape[1]))
        np.add.at(both, s.atom, cost)
        cost = both
    return abs(paid - float(cost.min(axis=1).sum()))


def _classifier(question: ClassifierQuestion, compiled: Any) -> Array:
    """Return h over the support, clipped and normalised."""
    h = np.clip(np.asarray(compiled.h.value).reshape(compiled.shape), 0.0, None)
    h /= h.sum(axis=1, keepdims=True)
    return h if question.uses_group else h[question.population.support.atom]


def price_vectors(
    compiled: Any, form: Any, constraints: Mapping[str, Any]
) -> dict[str, tuple[Array, Array]]:
    """Return, by constraint, vectors (l, m) with price = l'y + m'|y|, y the multipliers.

    The optimum V(theta) of a program whose form depends on theta has dV/dtheta =
    y'(dA x - db); an equality that stands for a bound of 0 costs slope |multiplier|.
    """
    out: dict[str, tuple[Array, Array]] = {}
    size = len(form.y)
    for key, parameter in compiled.bounds.items():
        db, dA = form.derivative(parameter, 1.0)
        sign = -1.0 if constraints[key].upward else 1.0
        out[key] = (sign * (db - dA @ form.x), np.zeros(size))
    if compiled.equalities:
        count = np.arange(1.0, len(compiled.equalities) + 1.0)
        moved = form.derivative(compiled.shift, count)[0]
        rows = np.flatnonzero(np.abs(moved) > 0.5)
        row_of = {round(abs(float(moved[r]))) - 1: int(r) for r in rows}
        for where, (position, slope) in compiled.equalities.items():
            empty = np.zeros(size), np.zeros(size)
            absolute = out.setdefault(compiled.owners[where], empty)[1]
            value = getattr(slope, "value", slope)
            absolute[row_of[position]] = max(float(np.asarray(value)), 0.0)
    return out


def _price(y: Array, linear: Array, absolute: Array) -> float:
    return float(linear @ y + absolute @ np.abs(y))


def _clean(price: float) -> float:
    return 0.0 if abs(price) < ZERO else price


def _smallest_prices(
    form: Any, vectors: Mapping[str, tuple[Array, Array]]
) -> dict[str, tuple[float, float]]:
    """Move to the multipliers with the smallest sum of prices; return every price's interval."""
    face = form.dual_face()
    total = face.optimise(*np.sum(list(vectors.values()), axis=0))
    if total is None:
        return {}
    form.accept(form.x, total[1])
    out = {}
    for key, (linear, absolute) in vectors.items():
        chosen = _price(form.y, linear, absolute)
        lowest = total if len(vectors) == 1 else face.optimise(linear, absolute)
        highest = (np.inf, None) if absolute.any() else face.optimise(linear, absolute, -1.0)
        out[key] = (
            chosen if lowest is None else min(lowest[0], chosen),
            np.inf if highest is None else max(highest[0], chosen),
        )
    return out
