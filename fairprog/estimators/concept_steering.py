"""`ConceptSteering`: steering vectors with the same effect per unit of strength in every group."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.codec import register
from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning, ModelError, SolverError
from fairprog.estimators.steering_vectors import SteeringVectors
from fairprog.kernels.statistics.concept_vectors import concept_basis, concept_vectors
from fairprog.labels import (
    Array,
    Indices,
    check_count,
    check_features,
    check_number,
    index_of,
    label_array,
    plain,
)
from fairprog.populations import Moments
from fairprog.programs import NearestIdeal
from fairprog.transports import Affine, Transport

OVERFIT = 0.5  # share of the fitted log-odds that rows left out should show


class ConceptSteering(SteeringVectors):
    r"""Steer a concept by one vector per group, so that it works equally well in every group.

    Hidden states :math:`h` of group a become :math:`h + t v_a` with strength t. Linear probes on
    resampled subsets give a normal law of concept vectors for every cell (desired or not, group);
    the nearest ideal population of these laws, in which the group that responds best to a shared
    vector stays as it is, gives the other groups' vectors their direction:

    .. math:: v_a \propto \tfrac12 (\tilde\mu_{1a} - \tilde\mu_{0a}), \qquad
              w_a' v_a = w_r' v_r ,

    and their length is such that a unit of strength adds the same log-odds of the desired class
    in every group a as in the reference r, by the mean probe :math:`w_a` of each group.

    Parameters
    ----------
    steer : "auto" or list of groups, default "auto"
        The groups that get another vector than their own concept vector: all but the one that
        responds best, or those listed; then the best of the others is the reference.
    desired : hashable, optional
        The class to steer towards; default the last of the sorted labels. There are two.
    transport : Transport, default Affine()
        The class of maps. Concept vectors of two groups may be turned against each other by any
        angle, which monotone maps cannot follow.
    n_probes : int, default 100
        Probes per group.
    subset : float in (0, 1] or int, default 0.5
        Rows of each class in a subset: this share of the smallest cell, or this many. They are as
        many in every cell, as the spread of concept vectors depends on it.
    penalty : float, default 0.1
        Ridge of the probes, beside the mean logistic loss, where the median variance of a feature
        within the cells is one.
    n_components : int, default 8
        Dimensions of the concept subspace: the means of the cells and what varies most.
    shrinkage : "auto" or float in [0, 1], default "auto"
        Of the covariances of the concept vectors; see :class:`fairprog.IdealSteering`.
    merge_groups : mapping, optional
        Which groups are to be read as which others.
    random_state : int, default 0
        Of the subsets.

    Attributes
    ----------
    vectors_ : dict group -> Array, shape (d,)
        The steering vectors, in units of the hidden states.
    concept_vectors_ : dict group -> Array, shape (d,)
        Every group's own vector, half the difference of its means, before steering.
    shared_vector_ : Array, shape (d,)
        The same of probes that ignore the groups.
    probes_ : dict group -> (Array, float)
        Coefficients and offset of the mean probe: log-odds of the desired class.
    reference_ : hashable
        The group that keeps its own vector; after `calibrate` the one that responds best.
    population_, solution_ : Normal, Solution
        Of the concept vectors, in the coordinates `basis_`; None where there is one group.
    basis_ : Array, shape (d, r)
    matched_strength_, matched_effect_ : float or None
        The strength at which every group has the same effect, and that effect; by `calibrate`.
    calibration_ : str or None
        What `calibrate` found with effects on the next word, to print: both scales, whether the
        shared vector would have sufficed, and which direction was taken.
    source_ : dict or None
        Model, weights, layer, dtype, pooling and positions of the hidden states, where
        :func:`fairprog.torch.fit_concept` gathered them.
    classes_ : (undesired, desired)
    groups_ : array of labels

    Notes
    -----
    On the steered population of concept vectors the posterior of the desired class is the same
    function of strength in every group. In a model it need not be: `effect_curve` predicts by the
    probes, `calibrate` matches effects that were measured on generated text, where it is fluent.
    Source: section 5 of the paper as its summaries tell it; Zhao et al. (2025) for the concept
    vectors; theory.md sections 1 and 4.

    Examples
    --------
    >>> import numpy as np, fairprog as fp
    >>> rng = np.random.default_rng(0)
    >>> y, a = rng.integers(0, 2, (2, 1000))
    >>> X = rng.normal(size=(1000, 4))
    >>> X[:, 0] += 2.0 * y * (a == 0)       # group 0 says it in one direction
    >>> X[:, 1] += 1.0 * y * (a == 1)       # group 1 in another, and less clearly
    >>> step = fp.ConceptSteering(n_probes=20).fit(X, y, sensitive_features=a)
    >>> step.reference_
    0
    >>> before = step.effect_curve([0.0, 1.0], vectors="shared")
    >>> after = step.effect_curve([0.0, 1.0])
    >>> bool(before.loc[1.0, 0] > 2 * before.loc[1.0, 1])
    True
    >>> bool(abs(after.loc[1.0, 0] - after.loc[1.0, 1]) < 1e-10)
    True
    """

    _kind = "concept_steering"

    def __init__(
        self,
        steer: str | Iterable[Any] = "auto",
        *,
        desired: Any = None,
        transport: Transport | None = None,
        n_probes: int = 100,
        subset: float = 0.5,
        penalty: float = 0.1,
        n_components: int = 8,
        shrinkage: float | str = "auto",
        merge_groups: Mapping[Any, Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.steer = steer
        self.desired = desired
        self.transport = transport
        self.n_probes = n_probes
        self.subset = subset
        self.penalty = penalty
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.merge_groups = merge_groups
        self.random_state = random_state

    # -- fitting --

    def fit(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: ArrayLike) -> Self:
        """Find the steering vectors.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Hidden states of texts, one row each.
        y : array_like, shape (n,)
            Whether a text has the concept: two classes.
        sensitive_features : array_like, shape (n,)
            Group of each text.

        Raises
        ------
        DataError
            For missing values, more or fewer than two classes, a cell with too few rows (naming
            it), a group in which the two classes have the same mean;
            for options out of range, and groups in `steer` that are not there.
        ModelError
            For a `desired` class that is not there, or a `steer` that is no list or lists all.

        Warns
        -----
        FairprogWarning
            Where probes see less than half as much in rows that were left out: the concept is not
            there, or rows are too few. Where probes are too few for a covariance of the vectors.
        """
        features = check_features(X)
        given = Rows.check(
            y, sensitive_features, None, len(features),
            merge_groups=self.merge_groups, cross=True, X=X,
        )  # fmt: skip
        classes, groups = self._ordered(given.classes), given.groups
        given.require(2)
        order = _by_content(features, given.y)  # the file's order means nothing
        features, a = features[order], given.a[order]
        i = given.y[order] if classes == given.classes else 1 - given.y[order]
        rows = self._rows_per_class(i, a, len(groups))
        n_probes = check_count(self.n_probes, "n_probes", 2)
        n_components = min(check_count(self.n_components, "n_components", 1), features.shape[1])
        if n_probes <= n_components:
            raise DataError(
                f"`n_probes` = {n_probes} probes leave no covariance in {n_components} "
                "dimensions; more than `n_components` are needed, better five times as many.",
                argument="n_probes",
            )
        penalty = check_number(self.penalty, "penalty")
        if penalty == 0.0:
            raise DataError("`penalty` must be positive; found 0.", argument="penalty")

        centre, unit = features.mean(axis=0), _unit(features, i, a)
        Z = (features - centre) / unit
        rng = np.random.default_rng(self.random_state)
        parts = [np.flatnonzero(a == k) for k in range(len(groups))]
        found = [concept_vectors(Z[p], i[p], rows, n_probes, penalty, rng) for p in parts]
        shared, _, _ = concept_vectors(Z, i, rows, n_probes, penalty, rng)

        vectors = np.array([v for v, _, _ in found])  # (G, n_probes, 2, d)
        probes = np.array([w.mean(axis=0) for _, w, _ in found])  # (G, d + 1)
        own, common = _half_difference(vectors), _half_difference(shared)
        self._check_responds(np.einsum("gd,gd->g", probes[:, :-1], own), groups)
        self._check_left_out([check for _, _, check in found], groups)
        response = probes[:, :-1] @ common
        moved, reference = self._roles(groups, response)

        self.basis_ = concept_basis(vectors, n_components)
        steered = self._steered(vectors, classes, groups, moved, reference)
        target = probes[reference, :-1] @ own[reference]
        for k in moved:
            gain = float(probes[k, :-1] @ steered[k])
            if not gain > 0.0:
                raise DataError(
                    f"The steered vector of group {groups[k]!r} does not point to its own concept "
                    f"(log-odds {gain:.3g} per unit): the class of maps cannot turn the "
                    "reference's concept vectors that far. Use transport=fp.Affine().",
                    argument="transport",
                    cell=(None, groups[k]),
                )
            steered[k] *= target / gain

        self.matched_strength_ = self.matched_effect_ = None
        self.calibration_ = self.source_ = None
        self.classes_, self.groups_ = label_array(classes), label_array(groups)
        self.reference_, self.n_features_in_ = groups[reference], features.shape[1]
        self.shared_vector_ = unit * common
        self.concept_vectors_ = {g: unit * own[k] for k, g in enumerate(groups)}
        self.vectors_ = {g: unit * steered[k] for k, g in enumerate(groups)}
        self.probes_ = {}
        for k, g in enumerate(groups):
            w = probes[k, :-1] / unit
            self.probes_[g] = (w, float(probes[k, -1] - w @ centre))
        self._log_odds = {
            g: features[parts[k]] @ self.probes_[g][0] + self.probes_[g][1]
            for k, g in enumerate(groups)
        }
        return self

    def _ordered(self, classes: tuple[Hashable, ...]) -> tuple[Hashable, Hashable]:
        """Return (undesired, desired)."""
        if len(classes) != 2:
            raise DataError(
                f"`y` must have two classes, with the concept and without; found {list(classes)}.",
                argument="y",
            )
        desired = classes[1] if self.desired is None else plain(self.desired)
        if desired not in classes:
            raise ModelError(
                f"`desired` is {desired!r}, which is not one of the classes {list(classes)}.",
                argument="desired",
            )
        return classes[1 - classes.index(desired)], desired

    def _rows_per_class(self, i: Indices, a: Indices, n_groups: int) -> int:
        """Return how many rows of every cell a subset has."""
        smallest = int(np.bincount(2 * a + i, minlength=2 * n_groups).min())
        value = check_number(self.subset, "subset")
        rows = int(value) if value > 1 else round(value * smallest)
        if isinstance(self.subset, int):
            rows = self.subset
        if not 2 <= rows <= smallest:
            raise DataError(
                f"`subset` = {self.subset!r} asks for {rows} rows of each cell; at least 2 are "
                f"needed and the smallest cell has {smallest}. Up to 1.0 it is a share, whole "
                "numbers are rows.",
                argument="subset",
            )
        return rows

    def _check_responds(self, gain: Array, groups: tuple[Hashable, ...]) -> None:
        for k, g in enumerate(groups):
            if not gain[k] > 1e-12:
                raise DataError(
                    f"The probes of group {g!r} find no direction in which to steer: its two "
                    f"classes have the same hidden states, or `penalty` = {self.penalty!r} is too "
                    "large.",
                    argument="X",
                    cell=(None, g),
                )

    def _check_left_out(self, checks: list[Array], groups: tuple[Hashable, ...]) -> None:
        """Warn of a concept that is only in the rows its probes were fitted to."""
        for check, g in zip(checks, groups, strict=True):
            fitted, left_out = check.mean(axis=0)
            if left_out < OVERFIT * fitted:
                warnings.warn(
                    f"Between the classes of group {g!r} its probes see {2 * fitted:.2g} log-odds "
                    f"in the rows they were fitted to and {2 * left_out:.2g} in the others: the "
                    "concept is not there, or the rows are too few for so many features. What "
                    "`effect_curve` predicts is too much; gather more rows or raise `penalty`.",
                    FairprogWarning,
                    stacklevel=3,
                )

    def _roles(self, groups: tuple[Hashable, ...], response: Array) -> tuple[list[int], int]:
        """Return the groups that are steered and the reference, by position."""
        if isinstance(self.steer, str) and self.steer == "auto":
            best = int(np.argmax(response))
            return [k for k in range(len(groups)) if k != best], best
        if isinstance(self.steer, str) or not np.iterable(self.steer):
            raise ModelError(
                f"`steer` must be 'auto' or a list of groups; found {self.steer!r}.",
                argument="steer",
            )
        moved = sorted({index_of(groups, g, "steer") for g in self.steer})
        stays = [k for k in range(len(groups)) if k not in moved]
        if not stays:
            raise ModelError(
                "`steer` lists every group; one must stay as the reference.", argument="steer"
            )
        return moved, max(stays, key=lambda k: response[k])

    def _steered(
        self,
        vectors: Array,
        classes: tuple[Hashable, Hashable],
        groups: tuple[Hashable, ...],
        moved: list[int],
        reference: int,
    ) -> Array:
        """Return half differences of the steered means, shape (G, d); others as they are."""
        out = _half_difference(vectors)
        self.population_ = self.solution_ = None
        if not moved:
            return out
        kept = [reference, *moved]  # other groups that stay are none of the program's business
        rows = (vectors[kept] @ self.basis_).reshape(-1, self.basis_.shape[1])
        names = [groups[k] for k in kept]
        y = np.tile(label_array(classes), len(kept) * vectors.shape[1])
        group = np.repeat(label_array(names), 2 * vectors.shape[1])
        moments = Moments(classes=classes, groups=names)
        moments.partial_fit(rows, y, sensitive_features=group)
        self.population_ = moments.population(shrinkage=self.shrinkage)
        program = NearestIdeal(
            self.population_,
            steer=[groups[k] for k in moved],
            transport=Affine() if self.transport is None else self.transport,
            reference=groups[reference],
        )
        try:
            self.solution_ = program.solve()
        except SolverError as error:
            error.add_note(
                "This is the program on concept vectors: with few rows per cell the subsets, and "
                "so the vectors, hardly differ. Gather more rows."
            )
            raise
        mean = self.solution_.population.mean.reshape(2, len(kept), -1)
        for position, k in enumerate(kept[1:], start=1):
            out[k] = self.basis_ @ (0.5 * (mean[1, position] - mean[0, position]))
        return out


register("concept_steering", ConceptSteering.from_dict)


def _half_difference(vectors: Array) -> Array:
    """Return half the difference of the class means, (..., n_probes, 2, d) -> (..., d)."""
    mean = vectors.mean(axis=-3)
    return 0.5 * (mean[..., 1, :] - mean[..., 0, :])


def _by_content(X: Array, y: Indices) -> Indices:
    """Return the rows in an order that no unit, no origin and no order of theirs changes."""
    Z = X - X.mean(axis=0)
    scale = np.sqrt((Z**2).sum(axis=0))
    told = np.abs((y - y.mean()) @ Z) / np.where(scale > 0, scale, 1.0)
    first = np.argsort(np.round(told, 9), kind="stable")[-8:]  # rows that tie there are the same
    return np.lexsort(X[:, first].T)


def _unit(X: Array, i: Indices, a: Indices) -> float:
    """Return the root of the median variance within the cells of the features that vary."""
    total = np.zeros(X.shape[1])
    for cell in np.unique(2 * a + i):
        rows = X[2 * a + i == cell]
        total += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    if not total.any():
        raise DataError("`X` does not vary within any cell.", argument="X")
    return float(np.sqrt(np.median(total[total > 0]) / len(X)))
