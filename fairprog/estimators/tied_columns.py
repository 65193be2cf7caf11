"""Columns whose values are tied: moved one by one, by ranks; zeros of an amount stay.

An affine map moves whole numbers off their lattice, and the zeros of an amount to a value that
hardly anybody has: another one in every group, where a tree reads the group. Such a column is
moved by the quantile map of `ScoreSteering` instead: increasing, to values that occur, a tie split
at random where the groups' shares of it differ; whole numbers stay whole. An end of the column
that holds many rows of every group and stands alone (the zeros of an amount) keeps its rows, and
the others are matched. Indicators of a category stay as they are: moved one by one they would make
rows of two categories, or of none.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fairprog.door import Rows
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators.score_maps import (
    FEW,
    Plan,
    laws_of,
    n_quantiles_of,
    shares_of,
    split_maps,
)
from fairprog.estimators.step import mean_over_groups
from fairprog.fields import refuse
from fairprog.labels import Array, Indices
from fairprog.solution import SplitMap

SHARE = 0.02  # of the rows of every group: less is no point mass
ALONE = 4.0  # times what its neighbour holds
SAME = 0.99  # of the rows: a category and a value that say the same, up to slips
SLIPS = 0.01  # of the rows may contradict themselves without a word


@dataclass(frozen=True, eq=False)
class Columns:
    """How every column moves: by the program's map, by ranks, or not at all.

    Attributes
    ----------
    moving : array of bool, shape (d,)
        Which are features of the program.
    whole : array of bool, shape (d,)
        Which hold whole numbers only.
    maps : list of d mappings
        Of every column the maps by group; none where it is not tied.
    """

    moving: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    maps: list[dict[Any, SplitMap]]

    @classmethod
    def resting(cls, d: int) -> Self:
        """Return d columns where nothing moves by ranks."""
        return cls(np.ones(d, dtype=bool), np.zeros(d, dtype=bool), [{} for _ in range(d)])

    @classmethod
    def of_rows(
        cls, X: Array, rows: Rows, plan: Plan, snap: str | bool, moving: NDArray[np.bool_]
    ) -> Self:
        """Return the columns of rows.

        Parameters
        ----------
        X : Array, shape (n, d)
        rows : Rows
        plan : Plan
            Who moves, and to whom; with no home to the average of all.
        snap : "auto" or bool
            "auto": columns of whole numbers, and those in which some group has few values or a
            point mass are moved by ranks; True: every column; False: none.
        moving : array of bool, shape (d,)
            As :func:`moving_columns` returns.
        """
        whole = (np.rint(X) == X).all(axis=0)
        by_ranks = moving & bool(snap and plan.moving)
        return cls(moving, whole, [
            _maps(x, rows, plan) if on and (snap is True or _is_tied(x, rows, plan)) else {}
            for on, x in zip(by_ranks, X.T, strict=True)
        ])  # fmt: skip

    @property
    def tied(self) -> list[int]:
        """Which columns are moved by ranks."""
        return [j for j, maps in enumerate(self.maps) if maps]

    @property
    def draws(self) -> bool:
        """Whether a lot decides where some tied value goes."""
        return any(T.draws for maps in self.maps for T in maps.values())

    def rank(
        self, out: Array, X: Array, shares: Array, groups: list[Any], lot: Any, there: bool
    ) -> None:
        """Write the tied columns of X (n, d), moved to the common coordinates or back, to `out`.

        `lot` is one number in [0, 1] per row, by which ties are split, or one for all.
        """
        level = np.broadcast_to(lot, len(X))
        for j in self.tied:
            maps = {g: T if there else T.inverse() for g, T in self.maps[j].items()}
            moved = partial(_moved, maps, X[:, j], level, self.whole[j])
            out[:, j] = mean_over_groups(X[:, j], shares, groups, moved)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        return {
            "moving": self.moving.astype(float),
            "whole": self.whole.astype(float),
            "ties": [{g: T.to_dict() for g, T in maps.items()} for maps in self.maps],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], d: int, groups: tuple[Any, ...]) -> Self:
        """Rebuild d columns from :meth:`to_dict`; `groups` are those that are moved by ranks.

        Raises
        ------
        DataError
            Where they are of another number of columns, or of other groups.
        """
        flags = data["moving"], data["whole"]
        maps = [{g: SplitMap.from_dict(T) for g, T in own.items()} for own in data["ties"]]
        strangers = any(own and tuple(own) != groups for own in maps)
        if strangers or {len(maps), *map(len, flags)} != {d} or not np.isin(flags, (0, 1)).all():
            raise refuse("it has values or maps of other columns or groups")
        moving, whole = (flag == 1.0 for flag in flags)
        return cls(moving, whole, maps)


def _moved(
    maps: dict[Any, SplitMap], x: Array, level: Array, whole: bool, g: Any, rows: Indices
) -> Array:
    """Return a column's rows of group g, moved."""
    if g not in maps:
        return x[rows]
    moved = maps[g].at(x[rows], level[rows])
    return np.rint(moved) if whole else moved


