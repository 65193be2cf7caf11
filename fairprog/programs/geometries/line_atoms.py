r"""-log densities as CVXPY atoms, and expectations of them (CVXPY is handed in as `cp`).

An expectation is a sum over quadrature nodes of the reference law; that of the Laplace law is
exact: E|c Z + m| = v + c exp(-v/c), v = |m|, in the exponential cone (theory.md section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import digamma, gammaln

from fairprog.errors import ModelError
from fairprog.populations import LocationScale
from fairprog.populations.law import Law

EXPONENTIAL = {"log-gamma": 1.0, "GumbelMin": 1.0, "Gumbel": -1.0}  # phi = exp(+-z) -+ k z


def atom(cp: Any, family: Any, law: Law, z: Any) -> Any:
    """Return phi(z) of a family's standard law as a convex CVXPY expression.

    Raises
    ------
    ModelError
        If the family has no atom, or one that is not convex by CVXPY's rules; names the family.
    """
    known = {
        "Laplace": lambda: cp.abs(z) + np.log(2.0),
        "Logistic": lambda: z + 2.0 * cp.logistic(-z),
        "Gumbel": lambda: z + cp.exp(-z),
        "GumbelMin": lambda: cp.exp(z) - z,
        "ShiftedExponential": lambda: z,
        "log-gamma": lambda: cp.exp(z) - law.shape * z + float(gammaln(law.shape)),
    }
    own = getattr(family, "atom", None)
    if own is not None:
        expression = own(z)
    elif law.name in known:
        expression = known[law.name]()
    else:
        raise ModelError(
            f"The family {family.__name__} has no `atom(z)`: -log density as a CVXPY expression. "
            "Programs need it.",
            argument="population",
        )
    if not isinstance(expression, cp.Expression) or not expression.is_convex():
        short = expression if own is None else own(cp.Variable(name="z"))
        raise ModelError(
            f"The family {family.__name__} is not log-concave by CVXPY's rules: its `atom(z)` is "
            f"`{short}`, which is not convex (DCP). Programs need a convex -log density.",
            argument="population",
        )
    return expression


def expected_atom(
    cp: Any,
    family: type[LocationScale] | Any,
    reference: Law,
    target: Law,
    alpha: Any,
    beta: Any,
    breaks: Sequence[float] = (),
) -> tuple[Any, list[Any]]:
    """Return E phi_target(alpha Z + beta), Z of the reference law, and cone constraints.

    `alpha` is a positive scalar expression or number, `beta` a scalar expression; quadrature
    rules break at `breaks`: about where phi_target(alpha z + beta) will not be smooth.
    """
    constraints: list[Any] = []
    if np.isfinite(target.support[0]):  # KL is finite only if supports nest
        constraints.append(alpha * reference.support[0] + beta >= target.support[0])
    if reference.name == target.name == "Laplace":
        v, z = cp.Variable(), cp.Variable()
        c = alpha if isinstance(alpha, cp.Expression) else cp.Constant(alpha)
        constraints += [v >= cp.abs(beta), cp.constraints.ExpCone(-v, c, z)]
        return v + z + np.log(2.0), constraints
    if not isinstance(alpha, cp.Expression) and reference.name == target.name in EXPONENTIAL:
        # the scale is a number: E exp(alpha Z) is one, too
        sign = EXPONENTIAL[target.name]
        k = 1.0 if np.isnan(target.shape) else target.shape
        own = 1.0 if np.isnan(reference.shape) else reference.shape
        log_tail = float(gammaln(own + alpha) - gammaln(own))
        linear = alpha * float(sign * digamma(own)) + beta
        return cp.exp(sign * beta + log_tail) - sign * k * linear + float(gammaln(k)), constraints
    nodes, weights = reference.solver_rule(breaks)
    values = atom(cp, family, target, alpha * nodes + beta)
    return cp.sum(cp.multiply(weights, values)), constraints
