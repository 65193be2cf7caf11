r"""Maps applied inside a model to the hidden states h of every example, token by token.

Those of group a become

.. math:: h' = h + s\,(T_a(h) - h), \qquad 0 \le s \le 1 ,

while a context lasts. With affine T the difference :math:`T_a(h) - h = D h + c` is
one matrix product; as D is formed in float64 before it is rounded, maps near the identity lose
nothing. Groups whose map is the identity are left to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.labels import Array, Indices, encode, label_array
from fairprog.torch.layers import (
    Layer,
    device_of,
    find_layers,
    hidden_of,
    is_compiled,
    labels_of,
    with_hidden,
)
from fairprog.transports import AffineMap

__all__ = ["AlignHook", "MapHook", "SteerHook"]


class Move(NamedTuple):
    """T(h) - h = D h + c of one key; D is (d, d), a diagonal (d,), or None for zero."""

    D: Any
    c: Any


class Part(NamedTuple):
    """The examples of a batch that one move concerns; rows None means all."""

    rows: Any
    move: Move


class _Hook:
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

    def _map_of(self, key: Hashable) -> AffineMap:
        raise NotImplementedError

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
                self._moves[key] = _move_of(self._map_of(key))
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
            return with_hidden(output, _moved(hidden, self._parts, self._strength, name))

        return hook


def _move_of(T: AffineMap) -> Move | None:
    """Return D and c of T(h) - h = D h + c in the plainest form, or None for the identity."""
    D, c = T.matrix - np.eye(T.offset.size), torch.tensor(T.offset)
    diagonal = np.diagonal(D)
    if not D.any():
        return Move(None, c) if T.offset.any() else None
    if np.count_nonzero(D) == np.count_nonzero(diagonal):
        return Move(torch.tensor(diagonal), c)
    return Move(torch.tensor(D), c)


def _moved(hidden: Any, parts: Sequence[Part], strength: float, name: str) -> Any:
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
            return _moved_rows(hidden, parts[0].move, strength)
        out = hidden.clone()
        for rows, move in parts:
            out.index_copy_(0, rows, _moved_rows(hidden.index_select(0, rows), move, strength))
        return out


def _moved_rows(hidden: Any, move: Move, strength: float) -> Any:
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


class MapHook(_Hook):
    """Apply a map per group to the hidden states of a layer, while the context lasts.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str, torch.nn.Module or sequence of them
        Where: names as in ``model.named_modules()``. The maps act on what the module returns: a
        tensor, or the first entry of a tuple, of shape (batch, d) or (batch, time, d).
    maps : mapping of group to AffineMap or array_like, shape (d,)
        A vector v stands for h + v. Every group needs one.
    sensitive_features : label or array_like, shape (batch,), optional
        The group of every example, or of all of them; may be said later by `set`.
    strength : float
        s in h + s (T(h) - h); any finite number.

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), maps that are not affine.
    DataError
        For unknown groups; inside the model, for a batch of another size or features.

    Notes
    -----
    Computed in float32 (float64 activations in float64), returned in the activations' dtype, on
    their device. Hooks compose in the order in which they are entered, differentiate, and are
    removed when the context ends, after an error too.

    Examples
    --------
    >>> import torch
    >>> from fairprog.torch import MapHook
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    >>> with MapHook(model, "0", {"a": [0., 0.], "b": [1., -1.]}, sensitive_features=["a", "b"]):
    ...     model(torch.ones(2, 2))
    tensor([[1., 1.],
            [2., 0.]])
    """

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        maps: Mapping[Any, AffineMap | ArrayLike],
        *,
        sensitive_features: Any = None,
        strength: float = 1.0,
    ) -> None:
        self.maps = {g: _affine(T, "maps", g) for g, T in maps.items()}
        super().__init__(model, layer, tuple(self.maps), strength)
        self.set(sensitive_features=sensitive_features)

    def _checked_strength(self, strength: Any) -> float:
        try:
            value = float(strength)
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise ModelError(
                f"`strength` must be a finite number; found {strength!r}.", argument="strength"
            )
        return value

    def _map_of(self, key: Hashable) -> AffineMap:
        return self.maps[key]

    def set(self, *, sensitive_features: Any = None, strength: float | None = None) -> Self:
        """Say the groups of the next batches, or another strength; what is None stays.

        Raises
        ------
        DataError
            For unknown groups.
        """
        if strength is not None:
            self._strength = self._checked_strength(strength)
        if sensitive_features is not None:
            self._assign(self._codes(sensitive_features, self._known, "sensitive_features"))
        return self


class AlignHook(MapHook):
    """Bring the hidden states of every group into the common coordinates, while the context lasts.

    What :meth:`fairprog.Solution.align` does to rows this does inside the model, token by token:
    ``sol.maps[a].inverse()`` of the hidden states of the examples of group a. Labels are not
    needed. As the maps are affine, the mean over tokens is aligned when every token is.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str, torch.nn.Module or sequence of them
        Where: names as in ``model.named_modules()``.
    solution : Solution
        Of a program on the layer's activations (:func:`fairprog.torch.collect`).
    sensitive_features : label or array_like, shape (batch,), optional
        The group of every example, or of all of them; may be said later by `set`.
    strength : float in [0, 1]
        s in h + s (T(h) - h).

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), a solution without affine maps.
    DataError
        For unknown groups; inside the model, for a batch of another size or features.

    Notes
    -----
    As :class:`MapHook`. Source: theory.md section 6.

    Examples
    --------
    >>> import numpy as np, torch
    >>> import fairprog as fp
    >>> from fairprog.torch import AlignHook
    >>> rng = np.random.default_rng(0)
    >>> y, a = rng.integers(0, 2, (2, 400))
    >>> X = rng.normal(size=(400, 3)) * (1 + a[:, None]) + y[:, None]
    >>> sol = fp.NearestIdeal(fp.Normal.fit(X, y, sensitive_features=a), steer=[1]).solve()
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 1))
    >>> seen = []
    >>> _ = model[1].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    >>> with AlignHook(model, "0", sol) as hook:
    ...     _ = hook.set(sensitive_features=a)
    ...     _ = model(torch.tensor(X, dtype=torch.float32))
    >>> bool(np.abs(seen[0].numpy() - sol.align(X, sensitive_features=a)).max() < 1e-5)
    True
    """

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        solution: Any,
        *,
        sensitive_features: Any = None,
        strength: float = 1.0,
    ) -> None:
        maps = _moving(solution).maps
        inverse = {g: _affine(T, "solution", g).inverse() for g, T in maps.items()}
        super().__init__(
            model, layer, inverse, sensitive_features=sensitive_features, strength=strength
        )

    _checked_strength = _Hook._checked_strength


class SteerHook(_Hook):
    """Move hidden states to the steered population, in their own group's coordinates.

    What :meth:`fairprog.Solution.steer` does to rows: the monotone transport of every cell
    (class, group) to its steered one, token by token. Needs the class of every example.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str, torch.nn.Module or sequence of them
        Where: names as in ``model.named_modules()``.
    solution : Solution
        Of a program on the layer's activations (:func:`fairprog.torch.collect`).
    y, sensitive_features : label or array_like, shape (batch,), optional
        Class and group of every example, or of all of them; may be said later by `set`.
    strength : float in [0, 1]
        s in h + s (T(h) - h).

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), a solution without affine maps.
    DataError
        For unknown labels; inside the model, for a batch of another size or features.

    Notes
    -----
    As :class:`MapHook`. The transport of a cell is computed when the cell is first met. Source:
    theory.md section 6.

    Examples
    --------
    >>> import torch
    >>> import fairprog as fp
    >>> from fairprog.torch import SteerHook
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> model = torch.nn.Identity()
    >>> with SteerHook(model, "", sol, y=[1, 1], sensitive_features=[0, 1]):
    ...     moved = model(torch.ones(2, 1))
    >>> moved.flatten().double().numpy().round(4).tolist()
    [1.0, 2.3991]
    >>> sol.steer([1.0, 1.0], [1, 1], sensitive_features=[0, 1]).round(4).tolist()
    [1.0, 2.3991]
    """

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        solution: Any,
        *,
        y: Any = None,
        sensitive_features: Any = None,
        strength: float = 1.0,
    ) -> None:
        population = _moving(solution).population
        for group, T in solution.maps.items():
            _affine(T, "solution", group)
        self.classes, self.groups = population.classes, population.groups
        self._cells = population.cell_maps_from(solution.original)
        self._dimension = int(population.n_features)
        self._y: Any = None
        self._a: Any = None
        cells = [(c, g) for c in self.classes for g in self.groups]
        super().__init__(model, layer, cells, strength)
        self.set(y=y, sensitive_features=sensitive_features)

    def _map_of(self, key: Any) -> AffineMap:
        position = self.classes.index(key[0]), self.groups.index(key[1])
        return _probed(self._cells[position], self._dimension, key)

    def set(
        self, *, y: Any = None, sensitive_features: Any = None, strength: float | None = None
    ) -> Self:
        """Say class and group of the next batches, or another strength; what is None stays.

        Raises
        ------
        DataError
            For unknown labels, or classes and groups of different lengths.
        """
        if strength is not None:
            self._strength = self._checked_strength(strength)
        i = self._y if y is None else self._codes(y, self.classes, "y")
        a = self._a
        if sensitive_features is not None:
            a = self._codes(sensitive_features, self.groups, "sensitive_features")
        if i is not None and a is not None and (y is not None or sensitive_features is not None):
            sizes = np.size(i), np.size(a)
            if np.ndim(i) and np.ndim(a) and sizes[0] != sizes[1]:
                raise DataError(
                    f"`y` has {sizes[0]} entries, `sensitive_features` {sizes[1]}.", argument="y"
                )
            self._assign(i * len(self.groups) + a)
        self._y, self._a = i, a
        return self


def _moving(solution: Any) -> Any:
    """Return a solution that moves rows; ModelError for anything else."""
    if not getattr(solution, "moves_rows", False):
        raise ModelError(
            f"`solution` must be the answer of NearestIdeal(...).solve() with maps; found "
            f"{type(solution).__name__}.",
            argument="solution",
        )
    return solution


def _affine(T: Any, argument: str, group: Hashable) -> AffineMap:
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
    vector = np.atleast_1d(np.asarray(T, dtype=float))
    return AffineMap(np.eye(vector.size), vector)


def _probed(T: Any, dim: int, cell: tuple[Hashable, Hashable]) -> AffineMap:
    """Return a map of rows as matrix and offset; ModelError if it is not affine."""
    points: Array = np.concatenate([np.zeros((1, dim)), np.eye(dim)])
    offset, *rows = np.asarray(T(points))
    affine = AffineMap((np.array(rows) - offset).T, offset)
    third = np.linspace(-1.0, 2.0, dim)[None, :]
    there = np.asarray(T(third))
    if not np.allclose(affine(third), there, rtol=1e-8, atol=1e-8 * np.abs(there).max()):
        raise ModelError(
            "The transport of this cell is not affine; hidden states are moved by affine maps, "
            "those of normal populations.",
            argument="solution",
            cell=cell,
        )
    return affine
