"""A notion that holds for every population in a ball around the given one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, address, check_number
from fairprog.tables.atom_table import atoms_of
from fairprog.tables.fractional import FractionalNotion
from fairprog.tables.notions import Notion
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import Constraint, TableView, Term
from fairprog.tables.worst_case import check_ball, express_worst_case, worst_case


@dataclass(frozen=True, repr=False)
class Robust(Constraint):
    """The notion's gap stays within its bound for every population in the ball.

    Every cell law P_ia may move by `radius`, independently, among the atoms of its cell; the
    masses q_ia are kept. Then the largest gap of an event is max over a != a' of
    sup rate_a - inf rate_a', each a sum of worst cases over cells.

    Parameters
    ----------
    notion : Notion
        With its ``difference_bound``, the bound on the worst gap.
    radius : float
        Nonnegative; total variation as half the absolute difference, KL in nats.
    ball : {"tv", "kl", "chi2"}, default "tv"

    Raises
    ------
    ModelError
        For a ratio bound or a notion whose rates are not linear.

    Notes
    -----
    Constant classifiers always qualify. Source: theory.md section 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> table = D.table([[1, 0], [0, 1], [1, 0], [0, 1]])
    >>> notion = fp.EqualOpportunity(difference_bound=.1)
    >>> round(notion.gap(table), 3), round(fp.Robust(notion, radius=.05).gap(table), 3)
    (0.108, 0.208)
    """

    notion: Any = None
    radius: float = 0.0
    ball: str = "tv"

    def __post_init__(self) -> None:
        wanted = isinstance(self.notion, Notion) and not isinstance(self.notion, FractionalNotion)
        if not wanted or self.notion.ratio_bound is not None or self.notion.splits:
            raise ModelError(
                f"Robust takes a notion with linear rates and a difference bound, between all "
                f"groups; found {self.notion!r}.",
                argument="notion",
            )
        object.__setattr__(self, "radius", check_number(self.radius, "radius"))
        check_ball(self.ball)

    @property
    def name(self) -> str:  # type: ignore[override]
        """``robust_`` and the notion's name."""
        return f"robust_{self.notion.name}"

    @property
    def bound_field(self) -> str:
        """The notion's difference bound."""
        return "difference_bound"

    @property
    def difference_bound(self) -> float:
        """Bound on the worst gap."""
        return float(self.notion.difference_bound)

    def with_bound(self, bound: float) -> Robust:
        """Return the same with another bound on the worst gap."""
        return Robust(self.notion.with_bound(bound), self.radius, self.ball)

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return the smallest and largest rate over the ball, shape (events, G, 2)."""
        known = atoms_of(table, self)
        events = self.notion.events(table.classes)
        out = np.zeros((len(events), len(table.groups), 2))
        for e, (_, outcomes, condition) in enumerate(events):
            for a in range(len(table.groups)):
                mass = known.cell_mass[a, condition].sum()
                for i in condition:
                    rows = (known.group == a) & (known.posterior[:, i] > 0)
                    cell = known.weight[rows] * known.posterior[rows, i]
                    chosen = [j for k, j in outcomes if k == i]
                    f = known.h[rows][:, chosen].sum(axis=1)
                    share = known.cell_mass[a, i] / mass
                    law = cell / cell.sum()
                    out[e, a, 0] -= share * worst_case(-f, law, self.radius, self.ball)[0]
                    out[e, a, 1] += share * worst_case(f, law, self.radius, self.ball)[0]
        return out

    def gap(self, table: OutcomeTable) -> float:
        """Return the largest gap of the notion over the ball, worst over events."""
        low, high = np.moveaxis(self.evaluate(table), -1, 0)
        apart = high[:, :, None] - low[:, None, :]
        apart[:, np.eye(apart.shape[1], dtype=bool)] = 0.0  # a group against itself
        return float(apart.max())

    def violation(self, table: OutcomeTable) -> float:
        """Return by how much the worst gap misses the bound."""
        return self.gap(table) - self.difference_bound

    def express(self, view: TableView) -> list[Term]:
        """Return one term per event and ordered pair of groups, with the duals of the balls."""
        terms: list[Term] = []
        bound = view.parameter("bound", self.difference_bound)
        for labels, outcomes, condition in self.notion.events(view.classes):
            high, low = [], []
            for a, group in enumerate(view.groups):
                mass = float(sum(view.mass[a, i] for i in condition))
                ends: dict[str, Any] = {"high": 0.0, "low": 0.0}
                for i in condition:
                    rows = np.flatnonzero((view.group == a) & (view.posterior[:, i] > 0))
                    if not len(rows):
                        raise DataError(
                            f"{self!r}: group {group!r} has no mass in class {view.classes[i]!r}.",
                            cell=(view.classes[i], group),
                        )
                    cell = view.weight[rows] * view.posterior[rows, i]
                    chosen = [j for k, j in outcomes if k == i]
                    f = sum(view.h[rows, j] for j in chosen)
                    for end, sign in (("high", 1.0), ("low", -1.0)):
                        where = f"{address(self.name, group, *labels)}:{end}:{view.classes[i]}"
                        value, extra = express_worst_case(
                            view, sign * f, cell / cell.sum(), self.radius, self.ball, where
                        )
                        ends[end] = ends[end] + float(view.mass[a, i]) / mass * value
                        terms += extra
                high.append(ends["high"])
                low.append(ends["low"])  # minus the infimum
            for a, group in enumerate(view.groups):
                for b, other in enumerate(view.groups):
                    if a != b:
                        where = address(self.name, group, other, *labels)
                        terms.append(Term(high[a] + low[b] - bound, "<=", 0.0, where))
        return terms
