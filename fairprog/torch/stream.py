"""Hidden states of a layer, batch by batch, and the moments they sum up to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import length_hint
from typing import Any

import numpy as np
import torch

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, label_vector
from fairprog.populations import Moments
from fairprog.torch.layers import (
    Layer,
    device_of,
    eager,
    find_layers,
    fingerprint,
    hidden_of,
    labels_of,
)
from fairprog.torch.pooling import Pooling, name_of, pool
from fairprog.torch.positions import (
    Positions,
    Tokens,
    kept_tokens,
    name_of_positions,
    places,
    say_sinks,
)

Chunk = tuple[Any, ...]
MASK = "attention_mask"  # what tokenizers of Hugging Face call it


class _Reached(BaseException):  # not an Exception: a model may catch those
    """Leaves the forward pass once the layers have returned their hidden states."""


class HiddenStates:
    """Iterate over a layer's pooled hidden states, batch by batch, as (X, y, sensitive_features).

    Nothing but the batch at hand is held, and the forward pass ends at the layer. The model is in
    evaluation mode and without gradients during each pass, and after it as it was.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str or torch.nn.Module
        A name as in ``model.named_modules()``, such as ``"transformer.h.5"``.
    batches : iterable of (inputs, y, sensitive_features) or (..., sample_weight)
        `inputs` are the model's: a mapping of keyword arguments (what a tokenizer returns), a
        tuple of positional ones, or the only one. Class, group and weight are one per example.
    pooling : {"last", "first", "mean", "tokens"} or callable
        Of hidden states (batch, time, d): the last or first token that counts, the mean of those
        that do, or every one of them, with the labels of its example; or your own
        ``(hidden, mask) -> (batch, d)``. Hidden states (batch, d) are taken as they are.
    mask : str
        The entry of `inputs` that marks by ones the tokens that count, by zeros the others. Inputs
        without "attention_mask" count all.
    positions : "auto", "all", int or callable
        Which of these are read: all but attention sinks (more than 20 times as long as the median
        of the batch; said once, at the end, and counted in `n_left`), all, from the k-th token of
        every text on, or a rule ``(Tokens) -> truth values (batch, time)`` such as
        :class:`fairprog.torch.AssistantTokens`.
    device : optional
        Where inputs are moved; default the device of the model's first parameter.
    stop : bool
        End the forward pass once the layer has returned, which saves the rest. False for models
        all of whose modules must finish, sharded ones for instance. Of a layer that is called
        several times in a pass the first time counts; with False it is refused.

    Yields
    ------
    X : array, shape (n, d)
        float32, or float64 where the activations are.
    y, sensitive_features : arrays, shape (n,)
        And the weights, where the batch has them.

    Raises
    ------
    ModelError
        For a layer the model does not have (listing the near ones), or another pooling.
    DataError
        For batches of another form, an example none of whose tokens counts, a mask that marks
        otherwise, hidden states that are not finite, or a layer the forward pass does not reach.

    Examples
    --------
    >>> import torch
    >>> from fairprog.torch import HiddenStates
    >>> model = torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Linear(2, 1))
    >>> tokens = torch.tensor([[1, 2, 3], [4, 0, 0]])
    >>> for X, y, a in HiddenStates(model, "0", [(tokens, ["+", "-"], ["b", "b"])]):
    ...     X.shape, y.tolist(), a.tolist()
    ((2, 2), ['+', '-'], ['b', 'b'])
    """

    def __init__(
        self,
        model: Any,
        layer: Layer,
        batches: Iterable[Sequence[Any]],
        *,
        pooling: Pooling = "last",
        mask: str = MASK,
        positions: Positions = "auto",
        device: Any = None,
        stop: bool = True,
    ) -> None:
        self._model = eager(model)
        layers = find_layers(model, layer)
        if len(layers) > 1:
            raise ModelError("`layer` must be one layer.", argument="layer")
        self.layer, self._module = next(iter(layers.items()))
        self.pooling, self._name = pooling, name_of(pooling)
        self.positions, self._where = positions, name_of_positions(positions)
        self.n_left = 0  # tokens that `positions` left out
        self._batches, self._mask, self._device, self._stop = batches, mask, device, stop

    @property
    def source(self) -> str:
        """What the rows are, in words."""
        model = f"{type(self._model).__name__} with weights {fingerprint(self._model)}"
        read = f"pooling {self._name!r}, positions {self._where!r}"
        return f"the layer {self.layer!r} of {model}, {read}"

    def __iter__(self) -> Iterator[Chunk]:
        for number, batch in enumerate(self._batches):
            yield self._chunk(number, batch)
        self._say()

    def _say(self) -> None:
        if self.n_left and self.positions == "auto":
            say_sinks(self.n_left, self.layer, "read", 3)

    def _chunk(self, number: int, batch: Any, hidden: Any = None) -> Chunk:
        """Return rows and labels of a batch; errors, the model's too, say of which.

        With `hidden` the model has been run already.
        """
        try:
            return self._rows(number, batch, hidden)
        except Exception as error:
            error.add_note(f"This happened in batch {number} of `batches`.")
            raise

    def _rows(self, number: int, batch: Any, hidden: Any) -> Chunk:
        if not isinstance(batch, Sequence) or len(batch) not in (3, 4):
            raise DataError(
                f"Batch {number} must be (inputs, y, sensitive_features) or (inputs, y, "
                f"sensitive_features, sample_weight); found {type(batch).__name__}.",
                argument="batches",
            )
        inputs, *labels = batch
        if hidden is None:
            modules = {self.layer: self._module}
            hidden = run_to(self._model, modules, inputs, self._device, self._stop)[self.layer]
        mask = inputs.get(self._mask) if isinstance(inputs, Mapping) else None
        if mask is None and self._mask != MASK:  # asked for by name
            raise DataError(
                f"Batch {number} has no entry {self._mask!r} among its inputs; `mask` names one.",
                argument="mask",
            )
        X, example = pool(hidden, mask, self.pooling, number, self._keep(hidden, inputs, mask))
        bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
        if len(bad):
            raise DataError(
                f"Batch {number}: the hidden states of {self.layer!r} must be finite; those of "
                f"example {example[bad[0]]} are not. Where float16 overflows, load the model in "
                "bfloat16 or float32.",
                argument="batches",
            )
        names = ("y", "sensitive_features", "sample_weight")
        n = hidden.shape[0]
        columns = [_column(v, name, n)[example] for v, name in zip(labels, names, strict=False)]
        return X, *columns

    def _keep(self, hidden: Any, inputs: Any, mask: Any) -> Any:
        """Return which tokens are read, None for all, and count those that are left out."""
        named = isinstance(inputs, Mapping)
        padding = inputs.get(MASK, mask) if named else None
        if hidden.ndim != 3 or self.positions == "all":
            return None
        if padding is not None:
            padding = torch.as_tensor(padding)
            if padding.shape != hidden.shape[:2]:
                return None  # `pool` says what is wrong with it
        place = places(padding, hidden.shape[:2], hidden.device)
        ids = inputs.get("input_ids") if named else inputs
        ids = ids[0] if isinstance(ids, tuple) and ids else ids
        text = ids if isinstance(ids, torch.Tensor) and ids.shape == place.shape else None
        keep = kept_tokens(self.positions, Tokens(hidden, place, text))
        self.n_left += int((~keep & (place >= 0)).sum())
        return keep


class _Chunks:
    """The batches of hidden states as functions, whose call runs the model."""

    def __init__(self, states: HiddenStates) -> None:
        self._states = states

    def __iter__(self) -> Iterator[Callable[[], Chunk]]:
        for number, batch in enumerate(self._states._batches):
            yield partial(self._states._chunk, number, batch)
        self._states._say()

    def __length_hint__(self) -> int:
        return length_hint(self._states._batches)


def collect(
    model: Any,
    layer: Layer,
    batches: Iterable[Sequence[Any]],
    *,
    pooling: Pooling = "last",
    mask: str = MASK,
    positions: Positions = "auto",
    covariance: str = "full",
    classes: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    device: Any = None,
    stop: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 10,
    progress: bool = True,
) -> Moments:
    """Gather the moments of a layer's hidden states per (class, group), batch by batch.

    Parameters
    ----------
    model, layer, batches, pooling, mask, positions, device, stop
        As for :class:`fairprog.torch.HiddenStates`.
    covariance, classes, groups
        As for :class:`fairprog.Moments`.
    checkpoint : path-like, optional
        A .npz file written, atomically, after every few batches and at the end. If it exists, what
        it holds is taken up and as many batches are skipped, without running the model: started
        again with the same batches, an interrupted run ends with the same bits.
    every : int, default 10
        Batches between two checkpoints.
    progress : bool, default True
        Show a progress bar.

    Returns
    -------
    Moments
        Its ``population()`` is what :class:`fairprog.NearestIdeal` asks for.

    Raises
    ------
    ModelError
        As :class:`fairprog.torch.HiddenStates`; for a `checkpoint` of another suffix.
    DataError
        As :class:`fairprog.torch.HiddenStates`; for a damaged checkpoint, or one of another layer,
        pooling, model, covariance or labels. A model is known by the class and the first numbers
        of every weight.

    Examples
    --------
    >>> import torch
    >>> from fairprog.torch import collect
    >>> model = torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Linear(2, 1))
    >>> tokens = torch.arange(60).reshape(20, 3) % 5
    >>> batches = [(tokens, [0, 1] * 10, ["a"] * 10 + ["b"] * 10)] * 4
    >>> collect(model, "0", batches, pooling="tokens", progress=False)
    Moments(covariance='full', rows=240, cells=4, features=2)
    """
    states = HiddenStates(
        model, layer, batches, pooling=pooling, mask=mask, positions=positions, device=device,
        stop=stop,
    )  # fmt: skip
    moments = Moments(covariance, classes=classes, groups=groups)
    moments.source = states.source
    return moments.update(_Chunks(states), checkpoint=checkpoint, every=every, progress=progress)


def run_to(
    model: Any, modules: Mapping[str, Any], inputs: Any, device: Any = None, stop: bool = True
) -> dict[str, Any]:
    """Return what some modules return in one pass, by name.

    The model is in evaluation mode and without gradients, and every module is left in its own;
    with `stop` the pass ends once all of them have returned.
    """
    caught: dict[str, list[Any]] = {name: [] for name in modules}

    def catcher(name: str) -> Any:
        def catch(module: Any, args: Any, output: Any) -> None:
            caught[name].append(hidden_of(output, name))
            if stop and all(caught.values()):
                raise _Reached

        return catch

    before = [(m, m.training, vars(m).get("forward")) for m in model.modules()]
    device = device_of(model) if device is None else device
    handles = [m.register_forward_hook(catcher(name)) for name, m in modules.items()]
    try:
        model.eval()
        with torch.no_grad():
            _call(model, _moved(inputs, device))
    except _Reached:
        return {name: hidden[0] for name, hidden in caught.items()}
    finally:
        for handle in handles:
            handle.remove()
        for module, training, forward in before:
            module.training = training
            if forward is None:  # a library may have wrapped it for the pass that was left
                vars(module).pop("forward", None)
            else:
                module.forward = forward
    for name, hidden in caught.items():
        if len(hidden) != 1:
            raise DataError(
                f"The forward pass reached {name!r} {len(hidden)} times; needed is once."
                + " With stop=True the first time counts." * (len(hidden) > 1),
                argument="layer",
            )
    return {name: hidden[0] for name, hidden in caught.items()}


def _column(values: Any, argument: str, n: int) -> Array:
    """Return one label (or weight) per example as an array."""
    return label_vector(labels_of(values), argument, n)


def _call(model: Any, inputs: Any) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, tuple):
        model(*inputs)
    else:
        model(inputs)


def _moved(inputs: Any, device: Any) -> Any:
    """Return inputs with their tensors on a device."""
    if isinstance(inputs, torch.Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {key: _moved(value, device) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return type(inputs)(_moved(value, device) for value in inputs)
    return inputs
