r"""Which tokens are read and moved: all of them, all but attention sinks, or those of a rule.

In many language models the first token takes up attention that nobody needs, and its hidden state
is a hundred times as long as any other: an attention sink. Its moments are not those of words, and
a map fitted to words destroys it, and the model with it. With ``positions="auto"`` tokens with

.. math:: \|h\| > 20 \operatorname{median}_{\text{tokens of the batch}} \|h\|

are neither fitted nor moved.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from fairprog.errors import DataError, FairprogWarning, ModelError

SINK = 20.0  # times the median norm: beyond is no word
MARK = "⁂"  # what a turn says, where only its place in the template matters
Positions = str | int | Callable[[Any], Any]


class Tokens(NamedTuple):
    """The tokens that a layer has before it.

    Attributes
    ----------
    hidden : tensor, shape (batch, time, d)
    place : tensor, shape (batch, time)
        Where a token stands in its text: 0, 1, ..., and -1 for padding. With a cache of keys and
        values texts go on where they were.
    text : tensor, shape (batch, time so far), or None
        Numbers of the tokens of the texts so far, padding included, the present ones last; None
        where the pass was given none.
    """

    hidden: Any
    place: Any
    text: Any = None


class AssistantTokens:
    """A rule for `positions`: in chats, what the assistant says, and nothing else.

    Parameters
    ----------
    tokenizer : tokenizer of transformers with a chat template

    Raises
    ------
    ModelError
        For a tokenizer without a template, or one that gives the assistant's turns no beginning.

    Notes
    -----
    A turn begins after the tokens that the template puts before it and ends before the one it
    puts after it; the last one may go on, as it does while it is generated.

    Examples
    --------
    ``collect(model, layer, batches, positions=AssistantTokens(tokenizer))``
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError("`tokenizer` has no chat template.", argument="tokenizer")
        ask, answer = ({"role": role, "content": MARK} for role in ("user", "assistant"))

        def written(*turns: Any, **options: Any) -> str:
            return str(tokenizer.apply_chat_template(list(turns), tokenize=False, **options))

        asked, whole = written(ask), written(ask, answer, ask)
        begin = written(ask, add_generation_prompt=True).removeprefix(asked)
        _, middle, rest = (*whole.split(MARK, 2), "", "")[:3]
        begin = begin or middle.strip()
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (begin, rest)]
        if not all(ids):
            raise ModelError(
                "The chat template of `tokenizer` does not mark where the assistant begins and "
                "ends; give a function as `positions`.",
                argument="tokenizer",
            )
        self.begin, self.end = ids[0], ids[1][0]

    def __call__(self, tokens: Tokens) -> Any:
        """Return which of the tokens at hand the assistant says."""
        text, n = tokens.text, len(self.begin)
        if text is None:
            raise DataError(
                "AssistantTokens needs the numbers of the tokens: call the model by `input_ids`.",
                argument="positions",
            )
        begins = torch.zeros_like(text, dtype=torch.bool)
        if text.shape[1] > n:
            windows = text.unfold(1, n, 1)[:, :-1]
            begins[:, n:] = (windows == text.new_tensor(self.begin)).all(dim=-1)
        where = torch.arange(text.shape[1], device=text.device).expand_as(text)
        begun = torch.where(begins, where, -1).cummax(dim=1).values
        ended = torch.where(text == self.end, where, -1).cummax(dim=1).values
        return (begun > ended)[:, -tokens.place.shape[1] :]

    def __repr__(self) -> str:
        return f"AssistantTokens(begin={self.begin}, end={self.end})"


def name_of_positions(positions: Any) -> str:
    """Return positions in words; ModelError where there are none like these."""
    if callable(positions):
        named = getattr(positions, "__qualname__", None)
        return str(named) if named else repr(positions)
    if positions in ("auto", "all") and isinstance(positions, str):
        return positions
    if type(positions) is int and positions >= 0:
        return f"from {positions} on"
    raise ModelError(
        "`positions` must be 'auto', 'all', the first token to use (0, 1, ...) or a function of "
        f"fairprog.torch.Tokens; found {positions!r}.",
        argument="positions",
    )


def median_norm(tokens: Tokens) -> tuple[Any, Any]:
    """Return the norms of hidden states, and their median over what is no padding."""
    size = tokens.hidden.detach().to(torch.float32).norm(dim=-1)
    return size, torch.where(tokens.place >= 0, size, torch.nan).nanmedian()


