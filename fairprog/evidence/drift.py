"""Whether new rows still belong to the population an answer was found for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.evidence.held_out import GapCurve, check_confidence, gap_curves, posterior
from fairprog.labels import Array, Indices, encode, label_array
from fairprog.pictures import picture
from fairprog.populations import Normal
from fairprog.populations.parameter_count import cell_parameters
from fairprog.solution import Solution

SIMULATED = 10_000  # draws of the fitted population that unlabelled rows are compared with


@dataclass(frozen=True, eq=False)
class Drift:
    """What new rows say; returned by ``Solution.drift``.

    Attributes
    ----------
    pvalues : dict of (class, group) to float
        Of the likelihood ratio that a cell is as it was; class None is the group's base rates,
        or, of rows without labels, the whole group.
    sizes : dict of (class, group) to float
        How far it is: the divergence of the new fit from the old one, nats (of rows without labels
        the largest difference of distribution functions).
    moved : tuple of (class, group)
        Those that moved, by Holm's correction.
    ideality : float or None
        P-value that the groups' steered rows share common laws.
    curves : tuple of GapCurve
        Gaps of the fitted population's score on the new rows, as they are and aligned.
    confidence : float
    labelled : bool
    n : int
        Rows.
    """

    pvalues: Mapping[tuple[Hashable, Hashable], float]
    sizes: Mapping[tuple[Hashable, Hashable], float]
    moved: tuple[tuple[Hashable, Hashable], ...]
    ideality: float | None
    curves: tuple[GapCurve, ...]
    confidence: float
    labelled: bool
    n: int

    @property
    def drifted(self) -> bool:
        """Whether the rows say no: some cell moved, or the steered rows are no longer ideal."""
        half = (1.0 - self.confidence) / 2.0  # the other half is for the cells
        return bool(self.moved) or (self.ideality is not None and self.ideality < half)

    @property
    def verdict(self) -> str:
        """The finding in one sentence."""
        rows = f"{self.n:,} rows"
        only = "" if self.labelled else "; without labels only each group as a whole is checked"
        if self.moved:
            c, g = max(self.moved, key=lambda cell: self.sizes[cell])
            where = f"group {g}" if c is None else f"class {c}, group {g}"
            return (
                f"The population has moved, most of all in {where}: {len(self.moved)} of "
                f"{len(self.pvalues)} checks on {rows} refuse it at {self.confidence:.0%} "
                f"confidence{only}. Fit anew."
            )
        if self.drifted:
            return f"Steered rows of the groups no longer share common laws ({rows}). Fit anew."
        return (
            f"At {self.confidence:.0%} confidence nothing on {rows} says that the population has "
            f"moved{only}."
        )

    def summary(self) -> str:
        """Return verdict, checks and gaps as text."""
        lines = [self.verdict, "", f"  {'class, group':28} {'size':>9} {'p-value':>9}"]
        for (c, g), p in self.pvalues.items():
            what = "base rates" if self.labelled else "all rows"
            name = f"{what if c is None else c}, {g}"
            mark = "   moved" if (c, g) in self.moved else ""
            lines.append(f"  {name:28} {self.sizes[c, g]:9.4f} {p:9.2g}{mark}")
        if self.ideality is not None:
            lines.append(f"  steered rows share common laws: p = {self.ideality:.2g}")
        for curve in self.curves:
            parts = [
                f"{name} {i.estimate:.3f} ({i.low:.3f} to {i.high:.3f})"
                for name, i in curve.intervals.items()
            ]
            lines.append(f"  worst gap, {curve.title}: {'; '.join(parts)}")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw how far every cell moved, those that did marked."""
        return picture("plot_drift")(self, ax)

    def __repr__(self) -> str:
        return f"Drift({self.verdict})"


def drift_of_rows(
    sol: Solution,
    X: ArrayLike,
    y: ArrayLike | None,
    sensitive_features: ArrayLike,
    confidence: float,
    random_state: int,
) -> Drift:
    """Return what new rows say about a solution; see ``Solution.drift``."""
    if not sol.moves_rows:
        raise ModelError("Drift is measured for populations of numbers.", argument="X")
    level = 1.0 - check_confidence(confidence)
    if y is None:
        pvalues, sizes, n = _mixtures(sol, X, sensitive_features, random_state)
        moved = _holm(pvalues, level)
        return Drift(pvalues, sizes, moved, None, (), confidence, False, n)
    D = sol.original
    Z = D.to_coordinates(D.as_features(X))
    rows = Rows.check(y, sensitive_features, None, len(Z), classes=D.classes, groups=D.groups, X=X)
    pvalues, sizes = _cells(sol, Z, rows)
    steered = sol.steer(X, y, sensitive_features=sensitive_features)
    common = sol.align(steered, sensitive_features=sensitive_features)
    return Drift(
        pvalues,
        sizes,
        _holm(pvalues, level / 2.0),
        _share_laws(sol, np.asarray(common, dtype=float).reshape(Z.shape), rows),
        _gaps(sol, X, y, sensitive_features, confidence),
        confidence,
        True,
        len(Z),
    )


