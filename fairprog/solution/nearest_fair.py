"""The answer of `NearestFair`: an explicit population, how rows go there, what proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.codec import register
from fairprog.errors import DataError, ModelError
from fairprog.fields import array, either, fits, least, read, refuse
from fairprog.findings import finding
from fairprog.labels import Array, Indices, encode, label_array
from fairprog.lots import drawn, keys_for, lots
from fairprog.maps import PiecewiseLinearMap
from fairprog.pictures import Reported
from fairprog.populations import Categorical, population_from_dict
from fairprog.populations.score_bins import check_posterior
from fairprog.solution.bounds import Bounds
from fairprog.solution.certificate import Checked
from fairprog.solution.reweighted import ReweightedSolution
from fairprog.solution.solution import PRICES
from fairprog.tables import template_from_dict

GAP, FAIR, MASS = 1e-6, 1e-8, 1e-8
GRID = 0.1  # of KL: between the answer for a grid of thresholds and what bounds it


@dataclass(frozen=True)
class FairCertificate(Checked):
    """Residuals computed in numpy from the returned population itself.

    Attributes
    ----------
    dual_value : float
        A lower bound on the program's optimum, from its multipliers.
    duality_gap : float
        Between KL and that bound.
    fairness_violation : float
        By how much the Bayes rules of the returned population, at every threshold or cost asked
        for, miss the notion's bound.
    mass_residual : float
        How far group masses, and what else was to stay, are from where they were.
    conic_gap : float or None
        Difference from the conic solver's divergence, where both ran.
    lower_bound : float
        No population that is fair as asked is nearer, whatever the margin, and at all thresholds
        where a grid stands for them: KL less this is at least what margin and grid add.
    margin : float
        How far from a threshold posteriors end.
    grid : bool
        Whether a grid stands for the thresholds; the bound then is that of all of them.
    globally_optimal : bool
        Always: every program is convex, over all populations with these group masses. Of a grid
        that is so up to ``duality_gap``.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> proof = fp.NearestFair(D).solve().certificate
    >>> proof.ok, bool(proof.duality_gap < 1e-8)
    (True, True)
    """

    dual_value: float
    duality_gap: float
    fairness_violation: float
    mass_residual: float
    conic_gap: float | None
    lower_bound: float
    margin: float
    grid: bool = False
    globally_optimal: bool = True

    def checks(self) -> list[tuple[str, float, float]]:
        """Return (name, residual, tolerance) of everything that ``ok`` asks for.

        Duality gap 1e-6 (of a grid a tenth of KL more), fairness and masses 1e-8, conic gap 1e-6.
        """
        kl = self.dual_value + self.duality_gap
        gap = GAP + (GRID * kl if self.grid else 0.0)
        found: list[tuple[str, float | None, float]] = [
            ("duality_gap", self.duality_gap, gap),
            ("fairness_violation", self.fairness_violation, FAIR),
            ("mass_residual", self.mass_residual, MASS),
            ("conic_gap", self.conic_gap, GAP),
        ]
        return [(name, value, limit) for name, value, limit in found if value is not None]


@dataclass(frozen=True, eq=False, repr=False)
class NearestFairSolution(ReweightedSolution):
    """The nearest fair population of any family, proven; returned by ``NearestFair.solve()``.

    Source: theory.md section 12.

    Attributes
    ----------
    kl : float
        KL(D~ || D) in nats, of the joint laws of X, its parts, Y and A.
    population : Categorical
        The new population, explicit: its atoms are parts of the original ones, with the posterior
        of their level.
    pair : Indices, shape (m,)
        Of every pair (part, group) in ``population.support`` the position of (x, a) in
        ``original.support``.
    share : Array, shape (m,)
        Which share of (x, a) it is: an atom at a border may be split at random.
    price : dict
        Of the notion: -d KL / d difference_bound.
    certificate : FairCertificate

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .4, .7, .3, .6, .8], sensitive_features=list("aaabbb"))
    >>> sol = fp.NearestFair(D, .5, move="labels").solve()
    >>> round(sol.kl, 5), sol.certificate.ok
    (0.0034, True)
    >>> sol.score_map["a"]([[.2], [.4], [.7]]).round(3).ravel()  # posterior before, and after
    array([0.2, 0.4, 0.7])
    """

    _kind: ClassVar[str] = "nearest_fair"

    certificate: FairCertificate  # type: ignore[assignment]
    pair: Indices = None  # type: ignore[assignment]
    share: Array = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pair", "share"):
            getattr(self, name).setflags(write=False)

    @property
    def bounds(self) -> Bounds:
        """What fairness on the new population guarantees on the original one."""
        D, E = self.original, self.population
        new = E.support.weight[:, None] * E.support.posterior / E.prior[:, E.support.group].T
        old = D.support.weight[:, None] * D.support.posterior / D.prior[:, D.support.group].T
        old = old[self.pair] * self.share[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(new > 0, new * np.log(new / old), 0.0)
        cells = np.zeros(E.prior.T.shape)
        np.add.at(cells, E.support.group, terms)
        rates, before = E.base_rates, D.base_rates
        rate_kl = np.where(rates > 0, rates * np.log(np.maximum(rates, 1e-300) / before), 0.0)
        return Bounds(
            kl=self.kl,
            cell_kl=cells.T,
            base_rate_kl=rate_kl.sum(axis=0),
            base_rates=rates,
            classes=D.classes,
            groups=D.groups,
        )

    @cached_property
    def moved_posterior(self) -> Array:
        """P~(Y=i | x, a) of every original pair, over its parts, shape (m, K).

        A pair that lost all its mass keeps its posterior.
        """
        mass, new = self._pair_masses, self.population.support
        out = np.zeros((len(mass), self.original.n_classes))
        np.add.at(out, self.pair, new.weight[:, None] * new.posterior)
        old: Array = self.original.support.posterior
        return np.divide(out, mass[:, None], out=old.copy(), where=mass[:, None] > 0)

    @cached_property
    def _pair_masses(self) -> Array:
        weight, size = self.population.support.weight, len(self.original.support.atom)
        return np.asarray(np.bincount(self.pair, weight, size), dtype=float)

    @property
    def score_map(self) -> dict[Any, PiecewiseLinearMap]:
        """Increasing maps by group from the posterior before to the one after (two classes).

        ModelError where the coupling does not increase: it need not where rates are given the
        class, or rules are blind to the group.
        """
        if self.original.n_classes != 2:
            raise ModelError("A score map is of two classes; see `moved_posterior`.")
        s, out = self.original.support, {}
        for a, group in enumerate(self.original.groups):
            own = np.flatnonzero(s.group == a)
            x, first = np.unique(s.score[own], return_inverse=True)
            weight = np.bincount(first, self._pair_masses[own] + 1e-300)
            new = np.bincount(
                first, (self._pair_masses[own] + 1e-300) * self.moved_posterior[own, 1]
            )
            y = new / weight
            if (np.diff(y) < -1e-6).any():
                raise ModelError(
                    f"In group {group!r} posteriors do not keep their order: there is no "
                    "increasing map. `moved_posterior` says where each goes."
                )
            out[group] = _increasing(x, y)
        return out

    # -- rows --

    def sample_weight(
        self, y: ArrayLike, *, sensitive_features: ArrayLike, X: ArrayLike | None = None
    ) -> Array:
        """Return the weight of each row: D~(x, y, a) / D(x, y, a).

        Parameters
        ----------
        y, sensitive_features : array_like, shape (n,)
        X : array_like, shape (n,) or (n, d), optional
            What the population's atoms are: their values (`population.values`; whole numbers from
            0 where none were given), or scores where it was counted in bins; features are
            neither. Without it the rows are those the population was made from, in their order.

        Returns
        -------
        Array, shape (n,)
        """
        pair, label = self._pairs(y, sensitive_features, X)
        s = self.original.support
        joint = self._pair_masses[:, None] * self.moved_posterior
        old = s.weight[:, None] * s.posterior
        factor = np.divide(joint, old, out=np.zeros_like(joint), where=old > 0)
        return np.asarray(factor[pair, label])

    def relabel(
        self,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        X: ArrayLike | None = None,
        key: ArrayLike | None = None,
        random_state: int = 0,
    ) -> NDArray[Any]:
        """Return labels with the posteriors of the new population, with the fewest changes.

        Where P(Y | x, a) of a row's atom moves from e to e', a row with label i keeps it with
        probability min(1, e'_i / e_i), by its lot: the share of rows that change is half the sum
        of abs(e' - e), and none could do with fewer. Which rows: compare with `y`. Rows whose
        labels move although their features stay are what ``move="labels"`` is about; other moves
        have weights as well.

        Parameters
        ----------
        y, sensitive_features, X
            As for :meth:`sample_weight`.
        key : array_like, shape (n,), optional
            Identifiers of the rows, by which lots are drawn; default their positions.
        random_state : int

        Raises
        ------
        ModelError
            For another `move` than "labels".
        """
        if self.settings["move"] != "labels":
            raise ModelError(
                f"Rows were moved by move={self.settings['move']!r}, which reweighs them as well: "
                "use sample_weight, or solve with move='labels'.",
                argument="y",
            )
        pair, label = self._pairs(y, sensitive_features, X)
        old, new = self.original.support.posterior[pair], self.moved_posterior[pair]
        rows = np.arange(len(label))
        keep = np.minimum(1.0, new[rows, label] / np.maximum(old[rows, label], 1e-300))
        keys = keys_for(rows, key, len(rows), drawing=bool((keep < 1.0).any()))
        changed = lots(random_state, "relabel", keys) >= keep
        gain = np.maximum(new - old, 0.0)
        other = drawn(gain, lots(random_state, "new label", keys))
        code = np.where(changed & (gain > 0.0).any(axis=1), other, label)
        return label_array(self.original.classes)[code]

    def _pairs(
        self, y: ArrayLike, sensitive_features: ArrayLike, X: ArrayLike | None
    ) -> tuple[Indices, Indices]:
        """Return the position in the original support, and the class, of every row."""
        D = self.original
        label = encode(y, D.classes, "y")
        group, s = self._by_group(sensitive_features, len(label)), D.support
        if X is None:
            if len(label) != D.n_atoms or not D.reveals_group:
                raise DataError(
                    f"`X` is required: the population has {D.n_atoms} atoms, which are not these "
                    f"{len(label)} rows.",
                    argument="X",
                )
            atom: Indices = np.arange(len(label))
        elif D.score_bins is None:
            atom = self._atoms(X, len(label))
        pair = np.empty(len(label), dtype=np.intp)
        for a in range(D.n_groups):
            rows, own = group == a, np.flatnonzero(s.group == a)
            place = np.full(D.n_atoms, -1, dtype=np.intp)
            place[s.atom[own]] = own
            if X is not None and D.score_bins is not None:
                score = _scores(np.asarray(X)[rows]) if rows.any() else np.zeros(0)
                pair[rows] = place[D.score_bins.atoms(score, D.values, place >= 0)]
            else:
                pair[rows] = place[atom[rows]]
        if (pair < 0).any():
            row = int(np.flatnonzero(pair < 0)[0])
            raise DataError(
                f"Row {row} is at an atom where group {D.groups[group[row]]!r} has no mass in the "
                "population.",
                argument="X",
            )
        return pair, label

    # -- words, pictures, files --

    def summary(self) -> str:
        """Return a report in plain text: divergence, rates, prices, certificate."""
        return str(finding("fair_summary")(self))

    def to_html(self, path: Any = None, title: str | None = None) -> str:  # type: ignore[override]
        """Return a report as one self-contained HTML page, and write it if a path is given."""
        return Reported.to_html(self, path, title)

    def family_free_bound(self, levels: int = 30) -> float:
        """Return the certificate's lower bound where all thresholds were asked for.

        Raises
        ------
        ModelError
            For other programs: fair at some thresholds is not ideal.
        """
        if self.settings["thresholds"] != "all":
            raise ModelError("Only thresholds='all' asks for an ideal population.")
        return self.certificate.lower_bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (arrays, labels, text) that :meth:`from_dict` reads back."""
        settings = dict(self.settings)
        settings["notion"] = settings["notion"].to_dict()
        settings["constraints"] = [
            c if isinstance(c, str) else c.qualified_name() for c in settings["constraints"]
        ]
        plain = ("kl", "pair", "share", "solver", "seconds")
        maps = ("duals", "sensitivity", "price", "price_interval")
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: dict(getattr(self, name)) for name in maps},
            "original": self.original.to_dict(),
            "population": self.population.to_dict(),
            "certificate": vars(self.certificate),
            "settings": settings,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearestFairSolution:
        """Rebuild a solution from :meth:`to_dict`; custom constraints stay names."""
        data = read(data, "nearest_fair", FIELDS)
        original, population = (population_from_dict(data[k]) for k in ("original", "population"))
        if not (isinstance(original, Categorical) and isinstance(population, Categorical)):
            raise DataError("The file holds populations of another family.", argument="path")
        m, n = len(population.support.atom), len(original.support.atom)
        pair = np.asarray(data["pair"]).astype(np.intp)
        if (
            pair.shape != (m,)
            or np.shape(data["share"]) != (m,)
            or not 0 <= pair.min() <= pair.max() < n
        ):
            raise refuse("its parts are not of its populations")
        settings = read(data["settings"], "settings", SETTINGS)
        settings["notion"] = template_from_dict(settings["notion"])
        settings["constraints"] = tuple(settings["constraints"])
        certificate = FairCertificate(**read(data["certificate"], "certificate", CERTIFICATE))
        data |= {"original": original, "population": population, "pair": pair, "affine": {}}
        return cls(**data | {"settings": settings, "certificate": certificate})

    def __repr__(self) -> str:
        return f"NearestFairSolution(kl={self.kl:.6g}, solver={self.solver!r})"


def _scores(given: Any) -> Array:
    """Return the scores of rows, or say that features are none."""
    try:
        return check_posterior(given)[0]
    except DataError as error:
        raise DataError(
            f"`X` must hold the scores that the population counted in bins, not features: {error}",
            argument="X",
        ) from error


def _increasing(x: Array, y: Array) -> PiecewiseLinearMap:
    """Return the map through the points, as steep as rounding needs where they are level."""
    y = np.maximum.accumulate(y)
    rises = np.diff(y) > 0
    kept = np.concatenate([[True], rises]) | np.concatenate([rises, [True]])
    x, y = x[kept], y[kept] + 1e-9 / len(y) * np.arange(kept.sum())
    if len(x) == 1:
        x, y = np.array([x[0], x[0] + 1.0]), np.array([y[0], y[0] + 1.0])
    return PiecewiseLinearMap(x, y, 1.0, 1.0)


FIELDS = PRICES | {
    "kl": least(-1e-9),
    "pair share": array(None),
    "original population certificate settings": Mapping,
}
CERTIFICATE = {
    "dual_value margin": float,
    "duality_gap fairness_violation mass_residual": least(-1e-9),
    "conic_gap": either(None, float),
    "lower_bound": float,
    "grid globally_optimal": bool,
}
SETTINGS = {
    "thresholds": lambda v: v == "all" or fits(v, [float]),
    "threshold_range": either(None, (float, float)),
    "cost": either(None, array()),
    "rule uses_group": bool,
    "notion": Mapping,
    "steer": lambda v: True,
    "move": frozenset(["both", "labels", "masses"]),
    "base_rates": frozenset(["joint", "keep"]),
    "constraints": [str],
}
register("nearest_fair", NearestFairSolution.from_dict)
