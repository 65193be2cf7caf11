"""The question that a program over classifiers asks: its options, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairprog.errors import ModelError
from fairprog.populations import Categorical
from fairprog.programs.conditions import Condition, as_list
from fairprog.tables import Constraint, ErrorRate, FractionalNotion, Risk


@dataclass(frozen=True, eq=False)
class ClassifierQuestion:
    """Which classifier is asked for.

    Attributes
    ----------
    population : Categorical
    risk : Risk
        What is minimised.
    constraints : mapping of name to template or condition
    uses_group : bool
    free : str or None
        Name of the notion whose level is left free.
    """

    population: Categorical
    risk: Risk
    constraints: Mapping[str, Any]
    uses_group: bool
    free: str | None

    def under(self, constraints: Mapping[str, Any]) -> ClassifierQuestion:
        """Return the question under other constraints of the same names, or some of them."""
        free = self.free if self.free in constraints else None
        return replace(self, constraints=dict(constraints), free=free)

    def replacing(self, name: str, template: Any) -> ClassifierQuestion:
        """Return the question with one constraint replaced."""
        return self.under({**self.constraints, name: template})

    def of(self, population: Categorical) -> ClassifierQuestion:
        """Return the question about another population."""
        return replace(self, population=population)

    def compile(self, elastic: bool = False, scaled: bool = True) -> Any:
        """Return the CVXPY problem with its addresses; see `compile_classifier`."""
        from fairprog.programs.compile.classifier import compile_classifier

        parts = self.population, self.risk, self.constraints, self.uses_group
        return compile_classifier(*parts, elastic=elastic, scaled=scaled)

    def settings(self) -> dict[str, Any]:
        """Return the options a solution keeps."""
        return {
            "risk": self.risk,
            "constraints": dict(self.constraints),
            "uses_group": self.uses_group,
        }


def ask_classifier(
    population: Any, risk: Any, constraints: Any, uses_group: bool
) -> ClassifierQuestion:
    """Return the question; the errors are those of :class:`~fairprog.FairClassifier`."""
    if not isinstance(population, Categorical):
        raise ModelError(
            f"`population` must be Categorical; found {type(population).__name__}. Use its "
            "`discretize()`.",
            argument="population",
        )
    risk = ErrorRate() if risk is None else risk
    if not isinstance(risk, Risk):
        raise ModelError(
            f"`risk` must be a risk such as ErrorRate(); found {risk!r}.", argument="risk"
        )
    named = _keyed(constraints)
    if not uses_group and population.n_groups > 1 and population.reveals_group:
        raise ModelError(
            "A group-blind classifier is no restriction here: every atom belongs to one group. "
            "Give the groups common atoms, for instance by `bins`.",
            argument="uses_group",
        )
    free = [k for k, c in named.items() if isinstance(c, FractionalNotion) and c.level is None]
    if len(free) > 1:
        raise ModelError(
            f"Only one notion may leave its level free; {free} do. Fix the `level` of the others.",
            argument="constraints",
        )
    return ClassifierQuestion(population, risk, named, bool(uses_group), free[0] if free else None)


def _keyed(constraints: Any) -> dict[str, Any]:
    """Return the constraints by name (``name:2`` for the second of a name)."""
    out: dict[str, Any] = {}
    for item in as_list(constraints):
        if not isinstance(item, Constraint):
            if not callable(item) or isinstance(item, (type, Risk)):
                hint = " Bound a risk by fp.RiskBound(risk, upper)." * isinstance(item, Risk)
                raise ModelError(
                    f"`constraints` holds {item!r}, which is neither a notion or other constraint "
                    f"nor a function (view, population) -> CVXPY constraints.{hint}",
                    argument="constraints",
                )
            item = item if isinstance(item, Condition) else Condition(item)
        name = item.key if isinstance(item, Constraint) else item.name
        key, k = str(name), 2
        while key in out:
            key, k = f"{name}:{k}", k + 1
        out[key] = item
    return out
