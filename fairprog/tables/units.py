"""Risks in their own unit: solvers' tolerances are absolute, costs may be cents or millions."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from fairprog.tables.group_risks import CostRisk, GroupRiskVariance
from fairprog.tables.risks import CostSensitiveRisk, Risk
from fairprog.tables.templates import TableView, Term

__all__ = ["express_in_units", "unit_of"]


def unit_of(risk: Any, classes: tuple[Hashable, ...]) -> float:
    """Return the unit of a risk: its order of magnitude, from the costs alone.

    The largest absolute cost for an expected cost, its square for a variance, the largest
    weighted unit for a sum, 1 for risks of other kinds.
    """
    if hasattr(risk, "risks"):
        pairs = zip(risk.weights, risk.risks, strict=True)
        return max(w * unit_of(part, classes) for w, part in pairs) or 1.0
    size = _size(risk, classes)
    return size**2 if isinstance(risk, GroupRiskVariance) else size


def _size(risk: Risk, classes: tuple[Hashable, ...]) -> float:
    if type(risk).express is not Risk.express and not isinstance(risk, CostRisk):
        return 1.0
    return float(np.abs(risk.matrix(classes)).max()) or 1.0


def express_in_units(risk: Any, view: TableView) -> tuple[list[Term], float]:
    """Return the terms of risk / unit, of order one, and the unit.

    What is not minimised carries the unit of its own rows as ``Term.unit``.
    """
    unit = unit_of(risk, view.classes)
    if hasattr(risk, "risks"):
        out: list[Term] = []
        for weight, part in zip(risk.weights, risk.risks, strict=True):
            terms, own = express_in_units(part, view)
            share = weight * own / unit
            out += [
                replace(t, expression=share * t.expression) if t.sense == "minimize" else t
                for t in terms
            ]
        return out, unit
    size = _size(risk, view.classes)
    if size == 1.0:
        return risk.express(view), unit
    C = risk.matrix(view.classes) / size
    normal = replace(risk, cost=C) if isinstance(risk, CostRisk) else CostSensitiveRisk(C)
    terms = normal.express(view)
    return [t if t.sense == "minimize" else replace(t, unit=size) for t in terms], unit
