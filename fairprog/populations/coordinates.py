"""What pictures, reports and finite versions ask of a family, in the family's own coordinates.

Every family has coordinates z = g(x) in which its affine maps act and its cells have their
simplest form: x itself, log x for families on the positive half line, the base's for a population
seen through a bijection. Displacements are measured, and densities drawn, per unit of z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.labels import Array, Indices
from fairprog.pictures import Drawn
from fairprog.populations.labelled import Labelled


def normalized_log(joint: Array, otherwise: Array) -> Array:
    """Return log P(Y=i | z) from log joint densities (n, K).

    Where every density is zero nothing is learnt from z: `otherwise` (K,), the base rates.
    """
    top = joint.max(axis=1, keepdims=True)
    dead = ~np.isfinite(top[:, 0])
    top[dead] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Array = joint - top - np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
        out[dead] = np.log(otherwise)
    return out


class Coordinates(Labelled, Drawn):
    """The interface; a family of one feature fills in what it has.

    Scores stand for probabilities: score t is the level Phi(t), so that tails keep their digits
    and a normal cell's quantiles are mean + t std.

    Attributes
    ----------
    coordinate : str
        The family's own coordinates as a formula of x.
    """

    coordinate: str = "x"

    @staticmethod
    def _forward(X: Array) -> Array:
        return X

    @staticmethod
    def _backward(X: Array) -> Array:
        return X

    @property
    def core(self) -> Any:
        """The population of g(X) where this one is seen through a bijection g, else itself."""
        return self

    def as_features(self, X: ArrayLike) -> Array:
        """Return features of shape (n, d), checked."""
        raise NotImplementedError

    def to_coordinates(self, X: ArrayLike) -> Array:
        """Return features in the family's own coordinates, shape (n, d).

        Raises
        ------
        DataError
            For features outside the domain, wrong shapes or names.
        """
        return self._forward(self.as_features(X))

    def from_coordinates(self, Z: Array) -> Array:
        """Return points (n, d) of the family's own coordinates in the user's units."""
        return self._backward(Z)

    def _missing(self, what: str) -> ModelError:
        return ModelError(f"{type(self).__name__} has no {what}.", argument="population")

    @property
    def coordinate_std(self) -> Array:
        """Standard deviations of the cells in the family's own coordinates, shape (K, G, d)."""
        raise self._missing("standard deviations")

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | z, a), shape (n, K).

        Parameters
        ----------
        Z : Array, shape (n, d)
            Rows in the family's own coordinates.
        group : Indices, shape (n,)
            Positions of their groups. Where no cell of the group has a density: base rates.
        """
        raise self._missing("posteriors")

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes."""
        raise self._missing("posteriors")

    # -- one feature --

    def cell_quantiles(self, scores: Array) -> Array:
        """Return z with P(Z <= z | i, a) = Phi(score), shape (n, K, G)."""
        raise self._missing("quantiles of one feature")

    def cell_density(self, z: Array) -> Array:
        """Return the densities of the cells at z (n,), per unit of z, shape (n, K, G)."""
        raise self._missing("densities of one feature")

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < Z <= edges[k] | i, a), shape (n + 1, K, G).

        `edges` (n,) increase; the first interval comes from -inf, the last goes to inf.
        """
        raise self._missing("densities of one feature")

    def density_breaks(self) -> Array:
        """Return where densities of cells have jumps or kinks, in any order."""
        return np.empty(0)

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them (one more), of the group at `a`."""
        raise self._missing("decision regions of one feature")
