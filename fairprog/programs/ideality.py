r"""Is the population the rows came from ideal? The likelihood ratio test (theory.md section 13).

The ideal populations of a family are a manifold: common laws of the classes, one map per group but
one, common base rates. Of a maximum-likelihood fit on n rows :math:`2 n\,KL` to the nearest one is
then, in the limit, chi-square with as many degrees of freedom as the manifold has fewer
dimensions than the family.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from fairprog.errors import DataError, ModelError
from fairprog.kernels.multivariate.one_group import linear_size
from fairprog.labels import check_count
from fairprog.populations import Categorical, Normal, Population
from fairprog.populations.fit_test import CellFit, cell_fits
from fairprog.populations.parameter_count import group_parameters
from fairprog.programs.nearest_ideal import NearestIdeal
from fairprog.transports import Affine, Transport

CAVEAT = (
    "The test takes the family of the laws for granted and asks whether one map per group carries "
    "common laws to them all."
)


@dataclass(frozen=True)
class IdealityTest:
    """What :func:`ideality_test` found.

    Attributes
    ----------
    statistic : float
        2 n KL to the nearest ideal population; with one of two groups steered, times the mass of
        the group that stays. Of a `Categorical` twice n times the mutual information of the group
        and (X, Y).
    df : int
        Degrees of freedom.
    pvalue : float
        Probability of as large a statistic where the population is ideal.
    kl : float
        The divergence behind it, nats.
    n : int
        Rows.
    fits : dict of cell to CellFit
        Goodness of fit of every cell, where rows were given.
    refuted : tuple of cells
        Those whose fit is refuted at 5 %, corrected for their number (Holm).
    conservative : bool
        Whether `Affine` maps can turn directions in which the covariances of the classes hardly
        differ: the p-value is too large then.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> found = fp.ideality_test(fp.Normal.fit(X, y, sensitive_features=a), steer=[1])
    >>> bool(found.pvalue < .01)
    True
    """

    statistic: float
    df: int
    pvalue: float
    kl: float
    n: int
    fits: Mapping[tuple[Hashable, Hashable], CellFit] = field(default_factory=dict)
    refuted: tuple[tuple[Hashable, Hashable], ...] = ()
    conservative: bool = False

    def __str__(self) -> str:
        """Say what was found and what was not tested."""
        verdict = (
            "the population is not ideal"
            if self.pvalue < 0.05
            else "these rows do not refute that the population is ideal"
        )
        said = [
            f"At the 5% level {verdict}: statistic {self.statistic:.2f}, {self.df} degrees of "
            f"freedom, p = {self.pvalue:.2g} ({self.n:,} rows). {CAVEAT}"
        ]
        if self.conservative:
            said.append(
                "The covariances of the classes are too much alike to tell affine maps apart: p "
                'is too large. Ask with a fixed metric, transport=fp.Monotone("identity").'
            )
        if self.refuted:
            cells = "; ".join(f"class {c}, group {g}" for c, g in self.refuted)
            said.append(f"The family itself is refuted in {cells}: the test says little there.")
        elif not self.fits:
            said.append("Give the rows (X, y, sensitive_features) to test the family as well.")
        return " ".join(said)


def ideality_test(
    population: Population,
    *,
    steer: str | Iterable[Any] = "all",
    transport: Transport | None = None,
    orientation: str = "preserve",
    base_rates: str | ArrayLike = "equalize",
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    sensitive_features: ArrayLike | None = None,
    n_permutations: int = 999,
    random_state: int = 0,
) -> IdealityTest:
    r"""Test whether the population that rows came from is ideal, from a fit to them.

    Parameters
    ----------
    population : Population
        Fitted by maximum likelihood without shrinkage; it knows its number of rows (`fit` and
        `Moments` say so, else `with_rows`).
    steer : "all" or list of groups
        Whose divergence is the statistic. The hypothesis is the same, that all groups are ideal
        together; of a list all groups but one must be named.
    transport : Transport, optional
        The class of maps. Default Monotone() for one feature, Affine() for more, since the metric
        of Monotone() is itself estimated; a fixed metric does as well.
    orientation : {"preserve", "any"}
        Whether mirror images are ideal.
    base_rates : "equalize", "keep" or array_like (K,)
        "keep" does not ask for equal base rates; a vector asks for that one.
    X, y, sensitive_features : array_like, optional
        The rows, to test the family in every cell (Lilliefors' test by simulation; of several
        normal features Mardia's).
    n_permutations : int
        Behind the p-value of a `Categorical`: rows keep their atom and class (with "keep" within
        each class) and swap groups.
    random_state : int

    Returns
    -------
    IdealityTest

    Raises
    ------
    DataError
        If the population does not know its rows.
    ModelError
        Where there is nothing to test (no degrees of freedom), and as :class:`NearestIdeal`.

    Notes
    -----
    A family with c parameters per cell and maps of m parameters has GKc + G(K-1) parameters, the
    ideal ones Kc + (G-1)m + (K-1), hence

    .. math:: df = (G-1)\,[(K-1)(c + 1) + c - m],

    without the K-1 of the base rates under "keep". Normal: c = d + d(d+1)/2; m is that for
    Monotone and Whitened, d + d^2 for Affine. With one group staying of mass p the
    divergences of the S others are a sum of chi-squares, S-1 of weight 1 and one of weight 1/p, of
    df/S degrees each. Affine maps need classes whose relative variances are distinct
    (`conservative` says where rows do not tell them apart); mirror images, means that differ.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(2000, random_state=0)
    >>> found = fp.ideality_test(fp.Normal.fit(X, y, sensitive_features=a))
    >>> found.df, found.pvalue < 1e-6
    (3, True)
    """
    if population.n_rows is None:
        raise DataError(
            "`population` does not know how many rows it was estimated from; fit it, or say "
            "population.with_rows(n_rows) with the rows of every cell.",
            argument="population",
        )
    n = int(population.n_rows.sum())
    if isinstance(population, Categorical):
        return _permuted(population, n, base_rates, check_count(n_permutations, "n_permutations"),
                         random_state)  # fmt: skip
    program = tested_program(population, steer, transport, orientation, base_rates)
    kl = program.solve("newton" if "closed-form" in program.refused_solvers else "closed-form").kl
    statistic, df, pvalue = chance_of(program, kl, n)
    fits: Mapping[Any, CellFit] = {}
    if X is not None:
        fits = cell_fits(population, X, y, sensitive_features, random_state)
    alike = isinstance(program.transport, Affine) and _too_much_alike(population)
    return IdealityTest(statistic, df, pvalue, kl, n, fits, refuted_cells(fits), alike)


def tested_program(
    population: Any,
    steer: str | Iterable[Any],
    transport: Transport | None,
    orientation: str = "preserve",
    base_rates: str | ArrayLike = "equalize",
) -> NearestIdeal:
    """Return the program whose divergence is tested: by default with a metric that is fixed."""
    if transport is None and population.n_features > 1 and type(population.core) is Normal:
        transport = Affine()
    return NearestIdeal(
        population, steer, transport, orientation=orientation, base_rates=base_rates
    )


def _too_much_alike(D: Any) -> bool:
    """Return whether of no two classes all relative variances are told apart.

    Adjacent logarithms of the eigenvalues of S_i^{-1} S_j, in the group with most rows, must
    differ by more than four standard errors, (2/n_i + 2/n_j)^{1/2}.
    """
    from scipy.linalg import eigh

    if D.n_features == 1 or D.null_dimension:
        return False
    group = int(D.n_rows.sum(axis=0).argmax())
    n, cov = D.n_rows[:, group], [D.core.cov[i, group] for i in range(D.n_classes)]
    for i, j in combinations(range(D.n_classes), 2):
        gap = np.diff(np.log(eigh(cov[i], cov[j], eigvals_only=True))).min()
        if gap > 4.0 * np.sqrt(2.0 / n[i] + 2.0 / n[j]):
            return False
    return True


def chance_of(program: NearestIdeal, kl: float, n: int) -> tuple[float, int, float]:
    """Return statistic, degrees of freedom and p-value of a divergence found from n rows."""
    df, moved = degrees_of_freedom(program), len(program.question.steered)
    if df <= 0:
        raise ModelError(
            f"{program.transport!r} makes every such population ideal: there is nothing to test.",
            argument="transport",
        )
    statistic = 2.0 * n * kl
    if not program.question.staying:
        return statistic, df, float(chdtrc(df, statistic))
    _refuse_some(program)
    mass = float(program.population.group_mass[program.question.reference])
    pvalue = _two_weights_sf(statistic, df // moved, moved - 1, 1.0 / mass)
    return statistic * (mass if moved == 1 else 1.0), df, pvalue


def degrees_of_freedom(program: NearestIdeal) -> int:
    """Return by how many dimensions the ideal populations are fewer; see `ideality_test`."""
    question = program.question
    D, kind = question.population, program.transport.kind
    K, G, d = D.n_classes, D.n_groups, D.n_features - D.null_dimension
    if kind == "piecewise":
        raise ModelError("Maps that bend have no degrees of freedom to count.",
                         argument="transport")  # fmt: skip
    moves_scale = getattr(D, "moves_scale", True)
    one = d == 1 and kind not in ("identity", "fixed")
    m = 0 if kind == "identity" else (1 + moves_scale if one else d + linear_size(kind, d))
    cells = group_parameters(D)
    rates = 0 if isinstance(question.base_rates, str) and question.base_rates == "keep" else K - 1
    df = (G - 1) * (cells - m + rates)
    return df + (rates if not isinstance(question.base_rates, str) else 0)


def _refuse_some(program: NearestIdeal) -> None:
    """Refuse more than one group that stays."""
    if len(program.question.staying) > 1:
        raise ModelError(
            "Name all groups but one in `steer`, or 'all': estimates of groups that stay are "
            "never ideal among themselves.",
            argument="steer",
        )


def _two_weights_sf(x: float, df: int, ones: int, weight: float) -> float:
    """Return P(U + weight V > x), U and V chi-square with ones * df and df degrees of freedom."""
    if not ones:
        return float(chdtrc(df, x / weight))
    from scipy import stats
    from scipy.integrate import quad

    first, second = stats.chi2(ones * df), stats.chi2(df)
    inner = quad(lambda v: second.pdf(v) * first.sf(x - weight * v), 0.0, x / weight, limit=200)
    return float(min(1.0, inner[0] + second.sf(x / weight)))


def _permuted(
    D: Categorical, n: int, base_rates: Any, repetitions: int, random_state: int
) -> IdealityTest:
    """Test that (X, Y), or with "keep" X within each class, does not depend on the group."""
    from scipy.stats import random_table

    counts = np.rint(D.joint * n).astype(int)
    _, K, G = counts.shape
    keep = isinstance(base_rates, str) and base_rates == "keep"
    tables = [counts[:, i] for i in range(K)] if keep else [counts.reshape(-1, G)]
    tables = [t[t.sum(axis=1) > 0] for t in tables]
    rng, measured = np.random.default_rng(random_state), sum(map(_information, tables))
    drawn = np.zeros(repetitions)
    for t in tables:
        law = random_table(t.sum(axis=1), t.sum(axis=0), seed=rng)
        drawn += [_information(again) for again in law.rvs(repetitions)]
    pvalue = (1 + int(np.sum(drawn >= measured * (1 - 1e-12)))) / (repetitions + 1)
    df = sum((len(t) - 1) * (G - 1) for t in tables)
    return IdealityTest(2.0 * measured, df, pvalue, measured / n, n)


def _information(table: Any) -> float:
    """Return n times the mutual information of rows and columns of counts, nats."""
    outer = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    part = np.where(table > 0, table, 1)
    return float((table * np.log(part / np.where(table > 0, outer, 1.0))).sum())


def refuted_cells(
    fits: Mapping[tuple[Hashable, Hashable], CellFit], level: float = 0.05
) -> tuple[tuple[Hashable, Hashable], ...]:
    """Return the cells whose fit is refuted at a level, by Holm's correction."""
    out = []
    for rank, (cell, fit) in enumerate(sorted(fits.items(), key=lambda item: item[1].pvalue)):
        if fit.pvalue > level / (len(fits) - rank):
            break
        out.append(cell)
    return tuple(out)
