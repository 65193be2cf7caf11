"""What every population answers: features, common laws, divergences, samples, atoms."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, ModelError
from fairprog.fields import array, either, labels, read, refuse
from fairprog.labels import (
    Array,
    Indices,
    check_count,
    check_features,
    check_random_state,
    column_names,
    label_array,
)
from fairprog.populations.bayes_rules import BayesRules
from fairprog.populations.discretize import finite_version
from fairprog.transports import AffineMap, ConjugatedMap

AXES = {"classes? groups?": either(None, labels), "feature_names?": either(None, [str])}


class Population(BayesRules):
    """Joint law of (X, Y, A): ``prior[i, a]`` = P(Y=i, A=a) and a law of X per cell.

    A family is a subclass. Programs ask it for its common laws (`laws_of`, `common_map`, `pushed`,
    `map_residual`), a `Solution` for `as_features`, `user_map`, `cell_maps` and
    `cell_divergences`. Bayes rules: :class:`~fairprog.populations.bayes_rules.BayesRules`; what
    pictures and reports ask besides: :class:`~fairprog.populations.coordinates.Coordinates`;
    prior, labels and plain data: :class:`~fairprog.populations.labelled.Labelled`.
    """

    family: ClassVar[str] = "population"
    _registry: ClassVar[dict[str, type[Population]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = Population._registry.get(cls.__name__, cls).__module__
        if known.startswith("fairprog.") and not cls.__module__.startswith("fairprog."):
            raise ModelError(
                f"The package has a population {cls.__name__!r}, and files go by this name; give "
                "yours another one.",
                argument="family",
            )
        Population._registry[cls.__name__] = cls

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

    # -- common laws, carried to groups by maps --

    def laws_of(self, a: int) -> Any:
        """Return the laws of the classes of the group at `a`, as the methods below take them."""
        raise self._missing("common laws")

    def common_map(self, r: int, a: int) -> Any:
        """Return the map that best carries the laws of the group at `r` to those of that at `a`.

        In the family's own coordinates, and of any orientation. None where the family has no map
        between them; how well another one does it, :meth:`map_residual` tells.
        """
        raise self._missing("common maps")

    def pushed(self, prior: Array, laws: Any, maps: Mapping[Hashable, Any]) -> Self:
        """Return the population whose groups are images of common laws.

        Parameters
        ----------
        prior : Array, shape (K, G)
        laws : as :meth:`laws_of` returns them
            R_i, one law per class.
        maps : mapping of group to a map, or to one map per class
            Group a becomes maps[a] # R_i, in the family's own coordinates. Groups that are not
            named stay as they are, to the bit.
        """
        raise self._missing("common laws")

    def map_residual(self, T: Any, laws: Any, a: int) -> float:
        """Return the worst whitened residual of the cells of the group at `a` against T # laws."""
        raise self._missing("common laws")

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
        rng, G = check_random_state(random_state), self.n_groups
        cell = rng.choice(self.prior.size, size=check_count(n, "n"), p=self.prior.ravel())
        classes, groups = label_array(self.classes), label_array(self.groups)
        return rng, cell, classes[cell // G], groups[cell % G]

    def discretize(self, n: int = 2048, random_state: int | np.random.Generator = 0) -> Any:
        """Return a population on n atoms, for the programs over classifiers.

        An ideal population is discretised in the common coordinates (those of the first group):
        atom k of every group is the image of the same node, so the result is ideal to rounding
        and a group-blind classifier sees aligned features. Other populations share atoms in the
        features themselves. A finite population is returned as it is.

        Parameters
        ----------
        n : int, default 2048
            Number of atoms. With one feature they are bins (at most n) with exact probabilities;
            with several (normal cells), quasi-Monte Carlo nodes.
        random_state : int or numpy Generator
            Scrambles the nodes (several features).

        Returns
        -------
        Categorical
            ``discretization_error`` says what it costs. One feature: every classifier of X can
            be replaced by one of the bins whose outcome table differs by at most this in every
            entry (and tables of classifiers of bins are exact). Several features: the largest
            standard error, over scrambles, of an entry of the 0-1 Bayes rule's table.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> E = D.discretize(256)
        >>> round(D.evaluate().error, 3), round(E.evaluate().error, 3)
        (0.217, 0.217)
        >>> E.discretization_error < 2e-3
        True
        """
        joint, values, error = self._atoms(n, random_state)
        data = {"joint": joint, "values": values, "classes": self.classes, "groups": self.groups}
        out: Any = population_from_dict({"population": "Categorical", **data})
        out.discretization_error = error
        return out

    def _atoms(self, n: int, random_state: int | np.random.Generator) -> tuple[Array, Any, float]:
        """Return the joint law (X, K, G) of n atoms, what they are, and the error they cause."""
        return finite_version(self, n, random_state)


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
