"""Modules by name, and the hidden states in what a module returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any

import torch

from fairprog.errors import DataError, ModelError
from fairprog.labels import label_array

Layer = Any  # a name, or the module itself
WRAPPER = "_orig_mod"  # where torch.compile keeps the model it compiles
COMPILED = (  # where modules keep what was compiled
    "_compiled_call_impl",  # by their own method compile()
    "_compiled_call",  # by generate() of Hugging Face, with a static cache
)
HIDDEN = "last_hidden_state"  # where the outputs of whole Hugging Face models have theirs


def eager(model: Any) -> Any:
    """Return the model inside ``torch.compile(model)``, or the model itself."""
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"`model` must be a torch.nn.Module; found {type(model).__name__}.", argument="model"
        )
    return getattr(model, WRAPPER, model)


def is_compiled(model: Any) -> bool:
    """Return whether torch.compile made this model, or one of its modules."""
    return any(
        WRAPPER in module._modules or any(vars(module).get(key) is not None for key in COMPILED)
        for module in model.modules()
    )


def device_of(model: Any) -> Any:
    """Return the device of a model's first parameter; the processor if it has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def labels_of(values: Any) -> Any:
    """Return labels as fairprog takes them: tensors as arrays, tuples as labels of their own."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if isinstance(values, (list, tuple)) and any(isinstance(v, tuple) for v in values):
        return label_array(list(values))
    return values


def find_layers(model: Any, layer: Layer | Sequence[Layer]) -> dict[str, Any]:
    """Return modules of a model by name.

    Parameters
    ----------
    model : torch.nn.Module
        Compiled or not.
    layer : str, torch.nn.Module or sequence of them
        Names as in ``model.named_modules()``, such as ``"transformer.h.5"``; "" is the model.

    Raises
    ------
    ModelError
        For a name that is not there (listing the near ones) or a module that is not.

    Examples
    --------
    >>> import torch
    >>> from fairprog.torch.layers import find_layers
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> find_layers(model, "1")
    {'1': ReLU()}
    """
    modules = dict(eager(model).named_modules(remove_duplicate=False))  # shared ones: every name
    is_list = isinstance(layer, Sequence) and not isinstance(layer, str)
    wanted = list(layer) if is_list else [layer]
    if not wanted:
        raise ModelError("`layer` names no layer.", argument="layer")
    found: dict[str, Any] = {}
    for one in wanted:
        if isinstance(one, str):
            if one not in modules:
                raise _unknown(one, list(modules))
            name = one
        else:
            names = [name for name, module in modules.items() if module is one]
            if not names:
                raise ModelError(
                    f"`layer` must be the name of a module or a module of `model`; found a "
                    f"{type(one).__name__} that is not in it.",
                    argument="layer",
                )
            name = names[0]
        if any(modules[name] is module for module in found.values()):
            raise ModelError(f"`layer` names {name!r} twice.", argument="layer")
        found[name] = modules[name]
    return found


def _unknown(name: str, known: list[str]) -> ModelError:
    """Return the error for a name that is not there; names that end alike come first."""
    last = "." + name.rpartition(".")[2]
    near = [k for k in known if k.endswith("." + name)]
    near += [k for k in get_close_matches(name, known, n=5, cutoff=0.5) if k not in near]
    near += [k for k in known if k.endswith(last) and k not in near]
    near = near[:5] or [k for k in known if k][:5]
    return ModelError(
        f"`layer` names {name!r}, which the model does not have; near are {near}. All names: "
        "[name for name, _ in model.named_modules()].",
        argument="layer",
        details={"near": near},
    )


def hidden_of(output: Any, name: str) -> Any:
    """Return the hidden states in what the module `name` returned.

    The output itself, the first entry of a tuple or list, or ``last_hidden_state`` of a mapping or
    dataclass.

    Raises
    ------
    DataError
        If that is not a tensor of floating-point numbers with at least two axes.
    """
    hidden = output
    if isinstance(output, Mapping):
        hidden = output.get(HIDDEN)
    elif is_dataclass(output):
        hidden = getattr(output, HIDDEN, None)
    elif isinstance(output, (tuple, list)) and output:
        hidden = output[0]
    if not isinstance(hidden, torch.Tensor):
        raise DataError(
            f"The module {name!r} returned {type(output).__name__} without hidden states: needed "
            f"is a tensor, a tuple that starts with one, or an output with {HIDDEN!r}.",
            argument="layer",
        )
    if hidden.is_nested:
        raise DataError(
            f"The module {name!r} returned a nested tensor; of torch.nn.TransformerEncoder give "
            "enable_nested_tensor=False.",
            argument="layer",
        )
    if hidden.ndim < 2 or not hidden.is_floating_point():
        raise DataError(
            f"The hidden states of {name!r} must be floating-point numbers of shape (batch, d) or "
            f"(batch, time, d); found {hidden.dtype} of shape {tuple(hidden.shape)}.",
            argument="layer",
        )
    return hidden


def with_hidden(output: Any, hidden: Any) -> Any:
    """Return what a module returned with other hidden states; the rest is the same objects."""
    if isinstance(output, torch.Tensor):
        return hidden
    if isinstance(output, Mapping):
        return type(output)(**{**output, HIDDEN: hidden})
    if is_dataclass(output):
        return replace(output, **{HIDDEN: hidden})  # type: ignore[type-var]
    if hasattr(output, "_replace"):  # a named tuple
        return output._replace(**{output._fields[0]: hidden})
    return type(output)([hidden, *output[1:]])


def dtype_of(model: Any) -> str:
    """Return the name of the dtype of a model's first parameter."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def fingerprint(model: Any) -> str:
    """Return eight hexadecimal digits that tell models apart: of the first numbers per weight."""
    digest = blake2b(digest_size=4)
    for name, weight in model.named_parameters():
        digest.update(f"{name} {weight.dtype}".encode())
        try:
            row = weight.detach()[(0,) * (weight.ndim - 1)].reshape(-1)[:64]
            digest.update(row.cpu().double().numpy().tobytes())
        except (IndexError, RuntimeError, TypeError, ValueError):  # empty, sharded, quantised...
            continue
    return digest.hexdigest()
