"""The nearest ideal population on a finite alphabet: reweighting, not moving.

The only transport is the identity, so every steered group takes the common laws themselves:
P~_ia = R_i. Fixed cell masses make "ideal" mean that P(X | Y=i, A=a) is the same for all groups.
Every choice of groups is one convex program of relative entropies (theory.md section 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.kernels.atoms.log_linear_pool import divergence, pool, pool_residual
from fairprog.labels import Array
from fairprog.populations import Categorical
from fairprog.programs.answer import Answer
from fairprog.programs.base_rates import steered_prior
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.geometries.group_map import GroupProblem
from fairprog.solution import ReweightedSolution
from fairprog.transports import AffineMap, Identity, Transport

ACCURATE = 1e-9  # relative duality gap that needs no second solve
REFINEMENTS = [  # what Clarabel adds, and whether variables are scaled to the best answer yet
    ({}, True),
    *(({"static_regularization_constant": c}, s) for c in (1e-10, 1e-14) for s in (False, True)),
]
LARGEST = 4000  # variables up to which Clarabel prices the closed form, and is compared


@dataclass(frozen=True, eq=False)
class LawsAnswer(Answer):
    """Laws P~_ia = laws[:, i, a] on the atoms, whose divergence is `kl`."""

    laws: Any = None
    kl: float = 0.0

    def cost(self) -> float:
        """Return the divergence, nats."""
        return self.kl

    def gap(self, other: Self) -> float:
        """Return the largest total variation between the laws of a cell."""
        return float(0.5 * np.abs(self.laws - other.laws).sum(axis=0).max())


def _target_prior(D: Categorical, staying: Sequence[int], base_rates: str | ArrayLike) -> Array:
    """Return the steered prior; for "joint" that of the pool of the laws of (X, Y)."""
    if staying or not (isinstance(base_rates, str) and base_rates == "joint"):
        return steered_prior(D, staying, base_rates)
    joint = D.joint.reshape(-1, D.n_groups) / D.group_mass
    law, value = pool(joint, D.group_mass)
    rates = law.reshape(D.n_atoms, D.n_classes).sum(axis=0)
    if not (np.isfinite(value) and rates.min() > 0):
        raise _apart(D, int(np.argmin(rates)))
    return rates[:, None] * D.group_mass


class FiniteGeometry(Geometry):
    """Finite alphabets.

    ``base_rates="joint"`` frees the base rates as well (steer = "all": one log-linear pool of the
    laws of (X, Y)). ``map_bound`` = eps asks for total variations of at most eps / 2 between a
    cell and its class's common law, so that the rates P(Yhat=j | Y=i, A=a) of EVERY classifier
    differ between groups by at most eps. Conditions see ``view.law[class, group]`` and
    ``view.joint[class, group]``, both over the atoms.
    """

    joint_by_search = False
    unique_prices = False
    original_names = ("law", "joint")
    solution = ReweightedSolution
    target_prior = staticmethod(_target_prior)

    # -- what it takes --

    @classmethod
    def default_transport(cls, population: Any) -> Transport:
        """Return the only transport of a finite alphabet."""
        return Identity()

    @classmethod
    def check_transport(cls, population: Any, transport: Transport) -> None:
        """Refuse maps: atoms stay where they are."""
        if transport.kind != "identity":
            raise ModelError(
                f"Categorical populations take the transport Identity() only; found "
                f"{transport!r}.",
                argument="transport",
            )

    def refuse(self) -> None:
        """Check that groups that stay agree, and that the common laws can be reached."""
        D, question = self.D, self.question
        for a in question.staying[1:]:
            off = D.map_residual(None, D.laws_of(question.staying[0]), a)
            self.refuse_apart(question.staying[0], a, "common laws: no map", off)
        if question.map_bound > 0:
            return
        for i, c in enumerate(D.classes):
            if question.reference is None:
                if not (self.laws[:, i] > 0).all(axis=1).any():
                    raise _apart(D, i)
                continue
            for a in question.steered:
                missing = (self.laws[:, i, question.reference] > 0) & (self.laws[:, i, a] == 0)
                if missing.any():
                    x = int(np.flatnonzero(missing)[0])
                    raise DataError(
                        f"KL is infinite: class {c!r} of group {D.groups[a]!r} has no mass at "
                        f"{_plain(D.values[x])!r} ({int(missing.sum())} such atoms) where group "
                        f"{D.groups[question.reference]!r}, which stays, has some. Merge atoms, "
                        "steer='all', or give a `map_bound`.",
                        argument="population",
                        cell=(c, D.groups[a]),
                    )

    @property
    def staying_maps(self) -> Mapping[int, AffineMap]:
        """The identity: atoms stay where they are, whichever group moves."""
        return dict.fromkeys(range(self.D.n_groups), AffineMap.identity(1))

    @cached_property
    def laws(self) -> Array:
        """P(X=x | Y=i, A=a), shape (X, K, G)."""
        return np.asarray(self.D.joint / self.D.prior)

    def solvers(self) -> dict[str, str]:
        """Return the solvers that do not apply, with the reason."""
        return {"newton": "does not apply: finite alphabets have a closed form instead"}

    # -- solving --

    @property
    def is_convex(self) -> bool:
        """Every choice of `steer` is one convex program here."""
        return True

    def problems(self) -> Sequence[GroupProblem]:
        """Return nothing: what is decided are laws, not maps."""
        return []

    def exact(self, solver: str) -> LawsAnswer:
        """Return the closed form: the reference's laws, or log-linear pools."""
        question, laws = self.question, self.laws
        out, off = laws.copy(), 0.0
        for i, w in enumerate(question.prior):
            if question.reference is None:
                R, _ = pool(laws[:, i], w / w.sum())
                off += float(w.sum()) * pool_residual(R, laws[:, i], w / w.sum())
            else:
                R = laws[:, i, question.reference]
            out[:, i, question.steered] = R[:, None]
        return LawsAnswer([], "closed-form", laws=out, kl=self._divergence(out), duality_gap=off)

    def _divergence(self, laws: Array) -> float:
        joint = laws * self.question.prior
        return float(divergence(joint.ravel(), self.D.joint.ravel()))

    def conic_seconds(self, answer: Answer) -> float:
        """Return 0 for few enough atoms: multipliers are Clarabel's, so that it runs anyway."""
        size = self.D.n_atoms * self.D.n_classes * len(self.question.steered)
        return 0.0 if size <= LARGEST else np.inf

    def compared(self, answer: Answer, compiled: Any, solver: str) -> Answer:
        """Return the closed form with its distance to the conic answer, and its multipliers."""
        return answer.compared(self.read(compiled, solver), priced=compiled)

    def compile(self, problems: Sequence[Any], near: Any = None) -> Any:
        """Return the compiled relative-entropy program, scaled to an answer near by if given."""
        from fairprog.programs.compile.finite import compile_finite

        return compile_finite(self, self.laws, near)

    def parameter(self, name: str, i: int, a: int) -> Any:
        """Return the law of X in a cell, or with the cell's mass."""
        return self.D.joint[:, i, a] if name == "joint" else self.laws[:, i, a]

    def read(self, compiled: Any, solver: str) -> LawsAnswer:
        """Return the laws of a solved program."""
        laws = self.laws.copy()
        for (i, a), cell in compiled.cells.items():
            laws[:, i, a] = cell.value(self.D.n_atoms)
        kl = self._divergence(laws)
        gap = kl - compiled.dual_value()
        return LawsAnswer([], solver, laws=laws, kl=kl, compiled=compiled, duality_gap=gap)

    def sharper(self, answer: Any, attempt: int) -> tuple[Any, dict[str, Any]] | None:
        """Return the program in variables scaled to the answer while the proof is too coarse.

        Atoms of 1e-7 and less are lost in the amount Clarabel adds to the diagonal of its linear
        systems (1e-8): then less is added.
        """
        coarse = answer.duality_gap > ACCURATE * max(1.0, answer.kl)  # NaN without gradients
        if not coarse or attempt >= len(REFINEMENTS):
            return None
        options, scaled = REFINEMENTS[attempt]
        return self.compile([], answer.compiled if scaled else None), dict(options)

    def better(self, found: Any, answer: Any) -> Any:
        """Return the answer with the smaller duality gap."""
        return found if found.duality_gap < answer.duality_gap else answer

    # -- the answer --

    def common_laws(self, answer: Any) -> Array:
        """Return the laws the cells are compared with: the reference's, or the first group's."""
        out: Array = answer.laws[:, :, self.question.reference or 0]
        return out

    def pushed(self, answer: Any, laws: Array) -> Categorical:
        """Return the steered population."""
        D, question = self.D, self.question
        maps = {D.groups[a]: None for a in question.steered}
        out: Categorical = D.pushed(question.prior, answer.laws, maps)
        return out

    def ideality_tolerance(self, answer: Answer, population: Any, residual: float) -> float:
        """Return 1e-8, or what the consensus of a conic answer reaches."""
        return 1e-8 if answer.compiled is None else 1e-6


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _apart(D: Categorical, i: int) -> DataError:
    return DataError(
        f"KL is infinite: no atom has mass in class {D.classes[i]!r} of every group, so they "
        "have no common law. Merge atoms, leave a group out, or give a `map_bound`.",
        argument="population",
        cell=(D.classes[i], None),
    )
