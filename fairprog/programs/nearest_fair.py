"""The program: the population nearest to yours, of any family, on which chosen rules are fair.

The front door. A `FairQuestion` holds the options; short forms or the conic program answer it;
`assemble_fair` proves the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError, SolverError
from fairprog.labels import check_number
from fairprog.populations import Categorical
from fairprog.programs.conditions import Condition
from fairprog.programs.fair.answer import assemble_fair
from fairprog.programs.fair.levels import Levels, cells_of
from fairprog.programs.fair.question import FairQuestion, ask_fair
from fairprog.programs.fair.short_forms import Parts, by_dual, by_pool, by_sorting
from fairprog.programs.verified import verified
from fairprog.solution.nearest_fair import NearestFairSolution
from fairprog.tables import Notion

SOLVERS = ("auto", "exact", "CLARABEL", "SCS")
LARGEST = 40_000  # numbers decided by a conic solver
CHEAP = 2_000  # up to which it checks what was found without it
MARGIN = 1e-8
ADVICE = (
    "Posteriors that are exactly 0 or 1 (few rows behind a score) cannot move, and a divergence "
    "is infinite where they do. Try another solver, count scores in fewer bins, or smooth them."
)
STEADY = {  # where rules are blind: posteriors that groups share make rows nearly dependent
    "max_step_fraction": 0.9,
    "static_regularization_constant": 1e-7,
    "iterative_refinement_max_iter": 50,
}


class NearestFair:
    """Find the population nearest to D on which the Bayes rules of chosen costs are fair.

    No family and no map: the joint law of (X, Y) of every group is free, its masses P(A=a) stay.
    What is asked of the population is that the Bayes-optimal rules of one cost, of several or of
    all costs satisfy a notion; or that a given rule does.

    Parameters
    ----------
    population : Categorical
        Tables, scored rows (:meth:`Categorical.from_scores`), ``D.discretize()`` of any family.
    thresholds : float, sequence of float, or "all", optional
        Default 0.5, where none of the next three is given; with one of them it is refused.
        On P(Y=1 | x, a), two classes: a threshold t stands for every cost for which t is
        (C01 - C00) / (C01 - C00 + C10 - C11).
    threshold_range : (float, float), optional
        All thresholds in between.
    cost : array_like (K, K), or several (m, K, K), optional
        In place of thresholds; any number of classes.
    rule : array_like or classifier, optional
        In place of thresholds: predictions, or probabilities (m, K), of the pairs (x, a) in the
        order of ``population.support``, which of scored rows is that of the rows.
    notion : Notion, default DemographicParity()
        With its bound.
    steer : "all" or list of groups
        Every other group stays exactly as it is.
    move : {"both", "labels", "masses"}
        What may change: everything; P(Y | x, a) alone, so that rows stay and labels move; or the
        law of X alone, so that rows are reweighed and posteriors stay (one exactly on a threshold
        is below it, as ties of a Bayes rule go to the first class).
    base_rates : {"joint", "keep"}, optional
        "joint" decides P(Y | A) with the rest (rates of the group: demographic parity); "keep"
        leaves them, as rates given the class need (their default).
    uses_group : bool, default True
        Whether the rules see the group; else the groups' atoms must be common.
    constraints : sequence of conditions
        Functions (see :func:`fairprog.constraint`) of ``view.joint[class, group]``, the new
        P(X=x, Y=i, A=a) over the atoms.
    levels : int, default 24
        Points of the grid that stands for "all" thresholds or a range of them.

    Raises
    ------
    DataError
        For thresholds outside (0, 1), unknown groups, wrong shapes.
    ModelError
        For options that clash.
    InfeasibleError
        If groups that stay are not fair among themselves.

    Notes
    -----
    minimise sum_a p_a [ KL(new law of x || f_a) + sum_xk u_a(x, k) kl(level k || eta_a(x)) ] over
    the masses u_a(x, k) of atoms in levels of the posterior: convex (theory.md section 12). One
    threshold is one number found by sorting, a grid is Newton's method on the dual, the rest
    goes to a conic solver; all are proven by a lower bound computed apart.

    Where labels move, groups pass the threshold on the rows as they are, in the order of Kamiran
    and Calders' massaging (2012), but posteriors move as far as the threshold and no labels flip
    without need. Where masses move, rows are reweighed by the level of their posterior, not by
    (Y, A) as in Kamiran and Calders' reweighing.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["men", "women"]).discretize(400)
    >>> sol = fp.NearestFair(D, .5).solve()
    >>> round(sol.kl, 5), sol.certificate.ok
    (0.00037, True)
    >>> before, after = (P.evaluate().gap(fp.DemographicParity()) for P in (D, sol.population))
    >>> before > .15, after < 1e-8
    (True, True)
    """

    def __init__(
        self,
        population: Categorical,
        thresholds: float | ArrayLike | str | None = None,
        *,
        threshold_range: tuple[float, float] | None = None,
        cost: ArrayLike | None = None,
        rule: Any = None,
        notion: Notion | None = None,
        steer: str | Iterable[Any] = "all",
        move: str = "both",
        base_rates: str | None = None,
        uses_group: bool = True,
        constraints: Iterable[Condition | Callable[[Any, Any], Any]] = (),
        levels: int = 24,
    ) -> None:
        self.question = ask_fair(
            population, thresholds, threshold_range, cost, rule, notion, steer, move, base_rates,
            uses_group, constraints, levels,
        )  # fmt: skip

    @property
    def population(self) -> Categorical:
        """The population D."""
        return self.question.population

    @property
    def problem(self) -> Any:
        """The CVXPY problem, to look at and to extend; its value is KL(D~ || D)."""
        return self._compiled(self._levels(MARGIN)).problem

    def __repr__(self) -> str:
        asked = {k: v for k, v in self.question.settings().items() if v not in (None, (), False)}
        said = ", ".join(f"{k}={v!r}" for k, v in asked.items())
        return f"NearestFair({self.population!r}, {said})"

    def solve(
        self,
        solver: str = "auto",
        *,
        margin: float = MARGIN,
        second_opinion: bool = False,
        time_limit: float | None = None,
        verbose: bool = False,
        **solver_options: Any,
    ) -> NearestFairSolution:
        """Solve, verify and return the answer.

        Parameters
        ----------
        solver : {"auto", "exact", "CLARABEL", "SCS"}
            "exact" sorts, pools or uses Newton's method, ModelError where that does not apply;
            "auto" does where it can, and else asks a conic solver.
        margin : float, default 1e-8
            How far from a threshold posteriors end: at the threshold itself no rule could tell
            the sides apart, and the optimum is an infimum. The bound in the certificate is that
            without a margin.
        second_opinion : bool
            Compare an exact answer with Clarabel's; done anyway where that is cheap.
        time_limit : float, optional
            Seconds per conic solve.
        verbose : bool
            Let the conic solver print.
        **solver_options
            Passed on to it.

        Returns
        -------
        NearestFairSolution

        Raises
        ------
        DataError
            Where no population at a finite divergence satisfies the conditions.
        InfeasibleError
            If the conditions clash.
        ModelError
            If the solver does not apply, or the program is too large for a conic solver.
        SolverError
            If nothing converged or the answer fails its own certificate.
        """
        started = time.perf_counter()
        if solver not in SOLVERS:
            raise ModelError(
                f"`solver` must be one of {list(SOLVERS)}; found {solver!r}.", argument="solver"
            )
        margin = check_number(margin, "margin")
        limit = None if time_limit is None else check_number(time_limit, "time_limit")
        levels, found, gap = self._levels(margin), None, None
        if solver in ("auto", "exact"):
            found = self._exact(margin, levels)
            if found is not None and solver == "auto" and not _finite(self.question, found):
                found = None  # a solver may find masses under which nothing certain has to move
            if found is None and solver == "exact":
                raise ModelError(
                    "No exact answer is known for these options; use solver='auto'.",
                    argument="solver",
                )
        ladder = ["CLARABEL", "SCS"] if solver in ("auto", "exact") else [solver]
        steady = STEADY if ladder[0] == "CLARABEL" and not self.question.uses_group else {}
        how = ladder, limit, verbose, steady | solver_options
        if found is None:
            found = self._conic(levels, how)
        elif (found.levels is None or found.levels.exact) and (
            second_opinion or self._size <= CHEAP
        ):
            other = self._conic(found.levels, how)
            gap = abs(_divergence(self.question, other) - _divergence(self.question, found))
        seconds = time.perf_counter() - started
        solution: NearestFairSolution = verified(
            assemble_fair(self.question, found, margin, seconds, gap), advice=ADVICE
        )
        return solution

    def _levels(self, margin: float) -> Levels | None:
        levels = self.question.levels
        return None if levels is None else levels.inside(margin)

    @property
    def _size(self) -> int:
        """How many numbers a conic solver decides, at most."""
        q = self.question
        classes = 1 if q.projects else q.population.n_classes
        return len(q.population.support.atom) * (len(q.levels) if q.levels else 1) * classes

    def _exact(self, margin: float, levels: Levels | None) -> Parts | None:
        q = self.question
        if q.rule is not None or q.move == "masses":
            return by_pool(q)
        if q.levels is None or levels is None or not q.is_parity:
            return None
        if len(q.levels) == 2 and q.levels.exact:
            return by_sorting(q, q.levels, levels)
        large = self._size > LARGEST or not q.levels.exact
        return by_dual(q, q.levels, margin) if large else None

    def _compiled(self, levels: Levels | None) -> Any:
        if self._size > LARGEST:
            raise ModelError(
                f"The program decides {self._size:,} numbers, more than {LARGEST:,}: put the "
                "scores into bins, Categorical.from_scores(..., bins=500), or ask for fewer "
                "thresholds.",
                argument="population",
            )
        from fairprog.programs.compile.fair import compile_fair

        return compile_fair(self.question, levels)

    def _conic(self, levels: Levels | None, how: tuple[Any, ...]) -> Parts:
        """Return the answer of a conic solver, and its multipliers' bound."""
        from fairprog.programs.compile.solve import solve

        compiled = self._compiled(levels)
        try:
            solver = solve(compiled, *how)
        except SolverError as error:
            if self.question.constraints or not compiled.impossible():
                raise
            raise DataError(
                "KL is infinite: no population on these atoms is fair as asked, since what has no "
                f"mass stays without and move={self.question.move!r} leaves the rest too little "
                "room. Smooth the counts, count in fewer bins, or use move='both'.",
                argument="population",
            ) from error
        pair, level, joint = compiled.parts()
        mass = joint.sum(axis=1)
        posterior = joint / mass[:, None]
        aware = self.question.uses_group and self.question.move != "masses"
        if levels is not None and levels.binary and aware:
            share = np.clip(posterior[:, 1], levels.low[level], levels.high[level])
            posterior = np.stack([1.0 - share, share], axis=1)
        told: tuple[Any, Any, Any] = compiled.prices()
        lower = compiled.dual_value(levels)
        if self._wants_own_bound:
            infimum = self._without_margin(how)
        else:
            infimum = compiled.dual_value(self.question.levels)
        return Parts(pair, level, mass, posterior, lower, infimum, *told, solver, levels)

    @property
    def _wants_own_bound(self) -> bool:
        """Whether what no margin would reach is another program's bound.

        A grid of points bounds nothing but itself; and where posteriors are held by multipliers
        these are of levels with their margin.
        """
        q = self.question
        held = (q.move == "masses" and not q.uses_group) or q.population.n_classes > 2
        return q.levels is not None and (q.span is not None or held)

    def _without_margin(self, how: tuple[Any, ...]) -> float:
        """Return the bound over every population that is fair at all thresholds or costs."""
        from fairprog.programs.compile.fair import compile_fair
        from fairprog.programs.compile.solve import solve

        q = self.question
        assert q.levels is not None
        whole = q.levels if q.span is None else cells_of(q.levels, *q.span)
        compiled = compile_fair(replace(q, levels=whole), whole)
        solve(compiled, *how)
        return float(compiled.dual_value(whole))


def _finite(question: FairQuestion, parts: Parts) -> bool:
    """Return whether no class has mass where it had none: posteriors of 0 and 1 stay."""
    had = question.population.support.posterior[parts.pair] > 0
    return bool(((parts.posterior == 0) | had)[parts.mass > 0].all())


def _divergence(question: FairQuestion, parts: Parts) -> float:
    return assemble_fair(question, parts, 0.0, 0.0, None).kl
