r"""Location-scale families on the real line, built from one density."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError, SolverError
from fairprog.labels import Array, check_features, check_finite, column_names
from fairprog.populations.cell_checks import check_classes, refuse_cells, warn_small
from fairprog.populations.cell_fit import maximum_likelihood
from fairprog.populations.coded_rows import refuse_empty
from fairprog.populations.law import Law
from fairprog.populations.line_cells import LineCells
from fairprog.transports import AffineMap

LineLaws = tuple[Sequence[Law], Array, Array]  # standard laws, locations and scales (K,)


@cache
def standard_law(family: Any) -> Law:
    """Return the law of a family in standard coordinates; ModelError for methods of an object."""
    for name in ("neg_log_density", "draw", "slope", "cdf", "expectation", "atom"):
        found = inspect.getattr_static(family, name, None)
        if inspect.isfunction(found):
            raise ModelError(
                f"`{name}` of the family {family.__name__} must be a static method, since it "
                "knows no population: write @staticmethod above it, and no `self`.",
                argument="population",
            )
    return Law(
        family.__name__,
        family.neg_log_density,
        family.draw,
        slope=family.slope,
        cdf_=family.cdf,
        expectation=family.expectation,
        expectation_slopes=family.expectation_slopes,
        kinks=tuple(family.kinks),
        support=family.support,
        symmetric=family.symmetric,
    )


class LocationScale(LineCells):
    r"""Law of (X - loc) / scale the same in every cell: the base of univariate families.

    A family of your own is a subclass with the three functions below; populations, divergences,
    Bayes rules and programs then work by quadrature.

    ``neg_log_density(z)``
        :math:`\varphi(z) = -\log p(z)` of the standard law, normalised, in numpy.
    ``atom(z)``
        The same as a CVXPY expression, convex (only programs need it).
    ``draw(rng, size)``
        A sample of the standard law.

    Optional: ``slope`` (the derivative of phi) and ``cdf``, functions of arrays; ``kinks``
    (where phi is not smooth), ``support``, ``symmetric`` (phi(-z) = phi(z): allows mirror
    images). Check it by :func:`fairprog.testing.check_family`.

    Source: theory.md sections 2 and 4, Theorem B.

    Parameters
    ----------
    prior : array_like, shape (K, G)
        P(Y=i, A=a).
    loc, scale : array_like, shape (K, G)
        In the units of X; scale is positive.
    classes, groups : sequence of hashables, optional
    feature_names : sequence of str, optional
        One name.

    Raises
    ------
    DataError
        For NaN, wrong shapes, priors that are no law, scales that are not positive.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Logistic([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], [[1., 1.], [1., 2.]])
    >>> round(D.ideality_gap(), 4), D.is_ideal()
    (0.3311, False)
    """

    family: ClassVar[str] = "location-scale"
    kinks: ClassVar[Sequence[float]] = ()
    support: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    symmetric: ClassVar[bool] = False
    slope: ClassVar[Any] = None
    cdf: ClassVar[Any] = None
    expectation: ClassVar[Any] = None
    expectation_slopes: ClassVar[Any] = None
    moves_scale: ClassVar[bool] = True  # whether the family is closed under scaling, too

    @staticmethod
    def neg_log_density(z: Array) -> Array:
        """Return phi(z) = -log p(z) of the standard law."""
        raise ModelError(
            "A family of your own needs the static method `neg_log_density(z)`: -log density of "
            "its standard law (location 0, scale 1), for arrays z.",
            argument="population",
        )

    @staticmethod
    def draw(rng: np.random.Generator, size: int) -> Array:
        """Draw from the standard law."""
        raise ModelError(
            "A family of your own needs the static method `draw(rng, size)`, which draws from its "
            "standard law, before it can be sampled.",
            argument="population",
        )

    def __init__(
        self,
        prior: ArrayLike,
        loc: ArrayLike,
        scale: ArrayLike,
        *,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        feature_names: Iterable[str] | None = None,
    ) -> None:
        self._start(prior, classes, groups)
        self._set_feature_names(feature_names)
        self._set_cells(check_finite(loc, "loc", self.prior.shape), self._positive(scale, "scale"))

    def _positive(self, values: ArrayLike, argument: str) -> Array:
        array = check_finite(values, argument, self.prior.shape)
        refuse_cells(array <= 0, array, argument, "positive", self.classes, self.groups)
        return array

    def _set_cells(self, loc: Array, scale: Array) -> None:
        """Store the cells in the family's own coordinates (those of log X for positive laws)."""
        self.base_loc, self.base_scale = loc, scale
        for array in (self.prior, loc, scale):
            array.setflags(write=False)

    @property
    def loc(self) -> Array:
        """Locations, shape (K, G)."""
        return self.base_loc

    @property
    def scale(self) -> Array:
        """Scales, shape (K, G)."""
        return self.base_scale

    def law(self, i: int, a: int) -> Law:
        """Return the standard law of a cell."""
        family: Any = type(self)
        return standard_law(family)

    def with_cells(
        self, prior: Array, loc: Array, scale: Array, shape: Array | None = None
    ) -> Self:
        """Return the same family and labels with other cells, in the family's coordinates."""
        return type(self)(prior, loc, scale, **self._labels())

    def mapped(self, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is moved by maps[g], in the family's coordinates."""
        gain = np.array([float(maps[g].matrix[0, 0]) for g in self.groups])
        shift = np.array([float(maps[g].offset[0]) for g in self.groups])
        return self.with_cells(
            self.prior, gain * self.base_loc + shift, np.abs(gain) * self.base_scale
        )

    def laws_of(self, a: int) -> LineLaws:
        """Return standard laws, locations and scales (K,) of the group at `a`."""
        laws = [self.law(i, a) for i in range(self.n_classes)]
        return laws, self.base_loc[:, a], self.base_scale[:, a]

    def common_map(self, r: int, a: int) -> AffineMap | None:
        """Return the best map that carries group r's cells to those of a; None of other laws."""
        if r == a:
            return AffineMap.identity(1)
        laws, here, scale = self.laws_of(r)
        if not self._same_laws(laws, a):
            return None
        there, ratio = self.base_loc[:, a], self.base_scale[:, a] / scale
        gain = float(np.exp(np.log(ratio).mean())) if self.moves_scale else 1.0
        signs = (1.0, -1.0) if self.law(0, a).symmetric else (1.0,)
        gains = [sign * gain for sign in signs]
        shifts = [np.atleast_1d((there - A * here).mean()) for A in gains]
        found = [AffineMap(np.array([[A]]), b) for A, b in zip(gains, shifts, strict=True)]
        return min(found, key=lambda T: self.map_residual(T, (laws, here, scale), a))

    def pushed(self, prior: Array, laws: LineLaws, maps: Mapping[Hashable, AffineMap]) -> Self:
        """Return the population whose group g is maps[g] # laws; see :meth:`Population.pushed`."""
        own, common_loc, common_scale = laws
        loc, scale = self.base_loc.copy(), self.base_scale.copy()
        shape = np.array([[law.shape for law in row] for row in self.laws])
        for g, T in maps.items():
            a, A, b = self.groups.index(g), float(T.matrix[0, 0]), float(T.offset[0])
            loc[:, a], scale[:, a] = A * common_loc + b, abs(A) * common_scale
            shape[:, a] = [law.shape for law in own]
        return self.with_cells(prior, loc, scale, shape)

    def map_residual(self, T: AffineMap, laws: LineLaws, a: int) -> float:
        """Return the worst difference of a location or scale, in units of the cell's scale."""
        own, loc, scale = laws
        if not self._same_laws(own, a):
            return float("inf")
        A, b, s = float(T.matrix[0, 0]), float(T.offset[0]), self.base_scale[:, a]
        shift = np.abs(A * loc + b - self.base_loc[:, a]) / s
        return float(max(shift.max(), np.abs(abs(A) * scale / s - 1.0).max()))

    def _same_laws(self, laws: Sequence[Law], a: int) -> bool:
        return all(law.is_same(self.law(i, a)) for i, law in enumerate(laws))

    def cell_maps(self, target: Self) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return the increasing map of every cell to that of `target` (same standard laws)."""
        gain = target.base_scale / self.base_scale
        shift = target.base_loc - gain * self.base_loc
        maps: dict[tuple[int, int], Callable[[Array], Array]] = {}
        for i, a in np.ndindex(*self.prior.shape):
            maps[i, a] = self.user_map(AffineMap(gain[[i], [a]][:, None], shift[[i], [a]]))
        return maps

    # -- statistics --

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Estimate a population by (weighted) maximum likelihood in every cell.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, 1)
        y, sensitive_features : array_like, shape (n,)
            Class and group of each row.
        sample_weight : array_like, shape (n,), optional
            Nonnegative; a row of weight 2 counts as two rows.
        classes, groups : sequence, optional
            Label order: given, else sorted.

        Raises
        ------
        DataError
            For missing values, more than one feature, values outside the family's domain, cells
            with fewer than two distinct values.

        Notes
        -----
        For log-concave densities the likelihood is concave in (1/scale, loc/scale): theory.md,
        Theorem B with the sample as reference.

        Examples
        --------
        >>> import fairprog as fp
        >>> X, y, a = [0., 1., 5., 2., 4., 9.] * 4, [0, 0, 0, 1, 1, 1] * 4, [0] * 12 + [1] * 12
        >>> fp.Laplace.fit(X, y, sensitive_features=a).loc
        array([[1., 1.],
               [4., 4.]])
        """
        x = cls.check_domain(check_features(X, dim=1))[:, 0]
        n = refuse_empty(x)
        rows = Rows.check(
            y, sensitive_features, sample_weight, n, classes=classes, groups=groups, X=X
        )
        check_classes(rows.classes, n)
        x, count, mass = rows.of(x), rows.cells, rows.mass
        cells: list[tuple[float, ...]] = []
        for i, a in np.ndindex(*rows.shape):
            own = (rows.y == i) & (rows.a == a)
            c, g = rows.classes[i], rows.groups[a]
            distinct = np.unique(x[own]).size
            if distinct < 2:
                raise DataError(
                    f"Class {c!r}, group {g!r} has {count[i, a]:.0f} row(s) and {distinct} "
                    "distinct value(s); at least 2 are needed in every cell. Merge the group or "
                    "class with another, or leave it out.",
                    argument="X",
                    cell=(c, g),
                )
            try:
                cells.append(cls.fit_cell(x[own], rows.weight[own]))
            except (DataError, SolverError) as error:
                words = f"Class {c!r}, group {g!r}: {error}"
                raise type(error)(words, argument="X", cell=(c, g)) from None
        warn_small(count, rows.classes, rows.groups)
        columns = [np.array(c).reshape(rows.shape) for c in zip(*cells, strict=True)]
        labels: dict[str, Any] = {"classes": rows.classes, "groups": rows.groups}
        D = cls(mass / mass.sum(), *columns, feature_names=column_names(X), **labels)
        return D.with_rows(count, mass)

    @classmethod
    def fit_cell(cls, x: Array, weight: Array) -> tuple[float, ...]:
        """Return the maximum-likelihood parameters of one cell: (loc, scale)."""
        family: Any = cls
        return maximum_likelihood(standard_law(family), x, weight)

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows.

        Parameters
        ----------
        n : int
            Number of rows.
        random_state : int or numpy Generator, optional

        Returns
        -------
        X : Array, shape (n, 1)
        y, a : arrays of labels, shape (n,)
        """
        rng, cell, y, group = self._draw(n, random_state)
        X = np.empty((len(cell), 1))
        for c in range(self.prior.size):
            i, a = divmod(c, self.n_groups)
            rows = cell == c
            z = np.asarray(self.law(i, a).draw(rng, int(rows.sum())), dtype=float)
            X[rows, 0] = self.base_loc[i, a] + self.base_scale[i, a] * z
        return self._backward(X), y, group

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`.

        In closed form where the family has one, else by quadrature (error about 1e-14).
        Infinite unless the supports nest.
        """
        order_i, order_a = self._order_of(other, "other")
        out = np.empty(self.prior.shape)
        for i, a in np.ndindex(*out.shape):
            j, b = order_i[i], order_a[a]
            s = other.base_scale[j, b]
            alpha, beta = (
                self.base_scale[i, a] / s,
                (self.base_loc[i, a] - other.base_loc[j, b]) / s,
            )
            same = alpha == 1.0 and beta == 0.0 and self.law(i, a) is other.law(j, b)
            out[i, a] = 0.0 if same else self.law(i, a).divergence(other.law(j, b), alpha, beta)
        return np.maximum(out, 0.0)

    def _is_image(self, a: int, atol: float) -> bool:
        T = self.common_map(0, a)
        return T is not None and self.map_residual(T, self.laws_of(0), a) <= atol

    def _parameters(self) -> dict[str, Array]:
        return {"loc": self.loc, "scale": self.scale}
