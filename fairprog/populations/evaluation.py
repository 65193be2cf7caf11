"""A Bayes rule applied to a population, and the worst gap over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.pictures import Drawn
from fairprog.tables import ErrorRate, Notion, OutcomeTable

# Thresholds closer than this are not told apart: without it, two groups whose log odds agree up
# to rounding would show a spurious gap where the law of the log odds has an atom or an edge.
RESOLUTION = 1e-11


@dataclass(frozen=True, eq=False)
class Evaluation(Drawn):
    """A Bayes rule applied to a population.

    Attributes
    ----------
    risk : float
        Expected cost, in the unit of the cost matrix.
    table : OutcomeTable
        Z[a, i, j] = P(A=a, Y=i, Yhat=j).
    standard_error : float
        Largest standard error of a rate P(Yhat=j | Y=i, A=a); 0.0 where the rates are exact.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> rule = D.evaluate()
    >>> round(rule.error, 3), round(rule.gap(fp.EqualOpportunity()), 3), rule.standard_error
    (0.217, 0.3, 0.0)
    """

    risk: float
    table: OutcomeTable
    standard_error: float

    @property
    def error(self) -> float:
        """P(Yhat != Y)."""
        return ErrorRate().evaluate(self.table)

    def gap(self, notion: Notion) -> float:
        """Return largest minus smallest group rate of the notion, worst over its events."""
        return notion.gap(self.table)


def table_of_rates(population: Any, rates: Array) -> OutcomeTable:
    """Return the outcome table of rates P(Yhat=j | i, a), shape (K, G, J)."""
    Z = np.moveaxis(population.prior[:, :, None] * rates, 0, 1)
    return OutcomeTable(Z, population.classes, population.groups)


def binary_rates(population: Any, thresholds: Array) -> Array:
    """Return P(Yhat=j | i, a), shape (T, 2, G, 2), of 'predict 1 iff the log odds exceed t'."""
    below = population.log_odds_cdf(thresholds)
    return np.stack([below, 1.0 - below], axis=-1)


def gap_at_thresholds(population: Any, notion: Notion, thresholds: Array) -> Array:
    """Return the gap of 'predict the last class iff its posterior exceeds t', binary labels.

    Parameters
    ----------
    population : Population
        With two classes.
    notion : Notion
    thresholds : Array, shape (T,)
        Posterior probabilities in (0, 1): every cost matrix is one of these rules.

    Returns
    -------
    Array, shape (T,)
    """
    return np.array([notion.gap(t) for t in tables_at_thresholds(population, thresholds)])


def tables_at_thresholds(population: Any, thresholds: Array) -> list[OutcomeTable]:
    """Return the outcome table of each rule of :func:`gap_at_thresholds`."""
    if population.n_classes != 2:
        raise ModelError("Thresholds are defined for binary labels only.", argument="population")
    t = np.asarray(thresholds, dtype=float)
    log_odds = np.log(t) - np.log1p(-t)
    # a group's own log odds include its base rate, so one threshold serves all groups
    return [table_of_rates(population, r) for r in binary_rates(population, log_odds)]


def scan_thresholds(population: Any, notion: Notion) -> float:
    """Return the worst gap over thresholds, two classes: a scan over nodes, then zooms."""

    def gaps(t: Array) -> Array:
        step = RESOLUTION * (1.0 + np.abs(t))
        both = binary_rates(population, np.concatenate([t - step, t + step]))
        values = np.array([notion.gap(table_of_rates(population, r)) for r in both])
        return np.minimum(values[: t.size], values[t.size :])

    nodes = population._log_odds_nodes()
    # between two atoms the gap is constant: look there as well
    nodes = np.sort(np.concatenate([nodes, 0.5 * (nodes[1:] + nodes[:-1])]))
    values = gaps(nodes)
    best = float(values.max())
    if best < 1e-9:
        return best
    peaks = [k for k in np.argsort(values)[::-1][:12] if values[k] >= values[max(k - 1, 0)]]
    for k in peaks[:4]:
        low, high = nodes[max(k - 1, 0)], nodes[min(k + 1, nodes.size - 1)]
        best = max(best, _zoom_maximum(gaps, float(low), float(high)))
    return best


def _zoom_maximum(f: Callable[[Array], Array], low: float, high: float) -> float:
    """Return the largest value found by repeatedly zooming into the best of nine points."""
    best = -np.inf
    for _ in range(12):
        t = np.linspace(low, high, 9)
        values = f(t)
        k = int(np.argmax(values))
        best = max(best, float(values[k]))
        low, high = float(t[max(k - 1, 0)]), float(t[min(k + 1, 8)])
    return best


def search_costs(
    tables_of: Callable[[Array], Sequence[OutcomeTable]], K: int, notion: Notion
) -> float:
    """Return the worst gap over a fixed set of cost matrices; a lower bound on the supremum.

    Parameters
    ----------
    tables_of : callable
        The outcome tables of the Bayes rules of cost matrices (n, K, K).
    K : int
        Number of classes.
    notion : Notion
    """
    rng, costs = np.random.default_rng(0), []
    for k in range(max(24, 1600 // K**2)):  # one rule costs of the order of K^3
        C = rng.normal(size=(K, K))
        if k % 2:  # two actions compete, the others are never worth it: half-spaces
            keep = rng.choice(K, 2, replace=False)
            C[:, np.setdiff1d(np.arange(K), keep)] = 100.0
        costs.append(C)
    return max(notion.gap(table) for table in tables_of(np.stack(costs)))
