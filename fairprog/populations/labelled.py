"""What every population stores besides its cells: prior, labels, the rows behind it."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices, as_labels, check_finite
from fairprog.populations.cell_checks import refuse_cells


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


class Labelled:
    """A prior over classes and groups, with labels, and the plain data of a population.

    Attributes
    ----------
    prior : Array, shape (K, G)
        Cell probabilities.
    classes, groups : tuple
        Labels of the two axes.
    feature_names : tuple of str or None
        Names of the features where they are known.
    n_rows, cell_weight : array, shape (K, G), or None
        Numbers of rows of positive weight the cells were estimated from, and sums of their
        weights, where they are known.
    """

    prior: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    feature_names: tuple[str, ...] | None = None
    n_rows: Indices | None = None
    cell_weight: Array | None = None

    def _start(
        self, prior: ArrayLike, classes: Iterable[Any] | None, groups: Iterable[Any] | None
    ) -> None:
        """Keep a checked prior and its labels."""
        self.prior, self.classes, self.groups = check_prior(prior, classes, groups)
        self.prior.setflags(write=False)

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
        return self.prior.sum(axis=0)

    @property
    def base_rates(self) -> Array:
        """rho_a(i) = P(Y=i | A=a), shape (K, G)."""
        return self.prior / self.group_mass

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return 1

    def _set_feature_names(self, names: Iterable[str] | None) -> None:
        """Keep the names of the features, one each."""
        self.feature_names = None if names is None else tuple(names)
        if self.feature_names is not None and len(self.feature_names) != self.n_features:
            raise DataError(
                f"`feature_names` lists {len(self.feature_names)} names for {self.n_features} "
                "feature(s).",
                argument="feature_names",
            )

    # -- what it was estimated from --

    def with_rows(self, n_rows: ArrayLike, cell_weight: ArrayLike | None = None) -> Self:
        """Return the population, knowing how many rows it was estimated from; `fit` says so.

        Parameters
        ----------
        n_rows : array_like of int, shape (K, G)
            Rows of positive weight in each cell.
        cell_weight : array_like, shape (K, G), optional
            Sums of their weights; default their numbers.

        Raises
        ------
        DataError
            For another shape, or numbers that are not positive.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> D.n_rows is None, D.with_rows([[30, 20], [30, 20]]).n_rows.sum()
        (True, np.int64(100))
        """
        out = copy.copy(self)
        for name, values in (("n_rows", n_rows), ("cell_weight", cell_weight)):
            array = check_finite(n_rows if values is None else values, name, self.prior.shape)
            refuse_cells(array <= 0, array, name, "positive", self.classes, self.groups)
            array.setflags(write=False)
            setattr(out, name, array.astype(np.intp) if name == "n_rows" else array)
        return out

    # -- saving --

    def _labels(self) -> dict[str, Any]:
        """Return what every constructor takes by name."""
        return {
            "classes": self.classes,
            "groups": self.groups,
            "feature_names": self.feature_names,
        }

    def _parameters(self) -> dict[str, Any]:
        """Return the other arguments of the constructor, but the prior."""
        raise ModelError(f"{type(self).__name__} cannot be saved.")

    def _name(self) -> str:
        """Return the name of the class whose constructor takes them."""
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments (arrays and labels), with the family's name."""
        out: dict[str, Any] = {"population": self._name(), "prior": self.prior}
        out |= self._parameters() | self._labels()
        if self.n_rows is not None:
            out |= {"n_rows": self.n_rows, "cell_weight": self.cell_weight}
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a population from what `to_dict` returned."""
        arguments = dict(data)
        n_rows, weight = arguments.pop("n_rows", None), arguments.pop("cell_weight", None)
        out = cls(**arguments)
        return out if n_rows is None else out.with_rows(n_rows, weight)

    def with_prior(self, prior: Array) -> Self:
        """Return the population with the same cells and another prior (K, G)."""
        data = self.to_dict()
        del data["population"]
        return self.from_dict({**data, "prior": prior})

    def _sizes(self) -> dict[str, Any]:
        """Return what `repr` says besides labels."""
        return {"K": self.n_classes, "G": self.n_groups}

    def __repr__(self) -> str:
        sizes = "".join(f"{name}={value!r}, " for name, value in self._sizes().items())
        labels = f"classes={list(self.classes)}, groups={list(self.groups)}"
        return f"{self._name()}({sizes}{labels})"
