"""fairprog: exact group fairness by convex optimisation.

A population (a joint law of features X, label Y and group A) is *ideal* when the Bayes-optimal
classifier of every cost-sensitive risk on it is exactly group-fair. fairprog finds the ideal
population nearest to yours in KL divergence, proves the answer and moves real data there.

Importing this package loads numpy and scipy's linear algebra only; solvers, plots and tables
are imported where they are first used.
"""

from fairprog.errors import (
    DataError,
    FairprogError,
    FairprogWarning,
    InfeasibleError,
    ModelError,
    SolverError,
)
from fairprog.populations import Evaluation, LogNormal, Normal, Pushforward
from fairprog.programs import NearestIdeal, constraint, fit_piecewise_linear
from fairprog.solution import Bounds, Certificate, QuantileMap, Solution, load
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
    Affine,
    AffineMap,
    ConjugatedMap,
    Diagonal,
    Identity,
    Monotone,
    PiecewiseLinear,
    PiecewiseLinearMap,
    Scaling,
    Translation,
    Whitened,
)
from fairprog.versions import __version__, show_versions

__all__ = [
    "AccuracyParity",
    "Affine",
    "AffineMap",
    "Bounds",
    "Certificate",
    "ConjugatedMap",
    "CostSensitiveRisk",
    "DataError",
    "DemographicParity",
    "Diagonal",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRate",
    "Evaluation",
    "FairprogError",
    "FairprogWarning",
    "Identity",
    "InfeasibleError",
    "LogNormal",
    "ModelError",
    "Monotone",
    "NearestIdeal",
    "Normal",
    "Notion",
    "OutcomeTable",
    "Parity",
    "PiecewiseLinear",
    "PiecewiseLinearMap",
    "PredictiveEquality",
    "Pushforward",
    "QuantileMap",
    "Risk",
    "Scaling",
    "Solution",
    "SolverError",
    "Translation",
    "Whitened",
    "__version__",
    "constraint",
    "fit_piecewise_linear",
    "load",
    "show_versions",
    "template_from_dict",
]
