"""The nearest ideal population on a finite alphabet: reweighting, not moving.

The only transport is the identity, so every steered group takes the common laws themselves:
P~_ia = R_i. Fixed cell masses make "ideal" mean that P(X | Y=i, A=a) is the same for all groups.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, InfeasibleError, ModelError, SolverError
from fairprog.kernels.log_linear_pool import divergence, pool, pool_residual
from fairprog.labels import Array
from fairprog.populations import Categorical
from fairprog.programs.base_rates import EQUAL
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.programs.options import Conic
from fairprog.solution import Certificate
from fairprog.solution.reweighted import ReweightedSolution
from fairprog.transports import AffineMap, Identity, Transport

__all__ = ["NearestCategorical"]

ACCURATE = 1e-9  # relative duality gap that needs no second solve
REFINEMENTS = [  # what Clarabel adds, and whether variables are scaled to the best answer yet
    ({}, True),
    *(({"static_regularization_constant": c}, s) for c in (1e-10, 1e-14) for s in (False, True)),
]
LARGEST = 4000  # variables up to which the closed form is compared with Clarabel


class NearestCategorical(NearestIdeal):
    """The nearest ideal finite population: theory.md section 5 (identity transport).

    Made by :class:`NearestIdeal`. ``base_rates="joint"`` frees the base rates as well (steer =
    "all": one log-linear pool of the laws of (X, Y)). ``map_bound`` = eps asks for total
    variations of at most eps / 2 between a cell and its class's common law, so that the rates
    P(Yhat=j | Y=i, A=a) of EVERY classifier differ between groups by at most eps. Conditions see
    ``view.law[class, group]`` and ``view.joint[class, group]``, both over the atoms.
    """

    families = (Categorical,)
    joint_by_search = False
    population: Categorical

    def default_transport(self) -> Transport:
        """Return the only transport of a finite alphabet."""
        return Identity()

    def check_transport(self) -> None:
        """Refuse maps: atoms stay where they are."""
        if self.transport.kind != "identity":
            raise ModelError(
                f"Categorical populations take the transport Identity() only; found "
                f"{self.transport!r}.",
                argument="transport",
            )

    def check_conditions(self) -> None:
        """Every choice of `steer` is one convex program here."""

    def target_prior(self, base_rates: str | ArrayLike) -> Array:
        """Return the steered prior; for "joint" that of the pool of the laws of (X, Y)."""
        if not (isinstance(base_rates, str) and base_rates == "joint"):
            return super().target_prior(base_rates)
        if self.staying:
            raise ModelError(
                "base_rates='joint' needs steer='all': groups that stay fix the base rates.",
                argument="base_rates",
            )
        D = self.population
        joint = D.joint.reshape(-1, D.n_groups) / D.group_mass
        law, value = pool(joint, D.group_mass)
        rates = law.reshape(D.n_atoms, D.n_classes).sum(axis=0)
        if not (np.isfinite(value) and rates.min() > 0):
            raise _apart(D, int(np.argmin(rates)))
        return rates[:, None] * D.group_mass

    def check_family(self) -> None:
        """Check that groups that stay agree, and that the common laws can be reached."""
        D, laws = self.population, self.laws()
        self.staying_residual = 0.0
        for a in self.staying[1:]:
            apart = 0.5 * np.abs(laws[:, :, a] - laws[:, :, self.staying[0]]).sum(axis=0).max()
            self.staying_residual = max(self.staying_residual, float(apart))
            if apart > EQUAL:
                names = [D.groups[self.staying[0]], D.groups[a]]
                raise InfeasibleError(
                    f"Groups {names} both stay but their laws of X given the class differ (total "
                    f"variation {apart:.3g}; needed is {EQUAL:g}). Steer all groups but one.",
                    argument="steer",
                    cell=(None, names[1]),
                    details={"conditions": ["class_conditionals"], "groups": names},
                )
        if self.map_bound > 0:
            return
        for i, c in enumerate(D.classes):
            if self.reference is None:
                if not (laws[:, i] > 0).all(axis=1).any():
                    raise _apart(D, i)
                continue
            for a in self.steered:
                missing = (laws[:, i, self.reference] > 0) & (laws[:, i, a] == 0)
                if missing.any():
                    x = int(np.flatnonzero(missing)[0])
                    raise DataError(
                        f"KL is infinite: class {c!r} of group {D.groups[a]!r} has no mass at "
                        f"{_plain(D.values[x])!r} ({int(missing.sum())} such atoms) where group "
                        f"{D.groups[self.reference]!r}, which stays, has some. Merge atoms, "
                        "steer='all', or give a `map_bound`.",
                        argument="population",
                        cell=(c, D.groups[a]),
                    )

    def laws(self) -> Array:
        """Return P(X=x | Y=i, A=a), shape (X, K, G)."""
        return self.population.joint / self.population.prior

    def compile(self, near: Any = None) -> Any:
        """Return the compiled relative-entropy program, scaled to an answer near by if given."""
        from fairprog.programs.compile.categorical import compile_categorical

        return compile_categorical(
            self.population,
            self.laws(),
            self.prior,
            self.steered,
            self.reference,
            self.map_bound,
            self.constraints,
            near,
        )

    def formulate(self) -> Any:
        """Return the relative-entropy program."""
        return self.compile().problem

    # -- solving --

    def find(self, solver: str, conic: Conic, started: float) -> ReweightedSolution:
        """Solve by the log-linear pool where nothing else is asked, and by Clarabel."""
        exact = not self.constraints and self.map_bound == 0.0
        if solver == "newton" or (solver == "closed-form" and not exact):
            raise ModelError(
                f"solver={solver!r} does not apply: "
                + (
                    "finite alphabets have a closed form instead."
                    if solver == "newton"
                    else "there is no closed form with `constraints` or a `map_bound`."
                ),
                argument="solver",
            )
        if exact and conic.options and solver in ("auto", "closed-form"):
            raise ModelError(
                f"The options {sorted(conic.options)} are for the conic solvers; name one.",
                argument="solver_options",
            )
        size = self.population.n_atoms * self.population.n_classes * len(self.steered)
        pooled = self._pooled() if exact and solver in ("auto", "closed-form") else None
        compiled = None
        if pooled is None or (solver == "auto" and size <= LARGEST):
            compiled = self._conic(solver, conic)
            if pooled is None:
                compiled = self._refined(compiled, solver, conic)
        return self._assemble(pooled, compiled, started)

    def _pooled(self) -> Array:
        """Return the steered laws in closed form, shape (X, K, G)."""
        laws = self.laws()
        out = laws.copy()
        for i in range(self.population.n_classes):
            if self.reference is None:
                R, _ = pool(laws[:, i], self.prior[i] / self.prior[i].sum())
            else:
                R = laws[:, i, self.reference]
            out[:, i, self.steered] = R[:, None]
        return out

    def _refined(self, compiled: Any, solver: str, conic: Conic) -> Any:
        """Solve again while the proof is too coarse: in variables scaled to the answer.

        Atoms of 1e-7 and less are lost in the amount Clarabel adds to the diagonal of its linear
        systems (1e-8): then less is added.
        """
        best, gap = compiled, self._duality_gap(compiled)
        for regularization, scaled in REFINEMENTS:
            if not gap > ACCURATE:  # also where a condition has no gradient, hence no proof
                break
            own = {} if solver == "SCS" else regularization
            options = replace(conic, options={**own, **conic.options})
            with suppress(SolverError, InfeasibleError):  # the best answer stands
                compiled = self._conic(solver, options, best if scaled else None)
                found = self._duality_gap(compiled)
                if found < gap:
                    best, gap = compiled, found
        return best

    def _duality_gap(self, compiled: Any) -> float:
        """Return KL of a conic answer minus its lower bound, relative to KL above 1 nat."""
        D = self.population
        joint = self._laws_of(compiled) * self.prior
        kl = divergence(joint.ravel(), D.joint.ravel())
        return float((kl - compiled.dual_value()) / max(1.0, kl))

    def _laws_of(self, compiled: Any) -> Array:
        """Return P(X=x | Y=i, A=a) of a conic answer, shape (X, K, G)."""
        laws = self.laws().copy()
        for cell in compiled.density:
            laws[:, cell[0], cell[1]] = compiled.law(cell, self.population.n_atoms)
        return laws

    def _conic(self, solver: str, conic: Conic, near: Any = None) -> Any:
        from fairprog.programs.compile.solve import solve

        compiled = self.compile(near)
        ladder = ["CLARABEL", "SCS"] if solver == "auto" else [solver]
        try:
            solve(compiled, ladder, conic.time_limit, conic.verbose, conic.options)
        except InfeasibleError as error:
            names = list(compiled.conditions) or ["map_bound"]
            groups = [self.population.groups[a] for a in self.steered]
            raise InfeasibleError(
                f"No reweighting of {groups} satisfies the conditions {names}: they clash with "
                "each other, with the fixed cell masses or with atoms without mass. Relax one.",
                argument="constraints",
                status=error.status,
                details={**error.details, "conditions": names, "groups": groups},
            ) from None
        return compiled

    def _assemble(self, pooled: Array | None, compiled: Any, started: float) -> ReweightedSolution:
        """Recompute everything from the laws in numpy."""
        D = self.population
        conic = self.laws() if compiled is None else self._laws_of(compiled)
        steered = conic if pooled is None else pooled
        joint = steered * self.prior
        for a in self.staying:
            joint[:, :, a] = D.joint[:, :, a]
        population = Categorical(joint, values=D._values, classes=D.classes, groups=D.groups)
        population.score_bins = D.score_bins
        kl = divergence(population.joint.ravel(), D.joint.ravel())
        scale = max(1.0, kl)
        conic_gap = parameter_gap = None
        if pooled is not None and compiled is not None:
            other = divergence((conic * self.prior).ravel(), D.joint.ravel())
            conic_gap = abs(other - kl) / scale
            parameter_gap = float(0.5 * np.abs(conic - pooled).sum(axis=0).max())
        gap = kl - compiled.dual_value() if pooled is None else self._stationarity(pooled)
        feasibility = 0.0
        duals: dict[str, Array] = {}
        sensitivity: dict[str, Array] = {}
        price: dict[str, float] = {}
        if compiled is not None:
            duals, sensitivity, price = _multipliers(compiled)
            if pooled is None:
                rules = [*compiled.conditions.values(), *compiled.balls.values()]
                feasibility = max([0.0, *(float(np.max(c.violation())) for c in rules)]) / scale
        certificate = Certificate(
            kkt_residual=float(np.sqrt(2.0 * max(gap, 0.0) / scale)),
            ideality_residual=self._ideality(population),
            staying_residual=self.staying_residual,
            feasibility_residual=feasibility,
            conic_gap=conic_gap,
            parameter_gap=parameter_gap,
            globally_optimal=True,
            requires_ideality=self.map_bound == 0.0,
            ideality_tolerance=1e-8 if pooled is not None else 1e-6,
        )
        return ReweightedSolution(
            kl=kl,
            original=D,
            population=population,
            affine={g: AffineMap.identity(1) for g in D.groups},
            duals=duals,
            sensitivity=sensitivity,
            price=price,
            price_interval={},
            certificate=certificate,
            settings=self.settings(),
            solver="closed-form" if pooled is not None else compiled.solver,
            seconds=time.perf_counter() - started,
        )

    def _stationarity(self, pooled: Array) -> float:
        """Return how far the pools are from stationary, in nats."""
        if self.reference is not None:
            return 0.0
        laws = self.laws()
        return sum(
            float(w.sum()) * pool_residual(pooled[:, i, 0], laws[:, i], w / w.sum())
            for i, w in enumerate(self.prior)
        )

    def _ideality(self, population: Categorical) -> float:
        """Return the largest total variation between cells of a class, plus base rates off."""
        laws = population.joint / population.prior
        common = laws[:, :, [0 if self.reference is None else self.reference]]
        apart = 0.5 * np.abs(laws - common).sum(axis=0).max()
        return float(apart + np.abs(population.prior - self.prior).max())


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _apart(D: Categorical, i: int) -> DataError:
    return DataError(
        f"KL is infinite: no atom has mass in class {D.classes[i]!r} of every group, so they "
        "have no common law. Merge atoms, leave a group out, or give a `map_bound`.",
        argument="population",
        cell=(D.classes[i], None),
    )


def _multipliers(
    compiled: Any,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, float]]:
    """Return duals, sensitivities (d KL / d target) and prices by name."""
    from fairprog.programs.compile.custom import condition_prices

    balls = {w: c for w, c in compiled.balls.items() if ":" not in w}
    conditions, price = condition_prices(compiled.conditions)
    duals = condition_prices(compiled.consensus)[0] | conditions
    if balls:
        by_ball, bounds = condition_prices(balls)
        duals, price = duals | by_ball, {"consensus": sum(bounds.values())} | price
    return duals, {w: -v for w, v in duals.items()}, price
