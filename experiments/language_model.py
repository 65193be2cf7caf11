"""Small language models for the experiments: train one on texts, or load one; read and generate.

A model here is whatever ``transformers`` calls a causal language model, with its tokenizer: the
tiny GPT-2 of the test bed and a model from disk go through the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from fairprog.errors import ModelError
from fairprog.labels import Array

from .claims import Unavailable

__all__ = ["Continuations", "LanguageModel", "load_model", "new_model", "train"]

WIDTH, DEPTH, HEADS, POSITIONS = 80, 3, 4, 40  # 0.24 M parameters
BATCH, RATE, SPREAD = 64, 3e-3, 0.08  # so small a model starts from larger weights than 0.02
PAD, UNKNOWN = "<pad>", "<unk>"


def _torch() -> tuple[Any, Any]:
    """Return torch and transformers, or say that they are missing."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise Unavailable("it needs torch and transformers: fairprog[transformers]") from error
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    return torch, transformers


@dataclass(frozen=True)
class Continuations:
    """Generated texts, prompts left out, and the perplexity of each.

    Attributes
    ----------
    text : list of str
    log_likelihood : Array, shape (n,)
        Mean log-probability per token, in nats, under the model as it is without steering.
    """

    text: list[str]
    log_likelihood: Array

    @property
    def perplexity(self) -> float:
        """Exponential of the mean negative log-probability per token."""
        return float(np.exp(-self.log_likelihood.mean()))


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model and its tokenizer.

    Attributes
    ----------
    model, tokenizer : objects of transformers
    layer : str
        The module whose output is read and steered.
    batch : int
        Texts per forward pass, for experiments that ask.
    """

    model: Any
    tokenizer: Any
    layer: str
    batch: int = 64

    @property
    def n_parameters(self) -> int:
        """Number of parameters; tied ones count once."""
        return sum(p.numel() for p in self.model.parameters())

    def batches(self, texts: Sequence[str], size: int, side: str = "left") -> list[Any]:
        """Return texts as batches of token ids and masks.

        Padded on the left to generate; on the right to read, where positions count from the first
        token of the text without being told.
        """
        self.tokenizer.padding_side = side
        return [
            self.tokenizer(
                list(texts[k : k + size]),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=self.model.config.max_position_embeddings,
                return_token_type_ids=False,
            ).to(self.model.device)
            for k in range(0, len(texts), size)
        ]

    def generate(
        self,
        prompts: Sequence[str],
        n_tokens: int,
        seed: int,
        steering: Callable[[int], AbstractContextManager[Any]] | None = None,
        batch: int = 1024,
    ) -> Continuations:
        """Continue prompts by sampling from the model at temperature one.

        Parameters
        ----------
        prompts : sequence of str
        n_tokens : int
            Exactly as many are generated for every prompt.
        seed : int
        steering : callable from a batch's size to a context, optional
            A hook, which lasts while the batch is generated; perplexities are computed outside.
        batch : int
        """
        torch, _ = _torch()
        torch.manual_seed(seed)
        texts: list[str] = []
        scores = []
        for tokens in self.batches(prompts, batch):
            n = len(tokens["input_ids"])
            with torch.no_grad():
                with steering(n) if steering is not None else nullcontext():
                    ids = self.model.generate(
                        **tokens,
                        max_new_tokens=n_tokens,
                        min_new_tokens=n_tokens,
                        do_sample=True,
                        top_k=0,
                        pad_token_id=self.tokenizer.pad_token_id,
                    )
                scores.append(self._log_likelihood(torch, ids, tokens["attention_mask"], n_tokens))
            new = ids[:, -n_tokens:]
            texts += self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return Continuations(texts, np.concatenate(scores))

    def last_word(self, texts: Sequence[str], batch: int = 1024) -> Array:
        """Return the log-probability of the last token but the full stop of every text."""
        torch, _ = _torch()
        parts = []
        for tokens in self.batches([text.removesuffix(" .") for text in texts], batch):
            ids, mask = tokens["input_ids"], tokens["attention_mask"]
            with torch.no_grad():
                parts.append(self._log_likelihood(torch, ids, mask[:, :-1], 1))
        return np.concatenate(parts)

    def _log_likelihood(self, torch: Any, ids: Any, mask: Any, n_tokens: int) -> Array:
        """Return the mean log-probability of the last `n_tokens` of every row."""
        full = torch.cat([mask, mask.new_ones(len(mask), n_tokens)], dim=1)
        place = (full.cumsum(1) - 1).clamp(min=0)
        logits = self.model(ids, attention_mask=full, position_ids=place).logits
        logits = logits[:, -n_tokens - 1 : -1].float().log_softmax(-1)
        each = logits.gather(2, ids[:, -n_tokens:, None])[..., 0]
        out: Array = each.mean(1).double().cpu().numpy()
        return out


def new_model(texts: Sequence[str], seed: int, layer: int = -1) -> LanguageModel:
    """Return the GPT-2 of the test bed, untrained; the words of the texts are its tokens.

    Parameters
    ----------
    texts : sequence of str
        Words separated by blanks.
    seed : int
        Of the weights, and of the order of the texts in the first training.
    layer : int
        Which block's output is read and steered.
    """
    torch, transformers = _torch()
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [PAD, UNKNOWN, *sorted({word for text in texts for word in text.split()})]
    inner = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, unk_token=UNKNOWN, padding_side="left"
    )
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(words),
        n_positions=POSITIONS,
        n_embd=WIDTH,
        n_layer=DEPTH,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own, in one operation: half the time
        initializer_range=SPREAD,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    return LanguageModel(model, tokenizer, f"transformer.h.{layer % DEPTH}")


def train(
    speaker: LanguageModel, texts: Sequence[str], epochs: int, seed: int | None = None
) -> LanguageModel:
    """Train a model on texts, in place: one cycle of the learning rate.

    Parameters
    ----------
    speaker : LanguageModel
    texts : sequence of str
    epochs : int
    seed : int, optional
        Of the order of the texts; default: the stream of chance goes on.
    """
    torch, _ = _torch()
    model, tokenizer = speaker.model, speaker.tokenizer
    if seed is not None:
        torch.manual_seed(seed)
    tokenizer.padding_side = "right"  # while training: a causal model need not see the padding
    tokens = tokenizer(list(texts), return_tensors="pt", padding=True)["input_ids"]
    tokenizer.padding_side = "left"
    steps = epochs * math.ceil(len(tokens) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=max(0.1, 2.0 / steps)
    )
    model.train()
    with tqdm(total=steps, desc="training", disable=None, leave=False) as progress:
        for _ in range(epochs):
            for rows in torch.randperm(len(tokens)).split(BATCH):
                batch = tokens[rows]
                loss = model(batch, labels=batch.masked_fill(batch == 0, -100)).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                rate.step()
                progress.update()
                progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.eval()
    return speaker


def load_model(
    path: str,
    layer: str | None = None,
    gguf_file: str | None = None,
    dtype: str | None = None,
    batch: int = 64,
) -> LanguageModel:
    """Load a causal language model and its tokenizer from a folder, in evaluation mode.

    Parameters
    ----------
    path : str
        What ``transformers.AutoModelForCausalLM.from_pretrained`` takes; nothing is downloaded.
    layer : str, optional
        The module whose output is read and steered; default the block in the middle.
    gguf_file : str, optional
        The file in the folder, where that is its format (it needs the package gguf).
    dtype : str, optional
        Such as "bfloat16"; default that of the model.
    batch : int
    """
    torch, transformers = _torch()
    how: dict[str, Any] = {"local_files_only": True}
    how |= {} if gguf_file is None else {"gguf_file": gguf_file}
    of_model = how | ({} if dtype is None else {"dtype": getattr(torch, dtype)})
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, **how)
        model = transformers.AutoModelForCausalLM.from_pretrained(path, **of_model)
    except OSError as error:
        raise Unavailable(f"it needs a model in {path!r}, downloaded beforehand") from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return LanguageModel(model, tokenizer, layer or middle_block(model), batch)


def middle_block(model: Any) -> str:
    """Return the name of the block in the middle of the longest list of equal modules."""
    torch, _ = _torch()
    lists = [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.ModuleList) and len(part)
    ]
    if not lists:
        raise ModelError(
            "The model has no list of blocks; name the layer to steer by --layer.",
            argument="layer",
        )
    name, blocks = max(lists, key=lambda item: len(item[1]))
    return f"{name}.{len(blocks) // 2}"
