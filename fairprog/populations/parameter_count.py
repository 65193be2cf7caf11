"""How many numbers describe the cells of a population."""

from __future__ import annotations

from typing import Any

from fairprog.populations.diagonal_normal import DiagonalNormal
from fairprog.populations.normal import Normal
from fairprog.populations.positive import Exponential


def cell_parameters(D: Any) -> int:
    """Return the number of parameters of one cell, its covariance being its own."""
    d = D.n_features - D.null_dimension
    if isinstance(D, DiagonalNormal):
        return int(2 * d)
    if isinstance(D, Normal):
        return int(d + d * (d + 1) // 2)
    return 1 if isinstance(D, Exponential) else 2


def group_parameters(D: Any) -> int:
    """Return the number of parameters of all cells of one group."""
    K, d = D.n_classes, D.n_features - D.null_dimension
    tied = isinstance(D, Normal) and D.covariance == "tied"
    return int(K * cell_parameters(D) - (K - 1) * (d * (d + 1) // 2) * tied)
