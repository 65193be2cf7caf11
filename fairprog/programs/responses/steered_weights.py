"""The weights of steered cells as functions of the proportions of all cells: derivatives.

A steered weight is a product of powers, w_is = p_s q_ir / p_r with base rates made those of the
group r that stays, p_s rho_i with given ones, q_is with those kept (theory.md section 3), so that
its logarithm has simple derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.labels import Array


@dataclass(frozen=True, eq=False)
class SteeredWeights:
    """Weights of the cells of a steered group.

    Attributes
    ----------
    prior : Array, shape (..., K, G)
        Of several populations for their weights alone.
    base_rates : str or array_like
        As of the program.
    staying : int
        Position of the group whose base rates are taken with "equalize".
    """

    prior: Array
    base_rates: Any
    staying: int

    def weights(self, s: int) -> Array:
        """Return the weights of group s, shape (..., K)."""
        own, stays = self.prior[..., s], self.prior[..., self.staying]
        if self._is("keep"):
            return np.asarray(own)
        given = stays / stays.sum(axis=-1, keepdims=True)
        if not self._is("equalize"):
            given = np.asarray(self.base_rates, dtype=float) / np.sum(self.base_rates)
        return np.asarray(given * own.sum(axis=-1, keepdims=True))

    def _is(self, word: str) -> bool:
        return isinstance(self.base_rates, str) and self.base_rates == word

    def _logs(self, s: int, dq: Array) -> tuple[Array, Array]:
        """Return first and second derivatives of log w along changes (..., K, G) of the prior."""
        q, r = self.prior, self.staying
        if self._is("keep"):
            first = dq[..., s] / q[:, s]
            return first, -(first**2)
        mass = (dq[..., s].sum(axis=-1) / q[:, s].sum())[..., None]
        first, second = mass, -(mass**2)
        if self._is("equalize"):
            cell = dq[..., r] / q[:, r]
            whole = (dq[..., r].sum(axis=-1) / q[:, r].sum())[..., None]
            first, second = first + cell - whole, second - cell**2 + whole**2
        one = np.ones(len(q))
        return first * one, second * one

    def moved(self, s: int, dq: Array) -> tuple[Array, Array, Array]:
        """Return w', w'' and the second derivative of sum_i w_is log(w_is / q_is)."""
        q, w = self.prior[:, s], self.weights(s)
        first, second = self._logs(s, dq)
        w1, w2, own = w * first, w * (first**2 + second), dq[..., s] / q
        bent = w2 * (np.log(w / q) + 1.0) + w1**2 / w - 2.0 * w1 * own + w * own**2
        return w1, w2, bent.sum(axis=-1)

    def pulled(self, s: int, by_weight: Array) -> Array:
        """Return derivatives in the prior (..., K, G) from those in the weights (..., K)."""
        q, r, a = self.prior, self.staying, self.weights(s) * by_weight
        out = np.zeros((*a.shape[:-1], *q.shape))
        if self._is("keep"):
            out[..., s] = a / q[:, s]
            return out
        total = a.sum(axis=-1, keepdims=True)
        out[..., s] += total / q[:, s].sum()
        if self._is("equalize"):
            out[..., r] += a / q[:, r] - total / q[:, r].sum()
        return out

    def divergence_slopes(self, steered: list[int]) -> Array:
        """Return the derivatives of sum_is w_is log(w_is / q_is), shape (K, G)."""
        out = np.zeros(self.prior.shape)
        for s in steered:
            q, w = self.prior[:, s], self.weights(s)
            out += self.pulled(s, np.log(w / q) + 1.0)
            out[:, s] -= w / q
        return out
