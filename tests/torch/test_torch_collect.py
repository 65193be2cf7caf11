"""Moments gathered inside a model are those of its hidden states, whatever comes in between."""

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, HiddenStates, collect  # noqa: E402

D, TIME = 6, 7


class Model(torch.nn.Module):
    """Embeds tokens, lets them meet, and answers; counts its passes and their ends."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(40, D)
        self.drop = torch.nn.Dropout(0.5)
        self.mix = torch.nn.GRU(D, D, batch_first=True)
        self.head = torch.nn.Linear(D, 2)
        self.begun = self.ended = 0

    def forward(self, input_ids, attention_mask=None):
        self.begun += 1
        hidden, _ = self.mix(self.drop(self.embed(input_ids)))
        answer = self.head(hidden[:, -1])
        self.ended += 1
        return answer


def batches(n=8, size=30, seed=0, stop=None, padding="right"):
    rng = np.random.default_rng(seed)
    for number in range(n):
        if number == stop:
            raise KeyboardInterrupt
        tokens = torch.tensor(rng.integers(0, 40, (size, TIME)))
        length = rng.integers(1, TIME + 1, size)
        mask = np.arange(TIME) < length[:, None]
        mask = mask if padding == "right" else mask[:, ::-1].copy()
        inputs = {"input_ids": tokens, "attention_mask": torch.tensor(mask).long()}
        yield inputs, rng.integers(0, 2, size), rng.choice(["a", "b"], size)


def by_hand(model, batch, pooling):
    """Rows and labels of a batch in plain numpy, one example after another."""
    inputs, y, a = batch
    with torch.no_grad():
        hidden, _ = model.mix(model.embed(inputs["input_ids"]))
    rows, labels = [], []
    for k, (h, m) in enumerate(zip(hidden.numpy(), inputs["attention_mask"], strict=True)):
        kept = h[m.numpy() == 1]
        here = {"last": kept[-1:], "first": kept[:1], "mean": kept.mean(0, keepdims=True)}
        here = here.get(pooling, kept)
        rows.append(here)
        labels += [(y[k], a[k])] * len(here)
    return np.concatenate(rows), [v for v, _ in labels], [g for _, g in labels]


def same_bits(one, other):
    """Whether two moments hold the same numbers under the same labels."""
    left, right = one.to_dict(), other.to_dict()
    return all(
        left[k] == right[k] for k in ("cells", "count", "mass", "slots", "n_chunks", "source")
    ) and all(
        np.array_equal(x, z)
        for key in ("mean", "scatter")
        for x, z in zip(left[key], right[key], strict=True)
    )


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("pooling", ["last", "first", "mean", "tokens"])
def test_moments_are_those_of_the_rows(pooling, padding):
    model = Model()
    moments = collect(model, "mix", batches(padding=padding), pooling=pooling, progress=False)
    parts = [by_hand(model, b, pooling) for b in batches(padding=padding)]
    X = np.concatenate([p[0] for p in parts])
    y, a = (np.concatenate([p[k] for p in parts]) for k in (1, 2))
    E = fp.Normal.fit(X.astype(float), y, sensitive_features=a)
    D_ = moments.population()
    assert moments.n_rows == len(X) and moments.n_chunks == 8
    assert D_.groups == ("a", "b") and D_.classes == (0, 1)
    np.testing.assert_allclose(D_.mean, E.mean, atol=1e-6)
    np.testing.assert_allclose(D_.cov, E.cov, atol=1e-6)
    np.testing.assert_allclose(D_.prior, E.prior, rtol=1e-12)


def test_interrupted_and_resumed_gives_the_same_bits(tmp_path):
    model, path = Model(), tmp_path / "moments.npz"
    whole = collect(model, "mix", batches(), progress=False)
    assert model.begun == 8
    with pytest.raises(KeyboardInterrupt):
        collect(model, "mix", batches(stop=7), checkpoint=path, every=2, progress=False)
    assert fp.load(path).n_chunks == 6 and model.begun == 8 + 7
    resumed = collect(model, "mix", batches(), checkpoint=path, every=2, progress=False)
    assert same_bits(whole, resumed)
    assert model.begun == 8 + 7 + 2  # batches that were done are not run again
    assert same_bits(whole, collect(model, "mix", batches(), checkpoint=path, progress=False))
    assert model.begun == 17
    assert not same_bits(whole, collect(model, "mix", batches(seed=1), progress=False))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    model, path = Model(), tmp_path / "moments.npz"
    collect(model, "mix", batches(2), checkpoint=path, progress=False)
    for layer, how in (
        ("embed", {}),
        ("mix", {"pooling": "mean"}),
        ("mix", {"covariance": "diagonal"}),
        ("mix", {"groups": ["a", "b"]}),
    ):
        with pytest.raises(fp.DataError, match="not a checkpoint of these moments"):
            collect(model, layer, batches(2), checkpoint=path, progress=False, **how)
    collect(Model(), "mix", batches(2), checkpoint=path, progress=False)  # the same weights
    trained = Model()
    trained.head.bias.data += 1e-3
    with pytest.raises(fp.DataError, match="of Model with weights"):
        collect(trained, "mix", batches(2), checkpoint=path, progress=False)
    with pytest.raises(fp.ModelError, match="these moments are of the layer 'mix'"):
        collect(model, "mix", batches(2), progress=False).merge(
            collect(model, "embed", batches(2), progress=False)
        )


def test_a_checkpoint_that_cannot_be_written_is_refused_at_once(tmp_path):
    model = Model()
    for path, how, error, match in (
        ("moments", {}, fp.ModelError, "`checkpoint` must end in"),
        ("none/moments.npz", {}, fp.DataError, "folder"),
        ("moments.npz", {"every": 0}, fp.ModelError, "`every` must be a positive integer"),
    ):
        with pytest.raises(error, match=match):
            collect(model, "mix", batches(), checkpoint=tmp_path / path, progress=False, **how)
    assert model.begun == 0


def test_an_empty_batch_counts_as_a_batch(tmp_path):
    def with_gap(stop=None):
        for number, (inputs, y, a) in enumerate(batches(6, stop=stop)):
            keep = slice(0) if number == 1 else slice(None)
            yield {k: v[keep] for k, v in inputs.items()}, y[keep], a[keep]

    model, path = Model(), tmp_path / "moments.npz"
    how = {"pooling": "tokens", "progress": False}
    whole = collect(model, "embed", with_gap(), **how)
    with pytest.raises(KeyboardInterrupt):
        collect(model, "embed", with_gap(stop=3), checkpoint=path, every=1, **how)
    resumed = collect(model, "embed", with_gap(), checkpoint=path, every=1, **how)
    assert same_bits(whole, resumed) and whole.n_chunks == 6


def test_the_model_is_left_as_it_was():
    model = Model()
    model.train()
    model.mix.eval()
    before = {name: module.training for name, module in model.named_modules()}
    hooks = {name: dict(m._forward_hooks) for name, m in model.named_modules()}
    one = collect(model, "mix", batches(2), progress=False)
    assert same_bits(one, collect(model.eval(), "mix", batches(2), progress=False))  # no dropout
    model.train()
    model.mix.eval()
    with pytest.raises(IndexError):
        collect(model, "mix", [({"input_ids": torch.tensor([[99]])}, [0], ["a"])], progress=False)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert {name: dict(m._forward_hooks) for name, m in model.named_modules()} == hooks
    assert torch.is_grad_enabled()
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_forward_that_was_wrapped_for_one_pass_is_put_back():
    """Libraries wrap the `forward` of modules while a model runs; the pass may end before."""

    class Wrapping(Model):
        def forward(self, **inputs):
            inner = self.mix.forward
            self.mix.forward = lambda hidden: inner(hidden)
            answer = super().forward(**inputs)
            self.mix.forward = inner
            return answer

    model = Wrapping()
    mine = model.head.forward = lambda hidden: hidden
    moments = collect(model, "mix", batches(2), progress=False)
    assert model.ended == 0 and moments.n_rows == 60
    assert "forward" not in vars(model.mix) and vars(model.head)["forward"] is mine


def test_the_pass_ends_at_the_layer_unless_told_otherwise():
    model = Model()
    early = collect(model, "mix", batches(2), progress=False)
    assert (model.begun, model.ended) == (2, 0)
    late = collect(model, "mix", batches(2), progress=False, stop=False)
    assert (model.begun, model.ended) == (4, 2) and same_bits(early, late)


def test_inputs_of_every_form_and_rows_as_they_are():
    model = Model()
    tokens = torch.arange(4 * TIME).reshape(4, TIME)
    y, a = [0, 1, 0, 1], ["a", "a", "b", "b"]
    forms = tokens, (tokens,), {"input_ids": tokens}
    found = [next(iter(HiddenStates(model, "mix", [(form, y, a)])))[0] for form in forms]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert found[0].shape == (4, D) and found[0].dtype == np.float32
    X, y_, a_ = next(iter(HiddenStates(model, "head", [(tokens, torch.tensor(y), a)])))
    assert X.shape == (4, 2) and y_.tolist() == y and a_.tolist() == a
    double = Model().double()
    assert next(iter(HiddenStates(double, "mix", [(tokens, y, a)])))[0].dtype == np.float64
    half = Model().to(torch.bfloat16)
    X = next(iter(HiddenStates(half, "embed", [(tokens, y, a)], pooling="mean")))[0]
    exact = half.embed.weight.detach().float()[tokens].mean(dim=1).numpy()
    np.testing.assert_allclose(X, exact, rtol=1e-6)  # the mean is taken in float32


def test_weights_and_crossed_labels_travel():
    model = Model()
    tokens = torch.arange(4 * TIME).reshape(4, TIME)
    y, a = [0, 1, 0, 1], [("f", "old"), ("f", "old"), ("m", "old"), ("m", "old")]
    w = [1.0, 2.0, 0.0, 1.0]
    moments = collect(model, "embed", [(tokens, y, a, w)], pooling="tokens", progress=False)
    assert moments.n_rows == 4 * TIME  # whole weights count repetitions
    found = moments.to_dict()
    assert dict(zip(found["cells"], found["mass"], strict=True)) == {
        (0, ("f", "old")): 1.0 * TIME,
        (1, ("f", "old")): 2.0 * TIME,
        (1, ("m", "old")): 1.0 * TIME,
    }


def test_layer_norms_leave_a_plane_also_in_saved_states():
    """After a layer norm the features sum to zero: that direction is set aside, not inverted."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(90, 16), torch.nn.LayerNorm(16))
    rng = np.random.default_rng(0)
    y, a = rng.integers(0, 2, (2, 4000))
    tokens = torch.tensor(rng.integers(0, 60, 4000) + 15 * y + 10 * a)[:, None]
    moments = collect(model, "1", [(tokens, y, a)], progress=False)
    with pytest.warns(fp.FairprogWarning, match="1 direction"):
        sol = fp.NearestIdeal(moments.population(), steer=[1]).solve()
    assert sol.null_dimension == 1 and sol.certificate.ok
    ((X, *_),) = HiddenStates(model, "1", [(tokens, y, a)])
    assert X.dtype == np.float32
    saved = fp.Moments().partial_fit(X, y, sensitive_features=a).population()
    assert saved.null_dimension == 1 and np.array_equal(saved.cov, moments.population().cov)


