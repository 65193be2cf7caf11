"""A compiled program and what can be read off its solution."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.labels import Array, address
from fairprog.programs.compile.custom import add_gradient, condition_prices
from fairprog.programs.frames import Frame

__all__ = ["CellVariables", "Compiled"]


@dataclass(eq=False)
class CellVariables:
    """The variables of one steered group: common (theta, beta) and one copy per class."""

    frame: Frame
    theta: Any
    beta: Any
    thetas: list[Any]
    betas: list[Any]
    basis: Array

    def matrix(self, theta: Any) -> Any:
        """Return S~ as an affine expression (the identity for translations)."""
        k = self.basis.shape[1]
        if not len(self.basis):
            return np.eye(k)
        return cp.reshape(self.basis.reshape(len(self.basis), -1).T @ theta, (k, k), order="C")

    def value(self, theta: Any, beta: Any) -> tuple[Array, Array]:
        """Return (S~, beta) as numbers."""
        k = self.basis.shape[1]
        S = np.tensordot(theta.value, self.basis, 1) if len(self.basis) else np.eye(k)
        return S, np.asarray(beta.value)


@dataclass(eq=False)
class Compiled:
    """A compiled program: the CVXPY problem, its variables, and every constraint by address."""

    problem: Any
    classes: tuple[Hashable, ...]
    cells: list[Any]  # the variables of every steered group, of the family's own kind
    consensus: dict[str, Any]
    balls: dict[str, Any]
    conditions: dict[str, Any]
    map_bound: Any = None
    solver: str = ""
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    def condition_prices(self) -> tuple[dict[str, Array], dict[str, float]]:
        """Return the multiplier of every custom condition, and the price of those with a bound."""
        return condition_prices(self.conditions)

    def ball_multipliers(self) -> dict[tuple[str, int], tuple[float, float]]:
        """Return, by (group, class index), the multipliers of the two `map_bound` balls."""

        def of(where: str) -> float:
            return float(self.balls[where].dual_value) if where in self.balls else 0.0

        return {
            (str(cell.frame.group), i): (
                of(address("linear", cell.frame.group, c)),
                of(address("offset", cell.frame.group, c)),
            )
            for cell in (self.cells if self.balls else [])
            for i, c in enumerate(self.classes)
        }

    def worst_violation(self) -> float:
        """Return the largest violation of a custom condition at the current values."""
        return max((float(np.max(c.violation())) for c in self.conditions.values()), default=0.0)

    def worst_slackness(self) -> float:
        """Return how far custom conditions are from complementary slackness, in nats.

        The largest |multiplier times residual| and the largest multiplier of the wrong sign.
        """
        worst = 0.0
        for c in self.conditions.values():
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

    def condition_gradients(self) -> dict[int, Array] | None:
        """Return, by variable id, the gradient of sum <dual, condition> (CVXPY's signs).

        None where some condition has no gradient at the answer.
        """
        out: dict[int, Array] = {}
        for c in self.conditions.values():
            is_psd = isinstance(c, cp.constraints.PSD)
            expression = c.args[0] if is_psd else c.expr
            dual = (-1.0 if is_psd else 1.0) * np.ravel(np.asarray(c.dual_value), order="F")
            if not add_gradient(expression, dual, out):
                return None
        return out
