"""Conditions of the user's as labelled CVXPY constraints, and their gradients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array
from fairprog.programs.conditions import Condition


def custom_constraints(
    views: tuple[Any, Any], conditions: Sequence[Condition], taken: Collection[str]
) -> dict[str, Any]:
    """Call the user's conditions on the two views, check what they return, label it.

    Raises
    ------
    ModelError
        If a condition returns something else than convex constraints, or two have one address.
    """
    out: dict[str, Any] = {}
    for condition in conditions:
        try:
            returned = condition(*views)
        except DataError as error:  # a slip of the user's, not of rounding
            error.details["condition"] = condition.name
            raise
        several = isinstance(returned, (list, tuple))
        for k, item in enumerate(returned if several else [returned]):
            where = f"{condition.name}[{k}]" if several else condition.name
            _check(item, condition, where)
            if where in out or where in taken:
                raise ModelError(
                    f"Two conditions share the address {where!r}; rename one function.",
                    argument="constraints",
                )
            out[where] = item.set_label(where)
    return out


def _check(item: Any, condition: Condition, where: str) -> None:
    if not isinstance(item, cp.constraints.constraint.Constraint):
        raise ModelError(
            f"{condition!r} must return CVXPY constraints; at {where!r} it returned "
            f"{type(item).__name__} ({item!r}). A comparison of plain numbers, such as two "
            "groups that both stay, is not a constraint.",
            argument="constraints",
        )
    if not isinstance(
        item,
        (
            cp.constraints.Inequality,
            cp.constraints.Equality,
            cp.constraints.Zero,
            cp.constraints.NonPos,
            cp.constraints.PSD,
        ),
    ):
        raise ModelError(
            f"{condition!r}, {where!r}: write the condition with <=, >=, == or >>; "
            f"{type(item).__name__} is not supported.",
            argument="constraints",
        )
    if not item.is_dcp():
        raise ModelError(
            f"{condition!r} is not convex: at {where!r}, `{item}` does not follow the DCP rules "
            "(convex <= concave, affine == affine).",
            argument="constraints",
        )


def condition_prices(conditions: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, float]]:
    """Return the multiplier of every condition (CVXPY's signs), and the price of inequalities."""
    duals = {where: np.asarray(c.dual_value, dtype=float) for where, c in conditions.items()}
    bounded = (cp.constraints.Inequality, cp.constraints.NonPos)
    prices = {w: float(np.sum(duals[w])) for w, c in conditions.items() if isinstance(c, bounded)}
    return duals, prices


def add_gradient(expression: Any, dual: Array, out: dict[int, Array]) -> bool:
    """Add the gradient of <dual, expression> to `out`, by variable id.

    False, with `out` half done, where the expression has no gradient at its present value.
    """
    try:
        gradients = expression.grad
    except NotImplementedError:  # some atoms have none in CVXPY
        return False
    for variable, jacobian in gradients.items():
        if jacobian is None:
            return False
        dense = np.asarray(jacobian.todense() if hasattr(jacobian, "todense") else jacobian)
        out[variable.id] = out.get(variable.id, 0.0) + dense.reshape(variable.size, -1) @ dual
    return True


def condition_gradients(conditions: Mapping[str, Any]) -> dict[int, Array] | None:
    """Return, by variable id, the gradient of sum <dual, condition> (CVXPY's signs).

    None where some condition has no gradient at the answer.
    """
    out: dict[int, Array] = {}
    for c in conditions.values():
        is_psd = isinstance(c, cp.constraints.PSD)
        expression = c.args[0] if is_psd else c.expr
        dual = (-1.0 if is_psd else 1.0) * np.ravel(np.asarray(c.dual_value), order="F")
        if not add_gradient(expression, dual, out):
            return None
    return out


def worst_slackness(conditions: Mapping[str, Any]) -> float:
    """Return how far conditions are from complementary slackness, in nats.

    The largest |multiplier times residual| and the largest multiplier of the wrong sign.
    """
    worst = 0.0
    for c in conditions.values():
        dual = np.asarray(c.dual_value, dtype=float)
        if isinstance(c, cp.constraints.PSD):
            product = np.sum(dual * np.asarray(c.args[0].value))
            wrong = -float(np.linalg.eigvalsh(0.5 * (dual + dual.T))[0])
        elif isinstance(c, (cp.constraints.Inequality, cp.constraints.NonPos)):
            product, wrong = dual * np.asarray(c.expr.value), -float(np.min(dual))
        else:  # an equality has no slack
            continue
        worst = max(worst, float(np.max(np.abs(product))), wrong)
    return worst
