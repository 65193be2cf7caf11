"""Populations that several experiments share, and a progress bar for going through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

import fairprog as fp

__all__ = ["random_population", "steps", "two_groups"]

Item = TypeVar("Item")
GROUPS = ("a", "b", "c", "d")


def two_groups(prior: ArrayLike, mean: ArrayLike, std: ArrayLike) -> fp.Normal:
    """Return a population of one feature with groups a and b."""
    return fp.Normal(prior, mean, std=std, groups=GROUPS[:2])


def random_population(
    rng: np.random.Generator,
    d: int,
    n_classes: int = 2,
    n_groups: int = 2,
    equal_rates: bool = True,
    rare: float | None = None,
) -> fp.Normal:
    """Return a normal population whose groups resemble each other.

    Class means are N(0, 2 I / d) for all groups, plus N(0, I / 2 d) of their own per cell;
    covariances are Wishart with 2 d^2 + 6 degrees of freedom and mean I, so that classes and
    groups are about as far apart whatever d. Base rates and group shares are Dirichlet(4); base
    rates are those of the population unless `equal_rates` is False.

    Parameters
    ----------
    rng : numpy Generator
    d, n_classes, n_groups : int
    equal_rates : bool
    rare : float, optional
        Base rate of the last class, in every group.
    """
    K, G = n_classes, n_groups
    share = rng.dirichlet(np.full(G, 4.0))
    rates = rng.dirichlet(np.full(K, 4.0), size=1 if equal_rates else G).T * np.ones((1, G))
    if rare is not None:
        rates[-1] = 0.0
        rates = (1.0 - rare) * rates / rates.sum(axis=0)
        rates[-1] = rare
    common = rng.normal(scale=np.sqrt(2.0 / d), size=(K, 1, d))
    mean = common + rng.normal(scale=np.sqrt(0.5 / d), size=(K, G, d))
    n = 2 * d**2 + 6
    X = rng.normal(size=(K, G, d, n))
    cov = X @ np.swapaxes(X, -1, -2) / n
    if d == 1:
        return fp.Normal(
            share * rates, mean[..., 0], std=np.sqrt(cov[..., 0, 0]), groups=GROUPS[:G]
        )
    return fp.Normal(share * rates, mean, cov=cov, groups=GROUPS[:G])


def steps(items: Iterable[Item], name: str) -> Iterator[Item]:
    """Yield the items and show, on a terminal, how many are done."""
    yield from tqdm(items, desc=name, leave=False, disable=None)
