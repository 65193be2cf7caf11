r"""The group's whole law as one more cell: between class-conditional and marginal matching.

With l the weight of the whole law, what is minimised is

.. math:: (1 - l)\,KL(\tilde D \| D) + l \sum_a p_a\,KL(\tilde P_{\cdot a} \| P_{\cdot a}) ,

where P_.a is the normal law with mean and covariance of all rows of group a, and the common law of
all rows is mapped like those of the classes. That is the program of a population with one more
class, of mass l: every geometry, solver and certificate applies as it stands (theory.md, 15).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_finite, check_number
from fairprog.populations import DiagonalNormal, Normal, Population
from fairprog.programs.base_rates import steered_prior
from fairprog.programs.question import Question
from fairprog.solution import Solution

WHOLE = "(all)"  # the class that stands for all rows of a group


def checked_weight(weight: float) -> float:
    """Return the weight of the whole law, in [0, 1]."""
    value = check_number(weight, "marginal_weight")
    if value > 1.0:
        raise DataError(
            f"`marginal_weight` must be in [0, 1]; found {weight!r}.", argument="marginal_weight"
        )
    return value


def with_whole_law(D: Population, weight: float, rates: ArrayLike | None) -> Normal:
    """Return the population with one more class, of mass `weight`; with weight 1 nothing else.

    Parameters
    ----------
    D : Normal
    weight : float in (0, 1]
    rates : array_like, shape (K, G), optional
        Base rates in the whole laws; default those of D.
    """
    if isinstance(D, DiagonalNormal):
        D = D.full()
    if not isinstance(D, Normal):
        raise ModelError(
            f"`marginal_weight` is for normal populations; {type(D).__name__} has no whole law of "
            "its own family.",
            argument="marginal_weight",
        )
    share = D.base_rates if rates is None else check_finite(rates, "marginal_rates")
    if share.shape != D.prior.shape or np.any(share < 0) or np.any(share.sum(axis=0) <= 0):
        raise DataError(
            f"`marginal_rates` must be base rates of shape {D.prior.shape}, none negative.",
            argument="marginal_rates",
        )
    share = share / share.sum(axis=0)
    mean = D.location
    cov = np.stack([np.asarray(D.cov_of(a)) for a in range(D.n_groups)], axis=1)
    centre = np.einsum("ia,iaj->aj", share, mean)
    off = mean - centre
    whole = np.einsum("ia,iajk->ajk", share, cov) + np.einsum("ia,iaj,iak->ajk", share, off, off)
    mass = weight * D.group_mass[None]
    if weight == 1.0:
        labels: tuple[Any, ...] = (WHOLE,)
        prior, mean, cov = mass, centre[None], whole[None]
    else:
        labels = (*D.classes, WHOLE)
        prior = np.concatenate([(1.0 - weight) * D.prior, mass])
        mean, cov = np.concatenate([mean, centre[None]]), np.concatenate([cov, whole[None]])
    return Normal(prior / prior.sum(), mean, cov=cov, classes=labels, groups=D.groups)


def with_whole_rates(question: Question, D: Any, weight: float, base_rates: Any) -> Question:
    """Return the question with the base rates of the classes, and the whole law's own mass."""
    if weight == 1.0 and not question.staying:
        raise ModelError(
            "marginal_weight=1 leaves the classes' laws free where every group moves; let one "
            "stay.",
            argument="marginal_weight",
        )
    if isinstance(base_rates, str) and base_rates == "joint":
        raise ModelError(
            "base_rates='joint' takes no `marginal_weight`; use 'equalize'.", argument="base_rates"
        )
    if question.staying or (isinstance(base_rates, str) and base_rates == "keep"):
        return question
    rates = steered_prior(D, question.staying, base_rates)[:, 0] / D.group_mass[0]
    return question.at_rates(np.append((1.0 - weight) * rates, weight))


def extended_rates(base_rates: Any, weight: float) -> Any:
    """Return base rates that a user has given, with the whole law's mass."""
    if isinstance(base_rates, str):
        return base_rates
    if weight == 1.0:
        return "equalize"
    rates: Array = (1.0 - weight) * np.asarray(base_rates, dtype=float)
    return np.append(rates, weight)


def without_whole_law(
    found: Solution, D: Any, question: Question, weight: float, base_rates: Any
) -> Solution:
    """Return the answer as one for the population itself; its certificate is the program's."""
    D = D.full() if isinstance(D, DiagonalNormal) else D
    prior = steered_prior(D, question.staying, base_rates)
    if question.staying and question.map_bound == 0:
        moved = {D.groups[a]: found.affine[D.groups[a]] for a in question.steered}
        E = D.pushed(prior, D.laws_of(question.reference), moved)
    else:
        whole, K = found.population, D.n_classes
        cov = np.stack([whole.cov_of(a)[:K] for a in range(D.n_groups)], axis=1)
        E = Normal(prior, whole.location[:K], cov=cov, classes=D.classes, groups=D.groups)
    given = base_rates if isinstance(base_rates, str) else tuple(np.asarray(base_rates).tolist())
    more = {"base_rates": given, "marginal_weight": weight}
    return replace(
        found, original=D, population=E, kl=E.kl(D), settings={**found.settings, **more}
    )
