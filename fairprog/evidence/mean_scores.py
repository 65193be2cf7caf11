r"""Two samples compared by mean scores, whether or not the family they are scores of is right.

A fit by maximum likelihood makes the scores of its own rows average to nothing, whatever their
law. So the mean score :math:`\bar\psi` of new rows at the old fit is a difference of two samples'
means, and :math:`T = m|\bar\psi|^2`, m = n n'/(n + n'), is the score statistic where scores are
standardised. Its law under "nothing moved" is a sum of squares weighted by the eigenvalues of the
scores' covariance: one each if the family is right, anything else if not. It is therefore drawn
from the new rows themselves: both samples are resampled from them, and T is studentised by the
trace of that covariance; as measured by that of the family where this is larger, since rows that
happen to lack what is far out would else seem sure of it.

Normal cells have d + d(d+1)/2 scores, z and the products of its entries; where these are more
than rows, inner products of rows, which are polynomials of those of z, stand for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import pdtr

from fairprog.labels import Array

LEVELS = 2**16  # of a table from which Poisson numbers are read
MOST_ROWS = 1000  # of all cells that are resampled together: beyond, so many of them at random


@dataclass(frozen=True, eq=False)
class Scores:
    """Standardised scores of rows: entries of z, and products of two of them less their mean.

    Attributes
    ----------
    z : Array, shape (n, d)
    single, double : bool
        Whether entries, and products z z' - I (over sqrt 2), are scores.
    """

    z: Array
    single: bool = True
    double: bool = False

    @property
    def size(self) -> int:
        """How many scores a row has; their mean square under the family."""
        d = self.z.shape[1]
        return self.single * d + self.double * d * (d + 1) // 2

    @property
    def mean(self) -> Array:
        """The mean score."""
        n, d = self.z.shape
        parts = [self.z.mean(axis=0)] if self.single else []
        if self.double:
            parts.append(((self.z.T @ self.z / n - np.eye(d)) / np.sqrt(2.0)).ravel())
        return np.concatenate(parts)

    @property
    def squares(self) -> Array:
        """The squared norm of every row's scores, (n,)."""
        norm = (self.z**2).sum(axis=1)
        return self.single * norm + self.double * 0.5 * (norm**2 - 2.0 * norm + self.z.shape[1])

    def in_coordinates(self) -> Array:
        """Return scores in orthonormal coordinates, (n, p): as many as there are, or rows."""
        n, d = self.z.shape
        if self.size <= n:
            parts = [self.z] if self.single else []
            if self.double:
                j, k = np.triu_indices(d, 1)
                parts += [self.z[:, j] * self.z[:, k], (self.z**2 - 1.0) / np.sqrt(2.0)]
            return np.hstack(parts)
        inner, norm = self.z @ self.z.T, (self.z**2).sum(axis=1)
        K = inner if self.single else np.zeros_like(inner)
        if self.double:
            K = K + 0.5 * (inner**2 - norm[:, None] - norm + d)
        values, vectors = np.linalg.eigh(K)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def few(self, most: int, rng: np.random.Generator) -> Scores:
        """Return at most so many of the rows."""
        if len(self.z) <= most:
            return self
        rows = rng.choice(len(self.z), most, replace=False)
        return Scores(self.z[rows], self.single, self.double)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A statistic and its spread, measured (first) and drawn."""

    value: Array
    spread: Array

    @property
    def pvalue(self) -> float:
        """The chance of as large a ratio where nothing moved."""
        ratio = self.value / np.maximum(self.spread, 1e-300)
        return float((1 + np.sum(ratio[1:] >= ratio[0] * (1.0 - 1e-12))) / len(ratio))


def paired(new: float, old: float | None) -> float:
    """Return the effective size of a comparison of two samples, the old one perhaps known."""
    return float(new if old is None else new * old / (new + old))


def compare_means(
    cells: Sequence[Scores],
    old: Sequence[float | None],
    rng: np.random.Generator,
    draws: int = 1000,
) -> tuple[list[Comparison], Comparison]:
    """Compare the mean scores of cells with nothing each, and with one another.

    Parameters
    ----------
    cells : sequence of Scores
        New rows of every group, of one class.
    old : sequence of float or None
        Rows that each was fitted to; None: known exactly.
    rng : numpy Generator
    draws : int

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal((300, 2))
    >>> [one, other], _ = compare_means([Scores(z), Scores(z + .3)], [None, None], rng)
    >>> one.pvalue > .05, other.pvalue < .001
    (True, True)
    """
    G, sizes = len(cells), [len(c.z) for c in cells]
    m = np.array([paired(n, o) for n, o in zip(sizes, old, strict=True)])
    means = np.stack([c.mean for c in cells])
    inner = means @ means.T
    spread = np.array([c.squares.mean() for c in cells]) - np.diag(inner)
    spread = np.maximum(spread, [float(c.size) for c in cells])
    few = [c.few(MOST_ROWS // G, rng) for c in cells]
    ends = np.cumsum([0, *(len(c.z) for c in few)])
    stacked = np.concatenate([c.z for c in few])
    every = Scores(stacked, few[0].single, few[0].double).in_coordinates()
    every = every.astype(np.float32)
    off, trace = np.empty((G, draws, every.shape[1])), np.empty((draws, G))
    for a, before in enumerate(old):
        own = every[ends[a] : ends[a + 1]]
        k = len(own)
        new = _weights(rng, 1.0, (draws, k))
        center = new @ own
        trace[:, a] = new @ (own**2).sum(axis=1) - (center**2).sum(axis=1)
        even = own.mean(axis=0)
        if before is not None:
            even = _weights(rng, before / sizes[a], (draws, k)) @ own
        off[a] = center - even
    Q = np.einsum("abp,cbp->bac", off, off)
    # of a sample of the rows T is the same where its size is the sample's
    scale = np.array([len(c.z) / n for c, n in zip(few, sizes, strict=True)])
    Q *= np.sqrt(scale[:, None] * scale)
    Q, trace = np.concatenate([inner[None], Q]), np.concatenate([spread[None], trace])
    alone = [Comparison(m[a] * Q[:, a, a], trace[:, a]) for a in range(G)]
    between = np.einsum("a,baa->b", m, Q) - np.einsum("a,bac,c->b", m, Q, m) / m.sum()
    return alone, Comparison(between, trace @ (1.0 - m / m.sum()))


def _weights(rng: np.random.Generator, times: float, shape: tuple[int, int]) -> Array:
    """Return Poisson weights of rows, drawn so many times on average, as shares."""
    most = np.arange(np.ceil(times + 8.0 * np.sqrt(times) + 12.0))
    level = (np.arange(LEVELS) + 0.5) / LEVELS
    times_of = np.searchsorted(pdtr(most, times), level).astype(np.float32)
    drawn = times_of[rng.integers(0, LEVELS, shape, dtype=np.uint16)]
    drawn /= np.maximum(drawn.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(drawn)
