"""The consensus form of every program over maps: one map per (group, class), made to agree.

    minimise  KL(q~ || q) + sum_ia w_ia KL(T_ia # R_i || P_ia)   subject to   T_ia = T_a

Every agreement is a labelled equality, or with a `map_bound` a ball; the user's conditions are
added. The costs are those the group problems express.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array, address, addresses
from fairprog.programs.compile.custom import (
    condition_gradients,
    condition_prices,
    custom_constraints,
    worst_slackness,
)
from fairprog.programs.compile.views import original_view, steered_view
from fairprog.programs.geometries.group_map import GroupMaps, GroupProblem
from fairprog.programs.geometries.parameters import Parameters


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of one steered group by part: the common map's, and those of every class."""

    problem: GroupProblem
    common: dict[str, Any]
    own: list[dict[str, Any]]

    @property
    def group(self) -> Any:
        """Label of the group."""
        return self.problem.group


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled program: the CVXPY problem, its variables, and every constraint by address."""

    problem: Any
    classes: tuple[Any, ...]
    cells: list[Variables]
    consensus: dict[str, Any]
    balls: dict[str, Any]
    conditions: dict[str, Any]
    map_bound: Any = None

    @property
    def limits(self) -> str:
        """What the conditions may clash with, besides each other."""
        moves = "one increasing map"
        if self.cells and "linear" not in self.cells[0].common:
            moves = "one shift, which leaves every scale as it is,"
        return f"{moves} per group for {self.groups}"

    @property
    def groups(self) -> list[Any]:
        """Labels of the steered groups."""
        return [cell.group for cell in self.cells]

    def common_maps(self) -> list[GroupMaps]:
        """Return the groups' common maps alone."""
        return [GroupMaps(c.problem, c.problem.theta(_values(c.common))) for c in self.cells]

    def maps(self) -> list[GroupMaps]:
        """Return the groups' maps, one per class, with the multipliers of the consensus."""
        out = []
        for cell in self.cells:
            problem = cell.problem
            multipliers = [
                problem.gradient(
                    {
                        part: -np.asarray(self.consensus[variable.name()].dual_value)
                        for part, variable in own.items()
                    }
                )
                for own in cell.own
            ]
            thetas = [problem.theta(_values(x)) for x in cell.own]
            out.append(
                GroupMaps(problem, problem.theta(_values(cell.common)), thetas, multipliers)
            )
        return out

    def condition_prices(self) -> tuple[dict[str, Array], dict[str, float]]:
        """Return the multiplier of every custom condition, and the price of those with a bound."""
        return condition_prices(self.conditions)

    def condition_gradients(self) -> dict[int, Array] | None:
        """Return, by variable id, the gradient of sum <dual, condition>; None without."""
        return condition_gradients(self.conditions)

    def ball_multipliers(self, cell: Variables, i: int) -> list[float]:
        """Return the multipliers of one class's `map_bound` balls, one per part."""
        return [float(self.balls[x.name()].dual_value) for x in cell.own[i].values()]

    def violation(self) -> float:
        """Return the worst violation and slackness of custom conditions at the current values."""
        missed = (float(np.max(c.violation())) for c in self.conditions.values())
        return max(max(missed, default=0.0), worst_slackness(self.conditions))


def _values(x: dict[str, Any]) -> dict[str, Array]:
    return {part: np.asarray(variable.value) for part, variable in x.items()}


def compile_consensus(geometry: Parameters, problems: Sequence[GroupProblem]) -> Compiled:
    """Build the problem; its value is KL(D~ || D) in nats.

    Raises
    ------
    ModelError
        If a condition or a density is not convex by CVXPY's rules, or two share an address.
    """
    question, classes = geometry.question, geometry.D.classes
    objective: Any = question.prior_kl
    constraints: list[Any] = []
    consensus: dict[str, Any] = {}
    balls: dict[str, Any] = {}
    cells: list[Variables] = []
    bound = None
    if question.map_bound > 0:
        bound = cp.Parameter(nonneg=True, value=question.map_bound, name="map_bound")
    for problem in problems:
        g, parts = problem.group, problem.parts
        where_all = addresses([*parts, "support"], g, classes)
        own = [
            {part: cp.Variable(shape, name=where[part]) for part, shape in parts.items()}
            for where in where_all
        ]
        common = {part: cp.Variable(shape, name=address(part, g)) for part, shape in parts.items()}
        cell = Variables(problem, common, own)
        cells.append(cell)
        for i in range(len(classes)):
            cost, cones = problem.express(cp, i, own[i])
            objective = objective + cost
            constraints += [cone.set_label(where_all[i]["support"]) for cone in cones]
            for part, variable in own[i].items():
                where = variable.name()
                if bound is None:
                    condition = variable == common[part]
                else:
                    slack = cp.Variable(variable.shape, name=f"slack_{where}")
                    condition = variable == common[part] + bound * slack  # |slack| <= 1
                    inside = problem.length(cp, part, slack) <= 1
                    balls[where] = inside.set_label(f"map_bound:{where}")
                    constraints.append(balls[where])
                consensus[where] = condition.set_label(where)
                constraints.append(consensus[where])
    custom: dict[str, Any] = {}
    if question.constraints:
        views = steered_view(cp, geometry, cells), original_view(geometry)
        custom = custom_constraints(views, question.constraints, {*consensus, "consensus"})
    program = cp.Problem(cp.Minimize(objective), [*constraints, *custom.values()])
    if not program.is_dcp():
        raise ModelError(
            f"The program on {type(geometry.D).__name__} is not convex by CVXPY's rules (DCP)."
        )
    return Compiled(program, classes, cells, consensus, balls, custom, bound)
