"""What every notion, risk or other constraint must satisfy, ours and users'."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np

from fairprog import tables
from fairprog.errors import DataError, InfeasibleError, ModelError
from fairprog.labels import Array, check_random_state
from fairprog.populations import Categorical
from fairprog.programs import FairClassifier
from fairprog.tables import (
    Constraint,
    CostSensitiveRisk,
    EqualOpportunity,
    ErrorRate,
    FractionalNotion,
    Notion,
    Risk,
    Template,
    template_from_dict,
)

ATOMS = 10
FAR = 1e4  # units a risk may be away from zero


def check_template(
    template: Any, population: Categorical | None = None, random_state: int = 0
) -> None:
    """Check a notion, risk or other constraint; raise an AssertionError that says what is wrong.

    * ``repr`` and JSON rebuild it; it is frozen and hashable.
    * It compiles: convex by CVXPY's rules, its bound a Parameter.
    * Both faces agree: at random classifiers, the optimum over its free scalars is
      ``evaluate`` (risks); it is feasible just above and infeasible just below the bound at
      which ``violation`` is zero (constraints).
    * A risk is of the size its `unit` says.
    * A notion is zero for Bayes rules on an ideal population and positive on a biased one.
    * Its price lies between the one-sided finite differences of the optimal risk (for a risk:
      the price of equal opportunity under it).

    Parameters
    ----------
    template : Constraint or Risk
    population : Categorical, optional
        To check on; default random ones with two and three classes, at least one of which must
        suit the template.
    random_state : int

    Raises
    ------
    AssertionError
        Naming the check that failed.
    ModelError
        If it is neither a constraint nor a risk.

    Examples
    --------
    >>> import fairprog as fp
    >>> from fairprog.testing import check_template
    >>> check_template(fp.EqualizedOdds(difference_bound=.02))
    """
    if not isinstance(template, (Constraint, Risk)):
        raise ModelError(f"{template!r} is neither a constraint (notion) nor a risk.")
    _check_data(template)
    if isinstance(template, FractionalNotion) and template.level is None:
        template = replace(template, level=0.5)
    rng = check_random_state(random_state)
    trials = [population] if population is not None else _populations(template, rng)
    refused: list[str] = []
    for D in trials:
        try:
            FairClassifier(D, *_roles(template)).question.compile()
            D.table(_random_rule(D, rng))
            _value(template, D.table(_random_rule(D, rng)))
        except (DataError, ModelError) as error:
            refused.append(str(error))
            continue
        _check_faces(template, D, rng)
        if isinstance(template, Notion):
            _check_ideal(template, D, rng)
        _check_price(template, D)
    assert len(refused) < len(trials), f"{template!r} suits no population: {refused}"


def _roles(template: Any) -> tuple[Risk, list[Any]]:
    return (template, []) if isinstance(template, Risk) else (ErrorRate(), [template])


def _populations(template: Any, rng: np.random.Generator) -> list[Categorical]:
    pairs = getattr(template, "pairs", ())
    n = max([ATOMS, *(1 + max(pair) for pair in pairs)])
    positive = getattr(template, "positive", None)
    out = []
    for K in (2, 3):
        classes = tuple(range(K)) if positive in (None, *range(K)) else (*range(K - 1), positive)
        joint = rng.dirichlet(np.full(n * K * 2, 0.5)).reshape(n, K, 2) + 1e-4
        out.append(Categorical(joint / joint.sum(), classes=classes, groups="ab"))
    return out


def _random_rule(D: Categorical, rng: np.random.Generator) -> Array:
    return rng.dirichlet(np.ones(D.n_classes), size=len(D.support.atom))


def _value(template: Any, table: Any) -> float:
    """Return a risk's value, or the bound at which a constraint has no violation left."""
    if isinstance(template, Risk):
        return float(template.evaluate(table))
    return float(template.violation(table))


def _check_data(template: Template) -> None:
    name = type(template).__name__
    known = {**vars(tables), name: type(template)}
    assert eval(repr(template), known) == template, f"repr does not rebuild {template!r}"
    text = json.dumps(template.to_dict(), allow_nan=False)
    again = template_from_dict(json.loads(text))
    assert again == template, f"JSON does not rebuild {template!r}: {text}"
    assert type(again) is type(template), f"JSON rebuilds {template!r} as another class"
    assert hash(again) == hash(template), f"{template!r} does not hash by its fields"
    for f in fields(template):
        try:
            setattr(template, f.name, None)
        except FrozenInstanceError:
            continue
        raise AssertionError(f"{name} is not frozen: use @dataclass(frozen=True, repr=False)")


