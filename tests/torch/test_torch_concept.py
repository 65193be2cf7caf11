"""The test bed of concept steering: its texts, and a quick form of the whole experiment."""

import csv
import shutil

import numpy as np
import pytest

from experiments import reviews

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from experiments import concept_steering, language_model
from experiments.concept_steering_model import states
from experiments.concept_steering_vectors import METHODS

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries


@pytest.fixture(scope="module")
def speaker():
    texts = reviews.write_reviews(256, 0).text
    return language_model.train(language_model.new_model(texts, 0), texts, 1)


# ------------------------------------------------------------------------------------ the model


def test_the_model_is_small_and_reads_every_word(speaker):
    assert speaker.n_parameters < 1_000_000
    (batch,) = speaker.batches(reviews.write_reviews(50, 1).text, 64)
    unknown = speaker.tokenizer.unk_token_id
    assert not (batch["input_ids"] == unknown).any()


def test_generation_is_seeded_and_steered_by_the_hook(speaker):
    from fairprog.torch import MapHook

    prompts = reviews.prompts("comedy", "calibrate")[:8]
    push = 50.0 * np.random.default_rng(0).normal(size=language_model.WIDTH)

    def hook(n):
        maps = {"comedy": push}
        return MapHook(speaker.model, speaker.layer, maps, sensitive_features="comedy")

    one, two = (speaker.generate(prompts, 6, 3) for _ in range(2))
    assert one.text == two.text and len(one.text) == 8
    np.testing.assert_array_equal(one.log_likelihood, two.log_likelihood)
    assert speaker.generate(prompts, 6, 4).text != one.text
    assert speaker.generate(prompts, 6, 3, hook).text != one.text
    assert speaker.generate(prompts, 6, 3).text == one.text  # the model is as it was


def test_perplexity_is_that_of_the_model_without_steering(speaker):
    import torch

    prompts = ["we saw a comedy last night ."]  # nothing is padded: positions count from zero
    said = speaker.generate(prompts, 5, 0)
    ids = speaker.tokenizer(prompts[0] + " " + said.text[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = speaker.model(ids).logits.log_softmax(-1)
    steps = [logits[0, k - 1, ids[0, k]].item() for k in range(ids.shape[1] - 5, ids.shape[1])]
    assert said.log_likelihood[0] == pytest.approx(np.mean(steps), abs=1e-4)
    assert said.perplexity == pytest.approx(np.exp(-np.mean(steps)), rel=1e-3)


def test_padding_on_the_left_changes_no_likelihood(speaker):
    prompts = ["we saw a comedy last night .", "my friends rented a horror with friends ."]
    (tokens,) = speaker.batches(prompts, 2)
    assert (tokens["attention_mask"][0] == 0).any()
    import torch

    new = torch.full((2, 4), 7)
    with torch.no_grad():
        both = speaker._log_likelihood(
            torch, torch.cat([tokens["input_ids"], new], 1), tokens["attention_mask"], 4
        )
        (alone,) = speaker.batches(prompts[:1], 1)
        one = speaker._log_likelihood(
            torch, torch.cat([alone["input_ids"], new[:1]], 1), alone["attention_mask"], 4
        )
    assert both[0] == pytest.approx(one[0], abs=1e-5)


# --------------------------------------------------------------------------------- the experiment


def test_states_do_not_depend_on_padding(speaker):
    data = reviews.write_reviews(40, 5)
    together = states(speaker, data)
    assert len({len(text.split()) for text in data.text}) > 3  # so that there is padding
    for k in range(3):
        alone = states(speaker, data.take([k]))
        np.testing.assert_allclose(together[k], alone[0], atol=1e-5)


def test_quick_form(tmp_path):
    assert concept_steering.run(tmp_path, quick=True) == []  # one seed bears out nothing
    with (tmp_path / "seeds.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows] == list(METHODS)
    assert (tmp_path / "summary.csv").is_file() and (tmp_path / "curves.csv").is_file()
    assert (tmp_path / "concept_steering.png").stat().st_size > 5000


def test_a_model_from_disk(tmp_path, speaker, capsys):
    speaker.model.save_pretrained(tmp_path / "model")
    speaker.tokenizer.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    arguments = ["--model", str(tmp_path / "model"), "--out", str(out), "--quick", "--seeds", "1"]
    concept_steering.main(arguments)
    said = capsys.readouterr().out
    assert "layer transformer.h.1" in said and "0.24 M parameters" in said and "MB" in said
    assert (out / "seeds.csv").is_file()
    shutil.rmtree(tmp_path / "model")
    from experiments.claims import Unavailable

    with pytest.raises(Unavailable, match="downloaded beforehand"):
        language_model.load_model(str(tmp_path / "model"))
