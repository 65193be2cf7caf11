"""fairprog: exact group fairness by convex optimisation.

A population (a joint law of features X, label Y and group A) is *ideal* when the Bayes-optimal
classifier of every cost-sensitive risk on it is exactly group-fair. fairprog finds the ideal
population nearest to yours in KL divergence, proves the answer and moves real data there.

Importing this package loads numpy and scipy's linear algebra only; solvers, plots and tables
are imported where they are first used.
"""

from fairprog import testing
from fairprog.errors import (
    DataError,
    FairprogError,
    FairprogWarning,
    InfeasibleError,
    ModelError,
    SolverError,
)
from fairprog.populations import (
    Bijection,
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
    Normal,
    Power,
    QuantileNormal,
    ShiftedExponential,
    Transformed,
    Weibull,
    YeoJohnson,
)
from fairprog.programs import Empirical, EmpiricalFit, NearestIdeal, constraint
from fairprog.solution import Bounds, Certificate, Solution, load
from fairprog.tables import (
    AccuracyParity,
    CostSensitiveRisk,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRate,
    Notion,
    OutcomeTable,
    Parity,
    PredictiveEquality,
    Risk,
    template_from_dict,
)
from fairprog.transports import (
    AffineMap,
    ConjugatedMap,
    Diagonal,
    Identity,
    Monotone,
    Scaling,
    Translation,
    Whitened,
)
from fairprog.versions import __version__, show_versions

__all__ = [
    "AccuracyParity",
    "AffineMap",
    "Bijection",
    "Bounds",
    "Certificate",
    "ConjugatedMap",
    "CostSensitiveRisk",
    "DataError",
    "DemographicParity",
    "Diagonal",
    "Empirical",
    "EmpiricalFit",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "Evaluation",
    "Exponential",
    "FairprogError",
    "FairprogWarning",
    "Gamma",
    "Gumbel",
    "GumbelMin",
    "Identity",
    "InfeasibleError",
    "Laplace",
    "LocationScale",
    "Log",
    "LogNormal",
    "Logistic",
    "Logit",
    "ModelError",
    "Monotone",
    "NearestIdeal",
    "Normal",
    "Notion",
    "OutcomeTable",
    "Parity",
    "Power",
    "PredictiveEquality",
    "QuantileNormal",
    "Risk",
    "Scaling",
    "ShiftedExponential",
    "Solution",
    "SolverError",
    "Transformed",
    "Translation",
    "Weibull",
    "Whitened",
    "YeoJohnson",
    "__version__",
    "constraint",
    "load",
    "show_versions",
    "template_from_dict",
    "testing",
]
