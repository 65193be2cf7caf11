"""Nonlinear maps: one group steered by an increasing piecewise-linear map, exactly."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairprog.errors import FairprogWarning, ModelError, SolverError
from fairprog.kernels.piecewise_linear import (
    cell_gradient,
    decrement,
    mixture_quantiles,
    nearest,
    normal_moments,
    quadratic_forms,
    slope_matrix,
)
from fairprog.labels import Array, address
from fairprog.populations import Normal
from fairprog.populations.pushforward import Pushforward
from fairprog.programs.options import Conic
from fairprog.solution import Certificate, Solution
from fairprog.transports import AffineMap, PiecewiseLinearMap

if TYPE_CHECKING:
    from fairprog.programs.nearest_normal import NearestNormal

__all__ = ["check_piecewise", "formulate_piecewise", "solve_piecewise_maps"]


def check_piecewise(program: NearestNormal) -> None:
    """Refuse what the exact program over piecewise-linear maps does not cover."""
    D = program.population
    if type(D) is not Normal or D.n_features != 1:
        raise ModelError(
            f"{program.transport!r} moves a single normal feature; found {D!r}. Move features one "
            "by one; Transformed(Normal(...), Log()) stands for a log-normal one.",
            argument="transport",
        )
    for name, wrong in (
        ("steer", not program.staying),
        ("orientation", program.orientation == "any"),
        ("map_bound", program.map_bound > 0),
        ("constraints", bool(program.constraints)),
    ):
        if wrong:
            raise ModelError(
                f"{program.transport!r} takes no `{name}` of this kind: its maps increase, some "
                "group stays, and every class has the same map.",
                argument=name,
            )


@dataclass(eq=False)
class Pieces:
    """One steered group in standard units: x = center + scale u, y = own_center + own_scale v."""

    group: Hashable
    w: Array
    knots: Array
    moments: Array
    mu: Array
    sigma: Array
    units: tuple[float, float, float, float]
    constant: float

    def user_map(self, theta: Array) -> PiecewiseLinearMap:
        """Return the map in the user's units."""
        center, scale, own_center, own_scale = self.units
        ratio = own_scale / scale
        return PiecewiseLinearMap(
            center + scale * self.knots,
            own_center + own_scale * theta[1:-1],
            float(ratio * theta[0]),
            float(ratio * theta[-1]),
        )

    def gradients(self, theta: Array) -> Array:
        """Return the weighted gradient of every class's cost in theta, shape (K, n + 2)."""
        D = slope_matrix(self.knots)
        rows = []
        for i, moments in enumerate(self.moments):
            M, b = quadratic_forms(self.knots, moments)
            g = cell_gradient(theta, D, M, b, moments[0], self.mu[i], self.sigma[i])
            rows.append(self.w[i] * g)
        return np.stack(rows)


def pieces(program: NearestNormal) -> list[Pieces]:
    """Return every steered group with its knots, moments and targets."""
    D, r = program.population, program.reference
    mean, std = D.location[..., 0], np.sqrt(D.cov[..., 0, 0])
    out = []
    transport: Any = program.transport
    n = transport.n_knots
    for s in program.steered:
        w = program.prior[:, s]
        p = w / w.sum()
        units = []
        for a in (r, s):
            center = float(p @ mean[:, a])
            units += [center, float(np.sqrt(p @ (std[:, a] ** 2 + (mean[:, a] - center) ** 2)))]
        m, g = (mean[:, r] - units[0]) / units[1], std[:, r] / units[1]
        knots = mixture_quantiles(w, m, g, (np.arange(n) + 0.5) / n)
        entropy = 0.5 * np.log(2.0 * np.pi * np.e * g**2)
        out.append(
            Pieces(
                D.groups[s],
                w,
                knots,
                np.stack([normal_moments(knots, *cell) for cell in zip(m, g, strict=True)]),
                (mean[:, s] - units[2]) / units[3],
                std[:, s] / units[3],
                (units[0], units[1], units[2], units[3]),
                -float(w @ entropy),
            )
        )
    return out


def formulate_piecewise(program: NearestNormal) -> Any:
    """Return the CVXPY problem of all steered groups, in standard units; its value is KL."""
    from fairprog.programs.compile import compile_piecewise

    rates = float((program.prior * np.log(program.prior / program.population.prior)).sum())
    problems = [
        compile_piecewise(
            g.group, program.population.classes, g.knots, g.w, g.moments, (g.mu, g.sigma),
            g.constant,
        )[0].problem
        for g in pieces(program)
    ]  # fmt: skip
    return sum(problems[1:], problems[0]) if rates == 0 else _shifted(problems, rates)


def _shifted(problems: list[Any], rates: float) -> Any:
    total = sum(problems[1:], problems[0])
    return type(total)(total.objective + type(total.objective)(rates), total.constraints)


