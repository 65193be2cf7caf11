"""Nonlinear maps: one group steered by an increasing piecewise-linear map, exactly."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import ModelError
from fairprog.kernels.line.piecewise_linear import (
    cell_gradient,
    decrement,
    map_divergence,
    mixture_quantiles,
    nearest,
    normal_moments,
    quadratic_forms,
    slope_matrix,
)
from fairprog.kernels.multivariate.lower_bounds import self_concordant_gap
from fairprog.kernels.multivariate.normal import symmetrize
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.populations.pushforward import Pushforward
from fairprog.programs.answer import Answer
from fairprog.programs.geometries.group_map import GroupProblem, best_signs
from fairprog.programs.geometries.normal import NormalGeometry
from fairprog.solution.certificate import IDEALITY_TOLERANCE
from fairprog.transports import PiecewiseLinearMap, Transport

Map = tuple[Array]  # (g_left, values, g_right), shape (n + 2,)


@dataclass(frozen=True, eq=False)
class Pieces:
    """The problem of one steered group in standard units.

    x = center + scale u on the reference side, y = own_center + own_scale v on the group's; see
    :mod:`fairprog.kernels.line.piecewise_linear`.

    Attributes
    ----------
    group : hashable
    w : Array, shape (K,)
        Weights q~_is.
    knots : Array, shape (n,)
    moments : Array, shape (K, 3, n + 1)
        Of the reference's classes, by segment.
    mu, sigma : Array, shape (K,)
        The group's own cells.
    units : (center, scale, own_center, own_scale)
    laws : Array, shape (K, 2)
        Means and standard deviations of the reference's cells.
    """

    group: Hashable
    w: Array
    knots: Array
    moments: Array
    mu: Array
    sigma: Array
    units: tuple[float, float, float, float]
    laws: Array

    def mirrored(self) -> Pieces:
        """Refuse: the maps increase."""
        raise ModelError("Piecewise linear maps have no mirror images.", argument="orientation")

    def only(self, i: int) -> Pieces:
        """Return the problem of one class alone."""
        names = ("w", "moments", "mu", "sigma", "laws")
        return replace(self, **{name: getattr(self, name)[i : i + 1] for name in names})

    # -- the cost and its derivatives --

    def cost(self, theta: Map) -> float:
        """Return sum_i w_i V_i, nats."""
        cells = zip(self.laws, self.mu, self.sigma, strict=True)
        values = [
            map_divergence(
                self.knots, theta[0], (float(law[0]), float(law[1])), (float(m), float(s))
            )
            for law, m, s in cells
        ]
        return float(self.w @ values)

    def class_gradients(self, theta: Map) -> Iterator[Map]:
        """Yield the weighted gradient of every class's cost in theta, shape (n + 2,)."""
        D = slope_matrix(self.knots)
        for i, moments in enumerate(self.moments):
            M, b = quadratic_forms(self.knots, moments)
            g = cell_gradient(theta[0], D, M, b, moments[0], self.mu[i], self.sigma[i])
            yield (self.w[i] * g,)

    def decrement(self, theta: Map, gradient: Map) -> float:
        """Return the Newton decrement of a gradient."""
        args = self.knots, self.w, self.moments, self.mu, self.sigma
        return float(decrement(theta[0], *args, gradient=gradient[0]))

    def shortfall(self, theta: Map, decrement: float) -> float:
        """Return the bound of self-concordance: logarithms weigh as much as their segments."""
        return self_concordant_gap(decrement, float((self.w @ self.moments[:, 0]).min()))

    def best(self, closed: bool) -> Map:
        """Return the optimum by Newton's method."""
        return (nearest(self.knots, self.w, self.moments, self.mu, self.sigma)[0],)

    def lengths(self, theta: Map, other: Map) -> tuple[float, ...]:
        """Return the largest difference of slopes, each weighted by the root of its mass."""
        return (self.gap(theta, other),)

    def gap(self, theta: Map, other: Map) -> float:
        """Return the largest difference of slopes, each weighted by the root of its mass."""
        mass = np.sqrt(self.w @ self.moments[:, 0] / self.w.sum())
        return float(np.abs(mass * (slope_matrix(self.knots) @ (other[0] - theta[0]))).max())

    # -- the user's units --

    def user_map(self, theta: Map) -> PiecewiseLinearMap:
        """Return the map in the user's units."""
        center, scale, own_center, own_scale = self.units
        ratio, values = own_scale / scale, theta[0]
        return PiecewiseLinearMap(
            center + scale * self.knots,
            own_center + own_scale * values[1:-1],
            float(ratio * values[0]),
            float(ratio * values[-1]),
        )

    def multipliers(self, gradient: Map) -> tuple[Array, ...]:
        """Return a class's gradient in (g_left, values, g_right) of the user's map."""
        _, scale, _, own_scale = self.units
        unit = np.full(len(gradient[0]), 1.0 / own_scale)
        unit[[0, -1]] *= scale
        return (np.asarray(gradient[0] * unit),)

    def prices(self, gradient: Map) -> tuple[float, ...]:
        """Return nothing: the consensus of bent maps has no bound."""
        return ()

    # -- CVXPY --

    is_large: ClassVar[bool] = False

    @property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """The variables of the consensus form."""
        return {"map": (len(self.knots) + 2,)}

    def express(self, cp: Any, i: int, x: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Return w_i V_i: a quadratic minus logarithms of slopes (exponential cones)."""
        own, D = x["map"], slope_matrix(self.knots)
        mu, sigma = float(self.mu[i]), float(self.sigma[i])
        M, b = quadratic_forms(self.knots, self.moments[i])
        values, vectors = np.linalg.eigh(symmetrize(M))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        square = cp.sum_squares(root @ own) - 2.0 * mu * (b @ own) + mu**2
        slopes = cp.sum(cp.multiply(self.moments[i, 0], cp.log(D @ own)))
        constant = np.log(sigma / self.laws[i, 1]) - 0.5
        return self.w[i] * (0.5 * square / sigma**2 + constant - slopes), []

    def length(self, cp: Any, part: str, x: Any) -> Any:
        """Return the norm of a difference."""
        return cp.norm(x, 2)

    def theta(self, x: Mapping[str, Array]) -> Map:
        """Return the map of the variables' values."""
        return (x["map"],)

    def gradient(self, x: Mapping[str, Array]) -> Map:
        """Return derivatives by the variables."""
        return (np.zeros(len(self.knots) + 2) + x["map"],)

    def view(self, cp: Any, name: str, i: int, x: Mapping[str, Any]) -> Any:
        """Refuse: these programs take no conditions."""
        raise ModelError(f"Piecewise linear maps have no {name!r} to constrain.")


class PiecewiseGeometry(NormalGeometry):
    """A normal feature moved by increasing piecewise-linear maps; some group stays."""

    @classmethod
    def check_transport(cls, population: Any, transport: Transport) -> None:
        """Refuse populations of other families or several features."""
        if type(population) is not Normal or population.n_features != 1:
            raise ModelError(
                f"{transport!r} moves a single normal feature; found {population!r}. Move "
                "features one by one; Transformed(Normal(...), Log()) stands for log-normal ones.",
                argument="transport",
            )

    def refuse(self) -> None:
        """Refuse what the exact program does not cover; check groups that stay."""
        question = self.question
        for name, wrong in (
            ("steer", not question.staying),
            ("orientation", question.mirrors),
            ("map_bound", question.map_bound > 0),
            ("constraints", bool(question.constraints)),
        ):
            if wrong:
                raise ModelError(
                    f"{question.transport!r} takes no `{name}` of this kind: its maps increase, "
                    "some group stays, and every class has the same map. Leave it out, and let "
                    "one group stay; or use Monotone().",
                    argument=name,
                )
        self.refuse_unlike()
        self.warn_constant()

    def solvers(self) -> dict[str, str]:
        """Return the solvers that do not apply, with the reason."""
        reason = "does not apply: use 'auto', 'newton' or 'CLARABEL' for piecewise linear maps"
        return dict.fromkeys(("closed-form", "SCS"), reason)

    @property
    def conic_order(self) -> tuple[str, ...]:
        """Clarabel alone: SCS does not get far with many exponential cones."""
        return ("CLARABEL",)

    def conic_seconds(self, answer: Answer) -> float:
        """Return Clarabel's time: a cone per class and segment."""
        frames: list[Any] = [g.problem for g in answer.groups]
        return 0.01 + 8e-4 * sum(f.moments[:, 0].size for f in frames)

    def problems(self) -> Sequence[GroupProblem]:
        """Return every steered group with its knots, moments and targets."""
        D, r, transport = self.D, self.question.reference, self.question.transport
        assert r is not None
        mean, std = D.location[..., 0], np.sqrt(D.cov[..., 0, 0])
        n = transport.n_knots  # type: ignore[attr-defined]
        out = []
        for s in self.question.steered:
            w = self.question.prior[:, s]
            p = w / w.sum()
            (center, scale), own = (_spread(p, mean[:, a], std[:, a]) for a in (r, s))
            m, g = (mean[:, r] - center) / scale, std[:, r] / scale
            knots = mixture_quantiles(w, m, g, (np.arange(n) + 0.5) / n)
            out.append(
                Pieces(
                    group=D.groups[s],
                    w=w,
                    knots=knots,
                    moments=np.stack(
                        [normal_moments(knots, *cell) for cell in zip(m, g, strict=True)]
                    ),
                    mu=(mean[:, s] - own[0]) / own[1],
                    sigma=std[:, s] / own[1],
                    units=(center, scale, *own),
                    laws=np.stack([m, g], axis=1),
                )
            )
        return out

    def exact(self, solver: str) -> Answer:
        """Return the answer of Newton's method."""
        return Answer(best_signs(self.problems(), False, False), "newton")

    # -- the answer --

    def ideality_tolerance(self, answer: Answer, population: Any, residual: float) -> float:
        """Return the tolerance: one feature is never ill-conditioned."""
        return IDEALITY_TOLERANCE

    def pushed(self, answer: Answer, laws: Any) -> Pushforward:
        """Return the common laws seen through the bent maps."""
        maps = {g.group: g.user_map for g in answer.groups}
        return Pushforward.of_laws(self.D, self.question.prior, laws, maps)


def _spread(p: Array, mean: Array, std: Array) -> tuple[float, float]:
    """Return mean and standard deviation of a mixture with weights p."""
    center = float(p @ mean)
    return center, float(np.sqrt(p @ (std**2 + (mean - center) ** 2)))