def kept_tokens(positions: Positions, tokens: Tokens, median: Any = None) -> Any:
    """Return which tokens are read and moved, shape (batch, time); None means all.

    Parameters
    ----------
    positions : "auto", "all", int or callable
    tokens : Tokens
    median : tensor, optional
        The median norm to compare with; default that of the tokens at hand.
    """
    if tokens.hidden.ndim != 3 or positions == "all":
        return None
    if isinstance(positions, int):
        return tokens.place >= positions
    if callable(positions):
        keep = torch.as_tensor(positions(tokens), device=tokens.hidden.device)
        if keep.shape != tokens.hidden.shape[:2] or keep.dtype != torch.bool:
            raise DataError(
                f"`positions` must return truth values of shape {tuple(tokens.hidden.shape[:2])}, "
                f"one per token; found {keep.dtype} of shape {tuple(keep.shape)}.",
                argument="positions",
            )
        return keep
    size, own = median_norm(tokens)
    median = own if median is None else median
    ordinary = (size <= SINK * median) | (median == 0)
    return ordinary | ~torch.isfinite(size) | (tokens.place < 0)  # what overflows is refused later


def places(mask: Any, shape: Any, device: Any) -> Any:
    """Return where the last tokens of texts stand in them, -1 for padding: (batch, time)."""
    n, time = shape
    if mask is None:
        return torch.arange(time, device=device).expand(n, time)
    marks = mask.to(device) != 0
    return torch.where(marks, marks.cumsum(dim=1) - 1, -1)[:, -time:]


class Pass:
    """What the forward passes of a model say of their tokens, to a hook at one of its layers.

    The modules around the layer are watched, whose arguments hold the mask, the ids and the
    cache; the outermost one that is called opens a pass.
    """

    def __init__(self, positions: Positions) -> None:
        name_of_positions(positions)
        self.positions = positions
        self._level = -1
        self._given: dict[str, Any] = {}
        self._text: Any = None
        self._median: dict[str, Any] = {}

    def watch(self, model: Any, layers: Any) -> list[Any]:
        """Watch the modules around some layers; return the handles to remove."""
        if self.positions == "all":
            return []
        names = {""}
        for name in layers:
            parts = name.split(".")[:-1]
            names |= {".".join(parts[: k + 1]) for k in range(len(parts))}
        modules = dict(model.named_modules(remove_duplicate=False))
        self._level = -1
        return [
            modules[name].register_forward_pre_hook(
                self._watcher(name.count(".") + bool(name)), with_kwargs=True
            )
            for name in sorted(names, key=len)
        ]

    def _watcher(self, level: int) -> Any:
        def watcher(module: Any, args: Any, kwargs: Any) -> None:
            mask, place = kwargs.get("attention_mask"), kwargs.get("position_ids")
            mask = mask if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None
            if self._level < 0 or level <= self._level:  # a new pass
                self._given = {"mask": mask, "place": place, "past": 0}
                self._remember(args, kwargs)
            elif mask is not None:
                self._given["mask"] = mask
            self._level = level

        return watcher

    def _remember(self, args: Any, kwargs: Any) -> None:
        """Keep how long the texts were before this pass, and their tokens where a rule asks."""
        if torch.compiler.is_compiling():  # positions are given there
            return
        caches = [kwargs.get(name) for name in ("past_key_values", "cache")]
        lengths = [int(c.get_seq_length()) for c in caches if hasattr(c, "get_seq_length")]
        self._given["past"] = past = max(lengths, default=0)
        if callable(self.positions):
            ids = kwargs.get("input_ids", args[0] if args else None)
            usable = isinstance(ids, torch.Tensor) and ids.ndim == 2
            before, now = self._text, ids if usable and not ids.is_floating_point() else None
            if past and now is not None and before is not None and len(before) == len(now):
                now = torch.cat([before[:, :past], now], dim=1)
            self._text = now

    def keep(self, hidden: Any, name: str) -> tuple[Any, Any]:
        """Return which hidden states to move, and which are no padding; None means all."""
        if self.positions == "all" or hidden.ndim != 3:
            return None, None
        shape, given = hidden.shape[:2], self._given
        mask, place = given.get("mask"), given.get("place")
        if mask is not None and len(mask) == shape[0] and mask.shape[1] >= shape[1]:
            place = places(mask, shape, hidden.device)
        elif not isinstance(place, torch.Tensor) or place.shape[-1:] != shape[1:]:
            place = places(None, shape, hidden.device) + given.get("past", 0)
        tokens = Tokens(hidden, place.expand(shape), self._text)
        median = None
        if self.positions == "auto" and not torch.compiler.is_compiling():
            if not given.get("past") or name not in self._median:
                self._median[name] = median_norm(tokens)[1]
            median = self._median[name]  # a text goes on: measured by how it began
        return kept_tokens(self.positions, tokens, median), tokens.place >= 0


def say_sinks(count: int, layer: str, done: str, stacklevel: int) -> None:
    """Warn of tokens that are left out."""
    many, are, were = ("s", "are", "were") if count > 1 else ("", "is", "was")
    warnings.warn(
        f"{count} hidden state{many} at {layer!r} {are} more than {SINK:g} times as long as the "
        f"median one, as attention sinks are, and {were} not {done}. positions='all' takes them "
        "in; positions=1, for one, says that every text begins with such a token.",
        FairprogWarning,
        stacklevel=stacklevel + 1,
    )
