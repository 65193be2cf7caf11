r"""The worst expectation over a ball of laws, written twice.

sup { E_Q f : D(Q, P) <= radius, Q << P } for a finite law P, with D total variation, KL(Q||P) or
chi-square E_P (dQ/dP - 1)^2. In numpy by building the worst Q; symbolically by its dual:

==== ==============================================================================
tv   min r (nu - eta) + E max(f, eta)  over nu >= max f, eta <= nu
kl   min r lambda + s  with  E exp((f - s)/lambda) <= 1
chi2 min eta + sqrt(1 + r) (E (f - eta)_+^2)^{1/2}
==== ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array
from fairprog.tables.templates import TableView, Term

BALLS = ("tv", "kl", "chi2")


def check_ball(ball: str) -> None:
    """Raise a ModelError for an unknown ball."""
    if ball not in BALLS:
        raise ModelError(f"`ball` must be one of {list(BALLS)}; found {ball!r}.", argument="ball")


def _bisect(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return the root of an increasing function on [low, high]."""
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def worst_case(f: Array, p: Array, radius: float, ball: str) -> tuple[float, Array]:
    """Return the largest expectation of f over the ball around p, and the law that attains it.

    Parameters
    ----------
    f : Array, shape (m,)
    p : Array, shape (m,)
        A law; zeros are allowed and stay zero.
    radius : float
        Nonnegative; total variation as half the absolute difference.
    ball : {"tv", "kl", "chi2"}
    """
    check_ball(ball)
    inside = p > 0
    values, law = f[inside], p[inside] / p[inside].sum()
    worst = np.zeros(len(p))
    worst[inside] = _WORST[ball](values, law, radius)
    return float(worst @ f), worst


def _tv(f: Array, p: Array, radius: float) -> Array:
    order = np.argsort(f, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(p[order])[:-1]])
    taken = np.clip(radius - below, 0.0, p[order])
    out = p.copy()
    out[order] -= taken
    out[order[-1]] += taken.sum()
    return out


def _at_the_top(f: Array, p: Array) -> tuple[Array, float]:
    top = f >= f.max() - 1e-15 * max(1.0, float(np.abs(f).max()))
    return top * p / p[top].sum(), float(p[top].sum())


def _kl(f: Array, p: Array, radius: float) -> Array:
    top, share = _at_the_top(f, p)
    if radius >= -np.log(share) or np.ptp(f) == 0:
        return top
    z = (f - f.max()) / np.ptp(f)

    def tilted(log_theta: float) -> Array:
        out: Array = p * np.exp(np.exp(log_theta) * z)
        return out / out.sum()

    def excess(log_theta: float) -> float:
        q = tilted(log_theta)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(q > 0, q * np.log(q / p), 0.0).sum()) - radius

    return tilted(_bisect(excess, -40.0, 40.0))


def _chi2(f: Array, p: Array, radius: float) -> Array:
    top, share = _at_the_top(f, p)
    if radius >= 1.0 / share - 1.0 or np.ptp(f) == 0:
        return top
    z = (f - f.max()) / np.ptp(f)  # in [-1, 0]

    def truncated(log_width: float) -> Array:  # eta = -exp(log_width)
        out: Array = p * np.maximum(z + np.exp(log_width), 0.0)
        return out / out.sum()

    def excess(minus_log_width: float) -> float:
        q = truncated(-minus_log_width)
        return float((q**2 / p).sum()) - 1.0 - radius

    return truncated(-_bisect(excess, -30.0, 35.0))


_WORST: dict[str, Callable[[Array, Array, float], Array]] = {"tv": _tv, "kl": _kl, "chi2": _chi2}


def express_worst_case(
    view: TableView, f: Any, p: Array, radius: float, ball: str, name: str
) -> tuple[Any, list[Term]]:
    """Return the same supremum as a convex expression, with the terms it needs.

    Parameters
    ----------
    view : TableView
    f : affine expression of length m
    p : Array, shape (m,)
        A law without zeros.
    radius, ball
        See :func:`worst_case`.
    name : str
        Prefix of the free scalars and addresses.
    """
    check_ball(ball)
    cp = view.functions
    if radius == 0.0:
        return p @ f, []
    if ball == "tv":
        nu, eta = view.level(f"{name}:nu"), view.level(f"{name}:eta")
        value = radius * (nu - eta) + p @ cp.maximum(f, eta)
        return value, [
            Term(f - nu, "<=", 0.0, f"{name}:top"),
            Term(eta - nu, "<=", 0.0, f"{name}:order"),
        ]
    if ball == "chi2":
        eta = view.level(f"{name}:eta")
        spread = cp.norm(cp.multiply(np.sqrt(p), cp.pos(f - eta)), 2)
        return eta + np.sqrt(1.0 + radius) * spread, []
    scale, shift = view.level(f"{name}:lambda"), view.level(f"{name}:s")
    u = view.level(f"{name}:u", len(p))  # u >= lambda exp((f - s)/lambda)
    return radius * scale + shift, [
        Term(cp.rel_entr(scale, u) + f - shift, "<=", 0.0, f"{name}:tilt"),
        Term(p @ u - scale, "<=", 0.0, f"{name}:mass"),
    ]
