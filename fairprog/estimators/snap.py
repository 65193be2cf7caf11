"""Steered values of lattice-valued columns, rounded by lot to values that occur.

An affine map shifts whole numbers off their lattice, and a tree then reads the group from the
offset. Rounding v between neighbours l < u to u with probability (v - l) / (u - l) keeps the mean
and hides the group again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from fairprog.door import Rows
from fairprog.errors import FairprogWarning, ModelError
from fairprog.estimators.lattice import is_lattice
from fairprog.labels import Array, Indices
from fairprog.lots import Keys, lots

LOST = 0.1  # of a group's rows beyond the values of a column: more is said


def lattices(
    X: Array, count: float, snap: str | bool, atoms: Sequence[Array] = ()
) -> list[Array | None]:
    """Return for every column the values it may take, or None where it is continuous.

    Parameters
    ----------
    X : Array, shape (n, d)
        Rows in common coordinates that no map has moved.
    count : float
        How many rows they are.
    snap : "auto" or bool
        "auto": columns with fewer distinct values than a tenth of the rows; True: every column;
        False: none.
    atoms : sequence of Array
        Of every column: the point masses, which are not counted.

    Raises
    ------
    ModelError
        For another `snap`.
    """
    if snap not in ("auto", True, False, None):
        raise ModelError(f"`snap` must be 'auto', True or False; found {snap!r}.", argument="snap")
    few = [bool(snap)] * X.shape[1]
    if snap == "auto":
        none: Sequence[Array] = [np.zeros(0)] * X.shape[1]
        beside = [~np.isin(x, v) for x, v in zip(X.T, atoms or none, strict=True)]
        few = [
            is_lattice(np.unique(x[own]).size, count * own.mean())
            for x, own in zip(X.T, beside, strict=True)
        ]
    return [np.unique(x) if f else None for x, f in zip(X.T, few, strict=True)]


def warn_of_loss(
    before: Array,
    moved: Array,
    after: Array,
    rows: Rows,
    values: list[Array | None],
    names: Sequence[str],
) -> None:
    """Warn where values of a lattice were cut off at its ends, or ran together."""
    said = []
    for j, lattice in enumerate(values):
        for k, group in enumerate(rows.groups) if lattice is not None else ():
            assert lattice is not None
            own = rows.a == k
            beyond = np.mean((moved[own, j] < lattice[0]) | (moved[own, j] > lattice[-1]))
            old, new = np.unique(before[own, j]).size, np.unique(after[own, j]).size
            if beyond > LOST and lattice.size > 2:
                said.append(
                    f"{names[j]}: {beyond:.0%} of group {group!r} would move beyond the values "
                    f"{lattice[0]:g} to {lattice[-1]:g} and end there"
                )
            elif 2 * new < old:
                said.append(f"{names[j]}: {new} of {old} values of group {group!r} are left")
    if said:
        warnings.warn(
            f"Rounding to values that occur loses some: {'; '.join(said[:3])}. Give snap=False "
            "for a learner that is no tree, leave the column out, or steer scores.",
            FairprogWarning,
            stacklevel=4,
        )


def snap_to(
    X: Array, values: list[Array | None], seed: int, keys: Keys, order: Indices | None
) -> Array:
    """Return X with every lattice-valued column rounded by lot.

    Parameters
    ----------
    X : Array, shape (n, d)
    values : list of (sorted Array or None)
        What :func:`lattices` found.
    seed : int
    keys : shape (n,)
        Of the rows.
    order : Indices, shape (d,), optional
        The number of every column, which its lots go by; default its position.
    """
    out = X.copy()
    for j, lattice in enumerate(values):
        if lattice is None:
            continue
        place = np.interp(X[:, j], lattice, np.arange(lattice.size))
        purpose = f"round column {j if order is None else int(order[j])}"
        up = lots(seed, purpose, keys) < place % 1.0
        out[:, j] = lattice[place.astype(np.intp) + up]
    return out
