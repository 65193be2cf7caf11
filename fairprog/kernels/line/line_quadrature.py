r"""Integrals against a density exp(-phi) on the real line, and the law's own numbers.

Panels are uniform in t where z = mode + sinh(t), so that exponential tails become doubly
exponential, and break at every point where an integrand is not smooth; each carries a 16-point
Gauss-Legendre rule. For analytic phi the error is of the order of rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fairprog.errors import DataError
from fairprog.labels import Array

Function = Callable[[Array], Array]

ORDER = 16
DEPTH = 150.0  # densities below exp(-150) of the peak are nothing, whatever they are multiplied by
REACH = 16.0  # asinh of the farthest z that is looked at (about 4e6)
PANELS = 48
STRIDE = 0.25  # widest panel in asinh(z - mode)
STEP = 0.02  # of the difference stencil, in standard coordinates
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)


def effective_range(phi: Function, support: tuple[float, float], name: str) -> Array:
    """Return (low, mode, high): where the density is above exp(-150) of its peak.

    Raises
    ------
    DataError
        If phi is not a number somewhere, or does not rise to 150 within reach: the density is
        not in standard coordinates (location about 0, scale about 1) or not integrable.
    """
    z = np.sinh(np.linspace(-REACH, REACH, 8001))
    z = np.unique(np.clip(z, *support))
    for _ in range(5):  # where the whole density lies between points, look there
        with np.errstate(all="ignore"):
            values = np.asarray(phi(z), dtype=float)
        best = int(np.argmin(values)) if np.isfinite(values).any() else 0
        around = slice(max(best - 1, 0), best + 2)
        if not (values[around] - values[best] > DEPTH / 50.0).all(where=z[around] != z[best]):
            break
        z = np.unique(np.append(z, np.linspace(z[around][0], z[around][-1], 2001)))
    if np.isnan(values).any() or not np.isfinite(values).any():
        raise DataError(
            f"The density of {name} is not a number at z = {z[np.argmax(np.isnan(values))]:.4g}.",
            argument="family",
        )
    deep = values - values[best] > DEPTH
    below, above = np.flatnonzero(deep[:best]), np.flatnonzero(deep[best:])
    for found, end in ((below, support[0]), (above, support[1])):
        if not found.size and not np.isfinite(end):
            raise DataError(
                f"The density of {name} does not vanish at infinity: within |z| < {z[-1]:.0f} it "
                f"stays above exp(-{DEPTH:.0f}) of its peak. Write it in standard coordinates, "
                "with location about 0 and scale about 1.",
                argument="family",
            )
    low = z[below[-1]] if below.size else support[0]
    high = z[best + above[0]] if above.size else support[1]
    return np.array([low, z[best], high])


def panel_edges(
    ends: Array, kinks: Sequence[float], panels: int | None = None, unit: float = 1.0
) -> Array:
    """Return increasing edges from low to high, dense around the mode, breaking at kinks.

    By default enough of them that an integrand of scale `unit` about the mode is resolved.
    """
    low, mode, high = ends
    reach = np.arcsinh((low - mode) / unit), np.arcsinh((high - mode) / unit)
    if panels is None:
        panels = max(PANELS, int(np.ceil((reach[1] - reach[0]) / STRIDE)))
    edges = mode + unit * np.sinh(np.linspace(*reach, panels + 1))
    edges[0], edges[-1] = low, high
    inner = [k for k in kinks if low < k < high]
    return np.unique(np.concatenate([edges, inner]))


def panel_rule(edges: Array) -> tuple[Array, Array]:
    """Return nodes and weights of the composite rule between the edges."""
    half = 0.5 * np.diff(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    nodes = middle[:, None] + half[:, None] * NODES
    return nodes.ravel(), (half[:, None] * WEIGHTS).ravel()


def partial_integrals(f: Function, edges: Array, z: Array) -> Array:
    """Return the integral of f from the first edge to every z (clipped to the edges)."""
    nodes, weights = panel_rule(edges)
    per_panel = (f(nodes) * weights).reshape(-1, ORDER).sum(axis=1)
    cumulated = np.concatenate([[0.0], np.cumsum(per_panel)])
    z = np.clip(np.asarray(z, dtype=float), edges[0], edges[-1])
    panel = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, edges.size - 2)
    half = 0.5 * (z - edges[panel])
    inner = (edges[panel] + half)[..., None] + half[..., None] * NODES
    return cumulated[panel] + half * (f(inner) * WEIGHTS).sum(axis=-1)


def numeric_slope(phi: Function, breaks: Sequence[float], z: Array) -> Array:
    """Return phi' by a sixth-order central difference that does not cross a break."""
    step = np.full_like(z, STEP)
    for point in breaks:
        if np.isfinite(point):
            step = np.minimum(step, np.maximum(np.abs(z - point) / 4.0, 1e-12))
    with np.errstate(all="ignore"):
        total = 45.0 * (phi(z + step) - phi(z - step))
        total = total - 9.0 * (phi(z + 2.0 * step) - phi(z - 2.0 * step))
        total = total + (phi(z + 3.0 * step) - phi(z - 3.0 * step))
    return total / (60.0 * step)
