r"""Lots: what is drawn for a row is a function of the row, alone as in a batch.

A lot is a number in [0, 1) that depends on three things only: a seed, a purpose, and the row's
key. No state, no order, no batch: rows asked for one by one, again, or shuffled get the same lots.

.. math:: u = 2^{-53} \lfloor 2^{-11} m(k + m(s + p)) \rfloor

with :math:`m` the finaliser of SplitMix64 on 64-bit words, k the key, s the seed, p the first
eight bytes of BLAKE2b of the purpose. The key of a row of numbers is
:math:`m(\sum_j [x_j \ne 0]\, m(b(x_j) + m(j + 1)))`, b the bits of a float64: exact integer
arithmetic, the same on every machine, whatever lies beside the row. Source: Steele, Lea and Flood
(2014) for the finaliser.
"""

from __future__ import annotations

import math
import re
import warnings
from hashlib import blake2b
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import FairprogWarning, ModelError
from fairprog.labels import Array, Indices, label_vector

Keys = NDArray[np.uint64]
TOLD_APART = ".* are told apart by lots"  # how a warning that a key would still begins
BLOCK = 2**18  # entries hashed at once
WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(\.0)?")  # the text of a whole number


def lots(seed: int, purpose: str, keys: Keys) -> Array:
    """Return one number in [0, 1) per key; ModelError if the seed is no whole number.

    Examples
    --------
    >>> from fairprog.lots import keys_of, lots
    >>> lots(0, "example", keys_of(["Ann", "Bob"])).round(6)
    array([0.236372, 0.783482])
    """
    if not isinstance(seed, Integral):
        raise ModelError(
            "`random_state` must be a whole number, so that a row is moved the same way in every "
            f"call; found {seed!r}.",
            argument="random_state",
        )
    start = np.array([int(seed) % 2**64], np.uint64) + _text(purpose)
    return (_mix(keys + _mix(start)) >> np.uint64(11)) * 2.0**-53


def drawn(law: Array, lot: Array) -> Indices:
    """Return the outcome on which each lot falls.

    Parameters
    ----------
    law : Array, shape (n, V) or (V,)
        Masses of the outcomes; they need not sum to one.
    lot : Array, shape (n,)
        In [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> drawn(np.array([.5, 0., .5]), np.array([0., .4, .5, .9]))
    array([0, 0, 2, 2])
    """
    ends = np.cumsum(law, axis=-1)
    return np.asarray((lot[:, None] * ends[..., -1:] >= ends[..., :-1]).sum(axis=-1))


def keys_of(key: ArrayLike, n: int | None = None) -> Keys:
    """Return row identifiers as keys: equal ones, and only those, have equal keys.

    Whole numbers count by value, however they are stored or written: 5, 5.0, "5" and "5.0" are
    one identifier, since files and columns with missing values turn one into the other. All other
    text ("05", "5e0", "A5") is itself.

    Raises
    ------
    DataError
        For missing identifiers, or another number than `n`.

    Examples
    --------
    >>> from fairprog.lots import keys_of
    >>> len({int(keys_of([key])[0]) for key in (5, 5.0, "5", "5.0", "05")})
    2
    """
    return _mix(_words(_numbered(label_vector(key, "key", n))))


def _numbered(values: NDArray[Any]) -> NDArray[Any]:
    """Return identifiers in which the text of a whole number is that number."""
    if values.dtype.kind not in "OU":
        return values
    entries = [
        int(v.removesuffix(".0")) if isinstance(v, str) and WHOLE.fullmatch(v) else v
        for v in values.tolist()
    ]
    if all(type(v) is int and abs(v) < 2**63 for v in entries):
        return np.array(entries, np.int64)
    out = np.empty(len(entries), dtype=object)
    out[:] = entries
    return out


