"""Why an answer can be believed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from fairprog.pictures import Drawn

IDEALITY_TOLERANCE = 1e-8
STAYING_TOLERANCE = 1.01e-6  # what the program accepts, and rounding
KKT_TOLERANCE = 1e-4
CONIC_TOLERANCE = 1e-6
PARAMETER_TOLERANCE = 1e-4


class Checked(Drawn, ABC):
    """What proves an answer: residuals, each with its tolerance."""

    @abstractmethod
    def checks(self) -> list[tuple[str, float, float]]:
        """Return (name, residual, tolerance) of everything that ``ok`` asks for."""

    @property
    def ok(self) -> bool:
        """Whether every residual is within its tolerance."""
        return all(value <= tolerance for _, value, tolerance in self.checks())


@dataclass(frozen=True)
class Certificate(Checked):
    """Residuals computed in numpy from the answer itself, never taken from a solver.

    Attributes
    ----------
    kkt_residual : float
        Newton decrement of the Lagrangian's gradient over sqrt(max(1, KL)): independent of units,
        and half its square is how far KL is from its optimum, relative to max(1, KL), to second
        order. In more than 12 dimensions an upper bound on it. Where a custom condition has a
        kink at the answer, its multipliers alone are checked and `conic_gap` compares the two
        conic solvers.
    ideality_residual : float
        Worst whitened residual of (mean, cov) of a cell against maps[g] # R_i, plus the largest
        difference from the target base rates. With ``map_bound`` > 0 it measures how far the
        population is from ideal.
    staying_residual : float
        The same for groups that stay besides the reference: how ideal they are among themselves,
        which is the user's population, not the answer. 0.0 without.
    feasibility_residual : float
        Worst violation of anything else a conic answer must satisfy: custom constraints, the
        consensus of each class's map with the returned one, complementary slackness; over
        max(1, KL). 0.0 for exact answers.
    conic_gap : float or None
        Difference of KL between the conic and the exact answer over max(1, KL); None where only
        one was computed.
    parameter_gap : float or None
        Largest difference of their maps, in whitened coordinates, relative where above one.
    globally_optimal : bool
        In this family and class of maps: True where the program is convex and `optimality_gap`
        small, or its stationary points were enumerated; False means the answer is a local optimum
        (best of the restarts).
        How near any ideal population could be says :meth:`Solution.family_free_bound`.
    requires_ideality : bool
        Whether ``ok`` asks for the ideality residual (no ``map_bound``).
    ideality_tolerance : float
        1e-8, or what rounding alone causes where cells are conditioned worse than that.
    optimality_gap : float or None
        KL less a proven lower bound on it over max(1, KL): from the Newton decrement by
        self-concordance, from tangents, or from a dual; with what rounding adds. None where
        stationary points were enumerated, under conditions, and for local optima.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> certificate = fp.NearestIdeal(D, steer=[1]).solve().certificate
    >>> certificate.ok, certificate.globally_optimal, certificate.kkt_residual < 1e-12
    (True, True, True)
    """

    kkt_residual: float
    ideality_residual: float
    staying_residual: float
    feasibility_residual: float
    conic_gap: float | None
    parameter_gap: float | None
    globally_optimal: bool
    requires_ideality: bool = True
    ideality_tolerance: float = IDEALITY_TOLERANCE
    optimality_gap: float | None = None

    def checks(self) -> list[tuple[str, float, float]]:
        """Return (name, residual, tolerance) of everything that ``ok`` asks for.

        KKT 1e-4, ideality 1e-8 (groups that stay 1e-6), feasibility 1e-6, conic gap 1e-6,
        parameter gap 1e-4, optimality gap 1e-6.
        """
        found: list[tuple[str, float | None, float]] = [
            ("kkt_residual", self.kkt_residual, KKT_TOLERANCE),
            ("staying_residual", self.staying_residual, STAYING_TOLERANCE),
            ("feasibility_residual", self.feasibility_residual, CONIC_TOLERANCE),
            ("conic_gap", self.conic_gap, CONIC_TOLERANCE),
            ("parameter_gap", self.parameter_gap, PARAMETER_TOLERANCE),
            ("optimality_gap", self.optimality_gap, CONIC_TOLERANCE),
        ]
        if self.requires_ideality:
            found.insert(1, ("ideality_residual", self.ideality_residual, self.ideality_tolerance))
        return [(name, value, limit) for name, value, limit in found if value is not None]
