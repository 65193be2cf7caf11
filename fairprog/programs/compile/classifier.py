"""The program over randomised classifiers, in CVXPY.

    minimise   risk(Z)    over h >= 0, sum_j h(j|.) = 1,  Z = M h,  templates(Z, h)

The rows of h stand for the pairs (x, a) of the support (group-aware) or for the atoms x
(group-blind). Templates see the few numbers Z, linked to h by one sparse equation whose
multipliers are the adjusted costs of the optimal rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.populations import Categorical
from fairprog.programs.compile.custom import custom_constraints
from fairprog.programs.compile.standard_form import StandardForm
from fairprog.programs.compile.terms import TableVariables, compile_terms
from fairprog.programs.conditions import Condition
from fairprog.tables import Constraint, Risk
from fairprog.tables.templates import Term


class Entries:
    """Z[a, i, j] out of one vector variable."""

    def __init__(self, z: Any, shape: tuple[int, int, int]) -> None:
        self._z, self.shape = z, shape

    def __getitem__(self, cell: tuple[int, int, int]) -> Any:
        return self._z[int(np.ravel_multi_index(cell, self.shape))]


@dataclass(eq=False)
class CompiledClassifier:
    """The CVXPY problem and where to find things in it.

    Attributes
    ----------
    problem : cvxpy.Problem
    h : Variable, shape (rows * K,)
        The classifier, row by row.
    shape : (rows, K)
    link : Constraint
        Z = M h.
    constraints : dict address -> Constraint
        Every constraint a template asked for.
    owners : dict address -> key
    bounds : dict key -> Parameter
        The bound of each template that has one and is not an equality.
    levels : dict key -> Parameter
        The level of a fractional notion.
    equalities : dict address -> (position in `shift`, slope)
    shift : Parameter or None
        Zero; its entries move the targets of the equalities.
    table_level : bool
        Whether every template speaks about the table only.
    goal : Risk
        What is minimised: the risk without the costs nobody can avoid.
    base : float
        These: the risk of a classifier is that of `goal` plus this constant.
    unit : float
        What `goal` was divided by.
    units : dict address -> float
        What the constraint at an address was divided by.
    """

    problem: Any
    h: Any
    shape: tuple[int, int]
    link: Any
    constraints: dict[str, Any]
    owners: dict[str, str]
    bounds: dict[str, Any]
    levels: dict[str, Any]
    equalities: dict[str, tuple[int, Any]]
    shift: Any
    table_level: bool
    goal: Risk
    base: float
    unit: float
    units: dict[str, float]

    @property
    def risk(self) -> float:
        """The optimum in the user's costs."""
        return self.unit * float(self.problem.value) + self.base

    def is_inequality(self, where: str) -> bool:
        """Return whether the constraint at an address is an inequality."""
        return isinstance(self.constraints[where], cp.constraints.Inequality)

    def adjusted_costs(self) -> Array:
        """Return d Lagrangian / d Z, shape (G * K * K,): what the optimal rule minimises."""
        return -self.unit * self.shape[0] * np.asarray(self.link.dual_value, dtype=float)

    def dual(self, where: str) -> Array:
        """Return the multiplier at an address, in the risk's own unit per constraint's."""
        value = np.asarray(self.constraints[where].dual_value, dtype=float)
        return value * (self.unit / self.units.get(where, 1.0))

    def sensitivity(self, where: str) -> Array:
        """Return d optimum / d delta when the target at an address is shifted by delta."""
        constraint = self.constraints[where]
        dual = self.dual(where)
        sides = constraint.args
        if self.is_inequality(where) and isinstance(sides[0], cp.abs):
            return -dual * np.sign(np.asarray(sides[0].args[0].value, dtype=float))
        return -dual


def link_matrix(D: Categorical, uses_group: bool) -> Any:
    """Return the sparse M with Z = M h, h row by row."""
    s, K, G = D.support, D.n_classes, D.n_groups
    m = len(s.atom)
    rows = np.arange(m) if uses_group else s.atom
    n = m if uses_group else D.n_atoms
    i, j = (index.ravel() for index in np.indices((K, K)))
    to = (s.group.astype(np.intp)[:, None] * K + i) * K + j
    frm = rows[:, None] * K + j
    mass = (s.weight[:, None] * s.posterior)[:, i]
    return sp.coo_array(
        (mass.ravel(), (to.ravel(), frm.ravel())), shape=(G * K * K, n * K)
    ).tocsr()


