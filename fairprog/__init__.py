"""fairprog: exact group fairness by convex optimisation.

A population (a joint law of features X, label Y and group A) is *ideal* when the Bayes-optimal
classifier of every cost-sensitive risk on it is exactly group-fair. fairprog finds the ideal
population nearest to yours in KL divergence, proves the answer and moves real data there.

Importing this package loads numpy and scipy's linear algebra only; solvers, plots and tables
are imported where they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairprog.errors import (
    DataError,
    FairprogError,
    FairprogWarning,
    InfeasibleError,
    ModelError,
    SolverError,
)
from fairprog.populations import Evaluation, LogNormal, Moments, Normal
from fairprog.programs import NearestIdeal, constraint
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
    Monotone,
    Scaling,
    Translation,
    Whitened,
)
from fairprog.versions import __version__, show_versions

if TYPE_CHECKING:
    from fairprog.estimators import IdealSteering

LAZY = {"IdealSteering": "fairprog.estimators"}  # they need scikit-learn, which takes its time


def __getattr__(name: str) -> Any:
    """Import an estimator where it is first used."""
    if name not in LAZY:
        raise AttributeError(f"module 'fairprog' has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})


__all__ = [
    "AccuracyParity",
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
    "IdealSteering",
    "InfeasibleError",
    "LogNormal",
    "ModelError",
    "Moments",
    "Monotone",
    "NearestIdeal",
    "Normal",
    "Notion",
    "OutcomeTable",
    "Parity",
    "PredictiveEquality",
    "Risk",
    "Scaling",
    "Solution",
    "SolverError",
    "Translation",
    "Whitened",
    "__version__",
    "constraint",
    "load",
    "show_versions",
    "template_from_dict",
]
