"""From frames, terms and conditions to CVXPY problems, and from their solutions to numpy.

The only package that imports CVXPY. Only here are variables created, DCP checked, constraints
labelled and solvers called.
"""

from fairprog.programs.compile.classifier import (
    CompiledClassifier,
    compile_classifier,
    value_at,
)
from fairprog.programs.compile.compiled import CellVariables, Compiled
from fairprog.programs.compile.line import compile_line, compile_shifts, line_multipliers
from fairprog.programs.compile.nearest import compile_nearest
from fairprog.programs.compile.piecewise import compile_piecewise
from fairprog.programs.compile.solve import solve
from fairprog.programs.compile.standard_form import StandardForm
from fairprog.programs.compile.terms import TableVariables, compile_terms

__all__ = [
    "CellVariables",
    "Compiled",
    "CompiledClassifier",
    "StandardForm",
    "TableVariables",
    "compile_classifier",
    "compile_line",
    "compile_nearest",
    "compile_piecewise",
    "compile_shifts",
    "compile_terms",
    "line_multipliers",
    "solve",
    "value_at",
]
