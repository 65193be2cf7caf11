"""Maps of rows as tensors: T(h) - h = D h + c, in the plainest form, and what they do to h."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array
from fairprog.torch.layers import labels_of
from fairprog.transports import AffineMap, DiagonalMap


class Move(NamedTuple):
    """T(h) - h = D h + c of one key; D is (d, d), a diagonal (d,), or None for zero."""

    D: Any
    c: Any


class Part(NamedTuple):
    """The examples of a batch that one move concerns; rows None means all."""

    rows: Any
    move: Move


def move_of(T: AffineMap) -> Move | None:
    """Return D and c of T(h) - h = D h + c in the plainest form, or None for the identity."""
    if isinstance(T, DiagonalMap):
        D = T.diagonal - 1.0
    else:
        D = T.matrix - np.eye(T.offset.size)
        diagonal = np.diagonal(D)
        if np.count_nonzero(D) == np.count_nonzero(diagonal):
            D = diagonal
    if not (D.any() or T.offset.any()):
        return None
    with torch.inference_mode(False):
        return Move(torch.tensor(D) if D.any() else None, torch.tensor(T.offset))


def moved(hidden: Any, parts: Sequence[Part], strength: float, name: str) -> Any:
    """Return h + strength (D h + c), part by part, in the dtype of h."""
    d = parts[0].move.c.shape[0]
    if hidden.shape[-1] != d:
        raise DataError(
            f"The maps have {d} features, but the hidden states of {name!r} have "
            f"{hidden.shape[-1]}.",
            argument="layer",
        )
    with torch.autocast(hidden.device.type, enabled=False):
        if parts[0].rows is None:
            return moved_rows(hidden, parts[0].move, strength)
        out = hidden.clone()
        for rows, move in parts:
            out.index_copy_(0, rows, moved_rows(hidden.index_select(0, rows), move, strength))
        return out


def moved_rows(hidden: Any, move: Move, strength: float) -> Any:
    """Return h + strength (D h + c), computed in the dtype of D and c (float32 at least)."""
    h = hidden.to(move.c.dtype)
    if move.D is None:
        out = h
    elif move.D.ndim == 1:
        out = h + strength * (move.D * h)
    else:
        rows = h.reshape(-1, h.shape[-1])
        out = torch.addmm(rows, rows, move.D.T, alpha=strength).reshape(h.shape)
    return torch.add(out, move.c, alpha=strength).to(hidden.dtype)


def affine_of(T: Any, argument: str, group: Hashable) -> AffineMap:
    """Return an affine map, or the translation by a vector."""
    if isinstance(T, AffineMap):
        return T
    if callable(T):
        raise ModelError(
            f"`{argument}` has a {type(T).__name__} for group {group!r}; hidden states are moved "
            "by affine maps, those of normal populations.",
            argument=argument,
            cell=(None, group),
        )
    try:
        vector = np.asarray(labels_of(T), dtype=float)
    except (TypeError, ValueError):
        vector = np.array(np.nan)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise DataError(
            f"`{argument}` must have an AffineMap or a finite vector, shape (d,), for group "
            f"{group!r}; found {type(T).__name__} of shape {vector.shape}.",
            argument=argument,
            cell=(None, group),
        )
    return DiagonalMap(np.ones(vector.size), vector)


def probed(T: Any, dim: int, cell: tuple[Hashable, Hashable]) -> AffineMap:
    """Return a map of rows as matrix and offset; ModelError if it is not affine."""
    other = np.linspace(-1.0, 2.0, dim)[None, :]
    points: Array = np.concatenate([np.zeros((1, dim)), np.eye(dim), other])
    moved = np.asarray(T(points))  # all in one call, since each computes the transport again
    offset, there = moved[0], moved[-1:]
    affine = AffineMap((moved[1:-1] - offset).T, offset)
    if not np.allclose(affine(other), there, rtol=1e-8, atol=1e-8 * np.abs(there).max()):
        raise ModelError(
            "The transport of this cell is not affine; hidden states are moved by affine maps, "
            "those of normal populations.",
            argument="solution",
            cell=cell,
        )
    return affine