def test_a_pooling_of_your_own():
    model = Model()

    def largest(hidden, mask):
        return hidden.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=1)

    states = HiddenStates(model, "mix", batches(1), pooling=largest)
    X, *_ = next(iter(states))
    assert X.shape == (30, D) and np.isfinite(X).all() and "largest" in states.source
    with pytest.raises(fp.DataError, match="a row per example"):
        collect(model, "mix", batches(1), pooling=lambda h, m: h, progress=False)
    as_array = HiddenStates(model, "mix", batches(1), pooling=lambda h, m: h[:, 0].numpy())
    by_name = HiddenStates(model, "mix", batches(1, padding="right"), pooling="first")
    np.testing.assert_array_equal(next(iter(as_array))[0], next(iter(by_name))[0])


def test_moments_seen_through_a_hook_are_those_of_the_aligned_population():
    """What is gathered behind an AlignHook is what align does to what is gathered without it."""
    model = Model()
    moments = collect(model, "mix", batches(20), pooling="tokens", progress=False)
    sol = fp.NearestIdeal(moments.population(), steer=["b"]).solve()
    hook = AlignHook(model, "mix", sol)

    def aligned():
        for inputs, y, a in batches(20):
            hook.set(sensitive_features=a)
            yield inputs, y, a

    with hook:
        after = collect(model, "mix", aligned(), pooling="tokens", progress=False).population()
    wanted = moments.population().mapped({g: T.inverse() for g, T in sol.affine.items()})
    np.testing.assert_allclose(after.mean, wanted.mean, atol=1e-5)
    np.testing.assert_allclose(after.cov, wanted.cov, atol=1e-5)


