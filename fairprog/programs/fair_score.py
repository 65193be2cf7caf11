"""The fair-score program: the population fixed, one score that is fair at every threshold."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import InfeasibleError, ModelError
from fairprog.labels import check_finite
from fairprog.populations import Categorical, ScoreCounts
from fairprog.populations.score_counts import uncounted
from fairprog.programs.scores.answer import (
    compile_program,
    explain,
    solve_by_path,
    solve_by_program,
)
from fairprog.programs.scores.question import ask_score
from fairprog.programs.verified import verified
from fairprog.solution.frontier import Frontier
from fairprog.solution.score_solution import ScoreSolution
from fairprog.tables import Notion

SOLVERS = ("auto", "path", "HIGHS", "CLARABEL")


class FairScore:
    r"""Find the best score that is fair at every threshold, on rows as they come.

    Every group's score goes through a *channel*, which is label-free, randomised and keeps ranks
    in distribution: the chance to exceed a threshold never falls as the score rises. The rates of
    the notion then differ by at most its bound between groups at EVERY threshold of the released
    score. With bound 0 and equalized odds its ROC curve is the least of the hulls of the groups;
    one common threshold serves every cost, as well as any fair rule can.

    Exactness levels the better predicted group down: the solution says by how much (`auc`, `lot`).

    Source: theory.md section 11 (Theorems D, E, F).

    Parameters
    ----------
    population : Categorical or ScoreCounts
        Two classes; counted, or from ``Categorical.from_scores``. The score of an
        atom is its value where values are numbers, else its posterior. Rules are mixtures of
        thresholds on it.
    notion : EqualizedOdds, EqualOpportunity, PredictiveEquality or DemographicParity
        Its ``difference_bound`` is the worst gap over all thresholds. Default
        ``EqualizedOdds()``, bound 0.
    steer : "all" or list of groups
        Scores of the other groups stay as they are, and so do all thresholds. More than 500
        distinct ones are joined to about 100 levels, neighbours of about the same mass.
    cost_weight : "uniform" or list of costs in (0, 1)
        Which thresholds are to serve: all, or those of a few costs c (a false positive costs c, a
        false negative 1 - c).
    constraints : iterable of functions
        ``(view, population) -> CVXPY constraint``, ``view.rates[i, a]`` being P(S' >= level | Y=i,
        A=a) at every threshold, whose costs are ``view.costs``. They call for the linear program.

    Raises
    ------
    ModelError
        For another population or notion, options that clash.
    DataError
        For costs outside (0, 1), unknown groups.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairScore(D).solve()
    >>> print(f"gap {sol.gap:.1f}, AUC of b {sol.auc['b'][0]:.3f} -> {sol.auc['b'][1]:.3f}")
    gap 0.0, AUC of b 0.775 -> 0.764
    """

    def __init__(
        self,
        population: Categorical | ScoreCounts,
        notion: Notion | None = None,
        *,
        steer: str | Iterable[Any] = "all",
        cost_weight: Any = "uniform",
        constraints: Iterable[Any] = (),
    ) -> None:
        self.question = ask_score(uncounted(population), notion, steer, cost_weight, constraints)
        self._compiled: Any = None

    def __repr__(self) -> str:
        return f"FairScore({self.question.population!r}, {self.question.notion!r})"

    def _program(self) -> Any:
        if self._compiled is None:
            self._compiled = compile_program(self.question)
        return self._compiled

    @property
    def problem(self) -> Any:
        """The CVXPY problem of the linear program, every constraint labelled.

        With all costs, at 20 thresholds; ``bound`` is its parameter.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> fp.FairScore(D, fp.EqualOpportunity(), cost_weight=[.5]).problem.constraints[-1].label
        'equal_opportunity[b,1,1]:lower'
        """
        compiled = self._program()[0]
        compiled.bound.value = self.question.bound
        return compiled.problem

    def solve(
        self, solver: str = "auto", time_limit: float | None = None, verbose: bool = False
    ) -> ScoreSolution:
        """Solve, verify and return the answer.

        Parameters
        ----------
        solver : {"auto", "path", "HIGHS", "CLARABEL"}
            "path": hulls, the path of optima over all costs, the pool; near-linear in the rows. It
            reaches one-sided notions, equalized odds with bound 0 or two groups. The others solve
            the joint linear program, whose thresholds are 20 unless `cost_weight` lists some.
        time_limit : float, optional
            Seconds, of the linear program.
        verbose : bool

        Raises
        ------
        InfeasibleError
            Where groups that stay differ by more than the bound among themselves, or the others
            cannot follow: with the least feasible bound.
        SolverError
            If the answer fails its certificate.
        """
        return self._at(self.question.bound, solver, time_limit, verbose)

    def _at(self, bound: float, solver: str, time_limit: Any, verbose: bool) -> ScoreSolution:
        if solver not in SOLVERS:
            raise ModelError(
                f"`solver` must be one of {list(SOLVERS)}; found {solver!r}.", argument="solver"
            )
        started, question = time.perf_counter(), self.question.at_bound(bound)
        if solver == "path" and question.is_linear_program:
            raise ModelError(
                "solver='path' serves one-sided notions, and equalized odds with bound 0 or two "
                "groups, where all groups are steered and there are no `constraints`.",
                argument="solver",
            )
        if solver in ("auto", "path") and not question.is_linear_program:
            found = solve_by_path(question, started)
        else:
            how = "HIGHS" if solver == "auto" else solver, time_limit, verbose
            try:
                found = solve_by_program(question, self._program(), how, started)
            except InfeasibleError as error:
                raise explain(question, error) from None
        object.__setattr__(found, "again", self.frontier)
        return verified(found)

    def frontier(self, bounds: ArrayLike, solver: str = "auto") -> Frontier:
        """Return the risk and its slope at every bound; a linear program is compiled once.

        Parameters
        ----------
        bounds : array_like, shape (n,)
            Difference bounds.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> fp.FairScore(D).frontier([0, .1, 1]).risks.round(4)
        array([0.0888, 0.084 , 0.0812])
        """
        started = time.perf_counter()
        values = np.atleast_1d(check_finite(bounds, "bounds"))
        found = [self._at(float(b), solver, None, False) for b in values]
        name = self.question.notion.name
        return Frontier(
            values,
            np.array([s.risk for s in found]),
            np.array([s.price[name] for s in found]),
            f"difference_bound of {name}",
            "mean_cost_over_thresholds",
            compilations=0 if self._compiled is None else self._compiled[0].form.compilations,
            solves=len(found),
            seconds=time.perf_counter() - started,
        )
