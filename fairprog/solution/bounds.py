r"""What a nearby ideal population guarantees on the original one (theory.md section 6).

Rates are conditional probabilities, so bounds on gaps are cell-wise: with
:math:`V_{ia} = KL(\tilde P_{ia} \| P_{ia})` each conditional rate moves by at most
:math:`t(V) = \min(\sqrt{V/2}, \sqrt{1 - e^{-V}})`. The tempting joint bound
:math:`\sqrt{8\,KL(\tilde D\|D)}` on the equal-opportunity gap is false: a cell of probability 0.01
may move by one nat at a joint cost of 0.01.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.labels import Array, index_of
from fairprog.pictures import Drawn
from fairprog.tables.risks import cost_matrix


def total_variation_bound(kl: ArrayLike) -> Array:
    r"""Return :math:`\min(\sqrt{KL/2}, \sqrt{1 - e^{-KL}})`, an upper bound on total variation.

    Pinsker and Bretagnolle-Huber; `kl` in nats.

    Examples
    --------
    >>> float(total_variation_bound(0.02))
    0.1
    """
    v = np.maximum(np.asarray(kl, dtype=float), 0.0)
    return np.minimum(np.sqrt(v / 2.0), np.sqrt(-np.expm1(-v)))


def total_variation_slope(kl: ArrayLike) -> Array:
    """Return the derivative of `total_variation_bound`; 0 at 0, where nothing moves.

    Examples
    --------
    >>> float(total_variation_slope(0.02))
    2.5
    """
    v = np.asarray(kl, dtype=float)
    bound = total_variation_bound(v)
    slope = np.where(-np.expm1(-v) < 0.5 * v, 0.5 * np.exp(-v), 0.25)
    return np.divide(slope, bound, out=np.zeros_like(v), where=bound > 0)


def largest_moves_slope(cell_kl: Array, i: int | None) -> Array:
    """Return the derivative in V (K, G) of the bound on the gap of class i, None: of the worst.

    Examples
    --------
    >>> largest_moves_slope(np.array([[0.0, 0.02], [0.0, 0.08]]), 0)
    array([[0. , 2.5],
           [0. , 0. ]])
    """
    moves = total_variation_bound(cell_kl)
    if i is None:
        i = int(np.argmax([_two_largest(row) for row in moves]))
    out = np.zeros_like(moves)
    if np.sort(moves[i])[-2:].sum() < 1.0:
        largest = np.argsort(moves[i])[-2:]
        out[i, largest] = total_variation_slope(cell_kl[i, largest])
    return out


@dataclass(frozen=True, eq=False)
class Bounds(Drawn):
    """Guarantees, on the original population, for a classifier that is fair on the steered one.

    Attributes
    ----------
    kl : float
        KL(D~ || D) of the joint laws, nats.
    cell_kl : Array, shape (K, G)
        V_ia = KL(P~_ia || P_ia), nats.
    base_rate_kl : Array, shape (G,)
        KL(rho~_a || rho_a), nats.
    base_rates : Array, shape (K, G)
        Base rates of the steered population.
    classes, groups : tuple
        Labels.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> gap = D.evaluate(rule_of=sol.population).gap(fp.EqualOpportunity())  # fair on D~
    >>> print(f"{gap:.3f} <= {sol.bounds.equal_opportunity():.3f}")
    0.312 <= 0.428
    """

    kl: float
    cell_kl: Array
    base_rate_kl: Array
    base_rates: Array
    classes: tuple[Hashable, ...] = ()
    groups: tuple[Hashable, ...] = ()

    @property
    def total_variation(self) -> float:
        """Upper bound on the total variation between the two joint laws, in [0, 1]."""
        return float(total_variation_bound(self.kl))

    @property
    def cell_total_variation(self) -> Array:
        """How far each rate P(. | Y=i, A=a) can move, shape (K, G)."""
        return total_variation_bound(self.cell_kl)

    def risk(self, cost: ArrayLike | None = None) -> float:
        """Return (max C - min C) TV: how far the risk of any classifier can move.

        Parameters
        ----------
        cost : array_like (K, K), optional
            Default 0-1; the result is in the unit of the cost.
        """
        C = cost_matrix(cost, self.cell_kl.shape[0])
        return float((C.max() - C.min()) * self.total_variation)

    def _row(self, label: Any, default: int, argument: str) -> Array:
        classes = self.classes or tuple(range(len(self.cell_kl)))
        k = default if label is None else index_of(classes, label, argument)
        return self.cell_total_variation[k]

    def equal_opportunity(self, positive: Any = None) -> float:
        """Gap on D of P(Yhat=1 | Y=1) for a classifier with equal rates on D~.

        Parameters
        ----------
        positive : hashable, optional
            Label of the positive class; default the last. DataError if it is unknown.
        """
        return _two_largest(self._row(positive, -1, "positive"))

    def predictive_equality(self, negative: Any = None) -> float:
        """Gap on D of P(Yhat=1 | Y=0) for a classifier with equal rates on D~.

        Parameters
        ----------
        negative : hashable, optional
            Label of the negative class; default the first. DataError if it is unknown.
        """
        return _two_largest(self._row(negative, 0, "negative"))

    def equalized_odds(self) -> float:
        """Worst gap over classes on D for a classifier with equalized odds on D~."""
        return max(_two_largest(row) for row in self.cell_total_variation)

    def demographic_parity(self) -> float:
        """Gap on D of P(Yhat=1) for a classifier with demographic parity on D~.

        Uses V_a = KL(rho~_a || rho_a) + sum_i rho~_a(i) V_ia.
        """
        per_group = self.base_rate_kl + (self.base_rates * self.cell_kl).sum(axis=0)
        return _two_largest(total_variation_bound(per_group))


def _two_largest(moves: Array) -> float:
    """Return the sum of the two largest moves, at most 1: a gap is between two groups."""
    return float(min(1.0, np.sort(moves)[-2:].sum()))