def test_a_compiled_model_is_run_as_it_was_written():
    model = Model()
    plain = collect(model, "mix", batches(2), progress=False)
    compiled = torch.compile(model, backend="aot_eager")
    assert same_bits(plain, collect(compiled, "mix", batches(2), progress=False))


def test_bad_input():
    model, good = Model(), next(batches(1))
    tokens, mask = good[0]["input_ids"], good[0]["attention_mask"]
    for inputs, how, error, match in (
        (good[0], {"pooling": "median"}, fp.ModelError, "`pooling` must be one of"),
        (good[0], {"pooling": ["last"]}, fp.ModelError, "`pooling` must be one of"),
        (good[0], {"mask": "padding"}, fp.DataError, "no entry 'padding'"),
        (
            {"input_ids": tokens, "attention_mask": -1e9 * (1 - mask.float())},
            {},
            fp.DataError,
            "added to scores",
        ),
        ({"input_ids": tokens, "attention_mask": 0 * mask}, {}, fp.DataError, "example 0 counts"),
        ({"input_ids": tokens, "attention_mask": mask[:, :3]}, {}, fp.DataError, "say by `mask`"),
    ):
        with pytest.raises(error, match=match):
            collect(model, "embed", [(inputs, *good[1:])], progress=False, **how)
    with pytest.raises(fp.ModelError, match="near are"):
        collect(model, "mixx", batches(1), progress=False)
    with pytest.raises(fp.ModelError, match="must be one layer"):
        collect(model, ["mix", "embed"], batches(1), progress=False)
    with pytest.raises(fp.DataError, match="Batch 0 must be"):
        collect(model, "mix", [good[0]], progress=False)
    with pytest.raises(fp.DataError, match="`y`"):
        collect(model, "mix", [(good[0], good[1][:5], good[2])], progress=False)
    with pytest.raises(fp.DataError, match="0 times"):
        model.lonely = torch.nn.Linear(D, D)
        collect(model, "lonely", batches(1), progress=False)
    model.embed.weight.data[39] = torch.inf  # one token of many
    bad = {"input_ids": torch.full((3, TIME), 1)}
    bad["input_ids"][1, -1] = 39
    with pytest.raises(fp.DataError, match=r"Batch 1.*'embed' must be finite; those of example 1"):
        parts = list(batches(1, size=1, seed=2))
        collect(model, "embed", [*parts, (bad, [0] * 3, ["a"] * 3)], progress=False)
    with pytest.raises(IndexError) as caught:  # the model's own error
        outside = ({"input_ids": torch.tensor([[99]])}, [0], ["a"])
        collect(model, "head", [*parts, outside], progress=False)
    assert caught.value.__notes__ == ["This happened in batch 1 of `batches`."]


