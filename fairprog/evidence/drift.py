"""Whether new rows still belong to the population an answer was found for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.special import chdtrc

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.evidence.held_out import GapCurve, check_confidence, gap_curves, posterior
from fairprog.evidence.mean_scores import Comparison, Scores, compare_means, paired
from fairprog.labels import Array, Indices, encode, label_array
from fairprog.pictures import picture
from fairprog.populations import DiagonalNormal, Gamma, Normal, Pushforward
from fairprog.populations.law import Law
from fairprog.solution import Solution

FEWEST = 8  # rows of a cell


@dataclass(frozen=True, eq=False)
class Drift:
    """What new rows say; returned by ``Solution.drift``.

    Attributes
    ----------
    pvalues : dict of (class, group) to float
        That a cell is as it was, by the mean score of its rows
        (:mod:`fairprog.evidence.mean_scores`); class None is what the group's classes share, base
        rates (and a tied covariance), or, of rows without labels, the whole group.
    sizes : dict of (class, group) to float
        How far it is: to second order the divergence of the new fit from the old one, nats.
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
                f"{len(self.pvalues)} checks on {rows} say so at {self.confidence:.0%} "
                f"confidence{only}. Fit anew."
            )
        if self.drifted:
            return (
                f"The population has moved: rows steered by this answer differ between groups "
                f"({rows}, {self.confidence:.0%} confidence). Fit anew."
            )
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
        if self.curves:
            lines.append(
                "  worst gaps of the fitted population's own scores, which know the group"
            )
        for curve in self.curves:
            parts = [
                f"{name} {i.estimate:.3f} ({i.low:.3f} to {i.high:.3f})"
                for name, i in curve.intervals.items()
            ]
            lines.append(f"    {curve.title}: {'; '.join(parts)}")
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
    rng, D = np.random.default_rng(random_state), sol.original
    Z = D.to_coordinates(D.as_features(X))
    if y is None:
        pvalues, sizes = _mixtures(sol, Z, sensitive_features, level, rng)
        return Drift(pvalues, sizes, _holm(pvalues, level), None, (), confidence, False, len(Z))
    rows = Rows.check(y, sensitive_features, None, len(Z), classes=D.classes, groups=D.groups, X=X)
    rows.require(FEWEST)
    pvalues, sizes, ideality = _cells(sol, X, rows, level / 2.0, rng)
    return Drift(
        pvalues,
        sizes,
        _holm(pvalues, level / 2.0),
        None if sol.settings["map_bound"] else ideality,
        _gaps(sol, X, y, sensitive_features, confidence),
        confidence,
        True,
        len(Z),
    )


def _draws(tests: int, level: float) -> int:
    """Return how many draws tell p-values of so many tests from what Holm's correction asks."""
    return int(min(20_000, max(1000, np.ceil(8 * tests / level))))


def _cells(
    sol: Solution, X: ArrayLike, rows: Rows, level: float, rng: np.random.Generator
) -> tuple[dict[Any, float], dict[Any, float], float]:
    """Return the checks of cells and of base rates, and the p-value that laws are common."""
    D = sol.original
    K, G = D.prior.shape
    scores, shared = _scores(sol, X, rows)
    draws = _draws(2 * (K + 1) * G, level)
    pvalues: dict[Any, float] = {}
    sizes: dict[Any, float] = {}
    between = []
    for i, c in enumerate(D.classes):
        old = [None if D.n_rows is None else float(D.n_rows[i, a]) for a in range(G)]
        # locations and spreads by themselves: spreads are known less well where tails are heavy
        parts = [compare_means(part, old, rng, draws) for part in zip(*scores[i], strict=True)]
        between.append([among for _, among in parts])
        for a, g in enumerate(D.groups):
            pvalues[c, g] = _least([own[a].pvalue for own, _ in parts])
            sizes[c, g] = _size(*scores[i][a])
    for a, g in enumerate(D.groups):
        before = None if D.n_rows is None else float(D.n_rows[:, a].sum())
        pvalues[None, g], sizes[None, g] = _rates(rows.cells[:, a], D.base_rates[:, a], before)
        if shared:
            spread = compare_means([shared[a]], [before], rng, draws)[0][0]
            pvalues[None, g] = _least([pvalues[None, g], spread.pvalue])
            sizes[None, g] += _size(shared[a])
    common = [
        Comparison(sum(c.value for c in part), sum(c.spread for c in part)).pvalue
        for part in zip(*between, strict=True)
    ]
    return pvalues, sizes, _least(common)


def _least(pvalues: Sequence[float]) -> float:
    """Return the p-value of several checks together, by Bonferroni's inequality."""
    return min(1.0, len(pvalues) * min(pvalues))


def _size(*parts: Scores) -> float:
    """Return the divergence of the new fit from the old one, to second order."""
    return 0.5 * sum(float(part.mean @ part.mean) for part in parts)


def _rates(count: Indices, before: Array, old: float | None) -> tuple[float, float]:
    """Return p-value and divergence of base rates."""
    share = count / count.sum()
    kl = float((share * np.log(np.where(share > 0, share, 1) / before)).sum())
    if len(share) < 2:
        return 1.0, kl
    return float(chdtrc(len(share) - 1, 2.0 * paired(float(count.sum()), old) * kl)), kl