def _fit(D: Any, Z: Array, classes: Any, groups: Any) -> Any:
    """Return the maximum-likelihood fit of rows in the family's own coordinates."""
    core: Any = D.core
    options = {"covariance": core.covariance} if isinstance(core, Normal) else {}
    family: Any = Normal if isinstance(core, Normal) else type(core)
    X = D.core.from_coordinates(Z)
    known = tuple(g for g in D.groups if g in set(groups)) or ("all",)
    labels = {"classes": D.classes, "groups": known}
    return family.fit(X, classes, sensitive_features=groups, **labels, **options)


def _cells(sol: Solution, Z: Array, rows: Rows) -> tuple[dict[Any, float], dict[Any, float]]:
    """Return the likelihood ratio of every cell, and of every group's base rates."""
    D = sol.original
    y, a = label_array(D.classes)[rows.y], label_array(D.groups)[rows.a]
    new = _fit(D, Z, y, a)
    V = new.cell_divergences(D.core)
    pvalues, sizes = {}, {}
    parameters = cell_parameters(D.core)
    for i, a_ in np.ndindex(*D.prior.shape):
        cell = D.classes[i], D.groups[a_]
        old = None if D.n_rows is None else float(D.n_rows[i, a_])
        m = _paired(float(rows.cells[i, a_]), old)
        sizes[cell] = float(V[i, a_])
        pvalues[cell] = float(chdtrc(parameters, 2.0 * m * sizes[cell]))
    for a_, g in enumerate(D.groups):
        count = rows.cells[:, a_]
        share = count / count.sum()
        old = None if D.n_rows is None else float(D.n_rows[:, a_].sum())
        kl = float((share * np.log(np.where(share > 0, share, 1) / D.base_rates[:, a_])).sum())
        sizes[None, g] = kl
        m = _paired(float(count.sum()), old)
        pvalues[None, g] = float(chdtrc(len(share) - 1, 2.0 * m * kl)) if len(share) > 1 else 1.0
    return pvalues, sizes


def _paired(new: float, old: float | None) -> float:
    """Return the effective size of a comparison of two samples, the old one perhaps known."""
    return float(new if old is None else new * old / (new + old))


def _share_laws(sol: Solution, X: Array, rows: Rows) -> float:
    """Return the p-value that rows in common coordinates do not depend on the group."""
    D = sol.original
    Z = D.to_coordinates(X)
    y, a = label_array(D.classes)[rows.y], label_array(D.groups)[rows.a]
    own = _fit(D, Z, y, a)
    pooled = _fit(D, Z, y, np.repeat(label_array(["all"]), len(y)))
    statistic = 0.0
    for g in own.groups:
        k = list(D.groups).index(g)
        alone = _fit(D, Z[a == g], y[a == g], np.repeat(label_array(["all"]), int((a == g).sum())))
        V = alone.cell_divergences(pooled)[:, 0]
        old = [None] * len(V) if D.n_rows is None else list(D.n_rows[:, k])
        sizes = np.array([_paired(m, o) for m, o in zip(rows.cells[:, k], old, strict=True)])
        statistic += float(2.0 * sizes @ V)
    df = (D.n_groups - 1) * D.n_classes * cell_parameters(D.core)
    return float(chdtrc(df, statistic))


def _gaps(sol: Solution, X: Any, y: Any, a: Any, confidence: float) -> tuple[GapCurve, ...]:
    """Return the gaps of Bayes posteriors of rows as they are and aligned."""
    E = sol.population
    blind = E.with_prior(np.outer(E.prior.sum(axis=1), E.group_mass))
    scores = {
        "as they are": posterior(sol.original, X, sensitive_features=a),
        "aligned": posterior(blind, X, sensitive_features=a),
    }
    D = sol.original
    return gap_curves(
        scores, y, sensitive_features=a, classes=D.classes, groups=D.groups, confidence=confidence
    )


def _mixtures(
    sol: Solution, X: ArrayLike, sensitive_features: ArrayLike, random_state: int
) -> tuple[dict[Any, float], dict[Any, float], int]:
    """Return, by group, the smallest Smirnov p-value of a feature against the fitted mixture."""
    from scipy.stats import ks_2samp

    D = sol.original
    Z = D.to_coordinates(D.as_features(X))
    a: Indices = encode(sensitive_features, D.groups, "sensitive_features", len(Z))
    drawn, _, group = D.sample(SIMULATED * D.n_groups, random_state=random_state)
    W = D.to_coordinates(drawn)
    pvalues, sizes = {}, {}
    for k, g in enumerate(D.groups):
        rows = Z[a == k]
        if not len(rows):
            raise DataError(f"Group {g!r} has no rows.", argument="sensitive_features")
        model = W[np.asarray(group) == label_array([g])[0]]
        found = [ks_2samp(rows[:, j], model[:, j]) for j in range(Z.shape[1])]
        best = min(found, key=lambda f: f.pvalue)
        pvalues[None, g] = float(min(1.0, len(found) * best.pvalue))
        sizes[None, g] = float(best.statistic)
    return pvalues, sizes, len(Z)


def _holm(pvalues: Mapping[Any, float], level: float) -> tuple[Any, ...]:
    """Return the names whose p-values are refuted by Holm's correction."""
    out = []
    for rank, (name, p) in enumerate(sorted(pvalues.items(), key=lambda item: item[1])):
        if p > level / (len(pvalues) - rank):
            break
        out.append(name)
    return tuple(out)
