"""The answer of `NearestIdeal`: what it is, what it costs, how to move data there."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.codec import Saved, register
from fairprog.errors import DataError
from fairprog.fields import array, either, fits, least, read, refuse
from fairprog.findings import finding
from fairprog.labels import Array
from fairprog.pictures import Reported
from fairprog.populations import Pushforward, population_from_dict
from fairprog.solution.arrays import ComputedArrays
from fairprog.solution.bounds import Bounds
from fairprog.solution.certificate import Certificate
from fairprog.solution.family_free import lower_bound
from fairprog.solution.inferred import Inference
from fairprog.solution.moved_rows import MovedRows
from fairprog.tables import template_from_dict
from fairprog.transports import AffineMap, DiagonalMap, PiecewiseLinearMap, Transport

MAPPINGS = (
    "affine",
    "duals",
    "sensitivity",
    "price",
    "price_interval",
    "price_by_condition",
    "settings",
)

SAME_KL = 1e-6  # relative above one nat: between a file's divergence and its populations'


@dataclass(frozen=True, eq=False)
class Solution(MovedRows, Reported, Saved):
    """The nearest ideal population, proven; returned by ``NearestIdeal.solve()``.

    Source: theory.md sections 3 to 6.

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
        constraints, and where it is above zero marginal_weight.
    solver : str
        What produced the answer.
    seconds : float
        Wall-clock time of the solve.
    price_by_condition : dict address -> float
        The part of the price of consensus each condition accounts for, in nats per unit of
        ``map_bound``: the dual norm of its multiplier in the pooled metric. These sum to
        ``price["consensus"]`` and, unlike sensitivities, do not depend on the units of the
        features. Empty where there is no such price (piecewise linear maps, finite populations).

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> round(sol.kl, 4), sol.population.is_ideal(), round(sol.price["consensus"], 3)
    (0.0805, True, 0.283)
    """

    _kind: ClassVar[str] = "solution"
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

    inferred: Any = field(default=None, compare=False)  # the latest Inference, kept by save

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

    def family_free_bound(self, levels: int = 30) -> float:
        """Return a lower bound on KL over ALL ideal populations, of any family: two classes.

        No population with these group masses that is ideal for demographic parity is nearer, nor
        any that is ideal for equal opportunity or equalized odds and meets the condition of
        Theorem A; and none in which the groups that stay here stay. Where :attr:`certificate` says
        "globally optimal" that is in this family and class of maps; this is how much another
        could gain. Summaries and reports print it once it was computed.

        Parameters
        ----------
        levels : int, default 30
            Intervals of the posterior: more are sharper.

        Returns
        -------
        float
            In nats; from exact probabilities of bins of the posterior (theory.md section 12).

        Raises
        ------
        ModelError
            For more than two classes, populations that are not ideal, and families whose log odds
            have no exact law: a sampled bound is no bound.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> sol.family_free_bound() > 0.45 * sol.kl
        True
        """
        found = self.__dict__.setdefault("_family_free", {})
        if levels not in found:
            found[levels] = lower_bound(self, levels)
        return float(found[levels])

    @property
    def best_known_bound(self) -> float | None:
        """The largest of the family-free bounds that were computed, or None."""
        return max(self.__dict__.get("_family_free", {}).values(), default=None)

    def summary(self) -> str:
        """Return a report in plain text: divergence, gaps, prices, certificate, bounds."""
        return finding("summary_text")(self)

    def inference(
        self,
        confidence: float = 0.95,
        method: str = "delta",
        moments: Any = None,
        *,
        n_bootstrap: int = 200,
        random_state: int = 0,
    ) -> Inference:
        """Return how sure the answer is, given the rows behind the population (and keep it).

        Parameters
        ----------
        confidence : float
        method : {"delta", "bootstrap"}
            "delta": by the envelope and implicit-function theorems, nothing is solved again. With
            all groups steered KL alone, for whose bias maps descend anew from the answer; of full
            matrices beyond 256 features KL alone, without its bias. Intervals of the entries of
            normal maps, up to 64 features, are computed when they are first read, or saved: one
            linear system per entry. "bootstrap": every replicate is solved.
        moments : Moments, optional
            Moments gathered with ``bootstrap=`` replicates, for "bootstrap"; without them
            replicates are drawn from the fitted laws.
        n_bootstrap : int
            Replicates drawn from the fitted laws.
        random_state : int

        Returns
        -------
        Inference
            Shown in summaries and reports from then on.

        Raises
        ------
        DataError
            If the population does not know its rows; see ``Population.with_rows``.
        ModelError
            For a `map_bound`, custom conditions, and families whose errors are not known.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> rows = D.with_rows([[1200, 800], [1200, 800]])
        >>> found = fp.NearestIdeal(rows, steer=[1]).solve().inference()
        >>> found.kl.low < 0.0805 < found.kl.high, found.valid
        (True, True)
        """
        given = confidence, method, moments, n_bootstrap, random_state
        found: Inference = finding("inference_of")(self, *given)
        object.__setattr__(self, "inferred", found)
        return found

    def drift(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sensitive_features: ArrayLike,
        confidence: float = 0.95,
        random_state: int = 0,
    ) -> Any:
        """Ask new rows whether they still belong to the population this answer is for.

        Parameters
        ----------
        X : array_like, shape (n, d) or (n,)
        y : array_like, shape (n,), optional
            Classes. Without them mean and covariance of each group as a whole are checked, and
            nothing else (normal populations, and what they become by a bijection).
        sensitive_features : array_like, shape (n,), or (n, k) columns that `fit` crossed
        confidence : float
            One minus the chance of an alarm on rows of the same population.
        random_state : int
            Of the samples that say what chance gives.

        Returns
        -------
        fairprog.evidence.drift.Drift
            Whether cells moved (their mean scores, Holm's correction; estimation error of the
            population counts where it knows its rows), whether steered rows share common laws,
            held-out gaps with bands; one verdict.

        Raises
        ------
        DataError
            For unknown labels, missing values, cells with fewer than 8 rows.
        ModelError
            For finite populations; without labels, for families other than normal ones.

        Notes
        -----
        New rows are compared with the rows of the fit, not with its family: alarms are as rare
        where the family is wrong (skew, point masses) as where it is right. What is compared is
        what the fit kept: means and covariances, or its likelihood equations. Covariances that
        were shrunk are not those of the rows, which adds alarms.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
        >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
        >>> X, y, a = D.sample(2000, random_state=0)
        >>> sol.drift(X, y, sensitive_features=a).drifted
        False
        >>> sol.drift(X + .3 * (a == 1)[:, None], y, sensitive_features=a).drifted
        True
        """
        given = X, y, sensitive_features, confidence, random_state
        return finding("drift_of_rows")(self, *given)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        title: str | None = None,
        *,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        sensitive_features: ArrayLike | None = None,
        scores: Mapping[str, ArrayLike] | None = None,
        confidence: float = 0.95,
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
        title : str, optional
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
        given = X, y, sensitive_features, scores, confidence
        return self._page(path, finding("evidence_of_rows")(self, *given), title=title)

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
            **({} if self.inferred is None else {"inferred": self.inferred.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Solution:
        """Rebuild a solution from :meth:`to_dict`; custom constraints stay names."""
        data = read(data, "solution", FIELDS)
        original, population = (population_from_dict(data[k]) for k in ("original", "population"))
        for D, E in ((original, population), (original.core, population.core)):
            if D._name() != E._name() and not isinstance(E, Pushforward):
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
        if not set(data["price_interval"]) <= set(data["price"]):
            raise refuse("it holds intervals of prices that it does not hold")
        groups = frozenset(original.groups)
        known = {"steer": either(frozenset(["all"]), [groups]), "reference": either(None, groups)}
        settings = read(data["settings"], "settings", SETTINGS | known)
        if settings["marginal_weight"] is None:  # it is there where it is above zero
            del settings["marginal_weight"]
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
        found = population.kl(original)
        if not abs(found - data["kl"]) <= SAME_KL * max(1.0, found):
            raise refuse(f"`kl` is {data['kl']:.6g}, but that of its populations is {found:.6g}")
        if data["inferred"] is not None:
            data["inferred"] = Inference.from_dict(data["inferred"])
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
        return f"Solution(kl={self.kl:.6g}, solver={self.solver!r}, {kind} optimum in its family)"


def _check_maps(affine: Mapping[Hashable, Any], D: Any, E: Any, orientation: str) -> None:
    """Refuse maps of a file that do not fit its populations or its orientation."""
    bends = set(E.core.maps) if isinstance(E.core, Pushforward) else set()
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
    "duals sensitivity": {str: either(float, array())},
    "solver": str,
    "seconds": least(0),
}
FIELDS = PRICES | {
    "kl": least(-1e-9),
    "original population affine certificate settings": Mapping,
    "price_by_condition?": {str: float},
    "inferred?": Mapping,
}
CERTIFICATE = {
    "kkt_residual ideality_residual staying_residual feasibility_residual": least(0),
    "conic_gap parameter_gap": either(None, least(0)),
    "globally_optimal requires_ideality": bool,
    "ideality_tolerance": least(0, 1e-2),
    "optimality_gap?": least(0),
}
SETTINGS = {
    "transport": Mapping,
    "orientation": frozenset(["preserve", "any"]),
    "base_rates": either(frozenset(["equalize", "keep", "joint"]), array(None), [least(0, 1)]),
    "map_bound": least(0),
    "constraints": [str],
    "marginal_weight?": least(0, 1),
}
register("solution", Solution.from_dict)