def solve_piecewise_maps(
    program: NearestNormal, solver: str, conic: Conic, started: float
) -> Solution:
    """Solve by Newton's method, compare with the exponential-cone program, and prove."""
    from fairprog.programs.compile import compile_piecewise, solve

    if solver not in ("auto", "newton", "CLARABEL"):
        raise ModelError(
            f"solver={solver!r} does not apply to {program.transport!r}; use 'auto', 'newton' or "
            "'CLARABEL'.",
            argument="solver",
        )
    D = program.population
    groups = pieces(program)
    thetas, residual, gap, apart = [], 0.0, None, None
    for g in groups:
        theta, value = nearest(g.knots, g.w, g.moments, g.mu, g.sigma)
        if solver != "newton":
            compiled, common = compile_piecewise(
                g.group, D.classes, g.knots, g.w, g.moments, (g.mu, g.sigma), g.constant
            )
            try:
                solve(compiled, ["CLARABEL"], conic.time_limit, conic.verbose, conic.options)
            except SolverError:
                if solver == "CLARABEL":
                    raise
                _warn_alone()
            else:
                exact = value + g.constant
                gap = max(gap or 0.0, abs(float(compiled.problem.value) - exact) / max(1.0, exact))
                mass = np.sqrt(g.w @ g.moments[:, 0] / g.w.sum())
                moved = slope_matrix(g.knots) @ (common.value - theta)
                apart = max(apart or 0.0, float(np.abs(mass * moved).max()))
        thetas.append(theta)
        residual = float(
            np.hypot(residual, decrement(theta, g.knots, g.w, g.moments, g.mu, g.sigma))
        )
    maps: dict[Hashable, Any] = {D.groups[a]: T for a, T in program.staying_maps.items()}
    steered = {g.group: g.user_map(theta) for g, theta in zip(groups, thetas, strict=True)}
    population = _population(program, steered)
    kl = population.kl(D)
    sensitivity, duals = _sensitivities(program, groups, thetas)
    staying = max((_staying(program, T, a) for a, T in program.staying_maps.items()), default=0.0)
    return Solution(
        kl=kl,
        original=D,
        population=population,
        affine={g: (maps | steered)[g] for g in D.groups},
        duals=duals,
        sensitivity=sensitivity,
        price={},
        price_interval={},
        certificate=Certificate(
            kkt_residual=residual / float(np.sqrt(max(1.0, kl))),
            ideality_residual=_rates_residual(program),
            staying_residual=staying,
            feasibility_residual=0.0,
            conic_gap=gap,
            parameter_gap=apart,
            globally_optimal=True,
        ),
        settings=program.settings(),
        solver="newton",
        seconds=time.perf_counter() - started,
    )


def _warn_alone() -> None:
    warnings.warn(
        "CLARABEL did not converge; the answer of Newton's method, proven by its decrement, is "
        "kept without a second opinion.",
        FairprogWarning,
        stacklevel=5,
    )


def _population(
    program: NearestNormal, steered: dict[Hashable, PiecewiseLinearMap]
) -> Pushforward:
    D = program.population
    mean, std = D.location[..., 0].copy(), np.sqrt(D.cov[..., 0, 0])
    for s in program.steered:
        mean[:, s], std[:, s] = mean[:, program.reference], std[:, program.reference]
    labels: dict[str, Any] = {"classes": D.classes, "groups": D.groups}
    base = Normal(program.prior, mean, std=std, feature_names=D.feature_names, **labels)
    return Pushforward(base, steered)


def _sensitivities(
    program: NearestNormal, groups: list[Pieces], thetas: list[Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return d KL / d (g_left, values, g_right) of each class's map, in the user's units."""
    out: dict[str, Array] = {}
    for g, theta in zip(groups, thetas, strict=True):
        _, scale, _, own_scale = g.units
        unit = np.full(len(theta), 1.0 / own_scale)
        unit[[0, -1]] *= scale
        for c, row in zip(program.population.classes, g.gradients(theta), strict=True):
            out[address("map", g.group, c)] = row * unit
    return out, {where: -value for where, value in out.items()}


def _rates_residual(program: NearestNormal) -> float:
    if program.base_rates == "keep":
        return 0.0
    rates = program.prior / program.prior.sum(axis=0)
    return float(np.abs(rates - rates[:, [program.reference]]).max())


def _staying(program: NearestNormal, T: AffineMap, a: int) -> float:
    D, r = program.population, program.reference
    mean, std = D.location[..., 0], np.sqrt(D.cov[..., 0, 0])
    gamma, b = float(T.matrix[0, 0]), float(T.offset[0])
    shift = np.abs(gamma * mean[:, r] + b - mean[:, a]) / std[:, a]
    spread = np.abs((gamma * std[:, r] / std[:, a]) ** 2 - 1.0)
    return float(max(shift.max(), spread.max()))
