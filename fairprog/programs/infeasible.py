"""Why no population satisfies the conditions of a program: who takes part in the clash."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairprog.errors import InfeasibleError


def infeasible(compiled: Any, status: str) -> InfeasibleError:
    """Return the error: conditions with a non-zero multiplier in the infeasibility certificate."""
    weights = {
        where: float(np.max(np.abs(c.dual_value)))
        for where, c in compiled.conditions.items()
        if c.dual_value is not None
    }
    largest = max(weights.values(), default=0.0)
    clash = [where for where, v in weights.items() if v > 1e-6 * largest > 0]
    names = clash or list(compiled.conditions)
    return InfeasibleError(
        f"No population satisfies the conditions: {names} clash with each other or with "
        f"{compiled.limits}. Relax one of them.",
        argument="constraints",
        status=status,
        details={"conditions": names, "groups": compiled.groups, "multipliers": weights},
    )
