r"""The derivative of a solution in the cells' parameters, by the implicit-function theorem.

Where some group stays, every steered group's map x minimises a convex f(x; D): with g its gradient
and H its Hessian, :math:`dx = -H^{-1}\,\partial_D g\,dD`. Here one Newton step is taken from the
answer in the program of a population moved a little, :math:`x - H^{-1} g(x; D + dD)`: central
differences of anything computed there are its derivatives, and sums of the two values of KL its
second ones. Nothing is solved again. That is for laws of one feature and independent features;
those of full covariances have derivatives of their own (:mod:`.normal_response`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from fairprog.labels import Array
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.geometries.group_map import GroupMaps
from fairprog.programs.geometries.line_frame import LineFrame

STEP = 1e-5


def geometry_of(geometry: Geometry, D: Any) -> Geometry:
    """Return the geometry of the same question about another population of the family."""
    question = geometry.question
    prior = geometry.target_prior(D, question.staying, question.base_rates)
    return geometry.at(replace(question, population=D, prior=prior))


@dataclass(frozen=True, eq=False)
class Response:
    """One steered group's answer, and how it follows the population.

    Attributes
    ----------
    place : int
        Of the group among those steered.
    base : tuple of arrays
        Its map, in the problem's own parts.
    tangent : list of tuples of arrays
        How each of the free numbers moves it.
    hessian : Array, shape (m, m)
    mirrors : bool
        Whether the map is a mirror image.
    """

    place: int
    base: tuple[Any, ...]
    tangent: list[tuple[Any, ...]]
    hessian: Array
    mirrors: bool

    def problem(self, geometry: Geometry) -> Any:
        """Return the group's problem, of the map's own sign."""
        found: Any = geometry.problems()[self.place]
        return found.mirrored() if self.mirrors else found

    def at(self, geometry: Geometry) -> GroupMaps:
        """Return the map after one Newton step in the program of a population nearby."""
        problem = self.problem(geometry)
        zero = np.zeros(len(self.tangent))
        step = -self._solve(self.slope(problem, zero))
        return GroupMaps(*self._point(problem, step))

    @cached_property
    def _factors(self) -> tuple[Any, Array]:
        """The Hessian factorised, in units that make its diagonal one, and these units."""
        scale = 1.0 / np.sqrt(np.diagonal(self.hessian))
        return lu_factor(self.hessian * scale[:, None] * scale), scale

    def _solve(self, g: Array) -> Array:
        factors, scale = self._factors
        return np.asarray(scale * lu_solve(factors, scale * g))

    @cached_property
    def _directions(self) -> Array:
        """How each of the free numbers moves the entries of the map, (m, entries)."""
        return np.array([_flat(T) for T in self.tangent]).reshape(len(self.tangent), -1)

    def slope(self, problem: Any, x: Array) -> Array:
        """Return the gradient of the cost in the free numbers."""
        found, theta = self._point(problem, x)
        total: list[Any] | None = None
        for own in found.class_gradients(theta):
            total = list(own) if total is None else [t + p for t, p in zip(total, own)]  # noqa: B905
        assert total is not None
        parts = [np.broadcast_to(t, np.shape(b)) for t, b in zip(total, self.base, strict=True)]
        return np.asarray(self._directions @ _flat(parts))

    def _point(self, problem: Any, x: Array) -> tuple[Any, Any]:
        """Return the problem and its map at given numbers."""
        moved = self.base
        if np.any(x):
            ends = np.cumsum([np.size(b) for b in self.base])[:-1]
            parts = np.split(_flat(self.base) + x @ self._directions, ends)
            moved = tuple(
                p.reshape(np.shape(b))[()] for p, b in zip(parts, self.base, strict=True)
            )
        return problem, tuple(moved)


def _flat(parts: Sequence[Any]) -> Array:
    return np.concatenate([np.ravel(part) for part in parts])


def response_of(geometry: Geometry, place: int, T: Any) -> Response:
    """Return the response of the steered group at `place`, whose map is T."""
    problem: Any = geometry.problems()[place]
    mirrors = float(np.diag(T.matrix)[0]) < 0
    problem = problem.mirrored() if mirrors else problem
    base = _own(problem, T)
    zero = {name: np.zeros(shape) for name, shape in problem.parts.items()}
    tangent, origin = [], problem.theta(zero)
    for name, shape in problem.parts.items():
        for k in range(int(np.prod(shape, dtype=int))):
            unit = {n: v.copy() for n, v in zero.items()}
            unit[name].reshape(-1)[k] = 1.0
            moved = problem.theta(unit)
            tangent.append(tuple(np.subtract(m, o) for m, o in zip(moved, origin, strict=True)))
    out = Response(place, base, tangent, np.eye(len(tangent)), bool(mirrors))
    scale = [STEP * _size(base, T_) for T_ in tangent]
    columns = []
    for k, h in enumerate(scale):
        x = np.zeros(len(tangent))
        x[k] = h
        columns.append((out.slope(problem, x) - out.slope(problem, -x)) / (2.0 * h))
    H = np.array(columns)
    return replace(out, hessian=0.5 * (H + H.T))


def _size(base: Sequence[Any], direction: Sequence[Any]) -> float:
    """Return the size of the part of a map that a direction changes, one where it is nothing."""
    part = next(k for k, t in enumerate(direction) if np.any(t))
    size = float(np.abs(base[part]).max())
    return size / float(np.abs(direction[part]).max()) if size > 0 else 1.0


def _own(problem: Any, T: Any) -> tuple[Any, ...]:
    """Return a map in the coordinates of a problem of one feature, or of independent ones."""
    gain = getattr(T, "diagonal", None)
    gain = np.diag(T.matrix) if gain is None else gain
    if isinstance(problem, LineFrame):
        S = float(abs(gain[0]))
        own = float(T.offset[0]) - problem.target_center + float(gain[0]) * problem.center
        return S, own / problem.C
    return tuple(problem.from_user(gain[problem.varies], T.offset[problem.varies]))
