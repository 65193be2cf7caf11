"""Finite populations: X takes finitely many values (atoms), so every program over them is finite.

Stored compactly as their support, see `support.py`; dense tables are made where they are asked
for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.kernels.atoms.finite import bayes_actions, same_posterior_laws, tables_at_thresholds
from fairprog.labels import Array, check_finite
from fairprog.populations.base import Population
from fairprog.populations.categorical_rows import CategoricalRows
from fairprog.populations.support import Support
from fairprog.tables import AtomTable, Notion, OutcomeTable
from fairprog.transports import AffineMap

__all__ = ["Categorical", "Support"]


class Categorical(CategoricalRows):
    """Joint law of a finite X, class and group: ``joint[x, i, a]`` = P(X=x, Y=i, A=a).

    Source: theory.md sections 1 and 8.

    Parameters
    ----------
    joint : array_like, shape (X, K, G)
        Nonnegative, summing to one (to 1e-8); single cells may be zero, but every class must have
        mass in every group.
    values : sequence of X hashables or array_like, shape (X, d), optional
        What the atoms are; default 0, 1, ....
    classes, groups : sequence of hashables, optional
        Labels; default 0, 1, ....

    Attributes
    ----------
    prior : Array, shape (K, G)
        P(Y=i, A=a).
    joint : Array, shape (X, K, G)
    mass : Array, shape (X, G)
        P(X=x, A=a).
    eta : Array, shape (X, K, G)
        Posterior P(Y=i | x, a); the base rates of the group where P(X=x, A=a) = 0.
    support : Support
        The same without the empty pairs, compactly.

    Raises
    ------
    DataError
        For NaN, wrong shapes, negative entries, a sum other than one, a class without mass in a
        group.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> D.base_rates.round(3)
    array([[0.667, 0.5  ],
           [0.333, 0.5  ]])
    >>> round(D.evaluate().error, 3)
    0.4
    >>> D.is_ideal()
    False
    """

    family: ClassVar[str] = "categorical"

    def laws_of(self, a: int) -> Array:
        """Return P(X=x | Y=i) of the group at `a`, shape (X, K)."""
        return self.joint[:, :, a] / self.prior[:, a]

    def common_map(self, r: int, a: int) -> AffineMap:
        """Return the identity: atoms stay where they are."""
        return AffineMap.identity(1)

    def pushed(self, prior: Array, laws: Array, maps: Mapping[Hashable, Any]) -> Self:
        """Return the population whose named groups have the laws (X, K), or theirs of (X, K, G).

        Maps are identities; see :meth:`Population.pushed`. The bins of scores are kept.
        """
        joint = self.joint.copy()
        for a in map(self.groups.index, maps):
            joint[:, :, a] = (laws if laws.ndim == 2 else laws[:, :, a]) * prior[:, a]
        out = type(self)(joint, values=self._values, classes=self.classes, groups=self.groups)
        out.score_bins, out.attributes = self.score_bins, self.attributes
        return out

    def with_prior(self, prior: Array) -> Self:
        """Return the population with the same laws of X and another prior (K, G)."""
        return self.pushed(prior, self.joint / self.prior, dict.fromkeys(self.groups))

    def map_residual(self, T: Any, laws: Array, a: int) -> float:
        """Return the largest total variation between a class's law in group a and `laws`."""
        return float(0.5 * np.abs(self.laws_of(a) - laws).sum(axis=0).max())

    def kl(self, other: Population) -> float:
        """Return KL(self || other) of the joint laws of (X, Y, A), in nats.

        Infinite where `other` has no mass and self has. Classes and groups are matched by value,
        atoms by position: `values` must be equal.

        Raises
        ------
        ModelError
            If `other` is not categorical, or has other labels or atoms.
        """
        order_i, order_a = self._order_of(other, "other")
        assert isinstance(other, Categorical)
        self._same_atoms(other, "other")
        p, q = self.joint, other.joint[:, order_i][:, :, order_a]
        if np.any((p > 0) & (q == 0)):
            return float("inf")
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(p > 0, p * np.log(p / q), 0.0).sum())

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        self._same_atoms(other, "other")
        p = self.joint / self.prior
        q = other.joint[:, order_i][:, :, order_a] / other.prior[np.ix_(order_i, order_a)]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, p * np.log(p / q), 0.0)
        return terms.sum(axis=0)

    def _same_atoms(self, other: Categorical, argument: str) -> None:
        if self.n_atoms != other.n_atoms or not np.array_equal(self.values, other.values):
            raise ModelError(
                f"`{argument}` has other atoms ({other.n_atoms}) than this population "
                f"({self.n_atoms}); their `values` must be equal.",
                argument=argument,
            )

    # -- fairness --

    def table(self, h: ArrayLike) -> AtomTable:
        """Return the outcome table of a randomised classifier, which knows its individuals.

        Parameters
        ----------
        h : array_like, shape (m, K)
            P(Yhat=j | x, a) for every pair of :attr:`support`.

        Returns
        -------
        AtomTable
        """
        s = self.support
        rates = check_finite(h, "h", (len(s.atom), self.n_classes))
        return AtomTable.of(
            s.weight, s.posterior, s.atom, s.group, rates, self.classes, self.groups,
            self.attributes,
        )  # fmt: skip

    def _table_of_rule(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[AtomTable, float]:
        posterior = self.support.posterior
        if rule is not self:
            order_i, order_a = self._order_of(rule, "rule_of")
            self._same_atoms(rule, "rule_of")
            eta = rule.eta[:, order_i][:, :, order_a]
            posterior = eta[self.support.atom, :, self.support.group]
        actions = bayes_actions(posterior, cost - cost.min(axis=1, keepdims=True))
        return self.table(np.eye(self.n_classes)[actions]), 0.0

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes.

        Log odds within 1e-11 of a threshold count as equal to it: the posteriors of an ideal
        population agree to rounding only.
        """
        s, t = self.support, np.asarray(thresholds, dtype=float)
        out = np.empty((len(t), 2, self.n_groups))
        with np.errstate(divide="ignore"):
            odds = np.log(s.posterior[:, 1]) - np.log(s.posterior[:, 0])
        for a in range(self.n_groups):
            rows = np.flatnonzero(s.group == a)
            rows = rows[np.argsort(odds[rows], kind="stable")]
            below = np.searchsorted(odds[rows], t + 1e-11 * (1.0 + np.abs(t)), side="right")
            mass = np.cumsum(s.weight[rows, None] * s.posterior[rows], axis=0) / self.prior[:, a]
            out[:, :, a] = np.concatenate([np.zeros((1, 2)), mass])[below]
        return np.minimum(out, 1.0)

    def _worst_threshold(self, notion: Notion) -> float:
        s = self.support
        tables = tables_at_thresholds(s.weight, s.score, s.group, self.n_groups)
        return max(notion.gap(OutcomeTable(Z, self.classes, self.groups)) for Z in tables)

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether the law of the posterior is the same in every group.

        That is the definition of ideal for demographic parity, and implies it for equalized odds
        (theory.md, Theorem A).

        Parameters
        ----------
        atol : float
            Posteriors closer than this count as one; total variation allowed between groups.
        """
        s = self.support
        weight = s.weight / self.group_mass[s.group]
        return same_posterior_laws(weight, s.posterior, s.group, self.n_groups, atol) <= atol

    def discretize(self, n: int = 2048, random_state: int | np.random.Generator = 0) -> Self:
        """Return the population itself: it is finite already."""
        return self

    def _atoms(self, n: int, random_state: int | np.random.Generator) -> tuple[Array, Any, float]:
        return self.joint, self.values, self.discretization_error
