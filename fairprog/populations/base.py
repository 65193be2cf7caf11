"""What every population has: a prior, labels, group masses, base rates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, as_labels, check_finite

__all__ = ["Population", "check_prior", "population_from_dict"]


def check_prior(
    prior: ArrayLike, classes: Iterable[Any] | None, groups: Iterable[Any] | None
) -> tuple[Array, tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Return a positive (K, G) prior that sums to one, with its labels.

    Raises
    ------
    DataError
        If it is not (K, G), does not sum to one (to 1e-8) or has an empty cell.
    """
    q = check_finite(prior, "prior")
    if q.ndim != 2:
        raise DataError(
            f"`prior` must have shape (K, G): classes by groups; its shape is {q.shape}.",
            argument="prior",
        )
    class_labels = as_labels(classes, q.shape[0], "classes")
    group_labels = as_labels(groups, q.shape[1], "groups")
    empty = np.argwhere(q <= 0)
    if empty.size:
        i, a = (int(k) for k in empty[0])
        raise DataError(
            f"`prior` must be positive in every cell; class {class_labels[i]!r}, group "
            f"{group_labels[a]!r} has {q[i, a]:.6g}.",
            argument="prior",
            cell=(class_labels[i], group_labels[a]),
        )
    if abs(q.sum() - 1.0) > 1e-8:
        raise DataError(
            f"`prior` must sum to one over classes and groups; it sums to {q.sum():.9g}.",
            argument="prior",
        )
    # to the bit where it sums to one already, so that saving and loading change nothing
    return q if abs(q.sum() - 1.0) <= 1e-12 else q / q.sum(), class_labels, group_labels


class Population:
    """Joint law of (X, Y, A): ``prior[i, a]`` = P(Y=i, A=a) and a law of X per cell.

    Attributes
    ----------
    prior : Array, shape (K, G)
        Cell probabilities.
    classes, groups : tuple
        Labels of the two axes.
    """

    family: ClassVar[str] = "population"
    _registry: ClassVar[dict[str, type[Population]]] = {}

    prior: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Population._registry[cls.__name__] = cls

    @property
    def n_classes(self) -> int:
        """Number of classes, K."""
        return len(self.classes)

    @property
    def n_groups(self) -> int:
        """Number of groups, G."""
        return len(self.groups)

    @property
    def group_mass(self) -> Array:
        """p_a = P(A=a), shape (G,)."""
        out: Array = self.prior.sum(axis=0)
        return out

    @property
    def base_rates(self) -> Array:
        """rho_a(i) = P(Y=i | A=a), shape (K, G)."""
        out: Array = self.prior / self.group_mass
        return out

    def _order_of(self, other: Population, argument: str) -> tuple[list[int], list[int]]:
        """Return the positions of my labels in `other`; ModelError if the sets differ."""
        if type(self) is not type(other):
            raise ModelError(
                f"`{argument}` is a {type(other).__name__}; needed is a {type(self).__name__}.",
                argument=argument,
            )
        for mine, theirs, axis in (
            (self.classes, other.classes, "classes"),
            (self.groups, other.groups, "groups"),
        ):
            if set(mine) != set(theirs):
                raise ModelError(
                    f"`{argument}` has {axis} {list(theirs)}; needed are {list(mine)} in any "
                    "order.",
                    argument=argument,
                )
        return (
            [other.classes.index(c) for c in self.classes],
            [other.groups.index(g) for g in self.groups],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments (arrays and labels), with the family's name."""
        raise ModelError(f"{type(self).__name__} cannot be saved.")


def population_from_dict(data: Mapping[str, Any]) -> Population:
    """Rebuild a population from ``Population.to_dict()``; ModelError for an unknown family."""
    arguments = dict(data)
    name = arguments.pop("population", None)
    if name not in Population._registry:
        raise ModelError(f"Unknown population {name!r}; known are {sorted(Population._registry)}.")
    return Population._registry[name](**arguments)