@pytest.mark.parametrize("progress", [True, False])
def test_progress_bar(capsys, progress):
    collect(Model(), "mix", list(batches(3)), progress=progress)
    assert ("3/3" in capsys.readouterr().err) == progress


def test_hugging_face(tmp_path):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: make test-torch"
    )
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=3, n_embd=8, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    batch = next(batches(1))
    inputs = transformers.BatchEncoding(batch[0])
    X, *_ = next(iter(HiddenStates(model, "transformer.h.1", [(inputs, *batch[1:])])))
    full = model(**inputs, output_hidden_states=True).hidden_states[2].detach()
    last = inputs["attention_mask"].sum(dim=1) - 1
    np.testing.assert_allclose(X, full[torch.arange(30), last].numpy(), atol=1e-6)
    whole = collect(model.transformer, "", [(inputs, *batch[1:])], progress=False)
    assert whole.n_features == 8  # last_hidden_state
    with pytest.raises(fp.ModelError, match=r"'transformer.h.1'"):
        collect(model, "h.1", [(inputs, *batch[1:])], progress=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_sequences_in_the_memory_of_a_batch():
    pytest.importorskip("resource", reason="peaks of memory are read by the module resource")
    from experiments.collect_memory import measured

    figures = measured(100_000)
    assert figures["rows"] == 800_000
    assert figures["held"] > 800  # megabytes, had they been kept
    assert figures["growth"] < 40
