"""From hidden states (batch, time, d) to rows: one token, their mean, or all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices

Pooling = Literal["last", "first", "mean", "tokens"] | Callable[[Any, Any], Any]


def _last(hidden: Any, mask: Any) -> Any:
    position = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), position]


def _first(hidden: Any, mask: Any) -> Any:
    position = mask.int().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), position]


def _mean(hidden: Any, mask: Any) -> Any:
    weight = mask.to(torch.promote_types(hidden.dtype, torch.float32))[:, :, None]
    return torch.where(mask[:, :, None], hidden, 0).mul(weight).sum(dim=1) / weight.sum(dim=1)


def _tokens(hidden: Any, mask: Any) -> Any:
    return hidden[mask]


POOLINGS: dict[str, Callable[[Any, Any], Any]] = {
    "last": _last,
    "first": _first,
    "mean": _mean,
    "tokens": _tokens,
}


def name_of(pooling: Any) -> str:
    """Return the name of a pooling; ModelError if there is none like it."""
    if callable(pooling):
        return str(getattr(pooling, "__qualname__", type(pooling).__qualname__))
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise ModelError(
            f"`pooling` must be one of {list(POOLINGS)} or a function of hidden states and mask; "
            f"found {pooling!r}.",
            argument="pooling",
        )
    return pooling


def pool(
    hidden: Any, mask: Any, pooling: Pooling, number: int = 0, keep: Any = None
) -> tuple[Array, Indices]:
    """Return rows and, for each, the example it comes from.

    Parameters
    ----------
    hidden : tensor, shape (batch, time, d) or (batch, d)
    mask : tensor, shape (batch, time), or None
        Nonzero where a token counts; None: all do.
    pooling : str or callable
    number : int
        Of the batch, for messages.
    keep : tensor of truth values, shape (batch, time), optional
        Which of them to read; default all.

    Raises
    ------
    DataError
        For a mask of another shape, or an example none of whose tokens counts.

    Examples
    --------
    >>> import torch
    >>> from fairprog.torch.pooling import pool
    >>> hidden = torch.arange(12.0).reshape(2, 3, 2)
    >>> mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    >>> pool(hidden, mask, "last")[0].tolist(), pool(hidden, mask, "mean")[0].tolist()
    ([[2.0, 3.0], [10.0, 11.0]], [[1.0, 2.0], [9.0, 10.0]])
    >>> pool(hidden, mask, "tokens")[1].tolist()
    [0, 0, 1, 1]
    """
    n = hidden.shape[0]
    example = np.arange(n)
    if hidden.ndim == 2 or not n:
        return _rows(hidden.reshape(n, hidden.shape[-1])), example
    if hidden.ndim > 3 and not callable(pooling):
        raise DataError(
            f"Hidden states of shape {tuple(hidden.shape)} are not (batch, time, d): pass a "
            "function as `pooling`.",
            argument="pooling",
        )
    if mask is None:
        counts = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    else:
        marks = torch.as_tensor(mask, device=hidden.device)
        if not bool((marks >= 0).all()):
            raise DataError(
                f"The mask of batch {number} must have ones where tokens count and zeros "
                "elsewhere; found negative entries or NaN, as in masks that are added to scores.",
                argument="mask",
            )
        counts = marks != 0
    if keep is not None and keep.shape == counts.shape:
        counts = counts & keep
    if callable(pooling):
        rows = pooling(hidden, counts)
        if getattr(rows, "ndim", 0) != 2 or rows.shape[0] != n:
            raise DataError(
                f"`pooling` must return a tensor of shape ({n}, d), a row per example; found "
                f"{tuple(getattr(rows, 'shape', ()))}.",
                argument="pooling",
            )
        return _rows(rows), example
    if counts.shape != hidden.shape[:2]:
        raise DataError(
            f"The mask of batch {number} has shape {tuple(counts.shape)}, the hidden states "
            f"{tuple(hidden.shape)}: say by `mask` which entry of the inputs marks their tokens.",
            argument="mask",
        )
    empty = torch.nonzero(~counts.any(dim=1))
    if len(empty) and pooling != "tokens":
        raise DataError(
            f"Batch {number}: no token of example {int(empty[0])} counts"
            + " among those that `positions` reads." * (keep is not None)
            + "." * (keep is None),
            argument="batches",
        )
    if pooling == "tokens":
        example = np.repeat(example, counts.sum(dim=1).cpu().numpy())
    return _rows(POOLINGS[pooling](hidden, counts)), example


def _rows(rows: Any) -> Array:
    """Return a tensor as an array, float32 at least."""
    rows = torch.as_tensor(rows).detach().cpu()
    return rows.to(torch.promote_types(rows.dtype, torch.float32)).numpy()
