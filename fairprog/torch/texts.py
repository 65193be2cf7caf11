"""Texts and chats as what a model takes, and words as the tokens that begin them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairprog.errors import DataError, FairprogWarning


@contextlib.contextmanager
def padding(tokenizer: Any, side: str) -> Iterator[None]:
    """Pad on a side for as long as the block lasts, by the end of texts where nothing else is."""
    before = tokenizer.padding_side, tokenizer.pad_token
    tokenizer.padding_side = side
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        yield
    finally:
        tokenizer.padding_side, tokenizer.pad_token = before


def are_chats(texts: Sequence[Any]) -> bool:
    """Return whether these are chats, which all must be, or texts."""
    chats = [not isinstance(text, str) for text in texts]
    if any(chats) and not all(chats):
        raise DataError("Texts must be all chats or none.", argument="prompts")
    return any(chats)


def written(tokenizer: Any, chat: Any, answer: bool) -> str:
    """Return a chat as its template writes it, up to where the assistant speaks if `answer`."""
    text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=answer)
    return str(text)


def inputs_of(tokenizer: Any, texts: Sequence[Any], side: str, answer: bool) -> Any:
    """Return texts, or chats by the tokenizer's template, as one batch.

    Parameters
    ----------
    tokenizer : tokenizer of transformers
    texts : sequence of str or of lists of messages
        A message is a mapping with "role" and "content".
    side : {"left", "right"}
        Where to pad: on the right to read, on the left for what comes next.
    answer : bool
        Whether chats end where the assistant is about to speak.
    """
    chats = are_chats(texts)
    if chats:
        texts = [written(tokenizer, chat, answer) for chat in texts]
    with padding(tokenizer, side):
        found = tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=not chats
        )
    return {key: found[key] for key in ("input_ids", "attention_mask")}


def first_tokens(
    tokenizer: Any, words: Sequence[str], argument: str, chat: str | None = None
) -> list[int]:
    """Return the numbers of the tokens that begin these words.

    In the middle of a text, that is after a blank; after a chat, as its template writes it, where
    they begin the answer. Warns of words that are longer than that: other words may begin alike.
    """
    if isinstance(words, str) or not len(words):
        raise DataError(f"`{argument}` must be a list of words.", argument=argument)
    context, blank = ("0", " ") if chat is None else (chat, "")
    before = tokenizer(context, add_special_tokens=False)["input_ids"]
    found, cut = set(), []
    for word in words:
        spaced = word if word[:1].isspace() else f"{blank}{word}"
        ids = tokenizer(f"{context}{spaced}", add_special_tokens=False)["input_ids"]
        if ids[: len(before)] != before or len(ids) == len(before):
            ids = [*before, *tokenizer(spaced, add_special_tokens=False)["input_ids"]]
        found.add(ids[len(before)])
        if len(ids) > len(before) + 1:
            cut.append(f"{word!r} by {tokenizer.decode(ids[len(before) :][:1])!r}")
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is not None and unknown in found:
        raise DataError(f"`{argument}` has words that the tokenizer lacks.", argument=argument)
    if cut:
        warnings.warn(
            f"`{argument}` has words of several tokens, known by the first one, which "
            f"begins others too: {', '.join(cut)}. Take words that are one token.",
            FairprogWarning,
            stacklevel=4,
        )
    return sorted(found)


def by_group(given: Any, groups: Sequence[Any], argument: str) -> Mapping[Any, Any]:
    """Return a mapping that has an entry for every group."""
    if not isinstance(given, Mapping) or any(g not in given for g in groups):
        raise DataError(
            f"`{argument}` must map every group to its prompts; the groups are {list(groups)}.",
            argument=argument,
        )
    return given
