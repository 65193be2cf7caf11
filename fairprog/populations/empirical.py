"""A sample as the reference law: a map by a fit criterion, which is not a KL divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import refuse_reordered
from fairprog.errors import DataError, ModelError
from fairprog.labels import (
    Array,
    Indices,
    check_features,
    check_weights,
    encode,
    index_of,
    label_vector,
)
from fairprog.populations.cell_fit import Term, best_scale_shift
from fairprog.populations.location_scale import LocationScale
from fairprog.transports import AffineMap, ConjugatedMap, Translation, Transport


@dataclass(frozen=True, eq=False)
class EmpiricalFit:
    """A fitted map.

    Attributes
    ----------
    map : AffineMap
        In the family's own coordinates (those of log X for positive laws).
    user_map : AffineMap or ConjugatedMap
        The same in the units of X.
    criterion : float
        sum_i w_i (mean over class i of -log p_is(A x + b)) - Q log A, nats: a cross-entropy, not
        a divergence. Only differences mean something; it may be negative.
    n_rows, class_weight : array, shape (K,)
        Rows of positive weight of every class in the sample, and sums of their weights.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Logistic([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(1000, random_state=0)
    >>> fit = fp.Empirical(X[a == 0], y[a == 0]).fit_map(D, 1)
    >>> fit.map.matrix.shape
    (1, 1)
    """

    map: AffineMap
    user_map: AffineMap | ConjugatedMap
    criterion: float
    n_rows: Indices
    class_weight: Array


class Empirical:
    """A labelled sample in the place of the reference group's laws.

    The divergence of a law from a sample of points is infinite, so there is no nearest population
    here: `fit_map` minimises a *fit criterion*, the cross-entropy of the moved sample, which
    becomes the objective of :class:`NearestIdeal` (up to a constant) as the sample grows.

    Source: theory.md section 4 (the reference may be any law with finite E[-log p]).

    Parameters
    ----------
    X : array_like, shape (n,) or (n, 1)
        In the units of the population.
    y : array_like, shape (n,)
    sample_weight : array_like, shape (n,), optional

    Raises
    ------
    DataError
        For missing values or lengths that differ.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Logistic([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> fit = fp.Empirical(X[a == 0], y[a == 0]).fit_map(D, 1)
    >>> exact = fp.NearestIdeal(D, steer=[1]).solve().affine[1]
    >>> bool(abs(fit.map.matrix - exact.matrix).max() < 0.05)
    True
    """

    def __init__(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> None:
        refuse_reordered(X=X, y=y, sample_weight=sample_weight)
        self.X = check_features(X, dim=1)
        self.y = label_vector(y, "y", len(self.X))
        self.weight = check_weights(sample_weight, len(self.X))

    def fit_map(
        self, population: Any, group: Any, transport: Transport | None = None
    ) -> EmpiricalFit:
        """Fit one map of all classes from the sample to the laws of a group.

        Parameters
        ----------
        population : LocationScale
        group : hashable
            Its cells are the target, its prior the class weights.
        transport : Transport, optional
            `Translation`, or the increasing affine maps (default where the family allows them).

        Raises
        ------
        ModelError
            For other families. For normal laws the criterion depends on the sample's moments
            only: fit a `Normal` and solve `NearestIdeal`.
        DataError
            For classes without rows, or a sample without scatter.
        """
        if not isinstance(population, LocationScale):
            raise ModelError(
                f"`population` must be of a univariate family; found {type(population).__name__}. "
                "For normal laws the sample's moments are enough: use Normal.fit and "
                "NearestIdeal.",
                argument="population",
            )
        D = population
        a = index_of(D.groups, group, "group")
        z = D._forward(D.as_features(self.X))[:, 0]
        code = encode(self.y, D.classes, "y", len(z))
        scales = D.moves_scale and not isinstance(transport, Translation)
        terms, variances, means = [], [], []
        n_rows, mass = np.zeros(D.n_classes, dtype=np.intp), np.zeros(D.n_classes)
        for i, c in enumerate(D.classes):
            rows = (code == i) & (self.weight > 0)
            if not rows.any():
                raise DataError(f"Class {c!r} has no rows in the sample.", argument="y")
            n_rows[i], mass[i] = rows.sum(), self.weight[rows].sum()
            v = self.weight[rows] / mass[i]
            means.append(float(v @ z[rows]))
            variances.append(float(v @ (z[rows] - means[-1]) ** 2))
            cell = float(D.base_loc[i, a]), float(D.base_scale[i, a])
            terms.append(Term(float(D.prior[i, a]), z[rows], v, D.law(i, a), *cell))
        w = D.prior[:, a] / D.prior[:, a].sum()
        center = float(w @ means)
        unit = float(np.sqrt(w @ (np.array(variances) + (np.array(means) - center) ** 2)))
        if not unit > 1e-12 * max(1.0, abs(center)):
            raise DataError("The sample has no scatter: every value is the same.", argument="X")
        target = float(w @ D.base_mean[:, a])
        spread = float(np.sqrt(w @ (D.base_std[:, a] ** 2 + (D.base_mean[:, a] - target) ** 2)))
        S, beta, criterion = best_scale_shift(
            [self._whitened(t, center, unit, target, spread, scales) for t in terms],
            np.array([1.0, 0.0]),
            scales,
        )
        gain = S * spread / unit if scales else 1.0
        out = AffineMap(np.array([[gain]]), np.array([target + spread * beta - gain * center]))
        shift = -float(D.prior[:, a].sum()) * np.log(spread / unit) if scales else 0.0
        densities = float(sum(t.w * np.log(t.scale) for t in terms))
        total = float(criterion + shift + densities)
        return EmpiricalFit(out, D.user_map(out), total, n_rows, mass)

    @staticmethod
    def _whitened(
        t: Term, center: float, unit: float, target: float, spread: float, scales: bool
    ) -> Term:
        """Return the term in coordinates of order one."""
        y = (t.y - center) / (unit if scales else spread)
        return Term(t.w, y, t.v, t.law, (t.loc - target) / spread, t.scale / spread)

    def __repr__(self) -> str:
        return f"Empirical({len(self.X)} rows)"
