"""How much memory a language model takes, said before it is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from fairprog.errors import MissingExtraError, ModelError

LOGITS = ("none", "last", "all")


def memory_estimate(
    model: Any,
    batch: int,
    length: int,
    *,
    dtype: Any = None,
    logits: str = "none",
    cache: bool = False,
    gguf_file: str | None = None,
) -> str:
    """Return in a sentence what a batch takes: weights, hidden states, cache of keys, logits.

    Parameters
    ----------
    model : torch.nn.Module, or path-like
        A model, or the folder of one, of which only the configuration is read.
    batch, length : int
        Texts, and tokens of each.
    dtype : str or torch.dtype, optional
        Default that of the model, or of its configuration.
    logits : {"none", "last", "all"}
        Whether logits are made: not where the pass ends at a layer (`collect`, `fit_concept`), of
        the last token (`next_word_effect`, generation), or of all (a loss). Counted twice, as they
        are and as float32 log-probabilities.
    cache : bool
        Whether keys and values are kept, as in generation.
    gguf_file : str, optional
        The file in the folder, where that is its format; weights are read as `dtype`.

    Raises
    ------
    ModelError
        For another word as `logits`; for a folder without a configuration, naming a GGUF file in
        it.
    MissingExtraError
        For a folder, without transformers.

    Examples
    --------
    ``print(memory_estimate("models/own", batch=64, length=32, dtype="bfloat16"))``
    """
    if logits not in LOGITS:
        raise ModelError(
            f"`logits` must be one of {list(LOGITS)}; found {logits!r}.", argument="logits"
        )
    if isinstance(model, (str, os.PathLike)):
        model, dtype = _unloaded(model, dtype, gguf_file)
    config = model.config
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    size = torch.empty(0, dtype=dtype or next(model.parameters()).dtype).element_size()
    n = sum(p.numel() for p in model.parameters())  # tied ones count once
    heads = config.num_attention_heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    tokens = batch * length
    parts = {
        "weights": n * size,
        "hidden states": tokens * (4 * config.hidden_size + 2 * inner) * size,
        "cache": cache * 2 * config.num_hidden_layers * kept * width * tokens * size,
        "logits": {"none": 0, "last": batch, "all": tokens}[logits]
        * config.vocab_size
        * (size + 4),
    }
    text = ", ".join(f"{name} {value / 1e6:,.0f} MB" for name, value in parts.items() if value)
    return (
        f"{n / 1e6:,.2f} M parameters; a batch of {batch} texts of {length} tokens takes about "
        f"{sum(parts.values()) / 1e6:,.0f} MB ({text})."
    )


def _unloaded(folder: Any, dtype: Any, gguf_file: str | None) -> tuple[Any, Any]:
    """Return a model without weights, and the type of those it would have."""
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Reading a model's configuration needs transformers: pip install "
            "'fairprog[transformers]'.",
            details={"extra": "transformers"},
        ) from error
    options = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        config = AutoConfig.from_pretrained(os.fspath(folder), local_files_only=True, **options)
    except (OSError, ValueError) as error:
        files = sorted(path.name for path in Path(folder).glob("*.gguf"))
        remedy = f"; say gguf_file={files[0]!r}" if files and gguf_file is None else ""
        raise ModelError(
            f"Transformers reads no configuration in `model` = {os.fspath(folder)!r}{remedy}.",
            argument="model",
        ) from error
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return model, dtype or getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