def moving_columns(X: Array, snap: str | bool) -> NDArray[np.bool_]:
    """Return which columns move at all: every one, or with `snap` those that are no indicators.

    Raises
    ------
    ModelError
        For another `snap`.
    DataError
        Where no column moves.
    """
    if snap not in ("auto", True, False, None):
        raise ModelError(f"`snap` must be 'auto', True or False; found {snap!r}.", argument="snap")
    moving = np.ones(X.shape[1], dtype=bool)
    moving[list(exclusive(X)) if snap else []] = False
    if not moving.any():
        raise DataError(
            "Every column of `X` is an indicator of a category, and these stay as they are: "
            "nothing can move. Steer scores by ScoreSteering, or give snap=False.",
            argument="X",
        )
    return moving


def exclusive(X: Array) -> set[int]:
    """Return which columns of two values exclude another one: categories written as indicators.

    They may be standardised: the larger of the two values is what says that a row is of the
    category.

    Examples
    --------
    >>> import numpy as np
    >>> exclusive(np.array([[0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]])) == {1, 2}
    True
    """
    low, high = X.min(axis=0), X.max(axis=0)
    two = [
        j for j in np.flatnonzero(low < high).tolist()
        if ((X[:, j] == low[j]) | (X[:, j] == high[j])).all()
    ]  # fmt: skip
    ones = (X[:, two] == high[two]).astype(np.float64)
    both = ones.T @ ones
    return {j for j, own in zip(two, both, strict=True) if (own == 0).any()}


def _is_tied(x: Array, rows: Rows, plan: Plan) -> bool:
    if (x == np.rint(x)).all():
        return True
    if (np.diff(np.sort(x)) == 0).sum() < FEW - 1:
        return False
    return any(law.atom.any() for law in laws_of(x, rows, plan, "auto").values())


def _maps(x: Array, rows: Rows, plan: Plan) -> dict[object, SplitMap]:
    """Return the maps of the ends that stay and of the rest, one above the other in levels."""
    atoms = resting_ends(x, rows)
    part = np.searchsorted(atoms, x, "left") + np.searchsorted(atoms, x, "right")
    pieces: list[dict[object, SplitMap]] = []
    for p in np.unique(part):
        own = part == p
        some = replace(rows, y=rows.y[own], a=rows.a[own], weight=rows.weight[own])
        pieces.append(_still(x[own], plan) if p % 2 else _between(x[own], some, plan))
    return {g: _stacked([piece[g] for piece in pieces]) for g in plan.to_home}


def _between(x: Array, rows: Rows, plan: Plan) -> dict[object, SplitMap]:
    laws = laws_of(x, rows, plan, "auto")
    if not set(laws) >= {*plan.moving, plan.home} - {None}:  # nobody to be matched with
        return _still(x, plan)
    share, count = shares_of(laws, plan), n_quantiles_of(rows, plan, "auto")
    found = split_maps([*laws.values()], share, count, mean=True)
    return {g: T for g, T in zip(laws, found, strict=True) if g in plan.to_home}


def _still(x: Array, plan: Plan) -> dict[object, SplitMap]:
    values = np.unique(x)
    at = np.linspace(0.0, 1.0, values.size)
    return dict.fromkeys(plan.to_home, SplitMap(values, at, at, at, values))


