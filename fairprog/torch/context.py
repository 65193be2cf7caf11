"""What hooks share: a context in which the hidden states of a layer move, example by example."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.labels import Indices, encode, label_array
from fairprog.torch.layers import (
    Layer,
    device_of,
    find_layers,
    hidden_of,
    is_compiled,
    labels_of,
    with_hidden,
)
from fairprog.torch.moves import Move, Part, move_of, moved
from fairprog.transports import AffineMap

__all__ = ["Hook"]


class Hook(ABC):
    """What the hooks share: a context that applies, per example, the move of its key."""

    def __init__(
        self, model: Any, layer: Layer | Sequence[Layer], known: Sequence[Hashable], strength: Any
    ) -> None:
        self.layers = find_layers(model, layer)
        self._compiled = is_compiled(model)
        self._known = tuple(known)
        self._strength = self._checked_strength(strength)
        self._moves: dict[Hashable, Move | None] = {}  # in float64; None: the identity
        self._placed: dict[Hashable, Move] = {}  # the same where and as activations are
        self._where = device_of(model), torch.float32
        self._keys: list[tuple[Hashable, Any]] | None = None  # of the batch, with their rows
        self._size: int | None = None  # of the batch; None: any
        self._parts: tuple[Part, ...] = ()  # of the batch
        self._handles: list[Any] = []
        self._met = False

    @property
    def strength(self) -> float:
        """How far the maps go: 0 not at all, 1 all the way."""
        return self._strength

    # -- what subclasses say --

    @abstractmethod
    def _map_of(self, key: Hashable) -> AffineMap:
        """Return the map of one key."""

    def _checked_strength(self, strength: Any) -> float:
        try:
            value = float(strength)
        except (TypeError, ValueError):
            value = np.nan
        if not 0.0 <= value <= 1.0:
            raise ModelError(
                f"`strength` must be a number in [0, 1]; found {strength!r}.", argument="strength"
            )
        return value

    # -- the context --

    def __enter__(self) -> Self:
        if self._handles:
            raise ModelError(f"{self!r} is in use already; make another one to apply it twice.")
        if self._compiled:  # code made before the hook would not call it
            torch.compiler.reset()
        self._met = False
        for name, module in self.layers.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if kind is None and not self._met:
            warnings.warn(
                f"No forward pass has met {self!r}: the model was not called, or ran what "
                "torch.compile had made of it before; then give the hook the compiled model.",
                FairprogWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.layers)}, strength={self.strength:g})"

    # -- keys of the batch --

    def _codes(self, values: Any, known: Sequence[Hashable], argument: str) -> Indices | int:
        """Return the code of every example, or one code for all."""
        if isinstance(values, (torch.Tensor, np.ndarray)) and values.ndim == 0:
            values = values.item()
        try:
            hash(values)
            single = not isinstance(values, torch.Tensor) and values in known
        except TypeError:  # an array, a list
            single = False
        if single or np.ndim(values) == 0:
            return int(encode(label_array([values]), known, argument)[0])
        return encode(labels_of(values), known, argument)

    def _assign(self, codes: Indices | int) -> None:
        """Take the codes of the next batches."""
        if isinstance(codes, int):
            self._size, self._keys = None, [(self._known[codes], None)]
        else:
            self._size = len(codes)
            present = np.unique(codes)
            self._keys = [
                (self._known[k], None if len(present) == 1 else np.flatnonzero(codes == k))
                for k in present
            ]
        for key, _ in self._keys:
            if key not in self._moves:
                self._moves[key] = move_of(self._map_of(key))
        self._place(*self._where)

    def _place(self, device: Any, dtype: Any) -> None:
        """Bring what the batch needs to where, and as what, its activations are."""
        if self._where != (device, dtype):
            self._placed.clear()
            self._where = device, dtype
        parts = []
        for key, rows in self._keys or []:
            move = self._moves[key]
            if move is not None:
                if key not in self._placed:
                    D, c = (None if v is None else v.to(dtype).to(device) for v in move)
                    self._placed[key] = Move(D, c)
                index = None if rows is None else torch.from_numpy(rows).to(device)
                parts.append(Part(index, self._placed[key]))
        self._parts = tuple(parts)

    # -- inside the model --

    def _hook(self, name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> Any:
            hidden = hidden_of(output, name)
            if self._keys is None:
                raise DataError(
                    f"`sensitive_features` is required: say the groups of the batch by "
                    f"{type(self).__name__}(..., sensitive_features=...) or by set().",
                    argument="sensitive_features",
                )
            if self._size is not None and self._size != hidden.shape[0]:
                raise DataError(
                    f"`sensitive_features` has {self._size} entries, but the batch at {name!r} "
                    f"has {hidden.shape[0]} examples; beams and samples need their groups "
                    "repeated.",
                    argument="sensitive_features",
                )
            self._met = True
            where = hidden.device, torch.promote_types(hidden.dtype, torch.float32)
            if where != self._where:
                self._place(*where)
            if self._strength == 0.0 or not self._parts:
                return None
            return with_hidden(output, moved(hidden, self._parts, self._strength, name))

        return hook
