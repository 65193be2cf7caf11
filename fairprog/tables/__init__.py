"""Outcome tables and what speaks about them: notions (rates that must agree) and risks."""

from fairprog.tables.atom_table import AtomTable
from fairprog.tables.divergence import Divergence
from fairprog.tables.fractional import (
    F1Parity,
    FalseOmissionRateParity,
    FractionalNotion,
    PredictiveParity,
)
from fairprog.tables.group_risks import GroupRiskVariance, RenyiInformation, WorstGroupRisk
from fairprog.tables.individual import IndividualFairness
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
from fairprog.tables.rate_bound import RateBound
from fairprog.tables.ratio_risks import BalancedErrorRate, F1Risk, MatthewsRisk, RatioRisk
from fairprog.tables.recalls import RMSGap, TruePositiveRateParity
from fairprog.tables.risk_bound import RiskBound
from fairprog.tables.risks import CostSensitiveRisk, ErrorRate, Risk, WeightedRisk
from fairprog.tables.robust_notion import Robust
from fairprog.tables.robust_risks import CVaR, RobustRisk
from fairprog.tables.templates import Constraint, Template, Term, template_from_dict

__all__ = [
    "AccuracyParity",
    "AtomTable",
    "BalancedErrorRate",
    "CVaR",
    "Constraint",
    "CostSensitiveRisk",
    "DemographicParity",
    "Divergence",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "F1Parity",
    "F1Risk",
    "FalseOmissionRateParity",
    "FractionalNotion",
    "GroupRiskVariance",
    "IndividualFairness",
    "MatthewsRisk",
    "Notion",
    "OutcomeTable",
    "Parity",
    "PredictiveEquality",
    "PredictiveParity",
    "RMSGap",
    "RateBound",
    "RatioRisk",
    "RenyiInformation",
    "Risk",
    "RiskBound",
    "Robust",
    "RobustRisk",
    "Template",
    "Term",
    "TruePositiveRateParity",
    "WeightedRisk",
    "WorstGroupRisk",
    "template_from_dict",
]
