"""fairprog: exact group fairness by convex optimisation.

A population (a joint law of features X, label Y and group A) is *ideal* when the Bayes-optimal
classifier of every cost-sensitive risk on it is exactly group-fair. fairprog finds the ideal
population nearest to yours in KL divergence, proves the answer and moves real data there.

Importing this package loads numpy and scipy's linear algebra only; solvers, plots and tables
are imported where they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairprog import datasets, testing
from fairprog.audit import Audit, audit
from fairprog.errors import (
    DataError,
    FairprogError,
    FairprogWarning,
    InfeasibleError,
    MissingExtraError,
    ModelError,
    SolverError,
)
from fairprog.populations import (
    Bijection,
    Categorical,
    Empirical,
    EmpiricalFit,
    Evaluation,
    Exponential,
    Gamma,
    Gumbel,
    GumbelMin,
    Laplace,
    LocationScale,
    Log,
    Logistic,
    Logit,
    LogNormal,
    Moments,
    Normal,
    Power,
    Pushforward,
    QuantileNormal,
    ShiftedExponential,
    Transformed,
    Weibull,
    YeoJohnson,
    fit_piecewise_linear,
)
from fairprog.programs import FairClassifier, NearestIdeal, constraint
from fairprog.solution import (
    Bounds,
    Certificate,
    ClassifierCertificate,
    ClassifierSolution,
    Frontier,
    QuantileMap,
    RandomizedClassifier,
    ReweightedSolution,
    Solution,
    ThresholdClassifier,
    load,
)
from fairprog.tables import (
    AccuracyParity,
    AtomTable,
    Constraint,
    CostSensitiveRisk,
    CVaR,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRate,
    F1Parity,
    FalseOmissionRateParity,
    FractionalNotion,
    GroupRiskVariance,
    IndividualFairness,
    Notion,
    OutcomeTable,
    Parity,
    PredictiveEquality,
    PredictiveParity,
    RenyiInformation,
    Risk,
    RiskBound,
    Robust,
    RobustRisk,
    Term,
    WeightedRisk,
    WorstGroupRisk,
    template_from_dict,
)
from fairprog.transports import (
    Affine,
    AffineMap,
    ConjugatedMap,
    Diagonal,
    DiagonalMap,
    Identity,
    Monotone,
    PiecewiseLinear,
    PiecewiseLinearMap,
    Scaling,
    Translation,
    Whitened,
)
from fairprog.versions import __version__, show_versions

if TYPE_CHECKING:
    from fairprog.estimators import (
        ConceptSteering,
        IdealSteering,
        ScoreSteering,
        SteeredClassifier,
    )

LAZY = {  # they need scikit-learn, which takes its time
    "ConceptSteering": "fairprog.estimators",
    "IdealSteering": "fairprog.estimators",
    "ScoreSteering": "fairprog.estimators",
    "SteeredClassifier": "fairprog.estimators",
}


def __getattr__(name: str) -> Any:
    """Import an estimator where it is first used."""
    if name not in LAZY:
        raise AttributeError(f"module 'fairprog' has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})


__all__ = [
    "AccuracyParity",
    "Affine",
    "AffineMap",
    "AtomTable",
    "Audit",
    "Bijection",
    "Bounds",
    "CVaR",
    "Categorical",
    "Certificate",
    "ClassifierCertificate",
    "ClassifierSolution",
    "ConceptSteering",
    "ConjugatedMap",
    "Constraint",
    "CostSensitiveRisk",
    "DataError",
    "DemographicParity",
    "Diagonal",
    "DiagonalMap",
    "Empirical",
    "EmpiricalFit",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "Evaluation",
    "Exponential",
    "F1Parity",
    "FairClassifier",
    "FairprogError",
    "FairprogWarning",
    "FalseOmissionRateParity",
    "FractionalNotion",
    "Frontier",
    "Gamma",
    "GroupRiskVariance",
    "Gumbel",
    "GumbelMin",
    "IdealSteering",
    "Identity",
    "IndividualFairness",
    "InfeasibleError",
    "Laplace",
    "LocationScale",
    "Log",
    "LogNormal",
    "Logistic",
    "Logit",
    "MissingExtraError",
    "ModelError",
    "Moments",
    "Monotone",
    "NearestIdeal",
    "Normal",
    "Notion",
    "OutcomeTable",
    "Parity",
    "PiecewiseLinear",
    "PiecewiseLinearMap",
    "Power",
    "PredictiveEquality",
    "PredictiveParity",
    "Pushforward",
    "QuantileMap",
    "QuantileNormal",
    "RandomizedClassifier",
    "RenyiInformation",
    "ReweightedSolution",
    "Risk",
    "RiskBound",
    "Robust",
    "RobustRisk",
    "Scaling",
    "ScoreSteering",
    "ShiftedExponential",
    "Solution",
    "SolverError",
    "SteeredClassifier",
    "Term",
    "ThresholdClassifier",
    "Transformed",
    "Translation",
    "Weibull",
    "WeightedRisk",
    "Whitened",
    "WorstGroupRisk",
    "YeoJohnson",
    "__version__",
    "audit",
    "constraint",
    "datasets",
    "fit_piecewise_linear",
    "load",
    "show_versions",
    "template_from_dict",
    "testing",
]
