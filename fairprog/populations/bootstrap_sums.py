"""Sums over rows with Poisson weights: the bootstrap of statistics that are added up.

A row drawn with replacement occurs about Poisson(1) times, whatever becomes of the others, so
that chunks are weighted by themselves and replicates of pieces are merged like the pieces.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprog.labels import Array, Indices
from fairprog.populations.cell_sums import Cell, CellSums


def poisson_sums(
    count: int,
    covariance: str,
    X: NDArray[Any],
    code: Indices,
    cells: Sequence[Cell],
    weight: Array | None,
) -> list[CellSums]:
    """Return the sums of `count` replicates of the rows of a chunk; see :class:`CellSums`.

    The same rows have the same weights wherever they are gathered.
    """
    if not count:
        return []
    seed = zlib.crc32(np.ascontiguousarray(X).tobytes(), zlib.crc32(code.tobytes()))
    rng = np.random.default_rng([seed, len(code)])
    out = []
    for _ in range(count):
        times = rng.poisson(1.0, len(code)).astype(float)
        own = times if weight is None else times * weight
        kept = own > 0
        out.append(CellSums.of_rows(covariance, X[kept], code[kept], cells, own[kept]))
    return out