def row_keys(X: Any, order: Indices | None = None) -> Keys:
    """Return the keys of rows: a matrix (also a sparse one), a vector, a frame of any columns.

    Parameters
    ----------
    X : array_like, shape (n,) or (n, ...)
    order : Indices, shape (d,), optional
        By which number each column goes in; see :func:`column_order`. Default its position.
    """
    sparse = hasattr(X, "tocsr")
    X = X.tocsr() if sparse else hashed(X)
    d = X.shape[1]
    place = _mix(np.arange(1, d + 1, dtype=np.uint64))
    place = place if order is None else place[np.asarray(order, np.intp)]
    if sparse:
        words = _words(X.data)
        words = np.where(words, _mix(words + place[X.indices]), 0)
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
        return _mix(total[X.indptr[1:]] - total[X.indptr[:-1]])
    out = np.empty(len(X), np.uint64)
    step = max(1, BLOCK // max(1, d))
    for start in range(0, len(out), step):
        block = X[start : start + step]
        out[start : start + step] = np.where(block, _mix(block + place), 0).sum(axis=1)
    return _mix(out)


def column_order(X: Any, weight: Array) -> Indices:
    """Return the rank of every column among them, by what it holds and not by where it stands.

    Columns are ordered by the mean of their entries' hashes: rows in another order, columns in
    another order or under other names change nothing.
    """
    if hasattr(X, "tocsr"):
        shares = X.tocsr().astype(np.float64)
        shares.data = (_mix(_words(shares.data)) >> np.uint64(11)) * 2.0**-53
    else:
        shares = (_mix(hashed(X)) >> np.uint64(11)) * 2.0**-53
    mean = np.round(weight @ shares / weight.sum(), 12)
    rank = np.empty(mean.size, np.intp)
    rank[np.argsort(mean, kind="stable")] = np.arange(mean.size)
    return rank


def hashed(X: Any) -> Keys:
    """Return every entry as a 64-bit word, shape (n, d): numbers by their bits, zero by zero."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):  # pandas: column by column if types differ
        array = X.to_numpy()
        if array.dtype.kind not in "biuf" and array.size:
            parts = [_words(X.iloc[:, j].to_numpy()) for j in range(X.shape[1])]
            return np.stack(parts, axis=1)
    else:
        array = X if isinstance(X, np.ndarray) else np.asarray(X)
    array = array.reshape(len(array), math.prod(array.shape[1:]))
    return _words(array.ravel()).reshape(array.shape)


def keys_for(
    X: Any,
    key: Any,
    n: int,
    order: Indices | None = None,
    shared: str = "",
    drawing: bool = False,
) -> Keys:
    """Return the keys given, else the rows' own: with a warning where too many are the same.

    Parameters
    ----------
    X : array_like, shape (n,) or (n, ...)
    key : array_like, shape (n,), optional
    n : int
    order : Indices, shape (d,), optional
        See :func:`row_keys`.
    shared : str
        What lots tell apart, where rows' own keys are too few for it.
    drawing : bool
        Whether lots decide of any row; they do where there is something `shared`.

    Warns
    -----
    FairprogWarning
        Where lots decide and most of the keys given are repetitions, or rows' own are `shared`.
    """
    if key is not None:
        keys = keys_of(key, n)
        if (drawing or shared) and _mostly_repeated(keys):
            distinct = np.unique(keys).size
            held = f"{distinct:,} value{'s' * (distinct > 1)} in {n:,} rows"
            warnings.warn(
                f"`key` holds {held}: rows of one value share a lot, as if they were one person, "
                "and are split as coarsely. Pass an identifier of every row.",
                FairprogWarning,
                stacklevel=3,
            )
        return keys
    if shared:
        warnings.warn(together_words(shared), FairprogWarning, stacklevel=3)
    return row_keys(X, order)


def together_words(shared: str) -> str:
    """Return what rows that are the same do without a key, and the remedy."""
    return (
        f"{shared} are told apart by lots, and without a key rows that are the same share one: "
        "they move together, so that gaps are closed less than with keys, can grow, and may tell "
        "the group. Pass key=, an identifier of every row; the same key gets the same lot, alone "
        "and in any batch."
    )


def _mostly_repeated(keys: Keys) -> bool:
    """Return whether less than about half of the keys differ: linear counting, without a sort.

    Of m buckets that uniformly mixed keys fall into, a share exp(-k / m) stays empty where k
    differ. Source: Whang, Vander-Zanden and Taylor (1990).
    """
    m = 1 << max(keys.size - 1, 1).bit_length()
    full = np.zeros(m, dtype=bool)
    full[keys & np.uint64(m - 1)] = True
    empty = max(1.0 - np.count_nonzero(full) / m, 0.5 / m)
    return bool(-m * np.log(empty) < 0.5 * keys.size)


def shared_too_widely(
    group: Indices, cell: Indices, keys: Keys, size: Indices | None = None
) -> bool:
    r"""Return whether rows share so many lots that the lots, and not the rows, set the error.

    A cell holds the m of its group's n rows among which lots decide. Its share is known to
    :math:`1 / (2 \sqrt n)` by the rows; lots add :math:`m / (2 n \sqrt k)`, k being the number
    of different keys, those of many rows counting less. Too widely: more than twice as much.
    Where rows are passed among which lots decide, and no others, `size` is n by group.
    """
    if not cell.size:
        return False
    rows, square = np.bincount(cell), _squares(cell, keys)
    home = np.zeros(rows.size, np.intp)
    home[cell] = group
    n = (np.bincount(group) if size is None else size)[home]
    used = rows > 0
    return bool((square[used] > 4.0 * n[used]).any())


def effective_lots(group: Indices, keys: Keys) -> Array:
    r"""Return by how many lots, of equal weight, the rows of every group are split.

    :math:`(\sum_k c_k)^2 / \sum_k c_k^2` with :math:`c_k` the rows of each key. Source: Kish
    (1965).

    Examples
    --------
    >>> import numpy as np
    >>> effective_lots(np.zeros(4, int), np.array([1, 1, 2, 2], np.uint64))
    array([2.])
    """
    return np.bincount(group) ** 2.0 / np.maximum(_squares(group, keys), 1.0)


def _squares(cell: Indices, keys: Keys) -> Array:
    """Return, by cell, the sum of the squared numbers of rows that share a key."""
    mixed = _mix(keys + _mix(cell.astype(np.uint64)))
    ordered = np.sort(mixed)
    if (ordered[1:] != ordered[:-1]).all():
        return np.bincount(cell).astype(float)
    _, first, count = np.unique(mixed, return_index=True, return_counts=True)
    square: Any = np.bincount(cell[first], count.astype(float) ** 2, int(cell.max()) + 1)
    return np.asarray(square, dtype=float)


def _mix(x: Keys) -> Keys:
    """Return SplitMix64's finaliser of every word."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _words(values: NDArray[Any]) -> Keys:
    """Return every entry as a word: numbers by their bits as float64, all else by its text."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        far = np.abs(values.astype(np.float64)) >= 2.0**53  # no float64 has these apart
        if far.any():
            return np.where(far, values.astype(np.uint64), _words(values.astype(np.float64)))
    if values.dtype.kind in "biuf":
        return np.ascontiguousarray(values.astype(np.float64) + 0.0).view(np.uint64)
    distinct: dict[tuple[type, Any], int] = {}
    entries = values.tolist()
    code = np.array([distinct.setdefault((type(v), v), len(distinct)) for v in entries], np.intp)
    alone = ((v, np.asarray(v)) for _, v in distinct)
    words = [
        _words(x[None]) if x.dtype.kind in "biuf" and not x.ndim
        else _text(v if isinstance(v, str) else repr(v))
        for v, x in alone
    ]  # fmt: skip
    return np.concatenate([np.zeros(0, np.uint64), *words])[code]


def _text(value: str) -> Keys:
    word = int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "little")
    return np.array([word], np.uint64)
