"""Which tokens are read and moved: attention sinks, first tokens, rules, texts that go on."""

import contextlib

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")
transformers = pytest.importorskip("transformers", reason="it needs transformers")

from fairprog.torch import (  # noqa: E402
    AlignHook,
    AssistantTokens,
    HiddenStates,
    MapHook,
    Tokens,
    collect,
)
from fairprog.torch.positions import kept_tokens, places  # noqa: E402

D, WORDS, SINK = 16, 60, 1
SHAPES = {
    "llama": "model.layers.1",
    "qwen2": "model.layers.1",
    "gemma": "model.layers.1",
    "mistral": "model.layers.1",
    "gpt2": "transformer.h.1",
}


def make(shape):
    """A small random model of a shape, in which token `SINK` has a hidden state without end."""
    torch.manual_seed(0)
    common = {"vocab_size": WORDS, "pad_token_id": 0, "bos_token_id": SINK, "eos_token_id": 2}
    if shape == "gpt2":
        config = transformers.GPT2Config(n_layer=3, n_embd=D, n_head=2, n_positions=64, **common)
    else:
        config = transformers.AutoConfig.for_model(
            shape,
            hidden_size=D,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=64,
            **common,
        )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[SINK] *= 1e4
    return model


@pytest.fixture(scope="module", params=sorted(SHAPES))
def speaker(request):
    return make(request.param), SHAPES[request.param]


@pytest.fixture(scope="module")
def llama():
    return make("llama"), SHAPES["llama"]


def batch(n=4, time=7, padding="left", seed=0):
    """Texts that begin with the sink; example k has k tokens of padding."""
    rng = np.random.default_rng(seed)
    ids = torch.tensor(rng.integers(3, WORDS, (n, time)))
    mask = torch.ones_like(ids)
    for k in range(n):
        ids[k, k if padding == "left" else 0] = SINK
        pad = slice(0, k) if padding == "left" else slice(time - k, time)
        ids[k, pad], mask[k, pad] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def seen(model, layer, inputs, *hooks):
    """What the layer hands on, the hooks entered before."""
    out = []
    module = dict(model.named_modules())[layer]

    def note(m, args, output):
        out.append(output[0] if isinstance(output, tuple) else output)

    with contextlib.ExitStack() as stack, torch.no_grad():
        for hook in hooks:
            stack.enter_context(hook)
        stack.callback(module.register_forward_hook(note).remove)
        logits = model(**inputs).logits
    return out[0], logits


def cache_of(out):
    return out.cache if hasattr(out, "cache") else out.past_key_values


PUSH = np.linspace(0.5, 1.0, D)
SAID = "times as long as the median"


def push(model, layer, **how):
    return MapHook(model, layer, {"a": PUSH}, sensitive_features="a", **how)


# ------------------------------------------------------------------------------ what is moved


@pytest.mark.parametrize("padding", ["left", "right"])
def test_sinks_are_left_to_the_bit_and_counted(speaker, padding):
    model, layer = speaker
    inputs = batch(padding=padding)
    before, _ = seen(model, layer, inputs)
    hook = push(model, layer)
    with pytest.warns(fp.FairprogWarning, match=SAID):
        after, _ = seen(model, layer, inputs, hook)
    sink = inputs["input_ids"] == SINK
    words = inputs["attention_mask"].bool() & ~sink
    assert torch.equal(after[sink], before[sink])
    expected = before[words] + torch.tensor(PUSH, dtype=torch.float32)
    assert torch.allclose(after[words], expected, atol=1e-5)
    assert (hook.n_left, hook.n_moved) == (int(sink.sum()), int(words.sum()))
    everything, _ = seen(model, layer, inputs, push(model, layer, positions="all"))
    assert not torch.equal(everything[sink], before[sink])  # the control


def test_every_rule_moves_what_it_says(speaker):
    model, layer = speaker
    inputs = batch()
    before, _ = seen(model, layer, inputs)
    place = places(inputs["attention_mask"], before.shape[:2], "cpu")
    rules = {3: place >= 3, "all": place >= -1}
    rules[lambda tokens: tokens.place % 2 == 1] = place % 2 == 1
    rules[lambda tokens: tokens.text == 7] = inputs["input_ids"] == 7
    for rule, moved in rules.items():
        hook = push(model, layer, positions=rule)
        after, _ = seen(model, layer, inputs, hook)
        assert torch.equal((after != before).any(dim=-1), moved)
        if rule != "all":
            assert hook.n_moved == int((moved & (place >= 0)).sum())


def test_groups_without_a_map_are_not_counted(llama):
    model, layer = llama
    inputs = batch()
    maps = {"a": PUSH, "b": np.zeros(D)}
    hook = MapHook(model, layer, maps, sensitive_features=list("abab"), positions=2)
    before, _ = seen(model, layer, inputs)
    after, _ = seen(model, layer, inputs, hook)
    assert torch.equal(after[[1, 3]], before[[1, 3]])
    assert hook.n_moved == sum(7 - k - 2 for k in (0, 2)) and hook.n_left == 4


