"""The promises of a univariate family, checked one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fairprog.errors import FairprogError, ModelError
from fairprog.labels import Array, check_random_state
from fairprog.populations import LocationScale, population_from_dict
from fairprog.populations.law import Law

PRIOR = np.array([[0.3, 0.2], [0.25, 0.25]])
FIRST = np.array([[0.5, 1.0], [2.0, 1.5]])
SECOND = np.array([[1.0, 1.5], [0.8, 1.2]])
SAMPLE = 20_000
KS_LEVEL = 1e-6


def check_family(family: Any, random_state: int = 0) -> None:
    """Check a univariate family: density, CVXPY atom, sampler, divergence, program, saving.

    Parameters
    ----------
    family : subclass of LocationScale, or a population of it
        A class is tried with parameters of order one; pass a population where its constructor
        takes something else than two arrays.
    random_state : int
        Seeds the sample of the Kolmogorov-Smirnov test.

    Raises
    ------
    ModelError
        Naming the family and the first promise it breaks: the density integrates to one; the
        atom equals it and is convex by CVXPY's rules; -log density is convex, and symmetric
        where it says so; the sampler draws from it (KS, level 1e-6); KL agrees with scipy's
        numerical integration to 1e-8; a shift and a change of scale leave KL and the program's
        optimum unchanged; ``to_dict`` rebuilds an equal population.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.testing.check_family(fp.Gumbel)
    """
    candidate: Any = family
    if isinstance(family, LocationScale):
        D = family
    elif isinstance(candidate, type) and issubclass(candidate, LocationScale):
        try:
            D = candidate(PRIOR, FIRST, SECOND)
        except TypeError as error:
            raise ModelError(
                f"{candidate.__name__} cannot be built from two arrays ({error}); pass a "
                "population instead of the class.",
                argument="family",
            ) from error
    else:
        raise ModelError(
            f"`family` must be a subclass of LocationScale or a population of one; found "
            f"{family!r}.",
            argument="family",
        )
    name = type(D).__name__
    rng = check_random_state(random_state)
    for i in range(D.n_classes):
        law = D.law(i, 0)
        _check_density(law, name)
        _check_atom(type(D), law, name)
        _check_convexity(law, name)
        _check_symmetry(law, name)
        _check_sampler(law, name, rng)
    _check_divergence(D, name)
    _check_saving(D, name)
    _check_equivariance(D, name)


def _fail(name: str, problem: str) -> ModelError:
    return ModelError(f"The family {name} fails its check: {problem}", argument="family")


def _points(law: Law) -> Array:
    z = law.points
    return np.asarray(z[law.phi(z) - law.phi(law.range[1:2]) < 30.0])


def _check_density(law: Law, name: str) -> None:
    if abs(law.mass - 1.0) > 1e-9:
        raise _fail(
            name,
            f"its density integrates to {law.mass:.9g}, not 1; add {np.log(law.mass):.9g} to "
            "`neg_log_density` and `atom`.",
        )


def _check_atom(family: Any, law: Law, name: str) -> None:
    from fairprog.programs.compile.shifts import atom_values

    z = _points(law)
    values, expected = atom_values(family, law, z), law.phi(z)
    off = np.abs(values - expected) / np.maximum(1.0, np.abs(expected))
    if not off.max() <= 1e-9:
        k = int(np.argmax(off))
        raise _fail(
            name,
            f"at z = {z[k]:.6g} its atom is {values[k]:.9g}, its neg_log_density "
            f"{expected[k]:.9g}.",
        )


def _check_convexity(law: Law, name: str) -> None:
    where = law.concave_chord
    if where is not None:
        raise _fail(
            name,
            f"-log density is not convex between z = {where[0]:.4g} and {where[1]:.4g}: the "
            "density is not log-concave.",
        )


def _check_symmetry(law: Law, name: str) -> None:
    z = law.lopsided_at
    if z is not None:
        raise _fail(
            name, f"`symmetric` is True, but its density at {z:.4g} is not that at {-z:.4g}."
        )


def _check_sampler(law: Law, name: str, rng: np.random.Generator) -> None:
    from scipy.stats import kstest

    sample = np.asarray(law.draw(rng, SAMPLE), dtype=float)
    if sample.shape != (SAMPLE,):
        raise _fail(name, f"draw(rng, {SAMPLE}) returned an array of shape {sample.shape}.")
    cdf: Any = law.cdf
    test: Any = kstest(sample, cdf)
    if not test.pvalue >= KS_LEVEL:
        raise _fail(
            name,
            f"its sampler does not draw from its density (KS distance {test.statistic:.3g} over "
            f"{SAMPLE} draws, p = {test.pvalue:.1e}).",
        )


def _check_divergence(D: LocationScale, name: str) -> None:
    from scipy.integrate import quad

    law, target = D.law(0, 0), D.law(0, 0)
    for alpha, beta in ((1.3, 0.4), (0.6, 0.2)):
        if not D.moves_scale:
            alpha = 1.0

        def integrand(z: float, alpha: float = alpha, beta: float = beta) -> float:
            x = np.array([z])
            phi = float(law.phi(x)[0])
            other = float(target.phi(alpha * x + beta)[0])
            return float(np.exp(-phi)) * (other - phi - float(np.log(alpha)))

        low, mode, high = law.range
        breaks = sorted({mode, *law.kinks, *((k - beta) / alpha for k in law.kinks)})
        ends = [low, *(b for b in breaks if low < b < high), high]
        ends = sorted({*ends, *(e for e in (mode - 4.0, mode + 4.0) if low < e < high)})
        value = sum(
            quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
            for a, b in itertools.pairwise(ends)
        )
        ours = law.divergence(target, alpha, beta)
        if not abs(ours - value) <= 1e-8 * max(abs(value), 1e-3):
            raise _fail(
                name,
                f"KL at scale ratio {alpha:g}, shift {beta:g} is {ours:.12g}; numerical "
                f"integration gives {value:.12g}. Are all `kinks` of -log density listed?",
            )


def _check_saving(D: LocationScale, name: str) -> None:
    again = population_from_dict(D.to_dict())
    same = type(again) is type(D) and all(
        np.array_equal(getattr(again, part), getattr(D, part))
        for part in ("prior", "base_loc", "base_scale")
    )
    if not same:
        raise _fail(name, "to_dict() does not rebuild an equal population.")


def _check_equivariance(D: LocationScale, name: str) -> None:
    from fairprog.programs import NearestIdeal

    factor, shift = (2.5, -1.0) if D.moves_scale else (1.0, -1.0)
    shape = np.array([[law.shape for law in row] for row in D.laws])
    E = D.with_cells(D.prior, factor * D.base_loc + shift, factor * D.base_scale, shape)
    group = D.groups[-1]
    try:
        here, there = (NearestIdeal(P, steer=[group]).solve() for P in (D, E))
    except FairprogError as error:
        raise _fail(name, f"its program has no answer: {error}") from error
    if abs(here.kl - there.kl) > 1e-7 * max(1.0, here.kl):
        raise _fail(
            name, f"a change of units moves the optimum from {here.kl:.9g} to {there.kl:.9g}."
        )
    if not here.population.is_ideal():
        raise _fail(name, "the nearest ideal population is not ideal.")
