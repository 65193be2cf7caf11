"""The examples of the pages on language models are true (`make docs` cannot run them)."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import fairprog as fp

pytest.importorskip("transformers", reason="transformers is not installed: make test-torch")
pytest.importorskip("torch", reason="torch is not installed: make test-torch")

import torch

from experiments.language_model import new_model, train

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
WORDS = {
    ("praise", "comedy"): ("funny", "witty", "warm"),
    ("pan", "comedy"): ("flat", "stale", "grim"),
    ("praise", "horror"): ("grim", "eerie", "tense"),
    ("pan", "horror"): ("tame", "bland", "funny"),
}


def test_examples_of_the_page():
    done = doctest.testfile(
        str(GUIDES / "language_models.rst"),
        module_relative=False,
        globs={"fp": fp, "np": np},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert done.failed == 0 and done.attempted >= 25


def write(n, seed):
    """Texts of eight words that all say the same of one kind of film."""
    rng = np.random.default_rng(seed)
    y, kind = rng.choice(["pan", "praise"], n), rng.choice(["comedy", "horror"], n)
    texts = [
        " ".join([f"we saw a {g} .", *rng.choice(WORDS[c, g], 8)])
        for c, g in zip(y, kind, strict=True)
    ]
    return texts, y, kind


def score(texts, kind):
    """Share of words that praise, one half for a text without any."""
    out = []
    for text in texts:
        words = text.split()
        good = sum(word in WORDS["praise", kind] for word in words)
        out.append((good + 0.5) / (len(words) + 1.0))
    return np.array(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # those of the libraries
def test_concept_steering_of_a_model_as_the_page_says(tmp_path, monkeypatch):
    page = (GUIDES / "concept_steering.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", page)
    assert len(blocks) == 4
    quickest, *blocks = blocks  # its six lines are tested with effects on the next word
    assert "fit_concept" in quickest and "from_step" in quickest
    torch.manual_seed(0)
    speaker = train(new_model(write(3000, 0)[0], 0), write(3000, 0)[0], 4)
    texts, y, kind = write(640, 1)
    names = {
        "np": np,
        "fp": fp,
        "torch": torch,
        "model": speaker.model,
        "tokenizer": speaker.tokenizer,
        "layer": "transformer.h.1",
        "texts": texts,
        "y": y,
        "kind": kind,
        "prompts": {g: [f"we saw a {g} ."] * 128 for g in ("comedy", "horror")},
        "score": score,
    }
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(re.sub("^   ", "", block, flags=re.MULTILINE), names)
    step = fp.load(tmp_path / "praise.npz")
    at = step.matched_strength_
    for g in step.vectors_:  # few texts, and chance runs on
        assert names["run"](g, at)[0] - names["run"](g, 0.0)[0] > 0.05
    assert step.matched_effect_ > 0.1