def compile_classifier(
    D: Categorical,
    risk: Risk,
    templates: Mapping[str, Constraint | Condition],
    uses_group: bool,
    elastic: bool = False,
    scaled: bool = True,
) -> CompiledClassifier:
    """Build the program.

    With `elastic` the risk is left out and the sum of the templates' violations is minimised: its
    multipliers prove that the templates clash, and say which. With `scaled` the risk is
    rid of costs nobody can avoid, and divided by its unit.

    Raises
    ------
    ModelError
        If a template is not convex (naming its address) or two share an address.
    """
    s, K, G = D.support, D.n_classes, D.n_groups
    M = link_matrix(D, uses_group)
    n = M.shape[1] // K
    h, z = cp.Variable(n * K, name="h"), cp.Variable(G * K * K, name="Z")
    rows = cp.reshape(h, (n, K), order="C")
    if not uses_group:
        ones, pairs = np.ones(len(s.atom)), np.arange(len(s.atom))
        spread = sp.coo_array((ones, (pairs, s.atom)), shape=(len(s.atom), n))
        rows = spread.tocsr() @ rows
    individuals = {
        "h": rows,
        "weight": np.asarray(s.weight),
        "posterior": s.posterior,
        "atom": s.atom,
        "group": s.group,
    }
    mass = D.prior.T

    def view(*parameters: str) -> TableVariables:
        entries = Entries(z, (G, K, K))
        return TableVariables(
            entries, mass, D.classes, D.groups, individuals, parameters, True, D.attributes
        )

    sums = sp.kron(sp.eye_array(n), np.ones((1, K))).tocsr()
    # scaled to coefficients of order one, since solvers' tolerances are absolute
    link = (n * z == (n * M) @ h).set_label("table")
    base = [(h >= 0).set_label("nonnegative"), (sums @ h == 1).set_label("probabilities"), link]
    views: dict[str, TableVariables] = {"risk": view()}
    owners: dict[str, str] = {}
    terms: list[Term] = []
    goal, unit = risk, 1.0
    paid: Array = np.zeros(K)
    if not elastic and scaled:
        goal, paid = risk.without_base(D.classes)
        terms, unit = goal.express_in_units(views["risk"])
    elif not elastic:
        terms = risk.express(views["risk"])
    conditions: dict[str, Any] = {}
    for key, template in templates.items():
        views[key] = view("bound", "level")
        if isinstance(template, Condition):
            conditions |= custom_constraints((views[key], D), [template], conditions)
            continue
        own = template.express(views[key])
        owners |= {term.address: key for term in own}
        terms = [*terms, *own]
    slack: Any = 0.0
    if elastic:
        terms, slack = _with_slack(terms)
    equal = [t for t in terms if t.sense == "==" and t.slope is not None]
    shift = cp.Parameter(len(equal), value=np.zeros(len(equal)), name="shift") if equal else None
    position = {t.address: k for k, t in enumerate(equal)}

    def moved(term: Term) -> Any:
        if shift is None or term.address not in position:
            return 0.0
        return shift[position[term.address]]

    objective, constraints = compile_terms(terms, moved)
    shared = sorted(set(conditions) & set(constraints))
    if shared:
        raise ModelError(
            f"A condition and a template share the address {shared[0]!r}; rename the function.",
            argument="constraints",
        )
    owners |= {where: where.split("[")[0] for where in conditions}
    constraints |= conditions
    problem = cp.Problem(cp.Minimize(objective + slack), [*base, *constraints.values()])
    if not problem.is_dcp(dpp=True):
        raise ModelError(
            "The program is convex but its bounds do not enter it as parameters (DPP); multiply "
            "`view.parameter` only with expressions that hold no other parameter."
        )
    used = {key: v.parameters for key, v in views.items()}
    return CompiledClassifier(
        problem,
        h,
        (n, K),
        link,
        constraints,
        owners,
        {key: p["bound"] for key, p in used.items() if _appears(p.get("bound"), problem)},
        {key: p["level"] for key, p in used.items() if _appears(p.get("level"), problem)},
        {t.address: (position[t.address], t.slope) for t in equal},
        shift,
        not any(v.looks_at_individuals for v in views.values()) and not conditions,
        goal,
        float(D.prior.sum(axis=1) @ paid),
        unit,
        {t.address: t.unit for t in terms},
    )


def least_of(compiled: CompiledClassifier, way: Array) -> float:
    """Return the least way . h over the classifiers that satisfy the constraints."""
    form = StandardForm(cp.Problem(cp.Minimize(way @ compiled.h), compiled.problem.constraints))
    form.solve("auto", None, False, {})
    return float(form.problem.value)


def _with_slack(terms: list[Term]) -> tuple[list[Term], Any]:
    """Let every term be missed; return the terms and the sum of the misses."""
    out: list[Term] = []
    total: Any = 0.0
    for term in terms:
        shape = np.shape(term.expression)
        miss = cp.Variable(shape, nonneg=True, name=f"miss:{term.address}")
        total = total + cp.sum(miss)
        expression = term.expression - miss
        if term.sense != "<=":
            back = cp.Variable(shape, nonneg=True, name=f"back:{term.address}")
            expression, total = expression + back, total + cp.sum(back)
        out.append(Term(expression, term.sense, term.bound, term.address))
    return out, total


def _appears(parameter: Any, problem: Any) -> bool:
    return parameter is not None and any(p is parameter for p in problem.parameters())


def value_at(
    D: Categorical,
    risk: Risk,
    templates: Mapping[str, Constraint | Condition],
    h: Array,
    elastic: bool = False,
) -> float:
    """Return the optimum with the classifier fixed at h, shape (m, K).

    Only the free scalars of the templates are optimised: their symbolic faces as numbers. With
    `elastic` the sum of the templates' violations is minimised, as in `compile_classifier`.
    """
    compiled = compile_classifier(D, risk, templates, True, elastic)
    fixed = compiled.h == np.ravel(h)
    form = StandardForm(
        cp.Problem(compiled.problem.objective, [*compiled.problem.constraints, fixed])
    )
    if form.solve("auto", None, False, {}) == "infeasible":
        return float("inf")
    compiled.problem = form.problem
    return compiled.risk