@pytest.mark.parametrize("positions", ["auto", 1, 4])
@pytest.mark.filterwarnings("ignore:.*times as long")
def test_a_cache_of_keys_keeps_the_rule(speaker, positions):
    model, layer = speaker
    inputs = batch(3)
    how = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    plain = model.generate(**inputs, **how)
    found, counts = [], []
    for cache in (True, False):
        hook = MapHook(
            model, layer, {"a": 3.0 * PUSH}, sensitive_features="a", positions=positions
        )
        with hook:
            found.append(model.generate(**inputs, **how, use_cache=cache))
        counts.append((hook.n_moved, hook.n_left))
    assert torch.equal(*found)
    first = {"auto": 1, 1: 1, 4: 4}[positions]
    texts = [7 - k + 5 for k in range(3)]  # tokens that go through the layer
    assert counts[0] == (sum(n - first for n in texts), 3 * first)
    assert not torch.equal(found[0], plain)


def test_a_pass_of_single_tokens_is_measured_by_how_the_text_began(llama):
    """While texts go on, a token as long as the sink is no word either."""
    model, layer = llama
    inputs = batch(1)
    hook = push(model, layer)
    with torch.no_grad(), pytest.warns(fp.FairprogWarning, match=SAID), hook:
        out = model(**inputs, use_cache=True)
        mask = torch.ones(1, 8, dtype=torch.long)
        kept = {"cache" if hasattr(out, "cache") else "past_key_values": cache_of(out)}
        model(torch.tensor([[SINK]]), attention_mask=mask, **kept)
    assert (hook.n_left, hook.n_moved) == (2, 6)


def test_inner_modules_may_be_called_alone(llama):
    model, layer = llama
    inputs = batch()
    hook = push(model, layer, positions=2)
    with hook, torch.no_grad():
        model(**inputs)
        first = hook.n_moved
        model.model(**inputs)
        assert hook.n_moved == 2 * first
        model.model(inputs["input_ids"])  # no mask: every token counts
        assert hook.n_moved == 2 * first + 4 * 5


def test_it_is_said_once_for_a_hook(llama, recwarn):
    model, layer = llama
    hook = push(model, layer)
    for _ in range(3):
        seen(model, layer, batch(), hook)
    assert sum(SAID in str(w.message) for w in recwarn) == 1 and hook.n_left == 12
    assert hook.positions == "auto"


@pytest.mark.filterwarnings("ignore:.*times as long")
def test_gradients_are_those_of_the_tokens_that_moved(llama):
    model, layer = llama
    embeds = model.get_input_embeddings()(batch(1)["input_ids"]).detach().requires_grad_()
    with push(model, layer):
        model(inputs_embeds=embeds).logits.square().sum().backward()
    assert torch.isfinite(embeds.grad).all() and embeds.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_compiled_models_keep_the_rule(llama):
    model, layer = llama
    inputs = batch()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager")
    found = []
    for one in (model, compiled):
        hook = push(one, layer, positions=2)
        with hook, torch.no_grad():
            found.append(one(**inputs).logits)
        found.append(hook.n_moved)
    torch.compiler.reset()
    assert torch.allclose(found[0], found[2], atol=1e-5) and found[1] == found[3]


# ------------------------------------------------------------------------------- what is read


def test_sinks_are_not_read(speaker):
    model, layer = speaker
    inputs = batch(padding="right")
    hidden, _ = seen(model, layer, inputs)
    words = inputs["attention_mask"].bool() & (inputs["input_ids"] != SINK)
    labels = [0, 1, 0, 1], list("aabb")
    for pooling in ("tokens", "mean", "first"):
        states = HiddenStates(model, layer, [(inputs, *labels)], pooling=pooling)
        with pytest.warns(fp.FairprogWarning, match=SAID):
            ((X, *_),) = list(states)
        truth = {
            "tokens": hidden[words],
            "mean": torch.stack([h[w].mean(dim=0) for h, w in zip(hidden, words, strict=True)]),
            "first": hidden[:, 1],
        }[pooling]
        assert np.allclose(X, truth.numpy(), atol=1e-5) and states.n_left == 4
    with pytest.warns(fp.FairprogWarning, match="positions='all'"):
        collect(model, layer, [(inputs, *labels)] * 2, pooling="tokens", progress=False)
    everything = HiddenStates(model, layer, [(inputs, *labels)], pooling="tokens", positions="all")
    assert len(next(iter(everything))[0]) == int(inputs["attention_mask"].sum())
    later = HiddenStates(model, layer, [(inputs, *labels)], pooling="first", positions=3)
    assert np.allclose(next(iter(later))[0], hidden[:, 3].numpy(), atol=1e-5)


def test_the_mask_keeps_its_meaning(llama):
    model, layer = llama
    inputs = batch(padding="right")
    marks = torch.zeros_like(inputs["input_ids"])
    marks[:, 2] = 1

    class Taking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, marks=None, **others):
            return self.inner(**others)

    given = {**inputs, "marks": marks}
    states = HiddenStates(Taking(), f"inner.{layer}", [(given, [0] * 4, [0] * 4)], mask="marks",
                          pooling="tokens", positions=1)  # fmt: skip
    hidden, _ = seen(model, layer, inputs)
    ((X, *_),) = list(states)
    assert np.allclose(X, hidden[:, 2].numpy(), atol=1e-5)


