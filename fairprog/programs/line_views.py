"""What a custom condition sees of a univariate family: loc, scale, mean, std, matrix, offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairprog.populations import LocationScale
from fairprog.programs.views import CellView
from fairprog.transports import AffineMap

__all__ = ["line_view", "original_line_view"]


def line_view(
    D: LocationScale, cells: Sequence[Any], staying: Mapping[int, AffineMap]
) -> CellView:
    """Return the steered parameters as affine expressions, in the family's coordinates."""
    by_group = {cell.frame.group: cell for cell in cells}

    def parts(i: int, a: int) -> tuple[Any, Any, Any, Any]:
        """Return (loc, scale, A, b) of a cell."""
        cell = by_group.get(D.groups[a])
        if cell is None:
            T = staying[a]
            return D.base_loc[i, a], D.base_scale[i, a], T.matrix[0, 0], T.offset[0]
        f = cell.frame
        S = 1.0 if cell.thetas[i] is None else cell.thetas[i]
        b = f.target_center + f.C * cell.betas[i] - S * (f.sign * f.center)
        loc = f.target_center + f.C * (S * (f.sign * f.loc[i]) + cell.betas[i])
        return loc, S * (f.C * f.scale[i]), S * f.sign, b

    def law_of(i: int, a: int) -> Any:
        cell = by_group.get(D.groups[a])
        return D.law(i, a) if cell is None else cell.frame.laws[i]

    def mean(i: int, a: int) -> Any:
        loc, scale, _, _ = parts(i, a)
        return loc + scale * law_of(i, a).mean

    return CellView(
        D,
        loc=lambda i, a: parts(i, a)[0],
        scale=lambda i, a: parts(i, a)[1],
        matrix=lambda i, a: parts(i, a)[2],
        offset=lambda i, a: parts(i, a)[3],
        mean=mean,
        std=lambda i, a: parts(i, a)[1] * law_of(i, a).std,
    )


def original_line_view(D: LocationScale) -> CellView:
    """Return the original parameters as numbers, in the family's coordinates."""
    mean, std = D.base_mean, D.base_std
    return CellView(
        D,
        loc=lambda i, a: float(D.base_loc[i, a]),
        scale=lambda i, a: float(D.base_scale[i, a]),
        mean=lambda i, a: float(mean[i, a]),
        std=lambda i, a: float(std[i, a]),
    )
