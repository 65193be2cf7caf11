"""Risks: objectives over outcome tables, expected costs and sums of risks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_finite, check_number
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import TableView, Template, Term


def cost_matrix(cost: ArrayLike | Mapping[str, float] | None, n_classes: int) -> Array:
    """Return the K x K cost matrix: C[i, j] = cost of predicting j when the truth is i.

    Parameters
    ----------
    cost : array_like (K, K), mapping or None
        None is the 0-1 cost; ``{"fp": ..., "fn": ...}`` is fairlearn's spelling for binary
        labels (nonnegative, not both zero).
    n_classes : int
        K.

    Raises
    ------
    DataError
        For a wrong shape, non-finite entries or an unusable mapping.
    """
    if cost is None:
        return 1.0 - np.eye(n_classes)
    if isinstance(cost, Mapping):
        if set(cost) != {"fp", "fn"} or n_classes != 2:
            raise DataError(
                f"A cost mapping needs the keys 'fp' and 'fn' and binary labels; found keys "
                f"{sorted(cost)} and {n_classes} classes.",
                argument="cost",
            )
        fp, fn = (float(check_finite(cost[k], "cost", ())) for k in ("fp", "fn"))
        if min(fp, fn) < 0 or max(fp, fn) == 0:
            raise DataError(
                f"Costs must be nonnegative and not both zero; found fp={fp}, fn={fn}.",
                argument="cost",
            )
        return np.array([[0.0, fp], [fn, 0.0]])
    return check_finite(cost, "cost", (n_classes, n_classes))


@dataclass(frozen=True, repr=False)
class Risk(Template):
    """An objective over outcome tables: ``evaluate(table)`` and ``express(view)``.

    Examples
    --------
    >>> import fairprog as fp
    >>> isinstance(fp.ErrorRate() + .1 * fp.RenyiInformation(), fp.Risk)
    True
    """

    name: ClassVar[str] = "risk"

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the cost matrix C, shape (K, K)."""
        return cost_matrix(None, len(classes))

    @property
    def is_expected_cost(self) -> bool:
        """Whether the risk is sum_{a,i,j} C[i,j] Z[a,i,j], so that it has a Bayes rule."""
        own = type(self)
        return own.express is Risk.express and own.evaluate is Risk.evaluate

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the risk sum_{a,i,j} C[i,j] Z[a,i,j], in the unit of the cost."""
        return float(np.einsum("aij,ij->", table.Z, self.matrix(table.classes)))

    def __add__(self, other: Risk) -> Risk:
        """Return the sum of two risks."""
        return WeightedRisk((self, other), (1.0, 1.0))

    def __rmul__(self, weight: float) -> Risk:
        """Return the risk times a nonnegative number."""
        return WeightedRisk((self,), (weight,))

    def __mul__(self, weight: float) -> Risk:
        """Return the same, written the other way round."""
        return weight * self

    def express(self, view: TableView) -> list[Term]:
        """Return the one term to minimise."""
        C = self.matrix(view.classes)
        K = range(len(view.classes))
        expression = sum(
            C[i, j] * view.Z[a, i, j] for a in range(len(view.groups)) for i in K for j in K
        )
        return [Term(expression, "minimize", 0.0, self.name)]

    # -- in its own unit: solvers' tolerances are absolute, costs may be cents or millions --

    def unit(self, classes: tuple[Hashable, ...]) -> float:
        """Return the order of magnitude of the risk; certificates are relative to it.

        The largest difference between two costs of a class for an expected cost, the largest
        absolute cost of other risks that have a `matrix` of their own, 1 for all others: a risk
        of your own whose numbers are of another size says so here.
        """
        C = self.matrix(classes)
        if self.is_expected_cost:
            return float(np.ptp(C, axis=1).max()) or 1.0
        return 1.0 if type(self).matrix is Risk.matrix else float(np.abs(C).max()) or 1.0

    def without_base(self, classes: tuple[Hashable, ...]) -> tuple[Risk, Array]:
        """Return an equivalent risk without the costs nobody can avoid, and these, shape (K,).

        risk = equivalent + sum_i P(Y=i) base[i], with base[i] = min_j C[i, j], what class i pays
        whatever is predicted, for expected costs, and 0 for risks of other kinds: those of the
        worst group, say, depend on it.
        """
        if not self.is_expected_cost:
            return self, np.zeros(len(classes))
        C = self.matrix(classes)
        base = C.min(axis=1)
        return (CostSensitiveRisk(C - base[:, None]) if base.any() else self), base

    def express_in_units(self, view: TableView) -> tuple[list[Term], float]:
        """Return the terms of risk / unit, of order one, and the unit; see `without_base`.

        What is not minimised carries what it was divided by as ``Term.unit``.
        """
        unit = self.unit(view.classes)
        if unit == 1.0:
            return self.express(view), unit
        if self.is_expected_cost:
            return CostSensitiveRisk(self.matrix(view.classes) / unit).express(view), unit
        seen: Any = _Part(view, scale=unit)
        return [t.divided(unit) for t in self.express(seen)], unit


@dataclass(frozen=True, repr=False)
class ErrorRate(Risk):
    """P(Yhat != Y).

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> round(fp.ErrorRate().evaluate(table), 3)
    0.4
    """

    name: ClassVar[str] = "error_rate"


@dataclass(frozen=True, repr=False)
class CostSensitiveRisk(Risk):
    """Expected cost sum_{a,i,j} C[i,j] P(A=a, Y=i, Yhat=j).

    Source: theory.md section 0.

    Parameters
    ----------
    cost : array_like, shape (K, K), or mapping with keys 'fp' and 'fn'
        C[i, j] = cost of predicting j when the truth is i, in your loss unit.

    Raises
    ------
    DataError
        If the matrix is not square and finite, or the mapping not usable.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.OutcomeTable([[[.2, .1], [.1, .1]], [[.1, .1], [.1, .2]]])
    >>> round(fp.CostSensitiveRisk({"fp": 1, "fn": 5}).evaluate(table), 3)
    1.2
    """

    cost: Any = None
    name: ClassVar[str] = "cost_sensitive_risk"

    def __post_init__(self) -> None:
        if self.cost is None:
            raise DataError(
                "`cost` is required; for the 0-1 cost use ErrorRate().", argument="cost"
            )
        if isinstance(self.cost, Mapping):
            C = cost_matrix(self.cost, 2)
        else:
            C = check_finite(self.cost, "cost")
            if C.ndim != 2 or C.shape[0] != C.shape[1]:
                raise DataError(
                    f"`cost` must be a square matrix, classes by predictions; its shape is "
                    f"{C.shape}.",
                    argument="cost",
                )
        object.__setattr__(self, "cost", tuple(tuple(float(c) for c in row) for row in C))

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the cost matrix C, shape (K, K); DataError if K differs."""
        return cost_matrix(self.cost, len(classes))


