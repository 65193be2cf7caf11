"""What hooks share: a context in which the hidden states of a layer move, example by example."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import torch

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.labels import Indices, encode, label_array
from fairprog.torch.layers import (
    Layer,
    device_of,
    eager,
    find_layers,
    hidden_of,
    is_compiled,
    labels_of,
    with_hidden,
)
from fairprog.torch.moves import Move, Part, move_of, moved
from fairprog.torch.positions import Pass, Positions, say_sinks
from fairprog.transports import AffineMap

Place = tuple[Any, Any]  # the device and the type in which hidden states are moved


class Hook(ABC):
    """What the hooks share: a context that applies, per example, the move of its key."""

    _limits: ClassVar[tuple[float, float]] = (0.0, 1.0)  # of the strength
    _said: ClassVar[str] = "`sensitive_features`"  # what has to be said of a batch

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        known: Sequence[Hashable],
        strength: Any,
        positions: Positions,
    ) -> None:
        self.layers = find_layers(model, layer)
        self._pass = Pass(positions)
        self._counts: Any = torch.zeros(2, dtype=torch.int64)  # tokens moved, and left alone
        self._model = model
        self._known = tuple(known)
        self._strength = self._checked_strength(strength)
        self._moves: dict[Hashable, Move | None] = {}  # in float64; None: the identity
        self._placed: dict[tuple[Hashable, Place], Move] = {}  # where and as activations are
        self._keys: list[tuple[Hashable, Any]] | None = None  # of the batch, with their rows
        self._size: int | None = None  # of the batch; None: any
        # what moves the batch, at every place where activations have been met
        self._parts: dict[Place, tuple[Part, ...]] = {(device_of(model), torch.float32): ()}
        self._handles: list[Any] = []
        self._open = self._said_sinks = False
        self._met: set[str] = set()

    @property
    def strength(self) -> float:
        """How far the maps go: 0 not at all, 1 all the way."""
        return self._strength

    @property
    def positions(self) -> Positions:
        """Which tokens are moved."""
        return self._pass.positions

    @property
    def n_moved(self) -> int:
        """How many hidden states were moved since the hook was made, padding not counted."""
        return int(self._counts[0])

    @property
    def n_left(self) -> int:
        """How many were left alone, by `positions`, among the examples that have a map."""
        return int(self._counts[1])

    # -- what subclasses say --

    @abstractmethod
    def _map_of(self, key: Hashable) -> AffineMap:
        """Return the map of one key."""

    def _checked_strength(self, strength: Any) -> float:
        try:
            value = float(strength)
        except (TypeError, ValueError):
            value = np.nan
        low, high = self._limits
        if not (np.isfinite(value) and low <= value <= high):
            kind = "a finite number" if np.isinf(high) else f"a number in [{low:g}, {high:g}]"
            raise ModelError(
                f"`strength` must be {kind}; found {strength!r}.", argument="strength"
            )
        return value

    # -- the context --

    def __enter__(self) -> Self:
        if self._open:
            raise ModelError(f"{self!r} is in use already; make another one to apply it twice.")
        if is_compiled(self._model):  # code made before the hook would not call it
            torch.compiler.reset()
        self._met.clear()
        self._open = True
        self._handles += self._pass.watch(eager(self._model), self.layers)
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
        self._open = False
        if kind is None and self.positions == "auto" and self.n_left and not self._said_sinks:
            self._said_sinks = True
            say_sinks(self.n_left, ", ".join(self.layers), "moved", 2)
        missed = [name for name in self.layers if name not in self._met]
        if kind is None and missed:
            warnings.warn(
                f"No forward pass has met {type(self).__name__} at {missed}: the model was not "
                "called, does not come there, or ran what torch.compile had made of it before; "
                "then give the hook the compiled model.",
                FairprogWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return f"{type(self).__name__}({layers}, strength={self.strength:g})"

    # -- keys of the batch --

    def _codes(self, values: Any, known: Sequence[Hashable], argument: str) -> Indices | int:
        """Return the code of every example, or one code for all."""
        if isinstance(values, (torch.Tensor, np.ndarray)) and values.ndim == 0:
            values = values.item()
        try:
            hash(values)
            single = not isinstance(values, torch.Tensor) and (
                values in known or isinstance(values, str) or not hasattr(values, "__len__")
            )
        except TypeError:  # an array, a list
            single = False
        if single:
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
        self._parts = {place: self._parts_at(place) for place in self._parts}

    def _parts_at(self, place: Place) -> tuple[Part, ...]:
        """Return what moves the batch where, and in the type in which, it is computed."""
        device, dtype = place
        parts = []
        with torch.inference_mode(False):  # a later pass may need them for its gradients
            for key, rows in self._keys or ():
                move = self._moves[key]
                if move is not None:
                    if (key, place) not in self._placed:
                        D, c = (None if v is None else v.to(dtype).to(device) for v in move)
                        self._placed[key, place] = Move(D, c)
                    index = None if rows is None else torch.from_numpy(rows).to(device)
                    parts.append(Part(index, self._placed[key, place]))
        return tuple(parts)

    # -- inside the model --

    def _hook(self, name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> Any:
            if not self._open:  # copies of the model, made inside the context, outlive it
                return None
            self._met.add(name)
            hidden = hidden_of(output, name)
            if self._keys is None:
                raise DataError(
                    f"Before a forward pass say {self._said} of the batch, in "
                    f"{type(self).__name__}(...) or by set().",
                    argument="sensitive_features",
                )
            if self._size is not None and self._size != hidden.shape[0]:
                raise DataError(
                    f"{self._said} of {self._size} examples were said, but the batch at {name!r} "
                    f"has {hidden.shape[0]}, along its first axis. Call set() before every "
                    "batch; beams and samples of a prompt need its labels repeated.",
                    argument="sensitive_features",
                )
            place = hidden.device, torch.promote_types(hidden.dtype, torch.float32)
            if place not in self._parts:
                self._parts[place] = self._parts_at(place)
            if self._strength == 0.0 or not self._parts[place]:
                return None
            keep, counted = self._pass.keep(hidden, name)
            if keep is None:
                out = moved(hidden, self._parts[place], self._strength, name)
                return with_hidden(output, out)
            self._count(keep, counted, self._parts[place])
            out = moved(hidden, self._parts[place], self._strength, name)
            return with_hidden(output, torch.where(keep[..., None], out, hidden))

        return hook

    def _count(self, keep: Any, counted: Any, parts: Sequence[Part]) -> None:
        """Count the tokens that are moved and those that are left, of examples with a map."""
        for rows, _ in parts:
            pair = [counted & keep, counted & ~keep]
            pair = pair if rows is None else [marks.index_select(0, rows) for marks in pair]
            found = torch.stack([marks.sum() for marks in pair])
            self._counts = self._counts.to(found.device) + found
