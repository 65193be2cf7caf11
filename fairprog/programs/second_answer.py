"""How far a second, independent answer of the same program is from the first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairprog.errors import FairprogWarning
from fairprog.solution.certificate import CONIC_TOLERANCE, PARAMETER_TOLERANCE

__all__ = ["SecondAnswer"]


@dataclass(eq=False)
class SecondAnswer:
    """The maps of the steered groups, and their distance to those of another solver.

    Attributes
    ----------
    groups : sequence
        Each with `S`, `beta` and ``cost()``, in whitened coordinates.
    conic_gap : float or None
        Difference of the costs over max(1, cost); None where there is no second answer, or its
        cost is infinite (supports that nest to the solver's tolerance only).
    parameter_gap : float or None
        Largest difference of the maps, relative where above one.
    """

    groups: Sequence[Any]
    conic_gap: float | None = field(default=None, kw_only=True)
    parameter_gap: float | None = field(default=None, kw_only=True)

    def cost(self) -> float:
        """Return the part of KL the maps decide."""
        return sum(float(g.cost()) for g in self.groups)

    def agrees(self) -> bool:
        """Return whether the second answer is the same to the tolerances of the certificate."""
        return (self.conic_gap or 0.0) <= CONIC_TOLERANCE and (
            self.parameter_gap or 0.0
        ) <= PARAMETER_TOLERANCE

    def compare(self, others: Sequence[Any]) -> None:
        """Record the distance to a second, independent answer of the same program."""
        here, there = self.cost(), sum(float(g.cost()) for g in others)
        if np.isfinite(there):
            self.conic_gap = abs(here - there) / max(1.0, here)
        self.parameter_gap = max(
            float(np.abs(x - y).max() / max(1.0, float(np.abs(x).max())))
            for g, h in zip(self.groups, others, strict=True)
            for x, y in ((g.S, h.S), (g.beta, h.beta))
        )

    def keep_exact(self, solver: str) -> None:
        """Warn, and forget the second answer, where it is not the same: this one is proven."""
        if self.agrees():
            return
        gap = np.inf if self.conic_gap is None else self.conic_gap
        warnings.warn(
            f"{solver} ends {gap:.2g} (KL) and {self.parameter_gap:.2g} (maps) from the exact "
            "answer, which is kept: its own Newton decrement proves it.",
            FairprogWarning,
            stacklevel=5,
        )
        self.conic_gap = self.parameter_gap = None
