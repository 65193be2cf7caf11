"""What steering does to the next word: exact, without a text being generated."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import Any

import numpy as np
import torch

from fairprog.errors import DataError
from fairprog.estimators.measured_effects import Effect
from fairprog.labels import Array
from fairprog.torch.hooks import MapHook
from fairprog.torch.layers import device_of, eager
from fairprog.torch.positions import Tokens, median_norm, places
from fairprog.torch.stream import run_to
from fairprog.torch.texts import are_chats, by_group, first_tokens, inputs_of, written

SHARES = (0.02, 0.05, 0.1, 0.17, 0.25)  # of a median token's length: how far vectors reach


class NextWords:
    """The next word of some prompts, with the model as it is kept to compare with.

    Parameters
    ----------
    As for :func:`next_word_effect`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Any],
        desired_words: Sequence[str],
        undesired_words: Sequence[str],
        batch: int = 64,
    ) -> None:
        if isinstance(prompts, str) or len(prompts) < 2:
            raise DataError(
                "`prompts` must be a list of at least two texts or chats: the standard error is "
                "over them.",
                argument="prompts",
            )
        self.model = model
        chat = written(tokenizer, prompts[0], True) if are_chats(prompts) else None
        self._desired = first_tokens(tokenizer, desired_words, "desired_words", chat)
        self._undesired = first_tokens(tokenizer, undesired_words, "undesired_words", chat)
        both = sorted(set(self._desired) & set(self._undesired))
        if both:
            raise DataError(
                "`desired_words` and `undesired_words` begin with the same token "
                f"{tokenizer.decode(both[:1])!r}; leave such words out.",
                argument="undesired_words",
            )
        parts = range(0, len(prompts), batch)
        self._inputs = [
            inputs_of(tokenizer, prompts[k : k + batch], "left", answer=True) for k in parts
        ]
        self._last = {}  # so that logits are made for one position only
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            self._last = {"logits_to_keep": 1}
        self._before = self._log_law()

    def turned(self) -> NextWords:
        """Return the same with desired and undesired words exchanged."""
        out = copy(self)
        out._desired, out._undesired = self._undesired, self._desired
        return out

    def _log_law(self) -> Any:
        """Return the log-probabilities of the next word, shape (n, words)."""
        found, device = [], device_of(self.model)
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                for inputs in self._inputs:
                    inputs = {key: value.to(device) for key, value in inputs.items()}
                    place = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
                    out = self.model(**inputs, position_ids=place, use_cache=False, **self._last)
                    found.append(out.logits[:, -1].float().log_softmax(-1).cpu())
        finally:
            self.model.train(training)
        return torch.cat(found)

    def _log_odds(self, law: Any) -> Any:
        wanted, other = (law[:, k].double().logsumexp(1) for k in (self._desired, self._undesired))
        return wanted - other

    def effect(self, hook: AbstractContextManager[Any] | None = None) -> Effect:
        """Return what a hook does, in the mean over the prompts."""
        with nullcontext() if hook is None else hook:
            after = self._log_law()
        old, new = self._log_odds(self._before), self._log_odds(after)
        surplus = -(after.double().exp() * self._before.double()).sum(1)
        surplus += (self._before.double().exp() * self._before.double()).sum(1)
        odds, share, nats = (
            _mean(x.numpy()) for x in (new - old, new.sigmoid() - old.sigmoid(), surplus)
        )
        ratio = float(np.exp(nats[0]))
        return Effect(*odds, *share, ratio, ratio * nats[1], len(self._before))


def next_word_effect(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Any],
    desired_words: Sequence[str],
    undesired_words: Sequence[str],
    hook: AbstractContextManager[Any] | None,
    *,
    batch: int = 64,
) -> Effect:
    """Measure what steering does to the next word of some prompts; nothing is sampled.

    Parameters
    ----------
    model : causal language model of transformers
    tokenizer : its tokenizer
    prompts : sequence of str or of lists of messages
        Texts that stop where the word is due; chats end where the assistant begins.
    desired_words, undesired_words : sequence of str
        Known by the token that begins each of them: after a blank in a text, without one where it
        begins the answer of a chat, so that "Great" and "great" differ there.
    hook : context manager
        Such as :class:`fairprog.torch.MapHook`, told one group for all prompts.
    batch : int
        Prompts per forward pass.

    Returns
    -------
    Effect
        In log-odds and in probability, with standard errors over the prompts, and the exact
        cross-entropy of the steered next word under the model without steering, as a ratio of
        perplexities.

    Raises
    ------
    DataError
        For fewer than two prompts, no words, or words of both kinds that begin alike.

    Warns
    -----
    FairprogWarning
        For words of several tokens, naming the token that stands for each.

    Examples
    --------
    ``next_word_effect(model, tokenizer, ["Overall, the film was", "In short, it is"], ["great"],
    ["awful"], MapHook(model, layer, {"comedy": v}, sensitive_features="comedy"))``
    """
    words = NextWords(model, tokenizer, prompts, desired_words, undesired_words, batch)
    return words.effect(hook)


def next_word_effects(
    step: Any,
    model: Any,
    tokenizer: Any,
    prompts: Mapping[Any, Sequence[Any]],
    desired_words: Sequence[str],
    undesired_words: Sequence[str],
    *,
    strengths: Any = None,
    batch: int = 64,
) -> dict[str, Any]:
    """Measure the vectors of a step, and its shared vector, in every group and at some strengths.

    Parameters
    ----------
    step : ConceptSteering
        Found by :func:`fairprog.torch.fit_concept`, whose layer and positions are used.
    model, tokenizer, desired_words, undesired_words, batch
        As for :func:`next_word_effect`.
    prompts : mapping of group to sequence of str or of chats
    strengths : array_like, optional
        Default: so that the longest vector reaches 2 to 25 % of the length of a median token.

    Returns
    -------
    dict
        ``strengths``, ``effects``, ``shared``: what ``step.calibrate(**found)`` takes.

    Raises
    ------
    DataError
        As :func:`next_word_effect`; for a group without prompts.
    """
    groups = list(step.vectors_)
    prompts = by_group(prompts, groups, "prompts")
    common = dict.fromkeys(groups, step.shared_vector_)
    if strengths is None:
        hook = MapHook.from_step(model, step)
        texts = [text for g in groups for text in prompts[g]][:batch]
        size = _median_length(model, tokenizer, texts, hook)
        longest = max(np.linalg.norm(v) for v in (*step.vectors_.values(), step.shared_vector_))
        strengths = size / longest * np.array(SHARES)
    t = np.atleast_1d(np.asarray(strengths, dtype=float))
    found: dict[str, Any] = {"strengths": t, "effects": {}, "shared": {}}
    for g in groups:
        words = NextWords(model, tokenizer, prompts[g], desired_words, undesired_words, batch)
        for name, vectors in (("effects", step.vectors_), ("shared", common)):
            found[name][g] = [
                words.effect(
                    MapHook.from_step(
                        model, step, vectors=vectors, sensitive_features=g, strength=float(s)
                    )
                )
                for s in t
            ]
    return found


def _median_length(model: Any, tokenizer: Any, texts: Sequence[Any], hook: MapHook) -> float:
    """Return the median norm of the hidden states of some texts, where a hook steers."""
    inputs = inputs_of(tokenizer, texts, "right", answer=True)
    ((_, hidden),) = run_to(eager(model), hook.layers, inputs).items()
    place = places(inputs["attention_mask"], hidden.shape[:2], hidden.device)
    return float(median_norm(Tokens(hidden, place))[1])


def _mean(values: Array) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
