r"""Maps applied inside a model to the hidden states h of every example, token by token.

Those of group a become

.. math:: h' = h + s\,(T_a(h) - h), \qquad 0 \le s \le 1 ,

while a context lasts. With affine T the difference :math:`T_a(h) - h = D h + c` is
one matrix product; as D is formed in float64 before it is rounded, maps near the identity lose
nothing. Groups whose map is the identity are left to the bit.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from fairprog.codec import write_atomically
from fairprog.errors import DataError, FairprogWarning, MissingExtraError, ModelError
from fairprog.torch.context import Hook
from fairprog.torch.layers import Layer, dtype_of, eager, fingerprint
from fairprog.torch.moves import affine_of, probed
from fairprog.torch.positions import Positions, name_of_positions
from fairprog.transports import AffineMap


class MapHook(Hook):
    r"""Apply a map per group to the hidden states of a layer, while the context lasts.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str, torch.nn.Module or sequence of them
        Where: names as in ``model.named_modules()``. The maps act on what the module returns: a
        tensor of shape (batch, d) or (batch, time, d), or the one that is the first entry of a
        tuple or ``last_hidden_state``.
    maps : mapping of group to AffineMap or array_like, shape (d,)
        A vector v, an array or a tensor, stands for h + v. Every group needs one.
    sensitive_features : label or array_like, shape (batch,), optional
        The group of every example, or of all of them; may be said later by `set`.
    strength : float
        s in h + s (T(h) - h); any finite number.
    positions : "auto", "all", int or callable
        Which tokens of hidden states (batch, time, d) are moved; the others stay to the bit. All
        but attention sinks (tokens more than 20 times as long as the median of the batch, said
        once and counted in `n_left`); all; from the k-th token of every text on, padding not
        counted; or a rule ``(Tokens) -> truth values (batch, time)`` such as
        :class:`fairprog.torch.AssistantTokens`. With a cache of keys and values texts go on
        where they were.

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), maps that are not affine.
    DataError
        For unknown groups, vectors of other shapes or not finite; inside the model, for a batch of
        another size or features.

    Warns
    -----
    FairprogWarning
        When the context ends and a layer has not been met by a forward pass.

    Notes
    -----
    .. math:: h' = h + s\,(T_a(h) - h)

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

    _limits = (-np.inf, np.inf)

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        maps: Mapping[Any, AffineMap | ArrayLike],
        *,
        sensitive_features: Any = None,
        strength: float = 1.0,
        positions: Positions = "auto",
    ) -> None:
        if not hasattr(maps, "items") or not maps:
            raise ModelError(
                "`maps` must say a map or a vector for every group, as in {'a': v, 'b': w}; found "
                f"{'none' if hasattr(maps, 'items') else type(maps).__name__}.",
                argument="maps",
            )
        self.maps = {g: affine_of(T, "maps", g) for g, T in maps.items()}
        sizes = {g: T.offset.size for g, T in self.maps.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(
                f"`maps` must all have the same number of features; found {sizes}.",
                argument="maps",
            )
        super().__init__(model, layer, tuple(self.maps), strength, positions)
        self.set(sensitive_features=sensitive_features)

    def _map_of(self, key: Hashable) -> AffineMap:
        return self.maps[key]

    @classmethod
    def from_step(
        cls,
        model: Any,
        step: Any,
        *,
        sensitive_features: Any = None,
        strength: float | None = None,
        vectors: Mapping[Any, ArrayLike] | None = None,
        positions: Positions | None = None,
    ) -> MapHook:
        """Return the hook of a fitted `ConceptSteering`, at the layer whose states it was shown.

        Parameters
        ----------
        model : torch.nn.Module
        step : ConceptSteering
            Of :func:`fairprog.torch.fit_concept`, also from a file.
        sensitive_features : label or array_like, shape (batch,), optional
        strength : float, optional
            Default the one at which `calibrate` has matched the effects, else 1.
        vectors : mapping of group to array_like, optional
            Others than ``step.vectors_``.
        positions : optional
            Default those of the fit, which has said what they leave out: the hook only counts it.

        Raises
        ------
        ModelError
            For a step that knows no layer, and a rule of positions that no file holds.

        Warns
        -----
        FairprogWarning
            Where the weights of the model are not those that the step was fitted on.
        """
        source = getattr(step, "source_", None)
        if not source:
            raise ModelError(
                "`step` knows no layer: fit it by fairprog.torch.fit_concept, or say the layer "
                "in MapHook(model, layer, step.vectors_).",
                argument="step",
            )
        if fingerprint(eager(model)) != source["weights"]:
            dtype = dtype_of(model)
            other = "with other weights than" if dtype == source["dtype"] else f"not in {dtype} as"
            warnings.warn(
                f"The vectors are those of {source['model']!r} in {source['dtype']}, {other} "
                "this model.",
                FairprogWarning,
                stacklevel=2,
            )
        strength = (step.matched_strength_ or 1.0) if strength is None else strength
        where = source["positions"] if positions is None else positions
        if positions is None and isinstance(where, str) and where not in ("auto", "all"):
            raise ModelError(
                f"The vectors were fitted at the positions {where!r}, a rule that no file holds; "
                "say it by `positions`.",
                argument="positions",
            )
        maps = step.vectors_ if vectors is None else vectors
        hook = MapHook(
            model, source["layer"], maps, sensitive_features=sensitive_features,
            strength=strength, positions=where,
        )  # fmt: skip
        hook._said_sinks = positions is None  # by the fit, whose rule it is
        return hook

    def linear(self) -> dict[Hashable, tuple[Any, Any]]:
        """Return (weight, bias) per group: h' = h W' + b, as ``torch.nn.functional.linear``.

        Float32 tensors of shape (d, d) and (d,) with the strength in them, for any hook that
        takes a linear map; which positions it moves is left to that hook.
        """
        out = {}
        for group, T in self.maps.items():
            eye, s = np.eye(T.offset.size), self.strength
            weight = eye + s * (T.matrix - eye)
            parts = (torch.tensor(v, dtype=torch.float32) for v in (weight, s * T.offset))
            out[group] = (next(parts), next(parts))
        return out

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write `linear` to a .safetensors file, atomically: ``GROUP.weight``, ``GROUP.bias``.

        Its metadata say layers, positions and strength.

        Raises
        ------
        MissingExtraError
            Without the package safetensors.
        """
        try:
            from safetensors.torch import save_file
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "Files of this kind need safetensors, which comes with transformers: pip install "
                "'fairprog[transformers]'.",
                details={"extra": "transformers"},
            ) from error
        maps = self.linear().items()
        tensors = {f"{g}.{name}": x.contiguous() for g, (W, b) in maps for name, x in
                   (("weight", W), ("bias", b))}  # fmt: skip
        about = {
            "layers": ", ".join(self.layers),
            "positions": name_of_positions(self.positions),
            "strength": repr(self.strength),
            "formula": "h' = h weight^T + bias",
        }
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=about))

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
    r"""Bring hidden states of every group into the common coordinates, while the context lasts.

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
    positions : "auto", "all", int or callable
        As for :class:`MapHook`; say what `collect` was told.

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), a solution without affine maps.
    DataError
        For unknown groups; inside the model, for a batch of another size or features.

    Notes
    -----
    .. math:: h' = h + s\,(T_a^{-1}(h) - h), \qquad T_a = \mathrm{sol.maps}[a]

    As :class:`MapHook`, its warning too. Source: theory.md section 6.

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

    _limits = Hook._limits

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        solution: Any,
        *,
        sensitive_features: Any = None,
        strength: float = 1.0,
        positions: Positions = "auto",
    ) -> None:
        maps = _moving(solution).maps
        inverse = {g: affine_of(T, "solution", g).inverse() for g, T in maps.items()}
        super().__init__(
            model, layer, inverse, sensitive_features=sensitive_features, strength=strength,
            positions=positions,
        )  # fmt: skip


