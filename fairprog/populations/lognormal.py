"""Log-normal populations: log X is normal in every cell."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fairprog.errors import DataError
from fairprog.labels import Array
from fairprog.populations.normal import Normal
from fairprog.transports import AffineMap, ConjugatedMap


class LogCoordinates:
    """Families on the positive half line: their own coordinates are log X."""

    coordinate = "log x"
    family: ClassVar[str]

    @staticmethod
    def _forward(X: Array) -> Array:
        return np.log(X)

    @staticmethod
    def _backward(X: Array) -> Array:
        return np.exp(X)

    @classmethod
    def check_domain(cls, X: Array) -> Array:
        """Return positive features unchanged; DataError naming the first that is not."""
        bad = np.argwhere(X <= 0)
        if bad.size:
            row, column = (int(k) for k in bad[0])
            article = "an" if cls.family[0] in "aeiou" else "a"
            raise DataError(
                f"`X` must be positive for {article} {cls.family} population; row {row}, feature "
                f"{column} is {X[row, column]:.6g} ({len(bad)} such entries).",
                argument="X",
            )
        return X

    def user_map(self, affine: AffineMap) -> ConjugatedMap:
        """Return the affine map y -> A y + b of log X as a map of X: x -> exp(b) x^A."""
        return ConjugatedMap(affine, lambda X: np.log(self.check_domain(X)), np.exp)


class LogNormal(LogCoordinates, Normal):
    """Log-normal law in every cell: log X | Y=i, A=a ~ N(mean[i, a], cov[i, a]).

    Parameters are those of log X, as for :class:`Normal`; features must be positive. KL
    divergence, posteriors and ideality are invariant under the logarithm, so everything is
    solved in log space; maps act on X in the user's units as x -> exp(b) x^gamma.

    Source: theory.md section 2.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.LogNormal([[.25, .25], [.25, .25]], [[0., .5], [1., 1.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(5, random_state=0)
    >>> bool((X > 0).all())
    True
    """

    family: ClassVar[str] = "lognormal"
