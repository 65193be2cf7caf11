"""Which geometry answers a question about a population: the table a new family joins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fairprog.errors import ModelError
from fairprog.populations import (
    Categorical,
    DiagonalNormal,
    LocationScale,
    Normal,
    Population,
    Transformed,
)
from fairprog.programs.geometries.base import Geometry
from fairprog.programs.geometries.finite import FiniteGeometry
from fairprog.programs.geometries.independent import IndependentGeometry, keeps_independent
from fairprog.programs.geometries.line import LineGeometry
from fairprog.programs.geometries.normal import NormalGeometry
from fairprog.programs.geometries.piecewise import PiecewiseGeometry
from fairprog.solution import Solution
from fairprog.transports import Transport

FAMILIES: dict[type[Population], type[Geometry]] = {  # a subclass has that of its parent
    Categorical: FiniteGeometry,
    DiagonalNormal: IndependentGeometry,
    LocationScale: LineGeometry,
    Normal: NormalGeometry,
}


def choose(
    population: Population, transport: Transport | None
) -> tuple[type[Geometry], Any, Transport]:
    """Return geometry, population in its own coordinates, and transport of a program.

    A bijection changes neither divergence nor maps: the program of a transformed population is
    that of its base.

    Raises
    ------
    ModelError
        For other populations, a single group, or a transport that does not keep the family.
    """
    if isinstance(population, Transformed):
        return choose(population.base, transport)
    parents = type(population).__mro__
    family = next((FAMILIES[c] for c in parents if c in FAMILIES), None)
    if family is None:
        raise ModelError(
            "`population` must be a population of one of the families "
            f"{sorted(c.__name__ for c in (*FAMILIES, Transformed))}; found "
            f"{type(population).__name__}. {_call(population)}",
            argument="population",
        )
    if population.n_groups < 2:
        raise ModelError("`population` needs at least two groups.", argument="population")
    chosen = family.default_transport(population) if transport is None else transport
    if not isinstance(chosen, Transport):
        raise ModelError(
            f"`transport` must be a Transport such as Monotone(); found {chosen!r}.",
            argument="transport",
        )
    if chosen.kind == "piecewise" and issubclass(family, NormalGeometry):
        family = PiecewiseGeometry
    family.check_transport(population, chosen)
    if isinstance(population, DiagonalNormal) and not keeps_independent(population, chosen):
        return NormalGeometry, population.full(), chosen
    return family, population, chosen


def lifted(solution: Solution, population: Population) -> Solution:
    """Return the solution of a base's program as one of the transformed population."""
    if not isinstance(population, Transformed):
        return solution
    inner, g = lifted(solution, population.base), population.bijection
    same = inner.original is population.base  # else it is the base with covariance matrices
    original = population if same else Transformed(inner.original, g)
    return replace(inner, original=original, population=Transformed(inner.population, g))


def _call(found: Any) -> str:
    """Return what to write in the place of something that is no population of the table."""
    calls = {
        "Moments": "Use moments.population().",
        "Solution": "Use solution.population, or solution.original.",
        "Pushforward": "Use the answer's .original, or .discretize() for a FairClassifier.",
        "Empirical": "Use empirical.fit_map(population, group).",
    }
    rows = "For rows say fp.Normal.fit(X, y, sensitive_features=a)."
    return next((calls[c.__name__] for c in type(found).__mro__ if c.__name__ in calls), rows)
