"""Effects on the next word, vectors from pairs of texts, and what goes to files."""

import json
import subprocess
import sys
import warnings
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")
transformers = pytest.importorskip("transformers", reason="it needs transformers")

from experiments.language_model import new_model  # noqa: E402
from fairprog.estimators.measured_effects import Effect  # noqa: E402
from fairprog.torch import (  # noqa: E402
    MapHook,
    fit_concept,
    memory_estimate,
    next_word_effect,
    next_word_effects,
)
from fairprog.torch.texts import first_tokens  # noqa: E402

LAYER = "transformer.h.1"
GOOD, BAD = ["funny", "warm"], ["flat", "grim"]
PROMPTS = {
    g: [f"{who} saw a {g} {when} it was" for who in ("we", "they") for when in ("", "today")]
    for g in ("comedy", "horror")
}


@pytest.fixture(scope="module")
def speaker():
    words = [*GOOD, *BAD, *" ".join(" ".join(texts) for texts in PROMPTS.values()).split(), "0"]
    return new_model([" ".join(words)], 0)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    out = []
    for _ in range(60):
        g = str(rng.choice(["comedy", "horror"]))
        end = " it was" if g == "comedy" else " we saw"
        out.append((f"a {g} {rng.choice(GOOD)}{end}", f"a {g} {rng.choice(BAD)}{end}", g))
    return out


@pytest.fixture(scope="module")
def fitted(speaker, pairs):
    layers = ["transformer.h.0", LAYER]
    how = {"n_probes": 6, "n_components": 2, "penalty": 1.0, "progress": False}
    with warnings.catch_warnings():  # of few rows
        warnings.simplefilter("ignore", fp.FairprogWarning)
        return fit_concept(speaker.model, speaker.tokenizer, layers, pairs, **how)


def laws(speaker, prompts, hook=None):
    """Probabilities of the next word, prompt by prompt and without any padding."""
    out = []
    for prompt in prompts:
        ids = speaker.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            if hook is None:
                logits = speaker.model(ids).logits
            else:
                with hook:
                    logits = speaker.model(ids).logits
        out.append(logits[0, -1].double().softmax(-1).numpy())
    return np.array(out)


def test_effects_are_those_of_the_laws(speaker):
    v = np.random.default_rng(1).normal(size=80)
    prompts = PROMPTS["comedy"]
    make = lambda: MapHook(speaker.model, LAYER, {"comedy": v}, sensitive_features="comedy")  # noqa: E731
    given = speaker.model, speaker.tokenizer, prompts, GOOD, BAD
    effect = next_word_effect(*given, make(), batch=3)
    before, after = laws(speaker, prompts), laws(speaker, prompts, make())
    ids = [[speaker.tokenizer.convert_tokens_to_ids(w) for w in words] for words in (GOOD, BAD)]
    good, bad = ([p[:, k].sum(axis=1) for p in (before, after)] for k in ids)
    odds = np.log(good[1] / bad[1]) - np.log(good[0] / bad[0])
    share = good[1] / (good[1] + bad[1]) - good[0] / (good[0] + bad[0])
    nats = (before * np.log(before)).sum(axis=1) - (after * np.log(before)).sum(axis=1)
    assert effect.log_odds == pytest.approx(odds.mean(), abs=1e-5)
    assert effect.log_odds_error == pytest.approx(odds.std(ddof=1) / 2, abs=1e-5)
    assert effect.probability == pytest.approx(share.mean(), abs=1e-5)
    assert effect.perplexity_ratio == pytest.approx(np.exp(nats.mean()), rel=1e-4)
    assert effect.n == 4 and "log-odds" in str(effect)
    turned = next_word_effect(*given[:3], BAD, GOOD, make())
    assert turned.log_odds == pytest.approx(-effect.log_odds, abs=1e-6)
    none = next_word_effect(*given, None)
    assert none.log_odds == 0.0 and none.perplexity_ratio == pytest.approx(1.0)


