"""Individual fairness: similar individuals are treated similarly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError
from fairprog.labels import Array, Indices, check_finite, check_number
from fairprog.tables.atom_table import atoms_of
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.templates import Constraint, TableView, Term


@dataclass(frozen=True, repr=False)
class IndividualFairness(Constraint):
    """Lipschitz over given pairs: TV(h(.|x,a), h(.|x',a')) <= constant d(x, x').

    Parameters
    ----------
    pairs : array_like of int, shape (P, 2)
        Positions of two atoms. The condition holds for all groups a, a' in which they have mass;
        a pair (x, x) at distance 0 asks for the same treatment in every group.
    distance : array_like, shape (P,), or float
        d(x, x') >= 0.
    constant : float, default 1.0
        The Lipschitz constant, per unit of distance. It is the bound a frontier sweeps.

    Raises
    ------
    DataError
        For negative distances or shapes that do not fit.

    Notes
    -----
    TV is half the absolute difference: ``|h(1) - h'(1)|`` for two classes. Source: theory.md
    section 8; Dwork, Hardt, Pitassi, Reingold, Zemel, *Fairness through awareness*, 2012.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> table = D.table([[1, 0], [0, 1], [1, 0], [.5, .5]])
    >>> fp.IndividualFairness([[0, 2], [1, 3]], [.2, .1]).evaluate(table)
    array([0. , 0.5])
    """

    pairs: Any = ()
    distance: Any = ()
    constant: float = 1.0
    name: ClassVar[str] = "individual_fairness"

    def __post_init__(self) -> None:
        pairs = np.asarray(self.pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise DataError(
                f"`pairs` must be whole numbers of shape (P, 2); found shape {pairs.shape}.",
                argument="pairs",
            )
        distance = check_finite(self.distance, "distance")
        distance = np.broadcast_to(distance, (len(pairs),)) if distance.ndim == 0 else distance
        if distance.shape != (len(pairs),) or np.any(distance < 0):
            raise DataError(
                f"`distance` must be nonnegative, one per pair; found shape {distance.shape}.",
                argument="distance",
            )
        object.__setattr__(self, "pairs", tuple((int(x), int(y)) for x, y in pairs))
        object.__setattr__(self, "distance", tuple(float(d) for d in distance))
        object.__setattr__(self, "constant", check_number(self.constant, "constant"))

    @property
    def bound_field(self) -> str:
        """``constant``."""
        return "constant"

    def _rows(self, atom: Indices) -> tuple[Indices, Indices, Array]:
        """Return the pairs of support rows and their distances (all groups of each atom)."""
        order = np.argsort(atom, kind="stable")
        known = atom[order]
        pairs = np.array(self.pairs)
        first = np.searchsorted(known, pairs, side="left")
        count = np.searchsorted(known, pairs, side="right") - first
        both = count.prod(axis=1)  # every group of x with every group of y
        which = np.repeat(np.arange(len(pairs)), both)
        k = np.arange(len(which)) - np.repeat(np.cumsum(both) - both, both)
        left = order[first[which, 0] + k // np.maximum(count[which, 1], 1)]
        right = order[first[which, 1] + k % np.maximum(count[which, 1], 1)]
        apart = left != right
        if not apart.any():
            raise DataError(
                "`pairs` joins no two individuals with positive mass.", argument="pairs"
            )
        return left[apart], right[apart], np.array(self.distance)[which][apart]

    def evaluate(self, table: OutcomeTable) -> Array:
        """Return TV(h, h') of every pair of individuals, in the order of `pairs`."""
        known = atoms_of(table, self)
        left, right, _ = self._rows(known.atom)
        return 0.5 * np.abs(known.h[left] - known.h[right]).sum(axis=1)

    def violation(self, table: OutcomeTable) -> float:
        """Return the largest TV(h, h') - constant d."""
        far = self._rows(atoms_of(table, self).atom)[2]
        return float((self.evaluate(table) - self.constant * far).max())

    def express(self, view: TableView) -> list[Term]:
        """Return one vector term over all pairs."""
        left, right, far = self._rows(view.atom)
        bound = view.parameter("bound", self.constant)
        if len(view.classes) == 2:
            apart = view.h[left, 1] - view.h[right, 1]
            return [Term(apart, "abs<=", bound * far, self.name)]
        tv = 0.5 * view.functions.sum(view.functions.abs(view.h[left] - view.h[right]), axis=1)
        return [Term(tv, "<=", bound * far, self.name)]