def _scores(
    sol: Solution, X: ArrayLike, rows: Rows
) -> tuple[list[list[tuple[Scores, ...]]], list[Scores]]:
    """Return scores by class and group, all of a class in the coordinates of the first group.

    Beside them, by group, those of a covariance that the classes share.
    """
    D, E = sol.original, sol.population
    bent = isinstance(E.core, Pushforward)  # of one feature: every cell's own units are common
    if bent:
        Z = D.to_coordinates(D.as_features(X))
    else:
        y, a = label_array(D.classes)[rows.y], label_array(D.groups)[rows.a]
        moved = sol.align(sol.steer(X, y, sensitive_features=a), sensitive_features=a)
        Z, D = sol.affine[D.groups[0]](D.to_coordinates(D.as_features(moved))), E
    core: Any = D.core
    cells = [
        [
            _of_cell(core, i, a if bent else 0, Z[(rows.y == i) & (rows.a == a)])
            for a in range(D.n_groups)
        ]
        for i in range(D.n_classes)
    ]
    if not (isinstance(core, Normal) and core.covariance == "tied"):
        return cells, []
    own = [np.concatenate([row[a][0].z for row in cells]) for a in range(D.n_groups)]
    return cells, [Scores(z, False, True) for z in own]


def _of_cell(core: Any, i: int, a: int, Z: Array) -> tuple[Scores, ...]:
    """Return the standardised scores of rows (n, d) at a cell: of its location, of its spread."""
    if isinstance(core, DiagonalNormal):
        return _diagonal(core, core.support_mean[i, a], core.support_variances[i, a], Z)
    if isinstance(core, Normal):
        z = _whitened(core, core.support_mean[i, a], core.support_cov_of(a)[i], Z)
        parts = Scores(z), Scores(z, False, True)
        return parts[:1] if core.covariance == "tied" else parts
    law = core.law(i, a)
    z, (nodes, weight) = (Z[:, 0] - core.base_loc[i, a]) / core.base_scale[i, a], law.rule
    pairs = zip(_equations(core, law, z), _equations(core, law, nodes), strict=True)
    return tuple(Scores((own / np.sqrt(weight @ at**2))[:, None]) for own, at in pairs)


def _equations(core: Any, law: Law, z: Array) -> list[Array]:
    """Return what a fit makes nothing on average: for its location, for its scale or shape."""
    slope = law.bounded_slope(z)
    found = [] if np.isfinite(law.support).any() else [slope]
    if core.moves_scale:
        found.append(z * slope - 1.0)
    elif type(core) is Gamma:
        found.append(z - law.mean)
    return found


def _diagonal(core: Any, mean: Array, variance: Array, Z: Array) -> tuple[Scores, Scores]:
    z = (Z @ core.support_basis - mean) / np.sqrt(variance)
    return Scores(z), Scores((z**2 - 1.0) / np.sqrt(2.0))


def _whitened(core: Any, mean: Array, cov: Array, Z: Array) -> Array:
    root = np.linalg.cholesky(cov)
    return np.asarray(solve_triangular(root, (Z @ core.support_basis - mean).T, lower=True).T)


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
    sol: Solution, Z: Array, sensitive_features: ArrayLike, level: float, rng: np.random.Generator
) -> tuple[dict[Any, float], dict[Any, float]]:
    """Return the checks of every group's mean and covariance, its classes together."""
    D = sol.original
    core: Any = D.core
    if not isinstance(core, Normal):
        raise ModelError(
            "Without labels only normal populations, and what they become by a bijection, are "
            f"checked: where a mixture of {type(D).__name__} classes differs, the rows may have "
            "moved, or the family never described them. Pass `y`.",
            argument="y",
        )
    a: Indices = encode(sensitive_features, D.groups, "sensitive_features", len(Z))
    draws = _draws(2 * D.n_groups, level)
    pvalues: dict[Any, float] = {}
    sizes: dict[Any, float] = {}
    for k, g in enumerate(D.groups):
        own = Z[a == k]
        if len(own) < FEWEST:
            raise DataError(
                f"Group {g!r} has {len(own)} rows; at least {FEWEST} are needed.",
                argument="sensitive_features",
            )
        w, m = D.base_rates[:, k], core.support_mean[:, k]
        mean, off = w @ m, m - w @ m
        if isinstance(core, DiagonalNormal):
            scores = _diagonal(core, mean, w @ (core.support_variances[:, k] + off**2), own)
        else:
            cov = np.einsum("i,ijk->jk", w, core.support_cov_of(k)) + (off.T * w) @ off
            z = _whitened(core, mean, cov, own)
            scores = Scores(z), Scores(z, False, True)
        old = None if D.n_rows is None else float(D.n_rows[:, k].sum())
        parts = [compare_means([part], [old], rng, draws)[0][0].pvalue for part in scores]
        pvalues[None, g], sizes[None, g] = _least(parts), _size(*scores)
    return pvalues, sizes


def _holm(pvalues: Mapping[Any, float], level: float) -> tuple[Any, ...]:
    """Return the names whose p-values are refuted by Holm's correction."""
    out = []
    for rank, (name, p) in enumerate(sorted(pvalues.items(), key=lambda item: item[1])):
        if p > level / (len(pvalues) - rank):
            break
        out.append(name)
    return tuple(out)