def test_the_tokenizer_and_the_model_are_left_as_they_were(speaker):
    before = speaker.tokenizer.padding_side, speaker.tokenizer.pad_token
    speaker.model.train()
    next_word_effect(speaker.model, speaker.tokenizer, PROMPTS["horror"], GOOD, BAD, None)
    assert speaker.model.training
    speaker.model.eval()
    assert (speaker.tokenizer.padding_side, speaker.tokenizer.pad_token) == before


def test_bad_words_and_prompts(speaker):
    given = speaker.model, speaker.tokenizer
    for prompts, good, bad, match in (
        ("we saw", GOOD, BAD, "at least two"),
        (["we saw"], GOOD, BAD, "at least two"),
        (PROMPTS["horror"], [], BAD, "list of words"),
        (PROMPTS["horror"], GOOD, "flat", "list of words"),
        (PROMPTS["horror"], GOOD, ["warm"], "begin with the same token"),
        (PROMPTS["horror"], ["nowhere"], BAD, "tokenizer lacks"),
    ):
        with pytest.raises(fp.DataError, match=match):
            next_word_effect(*given, prompts, good, bad, None)


class Letters:
    """A tokenizer to which every letter is a token."""

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_words_of_several_tokens_are_told():
    with pytest.warns(fp.FairprogWarning, match=r"`desired_words` has .*: 'fair' by ' '\. Take"):
        assert first_tokens(Letters(), ["fair"], "desired_words") == [ord(" ")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_tokens(Letters(), [" "], "desired_words") == [ord(" ")]


def test_words_that_begin_an_answer_have_no_blank(speaker):
    """With letters as tokens, the first one tells which was taken."""
    assert first_tokens(Letters(), ["g"], "desired_words", "<user>food?<assistant>") == [ord("g")]
    template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    chats = [[{"role": "user", "content": text}] for text in PROMPTS["comedy"]]
    tokenizer = copy(speaker.tokenizer)
    tokenizer.chat_template = template
    given = speaker.model, tokenizer
    v = MapHook(speaker.model, LAYER, {"comedy": np.ones(80)}, sensitive_features="comedy")
    as_chats = next_word_effect(*given, chats, GOOD, BAD, v)
    as_texts = next_word_effect(*given, PROMPTS["comedy"], GOOD, BAD, v)
    assert as_chats.log_odds == pytest.approx(as_texts.log_odds, abs=1e-6)


# --------------------------------------------------------------------------- from pairs to files


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
def test_pairs_become_vectors_of_every_layer(speaker, pairs, fitted):
    from fairprog.torch import HiddenStates

    step = fitted[LAYER]
    assert list(fitted) == ["transformer.h.0", LAYER] and step.classes_.tolist()[1] == "desired"
    assert step.source_["layer"] == LAYER and step.source_["dtype"] == "float32"
    batches = []
    for good, bad, g in pairs:
        for text, c in ((good, "desired"), (bad, "undesired")):
            batches.append((dict(speaker.tokenizer([text], return_tensors="pt")), [c], [g]))
    for b in batches:
        b[0].pop("token_type_ids", None)
    X, y, a = (
        np.concatenate(c) for c in zip(*HiddenStates(speaker.model, LAYER, batches), strict=True)
    )
    alone = fp.ConceptSteering(desired="desired", n_probes=6, n_components=2, penalty=1.0)
    alone.fit(X, y, sensitive_features=a)
    for g in ("comedy", "horror"):
        assert step.concept_vectors_[g] == pytest.approx(alone.concept_vectors_[g], abs=2e-2)


def test_wrong_options_fail_before_any_text_is_read(speaker, pairs, monkeypatch):
    def run(*args, **how):
        raise AssertionError("a text was read")

    monkeypatch.setattr("fairprog.torch.concept.run_to", run)
    with pytest.raises(TypeError, match="device"):
        fit_concept(speaker.model, speaker.tokenizer, LAYER, pairs, device="cuda")


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
def test_calibrated_by_next_words_and_saved(speaker, fitted, tmp_path):
    step = fitted[LAYER]
    # an untrained model says nothing of its own: the words are those that the vectors raise
    law = laws(speaker, PROMPTS["comedy"] + PROMPTS["horror"])
    raised = np.zeros(law.shape[1])
    for g in ("comedy", "horror"):
        hook = MapHook.from_step(speaker.model, step, sensitive_features=g, strength=1.0)
        raised += (np.log(laws(speaker, PROMPTS[g], hook) / laws(speaker, PROMPTS[g]))).mean(0)
    order = np.argsort(raised[2:]) + 2
    low, high = (speaker.tokenizer.convert_ids_to_tokens(k) for k in (order[:2], order[-2:]))
    found = next_word_effects(step, speaker.model, speaker.tokenizer, PROMPTS, high, low)
    assert len(found["strengths"]) == 5 and set(found["effects"]) == {"comedy", "horror"}
    step.calibrate(**found)
    assert "Equalised is the effect in log-odds" in step.calibration_
    assert "shared vector" in step.calibration_ and "probability" in step.calibration_
    assert step.calibration_.count("±") >= 5
    step.save(tmp_path / "v.npz")
    again = fp.load(tmp_path / "v.npz")
    assert again.source_ == step.source_ and again.calibration_ == step.calibration_
    hook = MapHook.from_step(speaker.model, again, sensitive_features="comedy")
    assert hook.strength == step.matched_strength_ and list(hook.layers) == [LAYER]
    one = next_word_effect(speaker.model, speaker.tokenizer, PROMPTS["comedy"], high, low, hook)
    assert one.log_odds == pytest.approx(step.matched_effect_, rel=0.3)  # linear between points


def test_exported_maps_give_the_same_logits(speaker, fitted, tmp_path):
    step = fitted[LAYER]
    hook = MapHook.from_step(speaker.model, step, sensitive_features="horror", strength=1.5)
    hook.export(tmp_path / "v.safetensors")
    from safetensors import safe_open
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "v.safetensors")
    with safe_open(tmp_path / "v.safetensors", "pt") as file:
        assert file.metadata()["layers"] == LAYER and file.metadata()["positions"] == "auto"
    W, b = stored["horror.weight"], stored["horror.bias"]

    def plain(module, args, output):
        moved = torch.nn.functional.linear(
            output[0] if isinstance(output, tuple) else output, W, b
        )
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    ids = speaker.tokenizer(PROMPTS["horror"][:1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        with hook:
            ours = speaker.model(ids).logits
        handle = speaker.model.get_submodule(LAYER).register_forward_hook(plain)
        theirs = speaker.model(ids).logits
        handle.remove()
        assert (ours - theirs).abs().max() < 1e-5
        assert (ours - speaker.model(ids).logits).abs().max() > 1e-3  # the control


def test_sinks_are_said_by_the_fit_and_counted_by_its_hooks(speaker, fitted):
    ids = speaker.tokenizer(PROMPTS["horror"][:1], return_tensors="pt")["input_ids"]
    for positions, n_warnings in (("auto", 1), (None, 0)):
        hook = MapHook.from_step(
            speaker.model, fitted[LAYER], sensitive_features="horror", positions=positions
        )
        sink = speaker.model.get_submodule(LAYER).register_forward_hook(_lengthened)
        with warnings.catch_warnings(record=True) as said, torch.no_grad():
            warnings.simplefilter("always")
            hook._handles.append(sink)
            with hook:
                speaker.model(ids)
        assert hook.n_left == 1 and len(said) == n_warnings
        assert all("1 hidden state at" in str(one.message) for one in said)


def _lengthened(module, args, output):
    """Make the first token a sink."""
    hidden = output[0] if isinstance(output, tuple) else output
    hidden[:, 0] *= 1e3
    return output


def test_other_weights_are_noticed(speaker, fitted):
    step = fitted[LAYER]
    other = new_model(["a b c"], 5).model
    with pytest.warns(fp.FairprogWarning, match="other weights"):
        MapHook.from_step(other, step)
    double = deepcopy(speaker.model).double()
    with pytest.warns(fp.FairprogWarning, match="in float32, not in float64 as this model"):
        MapHook.from_step(double, step)
    with pytest.raises(fp.ModelError, match="knows no layer"):
        MapHook.from_step(other, fp.ConceptSteering())


@pytest.mark.slow
def test_vectors_load_in_another_process(speaker, fitted, tmp_path):
    step = fitted[LAYER]
    step.save(tmp_path / "v.npz")
    speaker.model.save_pretrained(tmp_path / "model")
    code = (
        "import sys, json, torch, fairprog as fp\n"
        "from transformers import AutoModelForCausalLM\n"
        "from fairprog.torch import MapHook\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()\n"
        "step = fp.load(sys.argv[2])\n"
        "with torch.no_grad(), MapHook.from_step(model, step, sensitive_features='horror'):\n"
        "    print(json.dumps(model(torch.tensor([[3, 4, 5]])).logits[0, -1].tolist()))\n"
    )
    args = [sys.executable, "-W", "ignore", "-c", code, tmp_path / "model", tmp_path / "v.npz"]
    said = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    with torch.no_grad(), MapHook.from_step(speaker.model, step, sensitive_features="horror"):
        here = speaker.model(torch.tensor([[3, 4, 5]])).logits[0, -1]
    assert np.allclose(json.loads(said.splitlines()[-1]), here.numpy(), atol=1e-5)


# ------------------------------------------------------------------------------ calibrating


def effects(slope, error=0.01, ratio=1.0):
    one = Effect(0.0, error, 0.0, error / 4, ratio, 0.001, 32)
    return [replace(one, log_odds=slope * t, probability=0.2 * slope * t) for t in (1.0, 2.0, 4.0)]


@pytest.fixture
def step():
    rng = np.random.default_rng(0)
    y, a = rng.integers(0, 2, (2, 800))
    X = rng.normal(size=(800, 4)) + 2.0 * y[:, None]
    return fp.ConceptSteering(n_probes=20).fit(X, y, sensitive_features=a)


def test_the_reference_is_the_one_that_responds_best_in_the_model(step):
    fast = 1 - step.reference_
    measured = {step.reference_: effects(0.3), fast: effects(0.6)}
    factors = step.calibrate([1.0, 2.0, 4.0], measured)
    assert step.reference_ == fast and factors[fast] == 1.0
    assert factors[1 - fast] == pytest.approx(2.0)
    assert step.matched_effect_ == pytest.approx(1.2)


@pytest.mark.parametrize(("gap", "said"), [(0.0, "suffices"), (0.4, "does not suffice")])
def test_whether_a_shared_vector_suffices_is_said(step, gap, said):
    measured = {0: effects(0.5), 1: effects(0.5)}
    shared = {0: effects(0.5), 1: effects(0.5 * (1.0 - gap))}
    step.calibrate([1.0, 2.0, 4.0], measured, shared=shared)
    assert f"The shared vector {said}" in step.calibration_


def test_the_direction_of_less_perplexity_is_taken(step):
    t, before = [1.0, 2.0, 4.0], dict(step.vectors_)
    own = {0: effects(0.5, ratio=1.3), 1: effects(0.5, ratio=1.3)}
    shared = {0: effects(0.5, ratio=1.1), 1: effects(0.25, ratio=1.2)}
    factors = step.calibrate(t, own, shared=shared, target=1.0)
    assert factors == {0: 1.0, 1: pytest.approx(2.0)} and step.matched_strength_ == 2.0
    for g, factor in factors.items():
        np.testing.assert_allclose(step.vectors_[g], factor * step.shared_vector_)
    assert "Calibrated, with a length for every group: the shared vector" in step.calibration_
    assert "ratio is 1.149; with the groups' own vectors it would be 1.300" in step.calibration_

    step.vectors_, step.matched_strength_ = before, None
    step.calibrate(t, own, shared={0: effects(0.5), 1: effects(0.25)}, target=2.0)
    assert "every group: the groups' own vectors" in step.calibration_  # the shared falls short
    assert "with the shared vector no more than 1 is reached" in step.calibration_
    np.testing.assert_allclose(step.vectors_[1], before[1])


def test_a_direction_that_is_not_fluent_is_not_taken(step):
    t = [1.0, 2.0, 4.0]
    babbling = {0: effects(0.5, ratio=1.5), 1: effects(0.5, ratio=1.5)}
    fluent = {0: effects(0.2, ratio=1.01), 1: effects(0.1, ratio=1.01)}
    step.calibrate(t, babbling, shared=fluent, tolerance=0.03)
    assert step.matched_effect_ == pytest.approx(0.4)
    assert "every group: the shared vector" in step.calibration_
    assert "own vectors no more than 0 is reached" in step.calibration_
    with pytest.warns(fp.FairprogWarning, match="calibrated before"):
        step.calibrate(t, fluent, shared=babbling, tolerance=0.03)
    assert "every group: the groups' own vectors" in step.calibration_


def test_shared_must_be_effects_on_the_next_word(step):
    curves = {0: [0.1, 0.2, 0.4], 1: [0.1, 0.2, 0.4]}
    for own, shared in ((curves, curves), ({0: effects(0.5), 1: effects(0.5)}, curves)):
        with pytest.raises(fp.DataError, match="must be effects on the next word"):
            step.calibrate([1.0, 2.0, 4.0], own, shared=shared)


def test_both_scales_are_printed(step):
    measured = {0: effects(0.5), 1: effects(0.25)}
    step.calibrate([1.0, 2.0, 4.0], measured, scale="probability")
    text = step.calibration_
    assert text.startswith("Equalised is the effect in probability: 0.2")
    assert "Equal in probability is not equal in log-odds" in text and "± " in text
    with pytest.raises(fp.ModelError, match="`scale` must be"):
        step.calibrate([1.0, 2.0, 4.0], measured, scale="odds")


def test_only_what_is_significant_is_refused(step):
    measured = {0: effects(0.5), 1: effects(0.4, ratio=1.2)}
    with pytest.raises(fp.DataError, match=r"above 1\.03 at the first"):
        step.calibrate([1.0, 2.0, 4.0], measured, tolerance=0.03)
    noisy = {g: [replace(e, perplexity_error=0.2) for e in own] for g, own in measured.items()}
    step.calibrate([1.0, 2.0, 4.0], noisy, tolerance=0.03)
    sampled = {0: [1.0, 1.0, 1.0], 1: [1.1, 1.0, 1.1]}
    curves = {0: [0.1, 0.2, 0.4], 1: [0.1, 0.2, 0.4]}
    error = {g: [0.1] * 3 for g in (0, 1)}
    with pytest.warns(fp.FairprogWarning, match="calibrated before"):
        step.calibrate([1.0, 2.0, 4.0], curves, perplexity_ratio=sampled, perplexity_error=error)


def test_an_effect_of_chance_is_said(step):
    measured = {0: effects(0.5), 1: effects(0.5, error=3.0)}
    with pytest.warns(fp.FairprogWarning, match="not told from zero"):
        step.calibrate([1.0, 2.0, 4.0], measured)


# ---------------------------------------------------------------------------------- memory


def test_memory_is_said_before_a_model_is_loaded(speaker, tmp_path):
    speaker.model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()  # only the configuration is read
    text = memory_estimate(tmp_path, 64, 32, dtype="bfloat16")
    assert "0.2" in text and "M parameters" in text and "logits" not in text
    assert "logits" in memory_estimate(speaker.model, 64, 32, logits="last")
    assert "cache" in memory_estimate(speaker.model, 64, 32, cache=True)
    with pytest.raises(fp.ModelError, match="`logits` must be"):
        memory_estimate(speaker.model, 1, 1, logits="some")
    (tmp_path / "config.json").unlink()
    for name in (None, "own.gguf"):
        if name:
            (tmp_path / name).touch()
        with pytest.raises(fp.ModelError, match=f"gguf_file='{name}'" if name else "reads no"):
            memory_estimate(tmp_path, 1, 1)
