"""Whether the rows of a cell look like the law that was fitted to them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from fairprog.door import Rows
from fairprog.errors import DataError
from fairprog.labels import Array
from fairprog.populations.base import Population
from fairprog.populations.cell_fit import Term, best_scale_shift, maximum_likelihood
from fairprog.populations.law import Law
from fairprog.populations.normal_cells import NormalCells

SIMULATED = 99  # samples behind a p-value of Lilliefors' test
MOST_ROWS = 2000  # of a cell: beyond, so many of its rows


@dataclass(frozen=True)
class CellFit:
    """Goodness of fit of one cell: statistic and p-value."""

    statistic: float
    pvalue: float


def cell_fits(
    D: Population,
    X: ArrayLike,
    y: ArrayLike | None,
    sensitive_features: ArrayLike | None,
    random_state: int = 0,
) -> dict[tuple[Hashable, Hashable], CellFit]:
    """Return the goodness of fit of every cell to rows, by (class, group).

    Normal cells by Mardia's test (1970) of skewness and kurtosis together; others by the largest
    difference of distribution functions, with the law refitted to simulated samples.
    """
    if y is None or sensitive_features is None:
        raise DataError("`X` needs `y` and `sensitive_features` beside it.", argument="y")
    core: Any = D.core
    features = D.to_coordinates(D.as_features(X))
    rows = Rows.check(
        y, sensitive_features, None, len(features), classes=D.classes, groups=D.groups, X=X
    )
    rng, out = np.random.default_rng(random_state), {}
    for i, c in enumerate(D.classes):
        for a, g in enumerate(D.groups):
            own = features[(rows.y == i) & (rows.a == a)]
            if len(own) < 8:
                continue
            out[c, g] = (
                mardia(own @ core.support_basis)
                if isinstance(core, NormalCells)
                else _lilliefors(core, i, a, own[:, 0], rng)
            )
    return out


def mardia(X: Array) -> CellFit:
    r"""Return the sum of Mardia's skewness and kurtosis statistics of rows (n, d).

    :math:`n b_1/6` is chi-square with d(d+1)(d+2)/6 degrees of freedom,
    :math:`(b_2 - d(d+2))^2 n / (8 d(d+2))` with one more.

    Examples
    --------
    >>> import numpy as np
    >>> mardia(np.random.default_rng(0).exponential(size=(200, 1))).pvalue < 1e-6
    True
    """
    n, d = X.shape
    R = X - X.mean(axis=0)
    Z = np.linalg.solve(np.linalg.cholesky(R.T @ R / n), R.T).T
    third = np.einsum("ni,nj,nk->ijk", Z, Z, Z, optimize=True) / n
    kurtosis = float(((Z**2).sum(axis=1) ** 2).mean())
    value = n * float((third**2).sum()) / 6.0
    value += n * (kurtosis - d * (d + 2)) ** 2 / (8.0 * d * (d + 2))
    return CellFit(value, float(chdtrc(d * (d + 1) * (d + 2) / 6 + 1, value)))


def _lilliefors(core: Any, i: int, a: int, x: Array, rng: np.random.Generator) -> CellFit:
    """Return the distance of the empirical from the fitted distribution function."""
    x = rng.permutation(x)[:MOST_ROWS]
    law = core.law(i, a)

    def distance(z: Array) -> float:
        loc, scale = _refitted(core, law, z)
        u, n = np.sort(law.cdf((z - loc) / scale)), z.size
        k = np.arange(n)
        return float(max((u - k / n).max(), ((k + 1) / n - u).max()))

    measured = distance(x)
    drawn = [distance(np.asarray(law.draw(rng, x.size), dtype=float)) for _ in range(SIMULATED)]
    more = int(np.sum(np.array(drawn) >= measured))
    return CellFit(measured, (1 + more) / (SIMULATED + 1))


def _refitted(core: Any, law: Law, z: Array) -> tuple[float, float]:
    """Return the maximum-likelihood location and scale (1 where it is fixed)."""
    weight = np.full(z.size, 1.0 / z.size)
    if core.moves_scale and core.coordinate == "x":  # else it fits what it takes the log of
        loc, scale = core.fit_cell(z, weight)
        return loc, scale
    if core.moves_scale:
        return maximum_likelihood(law, z, weight)
    shift = best_scale_shift([Term(1.0, z, weight, law)], np.array([1.0, -z.mean()]), False)[1]
    return -float(shift), 1.0