@dataclass(frozen=True, repr=False)
class WeightedRisk(Risk):
    """sum_k weights[k] risks[k]; usually written ``fp.ErrorRate() + 0.1 * fp.RenyiInformation()``.

    Parameters
    ----------
    risks : tuple of Risk
    weights : tuple of float
        Nonnegative.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.ErrorRate() + 0.1 * fp.RenyiInformation()
    WeightedRisk((ErrorRate(), RenyiInformation()), (1.0, 0.1))
    """

    risks: Any = ()
    weights: Any = ()
    name: ClassVar[str] = "weighted_risk"

    def __post_init__(self) -> None:
        risks = (self.risks,) if isinstance(self.risks, Risk) else tuple(self.risks)
        weights = tuple(check_number(w, "weights") for w in np.atleast_1d(self.weights))
        other = [risk for risk in risks if not isinstance(risk, Risk)]
        if other:
            raise DataError(f"Only risks can be added; found {other[0]!r}.", argument="risks")
        if not risks or len(risks) != len(weights):
            raise DataError("`risks` must be risks, each with one of `weights`.", argument="risks")
        pairs: list[tuple[float, Risk]] = []
        for weight, risk in zip(weights, risks, strict=True):
            if isinstance(risk, WeightedRisk):  # a sum of sums is a sum
                inner = zip(risk.weights, risk.risks, strict=True)
                pairs += [(weight * own, part) for own, part in inner]
            else:
                pairs.append((weight, risk))
        object.__setattr__(self, "weights", tuple(weight for weight, _ in pairs))
        object.__setattr__(self, "risks", tuple(risk for _, risk in pairs))

    @property
    def is_expected_cost(self) -> bool:
        """Whether every part is."""
        return all(risk.is_expected_cost for risk in self.risks)

    def matrix(self, classes: tuple[Hashable, ...]) -> Array:
        """Return the weighted sum of the parts' cost matrices, shape (K, K)."""
        pairs = zip(self.weights, self.risks, strict=True)
        return np.sum([w * risk.matrix(classes) for w, risk in pairs], axis=0)

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the weighted sum."""
        pairs = zip(self.weights, self.risks, strict=True)
        return float(sum(w * risk.evaluate(table) for w, risk in pairs))

    def unit(self, classes: tuple[Hashable, ...]) -> float:
        """Return the largest weighted unit of a part."""
        pairs = zip(self.weights, self.risks, strict=True)
        return max(w * risk.unit(classes) for w, risk in pairs) or 1.0

    def without_base(self, classes: tuple[Hashable, ...]) -> tuple[Risk, Array]:
        """Return the sum of what the parts return."""
        parts = [risk.without_base(classes) for risk in self.risks]
        base = np.sum([w * own for w, (_, own) in zip(self.weights, parts, strict=True)], axis=0)
        return (replace(self, risks=tuple(p for p, _ in parts)) if base.any() else self), base

    def express(self, view: TableView) -> list[Term]:
        """Return the terms of every risk, those to minimise scaled."""
        return self._terms(view, lambda risk, seen: (risk.express(seen), 1.0), 1.0)

    def express_in_units(self, view: TableView) -> tuple[list[Term], float]:
        """Return the terms of every risk in its own unit, those to minimise scaled."""
        unit = self.unit(view.classes)
        return self._terms(view, lambda risk, seen: risk.express_in_units(seen), unit), unit

    def _terms(
        self,
        view: TableView,
        express: Callable[[Risk, Any], tuple[list[Term], float]],
        unit: float,
    ) -> list[Term]:
        """Return the terms of sum_k weights[k] risks[k] / unit, `express` giving (terms, unit).

        The second risk of a name has levels of its own, and addresses that end in ``:2``.
        """
        out: list[Term] = []
        seen: Counter[str] = Counter()
        for weight, risk in zip(self.weights, self.risks, strict=True):
            seen[risk.name] += 1
            end = "" if seen[risk.name] == 1 else f":{seen[risk.name]}"
            terms, own = express(risk, _Part(view, end))
            for term in terms:
                if term.sense == "minimize":
                    out.append(replace(term, expression=weight * own / unit * term.expression))
                else:
                    out.append(replace(term, address=term.address + end))
        return out


class _Part:
    """The view of one risk of a sum: its levels are its own, and in its own unit."""

    def __init__(self, view: TableView, end: str = "", scale: float = 1.0) -> None:
        self._view, self._end, self._scale = view, end, scale

    def level(self, name: str, size: int | None = None) -> Any:
        free = self._view.level(name + self._end, size)
        return free if self._scale == 1.0 else self._scale * free

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


def rule_costs(
    cost: ArrayLike | Mapping[str, float] | Risk | None, classes: tuple[Hashable, ...]
) -> Array:
    """Return the cost matrix of a Bayes rule, shape (K, K): of a cost, or of an expected cost.

    Raises
    ------
    ModelError
        For other risks (of the worst group, of tails, penalties): no Bayes rule minimises them.
    """
    if not isinstance(cost, Risk):
        return cost_matrix(cost, len(classes))
    if not cost.is_expected_cost:
        raise ModelError(
            f"{cost!r} is no expected cost, so it has no Bayes rule; fp.FairClassifier minimises "
            "it over classifiers, its `evaluate` takes an outcome table.",
            argument="cost",
        )
    return cost.matrix(classes)
