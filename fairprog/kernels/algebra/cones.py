"""How far points are outside the cones of conic programs, and their dual cones."""

from __future__ import annotations

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array


def outside_cone(kind: str, s: Array) -> float:
    """Return how far s is outside its cone."""
    if kind == "nonneg":
        return max(0.0, -float(s.min(initial=0.0)))
    if kind == "soc":
        return max(0.0, float(np.linalg.norm(s[1:]) - s[0]))
    if kind == "exp":  # closure of {y > 0, y exp(x/y) <= z}
        x, y, z = (float(v) for v in s)
        if y <= 1e-12:
            return max(0.0, x, -y, -z)
        return max(0.0, min(y * float(np.exp(min(x / y, 700.0))) - z, 1.0 + abs(x)))
    raise ModelError(
        f"No certificate is defined for the cone {kind!r}; write conditions with <=, >= or ==.",
        argument="constraints",
    )


def outside_dual_cone(kind: str, y: Array) -> float:
    """Return how far y is outside the dual cone."""
    if kind != "exp":
        return outside_cone(kind, y)
    u, v, w = (float(t) for t in y)  # u < 0: -u exp(v/u) <= e w
    if u >= -1e-12:
        return max(0.0, u, -v, -w)
    return max(0.0, min(-u * float(np.exp(min(v / u - 1.0, 700.0))) - w, 1.0 + abs(u)))
