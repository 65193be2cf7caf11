"""Hidden states of texts in a language model, for the parts of the experiment `smollm2`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from fairprog.errors import FairprogWarning

from .language_model import LanguageModel

__all__ = ["hidden_states"]


def hidden_states(speaker: LanguageModel, texts: Sequence[str], y: Any, a: Any, **how: Any) -> Any:
    """Return rows, classes and groups of the layer's hidden states; texts sorted by length."""
    from fairprog.torch import HiddenStates

    order = np.argsort([len(text) for text in texts], kind="stable")
    parts = [order[k : k + speaker.batch] for k in range(0, len(order), speaker.batch)]
    batches = [
        (speaker.batches([texts[k] for k in part], len(part), side="right")[0], y[part], a[part])
        for part in parts
    ]
    bar = tqdm(batches, desc="texts", disable=None, leave=False)
    with warnings.catch_warnings():  # sinks: the experiment is about them
        warnings.simplefilter("ignore", FairprogWarning)
        chunks = list(HiddenStates(speaker.model, speaker.layer, bar, **how))
    return [np.concatenate(column) for column in zip(*chunks, strict=True)]
