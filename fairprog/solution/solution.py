"""The answer of `NearestIdeal`: what it is, what it costs, how to move data there."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fairprog.codec import register, save, write_text
from fairprog.errors import DataError
from fairprog.fields import array, either, fits, least, read, refuse
from fairprog.groups import refuse_reordered
from fairprog.labels import Array, as_given, encode
from fairprog.populations import Normal, Pushforward, population_from_dict
from fairprog.row_blocks import Move, checked_dtype, map_rows, rows_as_they_lie
from fairprog.solution.arrays import ComputedArrays
from fairprog.solution.bounds import Bounds
from fairprog.solution.certificate import Certificate
from fairprog.solution.evidence import evidence_of_rows
from fairprog.solution.summary import summary_text
from fairprog.tables import template_from_dict
from fairprog.transports import (
    AffineMap,
    ConjugatedMap,
    DiagonalMap,
    PiecewiseLinearMap,
    Transport,
)

__all__ = ["Solution"]

FAR = 8.0  # standard deviations from the origin, where float32 begins to lose digits
MAPPINGS = (
    "affine",
    "duals",
    "sensitivity",
    "price",
    "price_interval",
    "price_by_condition",
    "settings",
)


@dataclass(frozen=True, eq=False)
class Solution:
    """The nearest ideal population, proven; returned by ``NearestIdeal.solve()``.

    Attributes
    ----------
    kl : float
        KL(D~ || D) of the joint laws, nats, evaluated from the populations below.
    original, population : Population
        D and the steered D~ (same labels, same order).
    affine : dict group -> AffineMap
        Maps from the common coordinates to each group's steered ones, in the family's own
        coordinates (those of log X for log-normal populations): P~_ia = affine[a] # R_i.
    duals : mapping address -> Array
        Net multipliers of the conditions, in CVXPY's sign. Beyond 64 features each array is
        computed when it is asked for, and so are those of `sensitivity`.
    sensitivity : dict address -> Array
        d KL / d delta when that condition's target is shifted by delta, e.g.
        ``offset[b,1]``: b_1 = b + delta for the map of class 1 of group b.
    price : dict name -> float
        Minus d KL / d bound, at least 0: ``"consensus"`` for ``map_bound``, else the name of an
        inequality (an equality has a sensitivity but no bound, hence no price).
    price_interval : dict name -> (float, float)
        Lowest and highest valid price. Without custom constraints the price of consensus is
        unique and the two agree; with them uniqueness is not known and there is no entry.
    certificate : Certificate
    bounds : Bounds
    settings : dict
        The program: steer, reference, transport, orientation, base_rates, map_bound,
        constraints.
    solver : str
        What produced the answer.
    seconds : float
        Wall-clock time of the solve.
    price_by_condition : dict address -> float
        The part of the price of consensus each condition accounts for, in nats per unit of
        ``map_bound``: the dual norm of its multiplier in the pooled metric. These sum to
        ``price["consensus"]`` and, unlike sensitivities, do not depend on the units of the
        features. Empty where there is no such price (piecewise linear maps, finite populations).

    Notes
    -----
    Source: theory.md sections 3 to 6.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> round(sol.kl, 4), sol.population.is_ideal(), round(sol.price["consensus"], 3)
    (0.0805, True, 0.283)
    """

    moves_rows: ClassVar[bool] = True  # whether data go to the answer by maps, or by weights

    kl: float
    # the family is that of the program: its own parameters are attributes of these
    original: Any
    population: Any
    affine: Mapping[Hashable, Any]
    duals: Mapping[str, Array]
    sensitivity: Mapping[str, Array]
    price: Mapping[str, float]
    price_interval: Mapping[str, tuple[float, float]]
    certificate: Certificate
    settings: Mapping[str, Any]
    solver: str
    seconds: float = field(default=0.0, compare=False)
    price_by_condition: Mapping[str, float] = field(default_factory=dict)

    @property
    def maps(self) -> dict[Hashable, AffineMap | ConjugatedMap | PiecewiseLinearMap]:
        """Maps from common to steered coordinates by group, acting on X in the user's units."""
        return {g: self.original.user_map(T) for g, T in self.affine.items()}

    @property
    def null_dimension(self) -> int:
        """Number of directions in which nothing varies and the maps are the identity."""
        return self.original.null_dimension

    @property
    def bounds(self) -> Bounds:
        """What fairness on the steered population guarantees on the original one."""
        rates, old = self.population.base_rates, self.original.base_rates
        return Bounds(
            kl=self.kl,
            cell_kl=self.population.cell_divergences(self.original),
            base_rate_kl=(rates * np.log(rates / old)).sum(axis=0),
            base_rates=rates,
            classes=self.original.classes,
            groups=self.original.groups,
        )

    @property
    def aligned(self) -> Any:
        """The steered population in the common coordinates, where all groups coincide."""
        return self.population.mapped({g: T.inverse() for g, T in self.affine.items()})

    def _by_group(self, values: ArrayLike | None, n: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        return encode(values, self.original.groups, "sensitive_features", n)

    @cached_property
    def _inverses(self) -> tuple[Any, ...]:
        """The maps back to the common coordinates, None for a group that stays as it is."""
        stays = [isinstance(T, AffineMap) and T.is_identity() for T in self.affine.values()]
        maps = self.maps.values()
        return tuple(None if s else T.inverse() for s, T in zip(stays, maps, strict=True))

    @cached_property
    def _cell_maps(self) -> Mapping[tuple[int, int], Any]:
        """The transports of `steer`, by (class, group) position."""
        return self.population.cell_maps_from(self.original)

    def align(
        self,
        X: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | str | os.PathLike[str] | None = None,
    ) -> Any:
        """Bring every group into the common coordinates; labels are not needed.

        Rows are taken block by block, so that X and `out` may be larger than memory; with one
        matrix product per block the time is that of ``X @ A.T``.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,) where d = 1, or a pandas DataFrame or Series
            A memory map is read as it lies.
        sensitive_features : array_like, shape (n,)
            The group of each row.
        dtype : numpy.float32 or numpy.float64, optional
            Of the result and of the products; default that of an `out` array, else float64.
        out : array of X's shape, or path, optional
            Where the rows are put: an array or memory map, X itself if you like, or the name of a
            .npy file, which is written atomically and returned as a memory map.

        Returns
        -------
        Array, shape of X
            ``maps[a].inverse()`` of the rows of group a. A DataFrame or Series comes back as one,
            with its index and names.

        Raises
        ------
        DataError
            For missing values, wrong shapes or column names, or unknown groups.

        Examples
        --------
        >>> import fairprog as fp, pandas as pd
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 3.]], std=[[1., 1.], [1., 1.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> table = pd.DataFrame({"x": [2., 2.]}, index=["Ann", "Bob"])
        >>> sol.align(table, sensitive_features=[0, 1]).round(6)
               x
        Ann  2.0
        Bob  1.0
        """
        kind = checked_dtype(dtype, out)
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        self.original.check_names(X)
        rows = rows_as_they_lie(X, self.original.n_features)
        moves = [
            None if T is None else _move(T, kind, _amid(self.original, a, kind))
            for a, T in enumerate(self._inverses)
        ]
        group = self._by_group(sensitive_features, len(rows))
        check = self.original.check_domain
        moved = map_rows(rows, group, moves, dtype=kind, out=out, check=check)
        if out is None:
            return as_given(moved, X)
        return moved[:, 0] if np.ndim(X) == 1 else moved

    def align_chunks(
        self, chunks: Iterable[tuple[ArrayLike, ArrayLike]], *, dtype: DTypeLike | None = None
    ) -> Iterator[Any]:
        """Yield every chunk (X, sensitive_features) in the common coordinates, when asked for it.

        Parameters
        ----------
        chunks : iterable of (X, sensitive_features)
            Of any length; nothing is kept.
        dtype : numpy.float32 or numpy.float64, optional
            As for :meth:`align`.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> [Z.round(3) for Z in sol.align_chunks([([1.], [0]), ([1.], [1])])]
        [array([1.]), array([0.217])]
        """
        for X, group in chunks:
            yield self.align(X, sensitive_features=group, dtype=dtype)

    def steer(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: ArrayLike) -> Any:
        """Move every row to the steered population in its own group's coordinates.

        Applies per cell the monotone transport P_ia -> P~_ia (of normal populations: in the
        pooled metric); needs labels. Changed base rates travel as :meth:`sample_weight`. A cell's
        transport, a (d, d) matrix, is computed when the first of its rows comes, and kept.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,) where d = 1, or a pandas DataFrame or Series
        y, sensitive_features : array_like, shape (n,)

        Returns
        -------
        Array, shape of X
            A DataFrame or Series comes back as one, with its index and names.

        Raises
        ------
        DataError
            For missing values, wrong shapes or unknown labels.
        """
        refuse_reordered(X=X, y=y, sensitive_features=sensitive_features)
        features = self.original.as_features(X)
        label = encode(y, self.original.classes, "y", len(features))
        group = self._by_group(sensitive_features, len(features))
        out = np.empty_like(features)
        for (i, a), T in self._cell_maps.items():
            rows = (label == i) & (group == a)
            if rows.any():
                out[rows] = T(features[rows])
        return as_given(out, X)

    def sample_weight(self, y: ArrayLike, *, sensitive_features: ArrayLike) -> Array:
        """Return q~_ia / q_ia per row: the weights that carry the steered base rates.

        Parameters
        ----------
        y, sensitive_features : array_like, shape (n,)

        Returns
        -------
        Array, shape (n,)
        """
        label = encode(y, self.original.classes, "y")
        group = self._by_group(sensitive_features, len(label))
        out: Array = (self.population.prior / self.original.prior)[label, group]
        return out

    def summary(self) -> str:
        """Return a report in plain text: divergence, gaps, prices, certificate, bounds."""
        return summary_text(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw the population before and after; see :func:`fairprog.plotting.plot_solution`.

        Parameters
        ----------
        ax : sequence of two or three matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        (figure, axes)
        """
        from fairprog.plotting import plot_maps, plot_solution

        if isinstance(self.population.core, Pushforward):
            return plot_maps(self, ax=ax)
        return plot_solution(self, ax=ax)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        sensitive_features: ArrayLike | None = None,
        scores: Mapping[str, ArrayLike] | None = None,
        confidence: float = 0.95,
        title: str | None = None,
    ) -> str:
        """Return a report as one self-contained HTML page, and write it if a path is given.

        Without data the figures are those of the populations, exact wherever `evaluate` is. Rows
        that the population was NOT fitted to add gaps at every threshold with bands that hold at
        all thresholds at once (theory.md section 1), who moves how far, and whether ranks within
        a group are kept.

        Parameters
        ----------
        path : path-like, optional
            Written atomically.
        X : array_like, shape (n, d) or (n,) where d = 1, optional
            Held-out rows in the user's units.
        y, sensitive_features : array_like, shape (n,), optional
            Their class and group; needed with `X` or `scores`.
        scores : mapping of name to array_like, shape (n,) or (n, K), optional
            Scores of the same rows, of the last class or of every class, for instance of your
            model before and after; the first is compared with the others. Default: Bayes
            posteriors of rows as they are, aligned, and steered.
        confidence : float
            Of the bands, in (0, 1).
        title : str, optional

        Returns
        -------
        str

        Raises
        ------
        DataError
            For rows without class or group, wrong shapes, unknown labels, cells without a row.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> page = fp.NearestIdeal(D, steer=[1]).solve().to_html()
        >>> page[:15], "price of consensus" in page
        ('<!DOCTYPE html>', True)
        """
        from fairprog.plotting.report import report_html

        evidence = evidence_of_rows(self, X, y, sensitive_features, scores, confidence)
        page = report_html(self, evidence, title=title)
        if path is not None:
            write_text(path, page)
        return page

    def _repr_html_(self) -> str:
        """Return a short report for notebooks, in a style of its own that leaves theirs alone."""
        from fairprog.plotting.report import notebook_html

        return notebook_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the solution to a .json or .npz file, atomically; read it by ``fp.load``.

        Raises
        ------
        ModelError
            For another suffix, labels JSON cannot hold, or a custom constraint that cannot be
            imported by its qualified name.
        """
        save(path, "solution", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (arrays, labels, text) that :meth:`from_dict` reads back.

        Raises
        ------
        ModelError
            For a custom constraint that cannot be imported by its qualified name.
        """
        settings = dict(self.settings)
        settings["transport"] = settings["transport"].to_dict()
        settings["constraints"] = [
            c if isinstance(c, str) else c.qualified_name() for c in settings["constraints"]
        ]
        return {
            "kl": self.kl,
            "original": self.original.to_dict(),
            "population": self.population.to_dict(),
            "affine": {g: _plain_map(T) for g, T in self.affine.items()},
            "duals": dict(self.duals),
            "sensitivity": dict(self.sensitivity),
            "price": dict(self.price),
            "price_interval": dict(self.price_interval),
            "price_by_condition": dict(self.price_by_condition),
            "certificate": vars(self.certificate),
            "settings": settings,
            "solver": self.solver,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Solution:
        """Rebuild a solution from :meth:`to_dict`; custom constraints stay names."""
        data = read(data, "solution", FIELDS)
        original, population = (population_from_dict(data[k]) for k in ("original", "population"))
        if type(original) is not type(population) and not isinstance(population, Pushforward):
            raise DataError("The file holds populations of two families.", argument="path")
        for axis in ("classes", "groups", "n_features"):
            if getattr(original, axis) != getattr(population, axis):
                raise refuse(f"its populations differ in `{axis}`")
        if (
            not set(data["price_by_condition"] or ())
            <= set(data["duals"])
            == set(data["sensitivity"])
        ):
            raise refuse("its multipliers and sensitivities are not of the same addresses")
        groups = frozenset(original.groups)
        known = {"steer": either(frozenset(["all"]), [groups]), "reference": either(None, groups)}
        settings = read(data["settings"], "settings", SETTINGS | known)
        # the effect of constraints is in the numbers, and loading runs no code of the user's
        settings["constraints"] = tuple(settings["constraints"])
        settings["transport"] = template_from_dict(settings["transport"])
        if set(data["affine"]) != groups or not isinstance(settings["transport"], Transport):
            raise refuse(f"it must hold a map of each of the groups {list(groups)}, and no other")
        affine = {g: _map_from(data["affine"][g]) for g in original.groups}
        _check_maps(affine, original, population, settings["orientation"])
        certificate = Certificate(**read(data["certificate"], "certificate", CERTIFICATE))
        data |= {"original": original, "population": population, "affine": affine}
        data |= {"settings": settings, "certificate": certificate}
        return cls(**data | {"price_by_condition": data["price_by_condition"] or {}})

    def __post_init__(self) -> None:
        for name in MAPPINGS:
            value = getattr(self, name)
            if isinstance(value, ComputedArrays):
                continue
            entries = dict(value)
            if name in ("duals", "sensitivity"):
                entries = {where: np.asarray(v) for where, v in entries.items()}
                for array in entries.values():
                    array.setflags(write=False)
            object.__setattr__(self, name, MappingProxyType(entries))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the fields (mapping proxies cannot be pickled themselves)."""
        values = (getattr(self, f.name) for f in fields(self))
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    def __repr__(self) -> str:
        kind = "global" if self.certificate.globally_optimal else "local"
        return f"Solution(kl={self.kl:.6g}, solver={self.solver!r}, {kind} optimum)"


def _amid(D: Any, group: int, dtype: np.dtype[Any]) -> Array | None:
    """Return the mean of a group where it is so far from zero that float32 would lose digits."""
    if dtype != np.float32 or not isinstance(D, Normal) or D.covariance == "diagonal":
        return None
    mean = D.location[:, group].mean(axis=0)
    spread = np.sqrt(np.diagonal(D.cov_of(group), axis1=1, axis2=2).mean(axis=0))
    return mean if (np.abs(mean) > FAR * spread).any() else None


def _move(T: Any, dtype: np.dtype[Any], about: Array | None) -> Move:
    """Return a map as a function of rows of a type, and of where they go."""
    if isinstance(T, AffineMap):
        return T.move(dtype, about)

    def moved(rows: Array, out: Array) -> None:
        out[...] = T(rows)

    return moved


def _check_maps(affine: Mapping[Hashable, Any], D: Any, E: Any, orientation: str) -> None:
    """Refuse maps of a file that do not fit its populations or its orientation."""
    bends = set(E.maps) if isinstance(E, Pushforward) else set()
    for g, T in affine.items():
        bent, low = isinstance(T, PiecewiseLinearMap), 0 if orientation == "preserve" else -2
        fit = bent == (g in bends) and (1 if bent else T.offset.size) == D.n_features
        if isinstance(T, DiagonalMap):
            fit = fit and np.sign(T.diagonal).min() > low
        elif fit and not bent:
            fit = np.linalg.slogdet(T.matrix)[0] > low
        if not fit:
            raise refuse(f"the map of group {g!r} is singular, mirrors or fits no population")


def _plain_map(T: AffineMap | PiecewiseLinearMap) -> Any:
    if isinstance(T, PiecewiseLinearMap):
        return T.to_dict()
    return (T.diagonal if isinstance(T, DiagonalMap) else T.matrix, T.offset)


def _map_from(value: Any) -> AffineMap | PiecewiseLinearMap:
    if isinstance(value, dict):
        return PiecewiseLinearMap.from_dict(value)
    if not fits(value, (array(), array(None))):
        raise refuse(f"`affine` cannot hold {value!r:.80}")
    return (DiagonalMap if value[0].ndim == 1 else AffineMap)(*value)


PRICES = {
    "price": {str: float},
    "price_interval": {str: 2 * (lambda v: fits(v, float) or v in (-np.inf, np.inf),)},
    "duals sensitivity": {str: array()},
    "solver": str,
    "seconds": least(0),
}
FIELDS = PRICES | {
    "kl": least(-1e-9),
    "original population affine certificate settings": Mapping,
    "price_by_condition?": {str: float},
}
CERTIFICATE = {
    "kkt_residual ideality_residual staying_residual feasibility_residual": least(0),
    "conic_gap parameter_gap": either(None, least(0)),
    "globally_optimal requires_ideality": bool,
    "ideality_tolerance": least(0, 1e-2),
}
SETTINGS = {
    "transport": Mapping,
    "orientation": frozenset(["preserve", "any"]),
    "base_rates": either(frozenset(["equalize", "keep", "joint"]), array(None), [least(0, 1)]),
    "map_bound": least(0),
    "constraints": [str],
}
register("solution", Solution.from_dict)