class SteerHook(Hook):
    r"""Move hidden states to the steered population, in their own group's coordinates.

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
    positions : "auto", "all", int or callable
        As for :class:`MapHook`; say what `collect` was told.

    Raises
    ------
    ModelError
        For layers the model does not have (listing the near ones), a solution without affine maps.
    DataError
        For unknown labels; inside the model, for a batch of another size or features.

    Notes
    -----
    .. math:: h' = h + s\,(T_{ia}(h) - h), \qquad T_{ia} \# P_{ia} = \tilde P_{ia}

    As :class:`MapHook`, its warning too. The transport of a cell is computed when the cell is
    first said: a second at 768 features. Source: theory.md section 6.

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

    _said = "`y` and `sensitive_features`"

    def __init__(
        self,
        model: Any,
        layer: Layer | Sequence[Layer],
        solution: Any,
        *,
        y: Any = None,
        sensitive_features: Any = None,
        strength: float = 1.0,
        positions: Positions = "auto",
    ) -> None:
        population = _moving(solution).population
        for group, T in solution.maps.items():
            affine_of(T, "solution", group)
        self.classes, self.groups = population.classes, population.groups
        self._cells = solution._cell_maps  # computed once for all hooks
        self._dimension = int(population.n_features)
        self._y: Any = None
        self._a: Any = None
        cells = [(c, g) for c in self.classes for g in self.groups]
        super().__init__(model, layer, cells, strength, positions)
        self.set(y=y, sensitive_features=sensitive_features)

    def _map_of(self, key: Any) -> AffineMap:
        position = self.classes.index(key[0]), self.groups.index(key[1])
        return probed(self._cells[position], self._dimension, key)

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
