"""fairprog: exact group fairness by convex optimisation.

A population (a joint law of features X, label Y and group A) is *ideal* when the Bayes-optimal
classifier of every cost-sensitive risk on it is exactly group-fair. fairprog finds the ideal
population nearest to yours in KL divergence, proves the answer and moves real data there.

Importing this package takes no time: what its names stand for is imported where they are first
used, and numpy, solvers, plots and tables with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairprog.errors import (
    DataError,
    FairprogError,
    FairprogWarning,
    InfeasibleError,
    MissingExtraError,
    ModelError,
    SolverError,
)
from fairprog.versions import __version__, show_versions

if TYPE_CHECKING:
    import fairprog.datasets as datasets
    import fairprog.testing as testing
    from fairprog.audits import Audit, audit
    from fairprog.comparison import Best, Comparison, compare
    from fairprog.estimators import (
        ConceptSteering,
        IdealSteering,
        ReweightedClassifier,
        ScoreSteering,
        SteeredClassifier,
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
        ScoreCounts,
        ShiftedExponential,
        Transformed,
        Weibull,
        YeoJohnson,
        fit_piecewise_linear,
    )
    from fairprog.programs import (
        FairClassifier,
        FairScore,
        IdealityTest,
        NearestFair,
        NearestIdeal,
        constraint,
        ideality_test,
    )
    from fairprog.programs.rows_needed import RowsNeeded, rows_needed
    from fairprog.solution import (
        Bounds,
        Certificate,
        Channel,
        ClassifierCertificate,
        ClassifierSolution,
        Estimate,
        FairCertificate,
        Frontier,
        Inference,
        NearestFairSolution,
        QuantileMap,
        RandomizedClassifier,
        ReweightedSolution,
        ScoreCertificate,
        ScoreSolution,
        Solution,
        ThresholdClassifier,
        load,
    )
    from fairprog.tables import (
        AccuracyParity,
        AtomTable,
        BalancedErrorRate,
        Constraint,
        CostSensitiveRisk,
        CVaR,
        DemographicParity,
        Divergence,
        EqualizedOdds,
        EqualOpportunity,
        ErrorRate,
        F1Parity,
        F1Risk,
        FalseOmissionRateParity,
        FractionalNotion,
        GroupRiskVariance,
        IndividualFairness,
        MatthewsRisk,
        Notion,
        OutcomeTable,
        Parity,
        PredictiveEquality,
        PredictiveParity,
        RateBound,
        RatioRisk,
        RenyiInformation,
        Risk,
        RiskBound,
        RMSGap,
        Robust,
        RobustRisk,
        Term,
        TruePositiveRateParity,
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
LAZY = {  # by module: its names
    "fairprog.audits": "Audit audit",
    "fairprog.comparison": "Best Comparison compare",
    "fairprog.estimators": (
        "ConceptSteering IdealSteering ReweightedClassifier ScoreSteering SteeredClassifier"
    ),
    "fairprog.populations": (
        "Bijection Categorical Empirical EmpiricalFit Evaluation Exponential Gamma Gumbel "
        "GumbelMin Laplace LocationScale Log LogNormal Logistic Logit Moments Normal Power "
        "Pushforward QuantileNormal ScoreCounts ShiftedExponential Transformed Weibull "
        "YeoJohnson fit_piecewise_linear"
    ),
    "fairprog.programs": (
        "FairClassifier FairScore IdealityTest NearestFair NearestIdeal RowsNeeded constraint "
        "ideality_test rows_needed"
    ),
    "fairprog.solution": (
        "Bounds Certificate Channel ClassifierCertificate ClassifierSolution Estimate "
        "FairCertificate Frontier Inference NearestFairSolution QuantileMap "
        "RandomizedClassifier ReweightedSolution ScoreCertificate ScoreSolution Solution "
        "ThresholdClassifier load"
    ),
    "fairprog.tables": (
        "AccuracyParity AtomTable BalancedErrorRate CVaR Constraint CostSensitiveRisk "
        "DemographicParity Divergence EqualOpportunity EqualizedOdds ErrorRate F1Parity F1Risk "
        "FalseOmissionRateParity FractionalNotion GroupRiskVariance IndividualFairness "
        "MatthewsRisk Notion OutcomeTable Parity PredictiveEquality PredictiveParity RMSGap "
        "RateBound RatioRisk RenyiInformation Risk RiskBound Robust RobustRisk Term "
        "TruePositiveRateParity WeightedRisk WorstGroupRisk template_from_dict"
    ),
    "fairprog.transports": (
        "Affine AffineMap ConjugatedMap Diagonal DiagonalMap Identity Monotone PiecewiseLinear "
        "PiecewiseLinearMap Scaling Translation Whitened"
    ),
}
_MODULES = "datasets", "testing"
_HOMES = {name: module for module, names in LAZY.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a name where it is first used."""
    if name in _MODULES:
        return import_module(f"fairprog.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fairprog' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


__all__ = [
    "AccuracyParity",
    "Affine",
    "AffineMap",
    "AtomTable",
    "Audit",
    "BalancedErrorRate",
    "Best",
    "Bijection",
    "Bounds",
    "CVaR",
    "Categorical",
    "Certificate",
    "Channel",
    "ClassifierCertificate",
    "ClassifierSolution",
    "Comparison",
    "ConceptSteering",
    "ConjugatedMap",
    "Constraint",
    "CostSensitiveRisk",
    "DataError",
    "DemographicParity",
    "Diagonal",
    "DiagonalMap",
    "Divergence",
    "Empirical",
    "EmpiricalFit",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "Estimate",
    "Evaluation",
    "Exponential",
    "F1Parity",
    "F1Risk",
    "FairCertificate",
    "FairClassifier",
    "FairScore",
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
    "IdealityTest",
    "Identity",
    "IndividualFairness",
    "InfeasibleError",
    "Inference",
    "Laplace",
    "LocationScale",
    "Log",
    "LogNormal",
    "Logistic",
    "Logit",
    "MatthewsRisk",
    "MissingExtraError",
    "ModelError",
    "Moments",
    "Monotone",
    "NearestFair",
    "NearestFairSolution",
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
    "RMSGap",
    "RandomizedClassifier",
    "RateBound",
    "RatioRisk",
    "RenyiInformation",
    "ReweightedClassifier",
    "ReweightedSolution",
    "Risk",
    "RiskBound",
    "Robust",
    "RobustRisk",
    "RowsNeeded",
    "Scaling",
    "ScoreCertificate",
    "ScoreCounts",
    "ScoreSolution",
    "ScoreSteering",
    "ShiftedExponential",
    "Solution",
    "SolverError",
    "SteeredClassifier",
    "Term",
    "ThresholdClassifier",
    "Transformed",
    "Translation",
    "TruePositiveRateParity",
    "Weibull",
    "WeightedRisk",
    "Whitened",
    "WorstGroupRisk",
    "YeoJohnson",
    "__version__",
    "audit",
    "compare",
    "constraint",
    "datasets",
    "fit_piecewise_linear",
    "ideality_test",
    "load",
    "rows_needed",
    "show_versions",
    "template_from_dict",
    "testing",
]
