"""Risks in their own unit: solvers' tolerances are absolute, costs may be cents or millions.

What a class pays whatever is predicted, min_j C[i, j], changes no decision: it is taken off an
expected cost first, so that the unit is that of the differences a decision makes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from fairprog.labels import Array
from fairprog.tables.group_risks import CostRisk, GroupRiskVariance
from fairprog.tables.risks import CostSensitiveRisk, Risk
from fairprog.tables.templates import TableView, Term

__all__ = ["express_in_units", "unit_of", "without_base"]


def without_base(risk: Any, classes: tuple[Hashable, ...]) -> tuple[Any, Array]:
    """Return an equivalent risk without the costs nobody can avoid, and these, shape (K,).

    risk = equivalent + sum_i P(Y=i) base[i], with base[i] = min_j C[i, j] for expected costs and
    0 for risks of other kinds: those of the worst group, say, depend on it.
    """
    none = np.zeros(len(classes))
    if hasattr(risk, "risks"):
        parts = [without_base(part, classes) for part in risk.risks]
        pairs = zip(risk.weights, parts, strict=True)
        base = sum((w * own for w, (_, own) in pairs), start=none)
        return (
            (replace(risk, risks=tuple(p for p, _ in parts)), base) if base.any() else (risk, none)
        )
    if not risk.is_expected_cost:
        return risk, none
    C = risk.matrix(classes)
    base = C.min(axis=1)
    return (CostSensitiveRisk(C - base[:, None]), base) if base.any() else (risk, none)


def unit_of(risk: Any, classes: tuple[Hashable, ...]) -> float:
    """Return the unit of a risk: its order of magnitude, from the costs alone.

    The largest difference between two costs of a class for an expected cost, the largest absolute
    cost for risks of groups and tails, its square for a variance, the largest weighted unit for a
    sum, 1 for risks of other kinds.
    """
    if hasattr(risk, "risks"):
        pairs = zip(risk.weights, risk.risks, strict=True)
        return max(w * unit_of(part, classes) for w, part in pairs) or 1.0
    size = _size(risk, classes)
    return size**2 if isinstance(risk, GroupRiskVariance) else size


def _size(risk: Risk, classes: tuple[Hashable, ...]) -> float:
    if type(risk).express is not Risk.express and not isinstance(risk, CostRisk):
        return 1.0
    C = risk.matrix(classes)
    size = np.ptp(C, axis=1) if risk.is_expected_cost else np.abs(C)
    return float(size.max()) or 1.0


def express_in_units(risk: Any, view: TableView) -> tuple[list[Term], float]:
    """Return the terms of risk / unit, of order one, and the unit.

    Give what :func:`without_base` returned. What is not minimised carries the unit of its own
    rows as ``Term.unit``.
    """
    unit = unit_of(risk, view.classes)
    if hasattr(risk, "risks"):
        return risk.express_parts(view, express_in_units, unit), unit
    size = _size(risk, view.classes)
    if size == 1.0:
        return risk.express(view), unit
    C = risk.matrix(view.classes) / size
    normal = replace(risk, cost=C) if isinstance(risk, CostRisk) else CostSensitiveRisk(C)
    terms = normal.express(view)
    return [t if t.sense == "minimize" else replace(t, unit=size) for t in terms], unit
