"""Outcome tables and what speaks about them: notions (rates that must agree) and risks."""

from fairprog.tables.notions import (
    AccuracyParity,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    Notion,
    PredictiveEquality,
)
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.parity import Parity
from fairprog.tables.risks import CostSensitiveRisk, ErrorRate, Risk
from fairprog.tables.templates import Template, Term, template_from_dict

__all__ = [
    "AccuracyParity",
    "CostSensitiveRisk",
    "DemographicParity",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "Notion",
    "OutcomeTable",
    "Parity",
    "PredictiveEquality",
    "Risk",
    "Template",
    "Term",
    "template_from_dict",
]