def _stacked(pieces: list[SplitMap]) -> SplitMap:
    """Return the map of all pieces, the levels of each two above those of the one before."""
    up = 2.0 * np.arange(len(pieces))
    return SplitMap(
        np.concatenate([T.scores for T in pieces]),
        np.concatenate([u + T.low for u, T in zip(up, pieces, strict=True)]),
        np.concatenate([u + T.high for u, T in zip(up, pieces, strict=True)]),
        np.concatenate([u + T.levels for u, T in zip(up, pieces, strict=True)]),
        np.concatenate([T.values for T in pieces]),
    )


def resting_ends(x: Array, rows: Rows) -> Array:
    """Return the ends of a column that are point masses of every group and stand alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fairprog.door import Rows
    >>> x = np.concatenate([np.zeros(40), np.arange(60.)])
    >>> resting_ends(x, Rows.check(np.arange(100) % 2, np.arange(100) % 4 // 2))
    array([0.])
    """
    values, place = np.unique(x, return_inverse=True)
    if values.size < 3:  # of two values one is the other's neighbour
        return values[:0]
    G, n = len(rows.groups), values.size
    mass = np.bincount(n * rows.a + place, rows.count, n * G).reshape(G, n)
    own, beside = mass[:, [0, -1]], mass[:, [1, -2]]
    heavy = own >= np.maximum(SHARE * mass.sum(axis=1, keepdims=True), FEW)
    return np.asarray(values[[0, -1]][(heavy & (own >= ALONE * beside)).all(axis=0)])


def contradicting(before: Array, after: Array, said: NDArray[np.bool_]) -> tuple[float, list[int]]:
    """Return the share of rows that contradict themselves where a column moved and text stays.

    Parameters
    ----------
    before, after : Array, shape (n,)
        A column of numbers.
    said : array of bool, shape (n, k)
        Indicators of categories, which stay.

    Returns
    -------
    share : float
    which : list of int
        Indicators that go with one value of the column, on at least 99 % of the rows of each.

    Examples
    --------
    >>> import numpy as np
    >>> years = np.repeat([12.0, 16.0], 50)
    >>> said = np.stack([years == 12, years == 16], axis=1)
    >>> contradicting(years, np.where(np.arange(100) < 20, 16.0, years), said)
    (0.2, [0, 1])
    """
    values, code = np.unique(before, return_inverse=True)
    count, which = np.bincount(code), []
    moved, wrong = before != after, np.zeros(len(before), dtype=bool)
    for k, own in enumerate(said.T if count.max() >= FEW else ()):
        rows = np.flatnonzero(own)
        both = np.bincount(code[rows], minlength=values.size)
        v = int(both.argmax())
        if rows.size >= FEW and both[v] >= SAME * max(rows.size, count[v]):
            which.append(k)
            wrong |= own & (code == v) & moved
    return float(wrong.mean()), which


def warn_of_contradictions(
    before: Array, after: Array, said: NDArray[np.bool_], names: Sequence[Any], text: Sequence[Any]
) -> None:
    """Warn where columns (n, m) moved away from categories (n, k) that say the same and stay."""
    for j, name in enumerate(names):
        share, which = contradicting(before[:, j], after[:, j], said)
        if share > SLIPS:
            own = list(dict.fromkeys(text[k] for k in which))
            more = f" and {len(own) - 3} more" * (len(own) > 3)
            warnings.warn(
                f"{name} moves, and what says the same stays ({', '.join(own[:3])}{more}): "
                f"{share:.0%} of the rows contradict themselves afterwards. Leave {name} out, so "
                "that neither moves, or remove the other: categories that have an order are "
                "features as numbers.",
                FairprogWarning,
                stacklevel=4,
            )


def warn_of_loss(before: Array, after: Array, rows: Rows, names: Sequence[str]) -> None:
    """Warn where values of a group ran together."""
    said = []
    for j, name in enumerate(names):
        for k, group in enumerate(rows.groups):
            own = rows.a == k
            old, new = np.unique(before[own, j]).size, np.unique(after[own, j]).size
            if 2 * new < old:
                said.append(f"{name}: {new} of {old} values of group {group!r} are left")
    if said:
        warnings.warn(
            f"Moving by ranks to values that occur loses some: {'; '.join(said[:3])}. Give "
            "snap=False for a learner that is no tree, leave the column out, or steer scores.",
            FairprogWarning,
            stacklevel=4,
        )
