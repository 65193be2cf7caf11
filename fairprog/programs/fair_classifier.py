"""The fair-classifier program: the population fixed, the classifier decided."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import ModelError
from fairprog.labels import check_number
from fairprog.populations import Categorical, ScoreCounts
from fairprog.populations.score_counts import uncounted
from fairprog.programs.classifier.frontier import classifier_frontier
from fairprog.programs.classifier.question import ask_classifier
from fairprog.programs.classifier.solve import solve_question
from fairprog.solution.classifier_solution import ClassifierSolution
from fairprog.solution.frontier import Frontier
from fairprog.tables import Risk

SOLVERS = ("auto", "SORT", "HIGHS", "CLARABEL", "SCS")


class FairClassifier:
    """Find the randomised classifier of least risk that satisfies any number of notions.

    Source: theory.md section 8.

    Parameters
    ----------
    population : Categorical or ScoreCounts
        Others: ``D.discretize()``.
    risk : Risk, default ErrorRate()
        What is minimised, for example ``fp.CostSensitiveRisk(cost)``; risks can be added and
        scaled. Those that are ratios, such as :class:`F1Risk`, are minimised alone.
    constraints : iterable
        Notions (each with its own bound), other constraints such as
        :class:`IndividualFairness`, :class:`Robust`, :class:`RiskBound`, and functions
        ``(view, population) -> CVXPY constraint`` (see :func:`constraint`), where ``view.Z[a, i,
        j]`` and ``view.h[m, j]`` are affine expressions indexed by position.
    uses_group : bool, default True
        Whether the classifier may look at the group: h(j | x, a), or h(j | x). Where the group
        is not known, make the population from scores of label and group, (n, K, G).

    Raises
    ------
    ModelError
        For another population, risks or constraints that are none, or a group-blind classifier
        where every atom belongs to one group.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> free = fp.FairClassifier(D, fp.ErrorRate()).solve()
    >>> fair = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    >>> print(f"{free.risk:.4f} {fair.risk:.4f}, price {fair.price['equal_opportunity']:.4f}")
    0.2250 0.2425, price 0.1625
    """

    def __init__(
        self,
        population: Categorical | ScoreCounts,
        risk: Risk | None = None,
        constraints: Iterable[Any] = (),
        uses_group: bool = True,
    ) -> None:
        self.question = ask_classifier(uncounted(population), risk, constraints, uses_group)

    @property
    def population(self) -> Categorical:
        """The population."""
        return self.question.population

    @property
    def risk(self) -> Risk:
        """What is minimised."""
        return self.question.risk

    @property
    def constraints(self) -> dict[str, Any]:
        """The constraints by name."""
        return dict(self.question.constraints)

    @property
    def uses_group(self) -> bool:
        """Whether the classifier may look at the group."""
        return self.question.uses_group

    def __repr__(self) -> str:
        return (
            f"FairClassifier({self.population!r}, {self.risk!r}, "
            f"{list(self.constraints.values())!r}, uses_group={self.uses_group})"
        )

    # -- building --

    @property
    def problem(self) -> Any:
        """The CVXPY problem, every constraint labelled by its address.

        Raises
        ------
        ModelError
            If a template is not convex, naming its address.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()])
        >>> [c.label for c in fc.problem.constraints][3:]
        ['equal_opportunity[a,1,1]', 'equal_opportunity[b,1,1]']
        """
        return self.question.compile(scaled=False).problem

    # -- solving --

    def solve(
        self,
        solver: str = "auto",
        time_limit: float | None = None,
        verbose: bool = False,
        price_intervals: bool = True,
        **solver_options: Any,
    ) -> ClassifierSolution:
        """Solve, verify and return the answer.

        Parameters
        ----------
        solver : {"auto", "SORT", "HIGHS", "CLARABEL", "SCS"}
            "auto": sorting the scores of every group where that solves the program exactly
            (binary labels, group-aware, templates linear in the table); else HiGHS for linear
            programs, then Clarabel; Clarabel for the others, then SCS.
        time_limit : float, optional
            Seconds per solve.
        verbose : bool
            Let the solver print.
        price_intervals : bool
            For linear programs: find the smallest prices and their intervals, by two further
            linear programs per constraint. Without, prices are the solver's.
        **solver_options
            Passed on to the solver.

        Returns
        -------
        ClassifierSolution

        Raises
        ------
        InfeasibleError
            If the constraints clash, naming those in the infeasibility certificate.
        SolverError
            If no solver found an answer, or the answer fails its own certificate.
        """
        started = time.perf_counter()
        if solver not in SOLVERS:
            raise ModelError(
                f"`solver` must be one of {list(SOLVERS)}; found {solver!r}.", argument="solver"
            )
        if time_limit is not None:
            time_limit = check_number(time_limit, "time_limit")
        how = (solver, time_limit, verbose, solver_options)
        return solve_question(self.question, how, price_intervals, started)

    def frontier(
        self,
        bounds: ArrayLike,
        constraint: str | None = None,
        *,
        bootstrap: int = 0,
        sample_size: int | None = None,
        confidence: float = 0.9,
        random_state: int | np.random.Generator = 0,
        solver: str = "auto",
        progress: bool = True,
    ) -> Frontier:
        """Return the risk and the price at every bound, from one sort or one compilation.

        Parameters
        ----------
        bounds : array_like, shape (n,)
            Values of the constraint's bound. Where sorting does not apply (see :meth:`solve`) all
            share one compilation; bound 0 of a notion is the program with equalities, compiled for
            itself.
        constraint : str, optional
            Name of the constraint whose bound is swept; default the only one that has a bound.
        bootstrap : int, default 0
            Number of resampled populations for bands: each the in-sample frontier of a
            multinomial sample of `sample_size` rows. Where the posteriors are scores that were
            given (``from_scores`` without `y`), rows are drawn and keep their scores: the bands
            hold for calibrated scores, and do not cover errors of the scores. Else labels are
            drawn with the rows and counted again.
        sample_size : int, optional
            Rows the population was counted from; default ``population.effective_rows``.
        confidence : float, default 0.9
            Share of the bootstrap frontiers the bands hold, at each bound.
        random_state : int or numpy Generator
            For the bootstrap.
        solver : {"auto", "SORT", "HIGHS", "CLARABEL", "SCS"}
            As for :meth:`solve`.
        progress : bool
            Show a progress bar over the bootstrap.

        Returns
        -------
        Frontier

        Raises
        ------
        ModelError
            If no constraint of that name has a bound, or a level is left free.
        InfeasibleError
            If no classifier satisfies the constraints at one of the bounds.
        SolverError
            If the answer at one of the bounds fails its certificate.
        """
        resampling = bootstrap, sample_size, confidence, random_state, progress
        return classifier_frontier(self.question, bounds, constraint, solver, resampling)
