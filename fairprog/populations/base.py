"""What every population has: a prior, labels, group masses, base rates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.fields import array, either, labels, read, refuse
from fairprog.labels import (
    Array,
    Indices,
    as_labels,
    check_count,
    check_features,
    check_finite,
    column_names,
    label_array,
)
from fairprog.populations.coordinates import Coordinates
from fairprog.transports import AffineMap, ConjugatedMap

if TYPE_CHECKING:
    from fairprog.populations.evaluation import Evaluation
    from fairprog.tables import Notion, Risk

__all__ = ["Population", "check_prior", "population_from_dict"]

AXES = {"classes? groups?": either(None, labels), "feature_names?": either(None, [str])}


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


class Population(Coordinates):
    """Joint law of (X, Y, A): ``prior[i, a]`` = P(Y=i, A=a) and a law of X per cell.

    A family is a subclass. What a `Solution` asks of it: `as_features`, `user_map`, `cell_maps`,
    `cell_divergences`, `kl`, `evaluate`, `is_ideal`, `to_dict` and `from_dict`. What pictures and
    reports ask besides: see :class:`~fairprog.populations.coordinates.Coordinates`.

    Attributes
    ----------
    prior : Array, shape (K, G)
        Cell probabilities.
    classes, groups : tuple
        Labels of the two axes.
    feature_names : tuple of str or None
        Names of the features where they are known.
    """

    family: ClassVar[str] = "population"
    _registry: ClassVar[dict[str, type[Population]]] = {}

    prior: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    feature_names: tuple[str, ...] | None = None

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

    # -- features --

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return 1

    @property
    def null_dimension(self) -> int:
        """Number of directions in which nothing varies."""
        return 0

    def check_names(self, X: Any) -> None:
        """Raise a DataError if X is a data frame with other columns than the population's."""
        names = column_names(X)
        if names is not None and self.feature_names is not None and names != self.feature_names:
            raise DataError(
                f"`X` has the columns {list(names)}; the population was fitted on "
                f"{list(self.feature_names)}, in this order.",
                argument="X",
            )

    @classmethod
    def check_domain(cls, X: Array) -> Array:
        """Return features of shape (n, d) unchanged; DataError where the family has no density."""
        return X

    def as_features(self, X: ArrayLike) -> Array:
        """Return features of shape (n, d), checked against names, shape and domain."""
        self.check_names(X)
        return self.check_domain(check_features(X, dim=self.n_features))

    def user_map(self, affine: AffineMap) -> AffineMap | ConjugatedMap:
        """Return an affine map of the family's coordinates as a map in the user's units."""
        return affine

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in the family's coordinates."""
        raise ModelError(f"{type(self).__name__} has no affine maps.")

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return, by (class, group) position, maps of rows (n, d) that carry P_ia to target's."""
        raise ModelError(f"{type(self).__name__} has no transport between cells.")

    def cell_maps_from(self, original: Any) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return, by (class, group) position, maps that carry the cells of `original` to mine."""
        return original.cell_maps(self)

    # -- statistics --

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows: features, classes, groups."""
        raise ModelError(f"{type(self).__name__} cannot be sampled.")

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        raise ModelError(f"{type(self).__name__} has no divergence.")

    def kl(self, other: Self) -> float:
        """Return KL(self || other) of the joint laws of (X, Y, A), in nats.

        sum_ia q_ia log(q_ia / q'_ia) + sum_ia q_ia KL(P_ia || P'_ia). Infinite where `other` is
        singular and self is not. Labels are matched by value.

        Raises
        ------
        ModelError
            If `other` is of another family or has other labels or dimension.
        """
        order_i, order_a = self._order_of(other, "other")
        if other.n_features != self.n_features:
            raise ModelError(
                f"`other` has {other.n_features} features; needed are {self.n_features}.",
                argument="other",
            )
        prior = other.prior[np.ix_(order_i, order_a)]
        value = float((self.prior * np.log(self.prior / prior)).sum())
        return value + float((self.prior * self.cell_divergences(other)).sum())

    # -- sampling --

    def _draw(
        self, n: int, random_state: int | np.random.Generator | None
    ) -> tuple[np.random.Generator, Indices, NDArray[Any], NDArray[Any]]:
        """Return the generator, and the cell i G + a, class and group of n rows, each (n,)."""
        rng, G = np.random.default_rng(random_state), self.n_groups
        cell = rng.choice(self.prior.size, size=check_count(n, "n"), p=self.prior.ravel())
        classes, groups = label_array(self.classes), label_array(self.groups)
        return rng, cell, classes[cell // G], groups[cell % G]

    # -- fairness --

    def evaluate(
        self,
        cost: ArrayLike | Risk | None = None,
        rule_of: Self | None = None,
        n_samples: int = 2**16,
        random_state: int | np.random.Generator = 0,
    ) -> Evaluation:
        """Apply a Bayes rule to this population."""
        raise ModelError(f"{type(self).__name__} has no Bayes rules.")

    def ideality_gap(self, notion: Notion | None = None) -> float:
        """Return the worst gap of a notion over all cost matrices (0 iff ideal for it)."""
        raise ModelError(f"{type(self).__name__} has no Bayes rules.")

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether the Bayes rule of every cost matrix is exactly fair."""
        raise ModelError(f"{type(self).__name__} has no test of ideality.")

    # -- saving --

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments (arrays and labels), with the family's name."""
        raise ModelError(f"{type(self).__name__} cannot be saved.")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a population from the constructor's arguments that `to_dict` returned."""
        return cls(**data)


def population_from_dict(data: Mapping[str, Any]) -> Population:
    """Rebuild a population from ``Population.to_dict()``; ModelError for an unknown family."""
    arguments = dict(data)
    name = arguments.pop("population", None)
    names = ("classes", "groups", "feature_names")
    read({k: v for k, v in arguments.items() if k in names}, "population", AXES)
    if not all(array()(v) for v in arguments.values() if isinstance(v, np.ndarray)):
        raise refuse(f"a {name} of numbers that are not finite, or too large to square")
    if name not in Population._registry:
        known = [n for n, c in Population._registry.items() if c.family != Population.family]
        raise ModelError(f"Unknown population {name!r}; known are {sorted(known)}.")
    return Population._registry[name].from_dict(arguments)