def test_checkpoints_of_other_positions_are_refused(llama, tmp_path):
    model, layer = llama
    given = [(batch(padding="right"), [0, 1, 0, 1], list("aabb"))]
    how = {"pooling": "tokens", "progress": False, "checkpoint": tmp_path / "m.npz"}
    collect(model, layer, given, positions=1, **how)
    with pytest.raises(fp.DataError, match="from 2 on"):
        collect(model, layer, given, positions=2, **how)


def test_an_example_without_a_token_is_refused(llama):
    model, layer = llama
    states = HiddenStates(model, layer, [(batch(), [0] * 4, [0] * 4)], positions=5)
    with pytest.raises(fp.DataError, match="example 2 counts among those that `positions` reads"):
        list(states)


def test_a_map_fitted_to_words_spares_the_sink(llama):
    """The whole way: collect, solve, align; with the sinks in it the logits are others."""
    model, layer = llama
    rng = np.random.default_rng(0)
    batches = []
    for k in range(20):
        y, a = rng.integers(0, 2, 32), rng.choice(["a", "b"], 32)
        inputs = batch(1, 12, seed=k)
        ids = torch.tensor(rng.integers(3, WORDS, (32, 12)))
        ids[:, 0] = SINK
        ids[:, 1::3] = torch.tensor(3 + 20 * y + 5 * (a == "b"))[:, None]
        batches.append(({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, y, a))
    with pytest.warns(fp.FairprogWarning, match=SAID):
        moments = collect(model, layer, batches, pooling="tokens", progress=False)
    sol = fp.NearestIdeal(moments.population(), steer=["b"]).solve()
    before, _ = seen(model, layer, inputs)
    hook = AlignHook(model, layer, sol, sensitive_features="b")
    with pytest.warns(fp.FairprogWarning, match=SAID):
        after, _ = seen(model, layer, inputs, hook)
    assert torch.equal(after[0, 0], before[0, 0])
    words = before[0, 1:].double().numpy()
    truth = sol.align(words, sensitive_features=["b"] * len(words))
    assert np.abs(after[0, 1:].numpy() - truth).max() < 1e-4


# --------------------------------------------------------------------------------------- rules


class Chats:
    """A tokenizer of single characters with a template, as much of one as the rule needs."""

    chat_template = "yes"

    def apply_chat_template(self, turns, tokenize=False, add_generation_prompt=False):
        text = "".join(f"<{t['role'][0]}>{t['content']}|" for t in turns)
        return text + "<a>" * add_generation_prompt

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}


def test_what_the_assistant_says():
    rule = AssistantTokens(Chats())
    text = "<u>hi|<a>yes|<u>so|<a>no"
    ids = torch.tensor([[ord(c) for c in text]])
    tokens = Tokens(torch.zeros(1, len(text), 2), torch.arange(len(text))[None], ids)
    said = "".join(c for c, kept in zip(text, rule(tokens)[0].tolist(), strict=True) if kept)
    assert said == "yesno"
    one = Tokens(torch.zeros(1, 1, 2), torch.tensor([[len(text) - 1]]), ids)  # from a cache
    assert rule(one).tolist() == [[True]]
    with pytest.raises(fp.DataError, match="input_ids"):
        rule(Tokens(torch.zeros(1, 3, 2), torch.arange(3)[None]))


def test_rules_see_the_whole_text_while_it_is_generated(llama):
    model, layer = llama
    lengths = []

    def rule(tokens):
        lengths.append((tokens.text.shape[1], tokens.place.shape[1], int(tokens.place[0, -1])))
        return tokens.place >= 0

    with push(model, layer, positions=rule):
        model.generate(**batch(1), max_new_tokens=3, min_new_tokens=3, do_sample=False,
                       pad_token_id=0)  # fmt: skip
    assert lengths == [(7, 7, 6), (8, 1, 7), (9, 1, 8)]


def test_bad_rules(llama):
    model, layer = llama
    for bad in ("first", -1, 1.5, None, True):
        with pytest.raises(fp.ModelError, match="`positions` must be"):
            push(model, layer, positions=bad)
        with pytest.raises(fp.ModelError, match="`positions` must be"):
            HiddenStates(model, layer, (), positions=bad)
    with pytest.raises(fp.DataError, match="truth values of shape"):
        seen(model, layer, batch(), push(model, layer, positions=lambda tokens: tokens.place))
    with pytest.raises(fp.ModelError, match="no chat template"):
        AssistantTokens(object())


def test_the_limit_is_twenty_medians():
    hidden = torch.ones(1, 5, 1) * torch.tensor([1.0, 1.0, 1.0, 19.9, 20.1])[None, :, None]
    tokens = Tokens(hidden, torch.arange(5)[None])
    assert kept_tokens("auto", tokens).tolist() == [[True] * 4 + [False]]
    assert kept_tokens("auto", Tokens(0.0 * hidden, tokens.place)).all()
    assert kept_tokens("auto", Tokens(hidden[0], None)) is None  # rows without tokens
