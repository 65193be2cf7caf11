"""Part D of `smollm2`: what `AlignHook` leaves of the language, with and without sinks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

import fairprog as fp
from fairprog.errors import FairprogWarning

from .claims import Claim, judged
from .instruct_texts import HIGH, WOMEN, biographies
from .language_model import LanguageModel
from .smollm2_states import hidden_states

__all__ = ["COLUMNS", "claims_of", "perplexities", "rows_of"]

N_PERPLEXITY = 40
COLUMNS = ("positions", "rows", "left alone", "moved", "0", "0.25", "0.5", "1")


def perplexities(speaker: LanguageModel, positions: str, n_fit: int) -> dict[str, float]:
    """Return perplexity of women's biographies, unsteered and aligned with the men's."""
    import torch

    from fairprog.torch import AlignHook

    texts, jobs, a = biographies(n_fit, 5)
    y = np.where(np.isin(jobs, HIGH), "high", "low")
    X, y, a = hidden_states(speaker, texts, y, a, pooling="tokens", positions=positions)
    moments = fp.Moments()
    moments.partial_fit(X.astype(float), y, sensitive_features=a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairprogWarning)
        sol = fp.NearestIdeal(moments.population(shrinkage="auto"), steer=[WOMEN]).solve()
    texts, _, a = biographies(3 * N_PERPLEXITY, 77)
    women = [text for text, g in zip(texts, a, strict=True) if g == WOMEN][:N_PERPLEXITY]
    (inputs,) = speaker.batches(women, len(women), side="right")
    ignored = inputs["attention_mask"] == 0
    labels = inputs["input_ids"].masked_fill(ignored, -100)

    def perplexity() -> float:
        with torch.no_grad():
            return float(speaker.model(**inputs, labels=labels).loss.exp())

    out = {"rows": float(len(X)), "0": perplexity()}
    for strength in (0.25, 0.5, 1.0):
        hook = AlignHook(
            speaker.model, speaker.layer, sol, sensitive_features=WOMEN, strength=strength,
            positions=positions,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FairprogWarning)
            with hook:
                out[f"{strength:g}"] = perplexity()
        out["left"], out["moved"] = float(hook.n_left), float(hook.n_moved)
    return out


def rows_of(found: Mapping[str, Mapping[str, float]]) -> list[list[object]]:
    """Return the rows of the table, in the order of `COLUMNS`."""
    keys = ("rows", "left", "moved", "0", "0.25", "0.5", "1")
    return [[positions, *(one[k] for k in keys)] for positions, one in found.items()]


def claims_of(found: Mapping[str, Mapping[str, float]]) -> list[Claim]:
    """Return what was set out for, and what was found."""
    if "auto" not in found:
        return []
    one = found["auto"]
    ratio = one["1"] / one["0"]
    both = found.get("all", {"1": float("nan")})
    return [
        judged(
            "smollm2, D: perplexity under AlignHook at most 1.5 times the unsteered one",
            f"{one['0']:.1f} -> {one['1']:.1f} at strength 1, {ratio:.2f} times; with attention "
            f"sinks fitted and moved {both['1']:,.0f}",
            ratio <= 1.5,
            "as measured; the guide says what it means",
        )
    ]
