"""What every population is for: its Bayes rules, and how fair they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.kernels.algebra.threads import one_blas_thread
from fairprog.labels import Array, check_number
from fairprog.populations.coordinates import Coordinates
from fairprog.populations.evaluation import (
    Evaluation,
    scan_thresholds,
    search_costs,
    table_of_rates,
)
from fairprog.tables import CostSensitiveRisk, DemographicParity, Notion, OutcomeTable, Risk
from fairprog.tables.risks import rule_costs


class BayesRules(Coordinates):
    """Evaluation and ideality, once for all families.

    A family answers `_decision_rates` and, for two classes, `log_odds_cdf` and `_log_odds_nodes`.
    """

    def evaluate(
        self,
        cost: ArrayLike | Risk | None = None,
        rule_of: Self | None = None,
        n_samples: int = 2**16,
        random_state: int | np.random.Generator = 0,
    ) -> Evaluation:
        """Apply a Bayes rule to this population.

        Parameters
        ----------
        cost : array_like (K, K), mapping with keys 'fp' and 'fn', or Risk, optional
            C[i, j] = cost of predicting j when the truth is i; default 0-1.
            A risk must be an expected cost: others have no Bayes rule (ModelError).
        rule_of : population, optional
            Use the Bayes rule of that population of the same family; default self.
        n_samples, random_state
            Used where the rates have no closed form (normal cells, d > 1 and K > 2).

        Returns
        -------
        Evaluation
            Exact for one feature, for two classes and for finite populations (where ties, to
            1e-12, go to the first class in every group); else quasi-Monte Carlo with its standard
            error.
        """
        C = rule_costs(cost, self.classes)
        rule = self if rule_of is None else rule_of
        table, error = self._table_of_rule(C, rule, n_samples, random_state)
        return Evaluation(CostSensitiveRisk(C).evaluate(table), table, error)

    def _table_of_rule(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[OutcomeTable, float]:
        """Return the outcome table of the Bayes rule of `rule`, and its standard error."""
        rates, error = self._decision_rates(cost, rule, n_samples, random_state)
        return table_of_rates(self, rates), error

    def _decision_rates(
        self, cost: Array, rule: Self, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[Array, float]:
        """Return P(Yhat=j | i, a) of the Bayes rule of `rule`, (K, G, K), and its standard error.

        0.0 where the rates are exact.
        """
        raise self._missing("Bayes rules")

    def ideality_gap(self, notion: Notion | None = None) -> float:
        """Return the worst gap of a notion over all cost matrices (0 iff ideal for it).

        Binary labels: the supremum over thresholds of the posterior (for demographic parity the
        Kolmogorov-Smirnov distance of the groups' posteriors), to about 1e-9; of a finite
        population exact. More classes: the worst over a fixed search of cost matrices, which is a
        LOWER bound only (normal cells, d > 1: by quasi-Monte Carlo, so it is not exactly zero on
        an ideal population).

        Parameters
        ----------
        notion : Notion, default DemographicParity()
        """
        notion = DemographicParity() if notion is None else notion
        if not isinstance(notion, Notion):
            raise ModelError(
                f"`notion` must be a notion such as DemographicParity(); found {notion!r}.",
                argument="notion",
            )
        if notion.splits:
            raise ModelError(
                f"{notion!r} adds up groups or looks into strata, but a population is ideal for "
                "all its groups at once. Leave `on` and `within` out, or fit a population whose "
                "groups are those of the one attribute.",
                argument="notion",
            )
        K = self.n_classes
        if K == 1:
            return 0.0
        with one_blas_thread():
            if K == 2:
                return self._worst_threshold(notion)
            return search_costs(self._tables_of_rules, K, notion)

    def _tables_of_rules(self, costs: Array) -> Sequence[OutcomeTable]:
        """Return the outcome tables of the population's own Bayes rules of several costs."""
        return [self._table_of_rule(C, self, 2**11, 0)[0] for C in costs]

    def _worst_threshold(self, notion: Notion) -> float:
        """Return the supremum of the gap over thresholds of the posterior, two classes."""
        return scan_thresholds(self, notion)

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether one map per group carries common laws to every cell.

        True is a proof; False says only that no such map was found, but for normal populations of
        two classes, for which the test is necessary as well (theory.md section 2).

        Parameters
        ----------
        atol : float
            Largest difference of base rates, and largest whitened residual of a cell allowed.
            Of normal cells what rounding of the means themselves may add to a residual (1e-10
            standard deviations per feature where a mean is a million of them) is added to it, so
            that units and origins of features do not matter.
        """
        if np.ptp(self.base_rates, axis=1).max() > check_number(atol, "atol"):
            return False
        return all(self._is_image(a, atol) for a in range(1, self.n_groups))

    def _is_image(self, a: int, atol: float) -> bool:
        """Return whether a map carries the first group's laws to those of the group at `a`."""
        raise self._missing("test of ideality")
