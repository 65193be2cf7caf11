"""How many rows are needed, per cell and in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.kernels.statistics.sample_size import rows_for_gap, rows_for_kl
from fairprog.labels import Indices, check_number
from fairprog.populations import Population
from fairprog.programs.ideality import degrees_of_freedom, tested_program
from fairprog.transports import Transport


@dataclass(frozen=True, eq=False)
class RowsNeeded:
    """Rows that are needed; returned by :func:`rows_needed`.

    Attributes
    ----------
    cells : array of int, shape (K, G)
        Rows each cell needs.
    total : int
        Rows in all, drawn as the population's prior says, for every cell to have its own.
    short : tuple of (class, group, has, needs)
        Cells of the population that have too few.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> fp.rows_needed(D, delta=0.1).short
    ()
    """

    cells: Indices
    total: int
    short: tuple[tuple[object, object, int, int], ...]

    def __str__(self) -> str:
        """Say how many rows are needed and where they are missing."""
        said = f"{self.total:,} rows in all, {int(self.cells.min()):,} in the smallest cell."
        for c, g, has, needs in self.short:
            said += f" Class {c}, group {g} has {has:,} rows and needs {needs:,}."
        return said


def rows_needed(
    population: Population,
    what: str = "gap",
    *,
    delta: float = 0.1,
    confidence: float = 0.95,
    power: float = 0.8,
    transport: Transport | None = None,
) -> RowsNeeded:
    r"""Return how many rows tell a population of that size of unfairness from an ideal one.

    Parameters
    ----------
    population : Population
        Its prior says how rows are spread over cells.
    what : {"gap", "kl"}
        A gap between two groups at some threshold (of each class: rows per cell), or a divergence
        from the nearest ideal population (rows in all).
    delta : float
        The gap, in (0, 1), or the divergence, nats.
    confidence : float
        One minus the chance of an alarm where there is nothing.
    power : float
        Chance of seeing it.
    transport : Transport, optional
        Of the test of ideality; as for :func:`ideality_test`.

    Returns
    -------
    RowsNeeded

    Raises
    ------
    DataError
        For numbers out of range.
    ModelError
        For another `what`.

    Notes
    -----
    Gap: see :func:`fairprog.kernels.statistics.sample_size.rows_for_gap` (an upper
    bound: the law of the worst threshold by its DKW bound). Divergence: the statistic 2 n KL is
    noncentral chi-square, of noncentrality 2 n delta (theory.md section 13).

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> fp.rows_needed(D, delta=0.1).cells.max(), fp.rows_needed(D, "kl", delta=0.01).total
    (np.int64(633), 546)
    """
    if not isinstance(population, Population):
        raise ModelError(
            f"`population` must be a population, such as fp.Normal.fit(X, y, ...); found "
            f"{type(population).__name__}.",
            argument="population",
        )
    for name, value in (("delta", delta), ("confidence", confidence), ("power", power)):
        check_number(value, name)
        if not value > 0.0 or (value >= 1.0 and (name != "delta" or what == "gap")):
            raise DataError(f"`{name}` must lie between 0 and 1; found {value!r}.", argument=name)
    q = population.prior
    if what == "gap":
        least = rows_for_gap(delta, confidence, power)
        total = int(np.ceil(least / q.min()))
        needs = np.full(q.shape, least, dtype=np.intp)
    elif what == "kl":
        df = degrees_of_freedom(tested_program(population, "all", transport))
        total = rows_for_kl(delta, df, confidence, power)
        needs = np.ceil(total * q).astype(np.intp)
    else:
        raise ModelError(f"`what` must be 'gap' or 'kl'; found {what!r}.", argument="what")
    short = []
    if population.n_rows is not None:
        for i, a in np.argwhere(population.n_rows < needs):
            cell = population.classes[i], population.groups[a]
            short.append((*cell, int(population.n_rows[i, a]), int(needs[i, a])))
    return RowsNeeded(needs, total, tuple(short))
