"""From a model and pairs of texts to steering vectors of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from tqdm import tqdm

from fairprog.errors import DataError
from fairprog.estimators import ConceptSteering
from fairprog.labels import label_array
from fairprog.torch.layers import Layer, dtype_of, eager, find_layers, fingerprint
from fairprog.torch.pooling import Pooling, name_of
from fairprog.torch.positions import Positions, name_of_positions
from fairprog.torch.stream import HiddenStates, run_to
from fairprog.torch.texts import inputs_of

DESIRED, UNDESIRED = "desired", "undesired"


def fit_concept(
    model: Any,
    tokenizer: Any,
    layers: Layer | Sequence[Layer],
    pairs: Sequence[tuple[Any, Any, Any]],
    *,
    pooling: Pooling = "last",
    positions: Positions = "auto",
    batch: int = 32,
    progress: bool = True,
    **options: Any,
) -> dict[str, ConceptSteering]:
    """Find steering vectors of some layers, in one pass over the texts.

    Parameters
    ----------
    model : causal language model of transformers
    tokenizer : its tokenizer
    layers : str, torch.nn.Module or sequence of them
        As in ``model.named_modules()``; every layer has vectors of its own.
    pairs : sequence of (desired, undesired, group)
        Two texts, or two chats (lists of messages, written by the tokenizer's template), with the
        concept and without, and the group that both are about.
    pooling, positions
        Of the hidden states; see :class:`fairprog.torch.HiddenStates`.
    batch : int
        Texts per forward pass.
    progress : bool
        Show a progress bar.
    **options
        Of :class:`fairprog.ConceptSteering`.

    Returns
    -------
    dict layer -> ConceptSteering
        Fitted; `source_` holds model, weights, layer, dtype, pooling and positions, and files keep
        it. ``MapHook.from_step(model, step)`` applies one.

    Raises
    ------
    DataError
        For pairs of another form, and as `ConceptSteering.fit`.
    ModelError
        For a layer the model does not have.

    Examples
    --------
    ``steps = fit_concept(model, tokenizer, ["model.layers.10", "model.layers.15"], pairs)``
    """
    if not len(pairs) or any(len(pair) != 3 for pair in pairs):
        raise DataError(
            "`pairs` must be a list of (desired, undesired, group): two texts, or two chats, and "
            "a label.",
            argument="pairs",
        )
    unfitted = ConceptSteering(**{"desired": DESIRED, **options})  # wrong options fail here
    found = find_layers(model, layers)
    how: dict[str, Any] = {"pooling": pooling, "positions": positions}
    readers = {name: HiddenStates(model, name, (), **how) for name in found}
    texts = [text for pair in pairs for text in pair[:2]]
    y = np.array([DESIRED, UNDESIRED] * len(pairs))
    a = label_array([pair[2] for pair in pairs for _ in range(2)])
    order = np.argsort([len(str(text)) for text in texts], kind="stable")  # less padding
    parts = [order[k : k + batch] for k in range(0, len(order), batch)]
    rows: dict[str, list[Any]] = {name: [] for name in found}
    for number, part in enumerate(tqdm(parts, "texts", disable=None if progress else True)):
        inputs = inputs_of(tokenizer, [texts[k] for k in part], "right", answer=False)
        hidden = run_to(eager(model), found, inputs)
        for name, reader in readers.items():
            chunk = reader._chunk(number, (inputs, y[part], a[part]), hidden[name])
            rows[name].append(chunk)
    steps = {}
    for name, reader in readers.items():
        reader._say()
        X, labels, groups = (np.concatenate(column) for column in zip(*rows[name], strict=True))
        step = clone(unfitted)
        step.fit(X, labels, sensitive_features=groups)
        plain = positions if isinstance(positions, int) else name_of_positions(positions)
        step.source_ = {
            "model": str(getattr(getattr(model, "config", None), "_name_or_path", ""))
            or type(eager(model)).__name__,
            "weights": fingerprint(eager(model)),
            "layer": name,
            "dtype": dtype_of(model),
            "pooling": name_of(pooling),
            "positions": plain,
        }
        steps[name] = step
    return steps