def _check_faces(template: Any, D: Categorical, rng: np.random.Generator) -> None:
    from fairprog.programs.compile.classifier import value_at

    for _ in range(2):
        h = _random_rule(D, rng)
        table = D.table(h)
        if isinstance(template, Risk):
            symbolic, numeric = value_at(D, template, {}, h), template.evaluate(table)
            unit = template.unit(D.classes)
            assert abs(numeric) <= FAR * unit, (
                f"{template!r} is {numeric:.3g}, but its unit is {unit:.3g}: define its method "
                "`unit(classes)`, or solvers and certificates miss its size"
            )
            scale = max(1.0, abs(numeric))
            assert abs(symbolic - numeric) <= 1e-6 * scale, (
                f"The faces of {template!r} differ: express {symbolic:.9g}, evaluate {numeric:.9g}"
            )
            continue
        if template.bound_field is None:
            _check_miss(template, D, h, template.violation(table) <= 0)
            continue
        exact, upward = _exact_bound(template, table), template.bound_field == "ratio_bound"
        for step, wanted in ((1e-4, True), (-1e-4, False)):
            try:
                moved = template.with_bound(exact - step if upward else exact + step)
            except DataError:  # outside what the bound may be
                continue
            _check_miss(moved, D, h, wanted)


def _check_miss(template: Any, D: Categorical, h: Array, wanted: bool) -> None:
    """Compare whether `express` can be met, its free scalars optimised, with what is wanted."""
    from fairprog.programs.compile.classifier import value_at

    miss = value_at(D, ErrorRate(), {"t": template}, h, elastic=True)
    assert miss <= 1e-7 if wanted else miss > 1e-7, (
        f"The faces of {template!r} differ: by `violation` it is {'met' if wanted else 'missed'}, "
        f"but `express` is missed by {miss:.3g}"
    )


def _exact_bound(template: Any, table: Any) -> float:
    """Return the bound at which `violation` changes its sign, by bisection."""
    upward = template.bound_field == "ratio_bound"
    low, high = (1e-9, 1.0) if upward else (0.0, 1.0)
    if not upward:
        while template.with_bound(high).violation(table) > 0 and high < 1e6:
            try:
                template.with_bound(2.0 * high)
            except DataError:
                break
            high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        met = template.with_bound(middle).violation(table) <= 0
        if met == upward:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _check_ideal(template: Notion, D: Categorical, rng: np.random.Generator) -> None:
    K, n = D.n_classes, D.n_atoms
    laws = rng.dirichlet(np.ones(n), size=K)
    joint = np.einsum("i,ix,a->xia", D.prior.sum(axis=1), laws, D.group_mass)
    ideal = Categorical(joint, classes=D.classes, groups=D.groups)
    unfair = 0.0
    for _ in range(10):
        C = rng.random((K, K))
        np.fill_diagonal(C, 0.0)
        for population, fair in ((ideal, True), (D, False)):
            table = population.evaluate(C).table
            if np.isnan(template.evaluate(table)).any():
                continue
            gap = template.gap(table)
            if fair:
                assert gap <= 1e-9, f"{template!r} has gap {gap:.3g} on an ideal population"
            else:
                unfair = max(unfair, gap)
    assert unfair > 1e-6, f"{template!r} has no gap for any Bayes rule of a biased population"


def _check_price(template: Any, D: Categorical) -> None:
    if isinstance(template, Risk):
        risk, constraint = template, EqualOpportunity()
    elif template.bound_field is None:
        return
    else:
        risk, constraint = ErrorRate(), template
        if isinstance(template, tables.RiskBound):  # a risk is not at odds with itself
            K = D.n_classes
            wrong = np.triu(np.ones((K, K)), 1)
            risk = CostSensitiveRisk(wrong + 4.0 * wrong.T)
    free = FairClassifier(D, risk).solve(price_intervals=False)
    if np.isnan(constraint.violation(free.table)):
        return
    loose, upward = _exact_bound(constraint, free.table), constraint.bound_field == "ratio_bound"
    for share in (0.5, 0.8, 0.95):  # of the way to where it does not bind; others may not exist
        middle = share * loose + (1.0 - share) * upward
        step = 1e-4 * max(abs(middle), 1e-2)
        try:
            values = {
                k: FairClassifier(D, risk, [constraint.with_bound(middle + k * step)]).solve()
                for k in (-1, 0, 1)
            }
            break
        except (DataError, InfeasibleError):
            continue
    else:
        return
    forward = (values[1].risk - values[0].risk) / step
    backward = (values[0].risk - values[-1].risk) / step
    low, high = sorted((forward, backward) if upward else (-forward, -backward))
    price = values[0].price[constraint.name]
    slack = 1e-5 + 1e-3 * abs(high) + 2e-8 / step
    assert low - slack <= price <= high + slack, (
        f"The price of {constraint!r} under {risk!r} is {price:.6g}; the finite differences are "
        f"{low:.6g} and {high:.6g}"
    )
