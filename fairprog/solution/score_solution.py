"""The answer of `FairScore`: channels by group, what they do to scores, what fairness costs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.codec import Saved, register
from fairprog.door import Rows
from fairprog.errors import ModelError
from fairprog.fields import array, either, fits, labels, least, read, refuse
from fairprog.findings import finding
from fairprog.kernels.statistics.gap_bands import gap_half_width, worst_gap
from fairprog.labels import Array, address, check_finite
from fairprog.lots import keys_for, lots
from fairprog.pictures import Reported
from fairprog.solution.certificate import Checked
from fairprog.solution.channel import PURPOSE, Channel
from fairprog.solution.frontier import Frontier
from fairprog.tables import Notion, OutcomeTable, template_from_dict

TOLERANCE = 1e-6


@dataclass(frozen=True)
class ScoreCertificate(Checked):
    """Residuals recomputed in numpy from the channels and every atom of the population.

    Attributes
    ----------
    primal, dual : float
        Risk of the released score, and the lower bound that the multipliers prove over all atoms
        (of path answers: over all fair rules of every cost).
    violation : float
        Worst gap over all thresholds, minus the bound.
    rank_keeping : float
        By how much an exceedance falls as the score rises.
    law_residual : float
        Between the exceedances of the atoms and those of the blocks.
    hull_residual : float
        By how much the ROC curve of a group rises above its hull.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> fp.FairScore(D).solve().certificate.ok
    True
    """

    primal: float
    dual: float
    violation: float
    rank_keeping: float
    law_residual: float
    hull_residual: float

    @property
    def duality_gap(self) -> float:
        """Between the primal and the dual value."""
        return self.primal - self.dual

    def checks(self) -> list[tuple[str, float, float]]:
        """Return (name, residual, tolerance), 1e-6, of everything that ``ok`` asks for."""
        found = {"duality_gap": abs(self.duality_gap)} | vars(self)
        del found["primal"], found["dual"]
        return [(name, value, TOLERANCE) for name, value in found.items()]


@dataclass(frozen=True, eq=False)
class ScoreSolution(Reported, Saved):
    """One score that is fair at every threshold, proven; returned by ``FairScore.solve()``.

    Predict the positive class where the released score is at least a threshold, the SAME for all
    groups: at cost c (c for a false positive, 1 - c for a false negative) take c. Bayes rules
    group by group on the released score are NOT fair where base rates differ.

    Source: theory.md section 11.

    Attributes
    ----------
    channels : dict group -> Channel
        From a group's score to the released one.
    mass : dict group -> Array, shape (n, 2)
        P(block, Y, A = group) of the blocks of its channel.
    classes : tuple of labels
        The last is the positive one.
    auc : dict group -> (float, float)
        Area under the group's ROC curve before and after: levelling down is visible here.
    price : dict notion's name -> float
        Minus d risk / d bound.
    price_at : (Array, Array)
        Costs, and the part of the price that thresholds at that cost bear: its mean over costs is
        the price.
    certificate : ScoreCertificate
    settings : dict
        ``notion``, ``staying`` groups, names of ``constraints``, ``costs`` served (None: all),
        with ``thresholds`` (None: the costs) and ``weights`` (None: equal).
    effective_rows : int or None
        The population was counted from.
    solver : str
    seconds : float

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairScore(D).solve()
    >>> sol.gap < 1e-9, fp.EqualizedOdds().gap(sol.table(.5)) < 1e-9
    (True, True)
    >>> free = fp.FairScore(D, fp.EqualizedOdds(difference_bound=1)).solve()
    >>> free.risk < sol.risk and sol.price["equalized_odds"] > 0
    True
    """

    _kind: ClassVar[str] = "score_solution"

    channels: Mapping[Hashable, Channel]
    mass: Mapping[Hashable, Array]
    classes: tuple[Hashable, ...]
    auc: Mapping[Hashable, tuple[float, float]]
    price: Mapping[str, float]
    price_at: tuple[Array, Array]
    certificate: ScoreCertificate
    settings: Mapping[str, Any]
    effective_rows: int | None
    solver: str
    seconds: float = field(default=0.0, compare=False)
    again: Callable[..., Frontier] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("channels", "mass", "auc", "price", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the fields."""
        values = [getattr(self, f.name) for f in fields(self)][:-1]
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    @property
    def groups(self) -> tuple[Hashable, ...]:
        """The groups."""
        return tuple(self.channels)

    @property
    def notion(self) -> Notion:
        """The notion, with its bound."""
        out: Notion = self.settings["notion"]
        return out

    @property
    def levels(self) -> Array:
        """Values of the released score, rising: the costs from which on it decides otherwise."""
        return self.channels[self.groups[0]].levels

    @cached_property
    def _laws(self) -> Array:
        """P(level, Y=i, A=a), shape (2, G, V)."""
        each = [self.mass[g].T @ self.channels[g].chance for g in self.groups]
        return np.stack(each, axis=1)

    @cached_property
    def _above(self) -> Array:
        """P(released >= level, Y=i, A=a), shape (2, G, V)."""
        return np.cumsum(self._laws[..., ::-1], axis=2)[..., ::-1]

    @property
    def _mass(self) -> Array:
        """P(Y=i, A=a), shape (2, G)."""
        return np.asarray(self._laws.sum(axis=2))

    def _rates_of(self, above: Array) -> Array:
        """P(released >= level | event, group), shape (E, G, V), of `_above`."""
        events, q = self.notion.events(self.classes), self._mass
        return np.stack([above[c].sum(axis=0) / q[c].sum(axis=0)[:, None] for _, _, c in events])

    @cached_property
    def _rates(self) -> Array:
        return self._rates_of(self._above)

    @property
    def exceedances(self) -> dict[Hashable, Array]:
        """P(released >= level | Y=i, A=group) by group, shape (2, V)."""
        return {g: self._above[:, a] / self._mass[:, a, None] for a, g in enumerate(self.groups)}

    @property
    def law(self) -> dict[str, Array]:
        """Common exceedances by event, (V,): midway between the groups (bound 0: theirs)."""
        events = self.notion.events(self.classes)
        names = [address(self.notion.name, *names) for names, _, _ in events]
        middle = 0.5 * (self._rates.max(axis=1) + self._rates.min(axis=1))
        return dict(zip(names, middle, strict=True))

    @property
    def gap(self) -> float:
        """Largest minus smallest rate between groups, worst over events and ALL thresholds."""
        return float(np.ptp(self._rates, axis=1).max())

    @property
    def risk(self) -> float:
        """Mean over the costs served of `risk_at`; over all costs half the Brier score."""
        costs, at = self.settings["costs"], self.settings["thresholds"]
        if costs is not None:
            pairs = zip(costs, costs if at is None else at, strict=True)
            risks = [self.risk_at(c, t) for c, t in pairs]
            return float(np.average(risks, weights=self.settings["weights"]))
        wrong = np.stack([self.levels**2, (1.0 - self.levels) ** 2])
        return float(0.5 * np.einsum("iav,iv->", self._laws, wrong))

    def table(self, threshold: float) -> OutcomeTable:
        """Return the outcome table of the rule `released >= threshold`."""
        at = int(np.searchsorted(self.levels, threshold, side="left"))
        q = self._mass
        positive = self._above[:, :, at] if at < len(self.levels) else np.zeros_like(q)
        Z = np.stack([(q - positive).T, positive.T], axis=2)
        return OutcomeTable(np.maximum(Z, 0.0), self.classes, self.groups)

    def risk_at(self, cost: float, threshold: float | None = None) -> float:
        """Return c P(false positive) + (1 - c) P(false negative) at a threshold, by default c."""
        Z = self.table(cost if threshold is None else threshold).Z.sum(axis=0)
        return float(cost * Z[0, 1] + (1.0 - cost) * Z[1, 0])

    @property
    def lot(self) -> dict[Hashable, Array]:
        """Share of a group's decisions that lots decide, at every level as threshold, (V,).

        The chance that two draws for the same person differ, 2 h (1 - h), on average.
        """
        out = {}
        for g, channel in self.channels.items():
            h, p = np.minimum(channel.above[:, :-1], 1.0), self.mass[g].sum(axis=1)
            out[g] = p @ (2.0 * h * (1.0 - h)) / p.sum()
        return out

    def lot_at(self, threshold: float) -> dict[Hashable, float]:
        """Return `lot` at one threshold by group."""
        at = int(np.searchsorted(self.levels, threshold, side="left"))
        return {g: float(np.append(share, 0.0)[at]) for g, share in self.lot.items()}

    @property
    def movement(self) -> dict[Hashable, float]:
        """Mean absolute change of rank within the group, in [0, 1]."""
        out = {}
        for g, channel in self.channels.items():
            p = self.mass[g].sum(axis=1) / self.mass[g].sum()
            start, end = (np.cumsum(x) - 0.5 * x for x in (p, p @ channel.chance))
            out[g] = float(p @ (channel.chance * np.abs(start[:, None] - end)).sum(axis=1))
        return out

    @property
    def mean_gap(self) -> float:
        """Worst gap of the derandomised scores ``channels[group].mean``: what no lots cost."""
        values = [channel.chance @ channel.levels for channel in self.channels.values()]
        at, gap = np.unique(np.concatenate(values)), 0.0
        for _, _, c in self.notion.events(self.classes):
            rates = []
            for value, m in zip(values, self.mass.values(), strict=True):
                below = np.append(0.0, np.cumsum(m[:, c].sum(axis=1)))
                rates.append(below[np.searchsorted(value, at, side="left")] / below[-1])
            gap = max(gap, float(np.ptp(rates, axis=0).max()))
        return gap

    def band(
        self,
        score: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        key: Any = None,
        confidence: float = 0.95,
        random_state: int = 0,
    ) -> dict[str, tuple[float, float, float]]:
        """Return (worst gap, low, high) of every event on rows that were NOT fitted.

        Every row's score is released by its lot. The band is that of Dvoretzky, Kiefer and
        Wolfowitz, over all thresholds and groups at once.

        Parameters
        ----------
        score, y, sensitive_features : array_like, shape (n,)
        key : array_like, shape (n,), optional
            Identifiers of the rows.
        confidence : float
        random_state : int
            Seed of the lots.

        Raises
        ------
        DataError
            For unknown groups or classes, cells without rows.
        """
        s = check_finite(score, "score", rows=True)
        rows = Rows.check(
            y, sensitive_features, None, len(s),
            classes=self.classes, groups=self.groups, score=score,
        )  # fmt: skip
        rows.require(1)
        drawing = any(T.draws for T in self.channels.values())
        lot = lots(random_state, PURPOSE, keys_for(s, key, len(s), drawing=drawing))
        own = [np.flatnonzero(rows.a == a) for a in range(len(self.groups))]
        released = [T.at(s[k], lot[k]) for T, k in zip(self.channels.values(), own, strict=True)]
        events, out = self.notion.events(self.classes), {}
        for name, (_, _, c) in zip(self.law, events, strict=True):
            samples = [x[np.isin(rows.y[k], c)] for x, k in zip(released, own, strict=True)]
            width = gap_half_width([len(x) for x in samples], len(events) * len(own), confidence)
            gap = worst_gap(samples)
            out[name] = (gap, max(0.0, gap - width), min(1.0, gap + width))
        return out

    def frontier(self, bounds: ArrayLike) -> Frontier:
        """Return the risk at other bounds; see :meth:`FairScore.frontier`.

        Raises
        ------
        ModelError
            For a solution from a file, which has no population to solve again.
        """
        if self.again is None:
            raise ModelError(
                "A solution from a file cannot be solved again: use FairScore(...).frontier."
            )
        return self.again(bounds)

    def summary(self) -> str:
        """Return a report in plain text: gap, risk, levelling down, lots, price, certificate."""
        return str(finding("score_summary")(self))

    def certified(self, scores: Sequence[Array], mass: Sequence[Array]) -> ScoreSolution:
        """Return the solution, its certificate measured on all atoms; solvers call this."""
        law, falls, above = 0.0, 0.0, np.empty_like(self._above)
        for a, channel in enumerate(self.channels.values()):
            at, h = channel.blocks(scores[a]), channel.above[:, :-1]
            above[:, a] = np.stack([np.bincount(at, m) for m in mass[a].T]) @ h
            falls = max(falls, float(-np.diff(h, axis=0).min(initial=0.0)))
            law = max(law, float(np.abs(above[:, a] - self._above[:, a]).max()))
        off = float(np.ptp(self._rates_of(above), axis=1).max()) - self.notion.difference_bound
        found = {"violation": max(0.0, off), "rank_keeping": falls, "law_residual": law}
        return replace(self, certificate=replace(self.certificate, primal=self.risk, **found))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (arrays, labels, text) that :meth:`from_dict` reads back."""
        out = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "again"}
        return out | {
            "channels": {g: c.to_dict() for g, c in self.channels.items()},
            "certificate": vars(self.certificate),
            "settings": {**self.settings, "notion": self.notion.to_dict()},
            **{name: dict(out[name]) for name in ("mass", "auc", "price")},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScoreSolution:
        """Rebuild a solution from :meth:`to_dict`."""
        data = read(data, "score_solution", FIELDS)
        channels = {g: Channel.from_dict(c) for g, c in data["channels"].items()}
        whole = data["mass"].keys() == data["auc"].keys() == channels.keys()
        sizes = whole and all(
            array(len(c.chance), 2)(data["mass"][g]) and data["mass"][g].min() >= 0
            for g, c in channels.items()
        )
        if not sizes or not fits(dict(data["auc"]), {Hashable: (least(0, 1), least(0, 1))}):
            raise refuse("`mass` and `auc` are not of the groups that have channels")
        settings = read(data["settings"], "settings", SETTINGS)
        settings["notion"] = template_from_dict(settings["notion"])
        read(settings, "settings", SETTINGS | {"notion": Notion})
        proof = ScoreCertificate(**read(data["certificate"], "certificate", CERTIFICATE))
        return cls(**{**data, "channels": channels, "settings": settings, "certificate": proof})

    def __repr__(self) -> str:
        return f"ScoreSolution(gap={self.gap:.3g}, risk={self.risk:.6g}, solver={self.solver!r})"


FIELDS = {
    "channels": lambda v: isinstance(v, Mapping) and len(v) > 0,
    "mass auc certificate settings": Mapping,
    "classes": labels,
    "price": {str: float},
    "price_at": (array(None), array(None)),
    "effective_rows": either(None, int),
    "solver": str,
    "seconds": least(0),
}
SETTINGS = {
    "notion": Mapping,
    "staying": either((), [Hashable]),
    "constraints": either((), [str]),
    "costs thresholds weights": either(None, array(None)),
}
CERTIFICATE = {f.name: float for f in fields(ScoreCertificate)}
register("score_solution", ScoreSolution.from_dict)
