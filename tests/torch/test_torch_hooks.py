"""Inside the model a hook does what `align` and `steer` do to rows, and leaves nothing behind."""

import copy
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, MapHook, SteerHook  # noqa: E402

D = 24
GROUPS = ("a", "b", "c")


@pytest.fixture(scope="module")
def sol():
    rng = np.random.default_rng(0)
    R = rng.normal(size=(2, 3, D, 2 * D))
    cov = R @ R.swapaxes(-1, -2) / (2 * D)
    E = fp.Normal(np.full((2, 3), 1 / 6), rng.normal(size=(2, 3, D)), cov=cov, groups=GROUPS)
    return fp.NearestIdeal(E, steer="all").solve()


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    hidden = torch.tensor(rng.normal(size=(9, 5, D)), dtype=torch.float32)
    return hidden, rng.integers(0, 2, 9), np.array(list("abcabcacb"))


class Block(torch.nn.Module):
    """A module that returns what transformer blocks and models do."""

    def __init__(self, form="tensor"):
        super().__init__()
        self.form = form

    def forward(self, hidden):
        if self.form == "tuple":
            return hidden, "cache"
        if self.form == "list":
            return [hidden, "cache"]
        if self.form == "named":
            return Answer(hidden, "cache")
        if self.form == "mapping":
            return {"last_hidden_state": hidden, "cache": "cache"}
        if self.form == "dataclass":
            return Output(hidden, "cache")
        return hidden


Answer = namedtuple("Answer", ["hidden", "cache"])


@dataclass(frozen=True)
class Output:
    last_hidden_state: object
    cache: str


def small_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(D, D), torch.nn.GELU(), torch.nn.Dropout(0.5), torch.nn.Linear(D, 3)
    ).eval()


def offline(move, hidden, *labels):
    """What a solution does to the rows of a batch, token by token."""
    rows = hidden.double().numpy().reshape(-1, D)
    tokens = len(rows) // len(hidden)
    return move(rows, *(np.repeat(v, tokens) for v in labels)).reshape(hidden.shape)


def align(sol, hidden, a):
    return offline(lambda X, a: sol.align(X, sensitive_features=a), hidden, a)


def steer(sol, hidden, y, a):
    return offline(lambda X, y, a: sol.steer(X, y, sensitive_features=a), hidden, y, a)


# --------------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("tokenwise", [True, False])
def test_align_hook_is_align(sol, batch, tokenwise):
    hidden, _, a = batch
    hidden = hidden if tokenwise else hidden[:, 0]
    model = Block()
    with AlignHook(model, "", sol, sensitive_features=a):
        moved = model(hidden)
    truth = align(sol, hidden, a)
    assert np.abs(moved.numpy() - truth).max() < 1e-5
    assert np.abs(hidden.numpy() - truth).max() > 0.1  # the control: there was something to do


def test_steer_hook_is_steer(sol, batch):
    hidden, y, a = batch
    model = Block()
    with SteerHook(model, "", sol, y=y, sensitive_features=a):
        moved = model(hidden)
    truth = steer(sol, hidden, y, a)
    assert np.abs(moved.numpy() - truth).max() < 1e-5
    assert np.abs(hidden.numpy() - truth).max() > 0.1


def test_steer_then_align_is_the_composition(sol, batch):
    hidden, y, a = batch
    model = Block()
    with (
        SteerHook(model, "", sol, y=y, sensitive_features=a),
        AlignHook(model, "", sol, sensitive_features=a),
    ):
        moved = model(hidden)
    truth = steer(sol, hidden, y, a)
    truth = align(sol, torch.tensor(truth), a)
    assert np.abs(moved.numpy() - truth).max() < 2e-5


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64"])
def test_dtype_is_kept_and_the_work_is_done_in_float32(sol, batch, name):
    dtype = getattr(torch, name)
    hidden, _, a = batch
    hidden = hidden.to(dtype)
    model = Block()
    with AlignHook(model, "", sol, sensitive_features=a):
        moved = model(hidden)
    assert moved.dtype == dtype and moved.device == hidden.device
    exact = torch.tensor(align(sol, hidden, a))
    rounding = 0.5 * torch.finfo(dtype).eps * exact.abs()  # of the result, and of nothing before
    work = 1e-5 if dtype != torch.float64 else 1e-12
    assert bool(((moved.double() - exact).abs() <= rounding + work).all())


def test_autocast_does_not_lower_the_precision(sol, batch):
    hidden, _, a = batch
    model = Block()
    with torch.autocast("cpu", torch.bfloat16), AlignHook(model, "", sol, sensitive_features=a):
        moved = model(hidden)
        lowered = torch.nn.functional.linear(hidden, torch.eye(D))
    assert np.abs(moved.numpy() - align(sol, hidden, a)).max() < 1e-5
    assert lowered.dtype == torch.bfloat16  # the control: autocast was at work


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_strength_goes_along_the_straight_line(sol, batch, strength):
    hidden, y, a = batch
    model = Block()
    for hook, truth in (
        (AlignHook(model, "", sol, sensitive_features=a), align(sol, hidden, a)),
        (SteerHook(model, "", sol, y=y, sensitive_features=a), steer(sol, hidden, y, a)),
    ):
        with hook.set(strength=strength):
            moved = model(hidden)
        expected = hidden.double().numpy() * (1 - strength) + strength * truth
        assert np.abs(moved.numpy() - expected).max() < 1e-5
        if strength == 0.0:
            assert moved is hidden


def test_a_group_that_stays_is_left_to_the_bit(batch):
    hidden, _, a = batch
    model = Block()
    maps = {"a": np.zeros(D), "b": fp.AffineMap.identity(D), "c": np.ones(D)}
    with MapHook(model, "", maps, sensitive_features=a):
        moved = model(hidden)
    same = torch.tensor(a != "c")
    assert torch.equal(moved[same], hidden[same])
    assert torch.equal(moved[~same], hidden[~same] + 1)
    with MapHook(model, "", maps, sensitive_features="b"):
        assert model(hidden) is hidden


def test_maps_of_every_form(batch):
    hidden, _, a = batch
    rng = np.random.default_rng(0)
    full, scale, shift = rng.normal(size=(D, D)), rng.uniform(1, 2, D), rng.normal(size=D)
    maps = {"a": fp.AffineMap(full, shift), "b": fp.AffineMap(np.diag(scale), shift), "c": shift}
    x, model = hidden.double().numpy(), Block()
    truth = {"a": x @ full.T + shift, "b": x * scale + shift, "c": x + shift}
    with MapHook(model, "", maps) as hook:
        moved = hook.set(sensitive_features=a).layers[""](hidden).numpy()
        for k, group in enumerate(a):
            assert np.abs(moved[k] - truth[group][k]).max() < 1e-5
        for group in GROUPS:  # one label for all
            moved = hook.set(sensitive_features=group).layers[""](hidden).numpy()
            assert np.abs(moved - truth[group]).max() < 1e-5


@pytest.mark.parametrize("form", ["tensor", "tuple", "list", "named", "mapping", "dataclass"])
def test_outputs_of_every_form_keep_the_rest(sol, batch, form):
    hidden, _, a = batch
    model = Block(form)
    with AlignHook(model, "", sol, sensitive_features=a):
        out = model(hidden)
    plain = model(hidden)
    assert type(out) is type(plain)
    if form != "tensor":
        values = vars(out) if form == "dataclass" else out
        values = list(values.values()) if isinstance(values, dict) else list(values)
        assert values[1] == "cache"
        out = values[0]
    assert np.abs(out.numpy() - align(sol, hidden, a)).max() < 1e-5


@pytest.mark.parametrize("name", ["bfloat16", "float32", "float64"])
def test_vectors_may_be_tensors(batch, name):
    hidden, model = batch[0], Block()
    vector = torch.ones(D, dtype=getattr(torch, name), requires_grad=True)
    with MapHook(model, "", {"a": vector}, sensitive_features="a"):
        assert torch.equal(model(hidden), hidden + 1)


def test_a_diagonal_map_needs_no_matrix():
    d = 20_000  # a matrix would take 3.2 GB
    scale, hidden, model = np.linspace(0.5, 2.0, d), torch.ones(2, d), Block()
    with MapHook(model, "", {"a": fp.DiagonalMap(scale, np.ones(d))}, sensitive_features="a"):
        np.testing.assert_allclose(model(hidden)[1].numpy(), scale + 1, rtol=1e-6)


def test_layers_of_several_types(sol, batch):
    """Float32 at one layer, float64 at the next, as in models of mixed precision."""

    class Mixed(torch.nn.Sequential):
        def forward(self, hidden):
            return self[1](self[0](hidden).double())

    hidden, _, a = batch
    model = Mixed(Block(), Block())
    with AlignHook(model, ["0", "1"], sol) as hook:
        for labels in (a, a[::-1].copy()):
            hook.set(sensitive_features=labels)
            twice = align(sol, torch.tensor(align(sol, hidden, labels)), labels)
            assert np.abs(model(hidden).numpy() - twice).max() < 1e-5


def test_gradients_flow_through(sol, batch):
    hidden, _, a = batch
    x = hidden.double().requires_grad_()
    model = Block()
    with AlignHook(model, "", sol, sensitive_features=a):
        assert torch.autograd.gradcheck(lambda h: model(h), x[:, :1], fast_mode=True)


# ------------------------------------------------------------------------------ it comes and goes


def state(model):
    """Everything a hook might leave behind."""
    return [
        (name, dict(vars(module)), [list(v.items()) for v in hooks(module)])
        for name, module in model.named_modules()
    ]


def hooks(module):
    return [v for k, v in sorted(vars(module).items()) if k.endswith("_hooks")]


def unchanged(model, before):
    after = state(model)
    return all(
        n == m and set(v) == set(w) and all(v[k] is w[k] for k in v) and h == g
        for (n, v, h), (m, w, g) in zip(before, after, strict=True)
    )


def test_the_model_is_left_as_it_was(sol, batch):
    hidden, y, a = batch
    model = small_model()
    mine = model[1].register_forward_hook(lambda module, args, out: None)  # the user's own
    before, plain = state(model), model(hidden)
    with AlignHook(model, ["0", "1"], sol, sensitive_features=a):
        assert not unchanged(model, before)
        assert not torch.allclose(model(hidden), plain)
    assert unchanged(model, before) and torch.equal(model(hidden), plain)
    with (
        pytest.raises(ZeroDivisionError),
        SteerHook(model, "0", sol, y=y, sensitive_features=a),
        AlignHook(model, model[1], sol, sensitive_features=a),
    ):
        raise ZeroDivisionError
    assert unchanged(model, before) and torch.equal(model(hidden), plain)
    with pytest.raises(fp.DataError), AlignHook(model, "0", sol, sensitive_features=a):
        model(hidden[:4])  # an error inside the model
    assert unchanged(model, before) and torch.equal(model(hidden), plain)
    mine.remove()


def test_a_hook_can_be_used_again_but_not_twice_at_once(sol, batch):
    hidden, _, a = batch
    model = Block()
    hook = AlignHook(model, "", sol, sensitive_features=a)
    with hook:
        once = model(hidden)
        with pytest.raises(fp.ModelError, match="in use already"), hook:
            pass
        assert torch.equal(model(hidden), once)
    with hook.set(sensitive_features=a[::-1]):
        assert not torch.equal(model(hidden), once)
    with hook.set(sensitive_features=a):
        assert torch.equal(model(hidden), once)


def test_a_copy_made_within_the_context_is_free_after_it(sol, batch):
    hidden, _, a = batch
    model = small_model()
    plain = model(hidden)
    with AlignHook(model, "0", sol, sensitive_features=a):
        moved, twin = model(hidden), copy.deepcopy(model)
        assert torch.equal(twin(hidden), moved)
    assert torch.equal(twin(hidden), plain) and not torch.equal(moved, plain)


def test_hooks_at_two_layers_compose(sol, batch):
    hidden, _, a = batch
    model = torch.nn.Sequential(Block(), Block())
    with AlignHook(model, ["0", "1"], sol, sensitive_features=a):
        both = model(hidden)
    with (
        AlignHook(model, "0", sol, sensitive_features=a),
        AlignHook(model, "1", sol, sensitive_features=a),
    ):
        assert torch.equal(model(hidden), both)
    twice = torch.tensor(align(sol, torch.tensor(align(sol, hidden, a)), a))
    assert float((both.double() - twice).abs().max()) < 2e-5


def test_a_hook_nobody_meets_says_so(sol, batch):
    model = small_model()
    with (
        pytest.warns(fp.FairprogWarning, match="No forward pass has met AlignHook"),
        AlignHook(model, "0", sol, sensitive_features="a"),
    ):
        pass
    with (
        pytest.warns(fp.FairprogWarning, match=r"AlignHook at \['1'\]"),
        AlignHook(model, ["0", "1"], sol, sensitive_features="a"),
    ):
        model[0](torch.zeros(1, D))


# ---------------------------------------------------------------------------- no_grad, compile


def test_no_grad(sol, batch):
    hidden, _, a = batch
    model = small_model()
    with AlignHook(model, "0", sol, sensitive_features=a):
        with_grad = model(hidden)
        with torch.no_grad():
            without = model(hidden)
        with torch.inference_mode():
            inference = model(hidden)
    assert with_grad.requires_grad and not without.requires_grad
    assert torch.equal(with_grad, without) and torch.equal(without, inference.clone())


def test_what_was_said_in_inference_mode_serves_gradients(sol, batch):
    hidden, _, a = batch
    model, x = Block(), hidden.clone().requires_grad_()
    with AlignHook(model, "", sol) as hook:
        with torch.inference_mode():
            hook.set(sensitive_features=a)
            model(hidden)
            model(hidden.double())
        for dtype in (torch.float32, torch.float64):
            (slope,) = torch.autograd.grad(model(x.to(dtype)).sum(), x)
            wanted = np.stack([sol.maps[g].inverse().matrix.sum(axis=0) for g in a])[:, None]
            assert np.abs(slope.numpy() - wanted).max() < 1e-5


@pytest.mark.filterwarnings("ignore")  # what the compiler says of itself
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("before", [False, True], ids=["compiled inside", "compiled before"])
@pytest.mark.timeout(600)
def test_compiled_models(sol, batch, grad, before):
    hidden, y, a = batch
    model = small_model()
    torch.compiler.reset()
    with torch.set_grad_enabled(grad):
        plain = model(hidden)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        if before:
            assert torch.allclose(compiled(hidden), plain, atol=1e-6)
        for make in (
            lambda m: AlignHook(m, "1", sol, sensitive_features=a),
            lambda m: SteerHook(m, "1", sol, y=y, sensitive_features=a),
        ):
            eagerly, quickly = make(model), make(compiled)
            for change in (
                {},
                {"sensitive_features": a[::-1].copy()},
                {"strength": 0.5},
                {"sensitive_features": "b"},
            ):
                with eagerly.set(**change):
                    wanted = model(hidden)
                with quickly.set(**change):
                    found = compiled(hidden)
                assert torch.allclose(found, wanted, atol=1e-6)
                assert not torch.allclose(found, plain, atol=1e-2)
            with quickly:  # changed within the context: no reset
                found = compiled(hidden)
                quickly.set(sensitive_features=a, strength=1.0)
                again = compiled(hidden)
            with eagerly.set(sensitive_features=a, strength=1.0):
                assert torch.allclose(again, model(hidden), atol=1e-6)
            assert not torch.allclose(found, again, atol=1e-2)
        assert torch.allclose(compiled(hidden), plain, atol=1e-6)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")
def test_layers_compiled_one_by_one(sol, batch):
    hidden, _, a = batch
    model = torch.nn.Sequential(small_model(), torch.nn.Linear(3, 3)).double()
    hidden = hidden.double()  # of another type than the hook foresees
    with AlignHook(model, "0.0", sol, sensitive_features=a):
        wanted = model(hidden)
    model[0] = torch.compile(model[0], backend="aot_eager", fullgraph=True)
    plain = model(hidden)
    with AlignHook(model, "0._orig_mod.0", sol, sensitive_features=a):
        found = model(hidden)
    assert torch.allclose(found, wanted, atol=1e-10)
    assert not torch.allclose(found, plain, atol=1e-2)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")
def test_code_compiled_behind_the_hooks_back_is_reported(sol, batch):
    hidden, _, a = batch
    model = small_model()
    compiled = torch.compile(model, backend="aot_eager")
    compiled(hidden)
    with (
        pytest.warns(fp.FairprogWarning, match="give the hook the compiled model"),
        AlignHook(model, "1", sol, sensitive_features=a),  # the model, not what was compiled
    ):
        compiled(hidden)
    torch.compiler.reset()


# ------------------------------------------------------------------------------------ bad input


def test_a_wrong_name_lists_the_near_ones(sol):
    model = torch.nn.ModuleDict({"transformer": torch.nn.ModuleList([Block() for _ in range(3)])})
    with pytest.raises(fp.ModelError, match=r"near are \['transformer.1'") as caught:
        AlignHook(model, "transfomer.1", sol)
    assert caught.value.argument == "layer" and "transformer.1" in caught.value.details["near"]
    with pytest.raises(fp.ModelError, match=r"'transformer.2'"):
        AlignHook(model, "2", sol)
    with pytest.raises(fp.ModelError, match="near are"):
        AlignHook(model, "zzzz", sol)


BAD = {
    "no model": (lambda s: AlignHook("model", "0", s), fp.ModelError, "torch.nn.Module"),
    "another's layer": (lambda s: AlignHook(Block(), Block(), s), fp.ModelError, "not in it"),
    "layer twice": (lambda s: AlignHook(Block(), ["", ""], s), fp.ModelError, "twice"),
    "no layer": (lambda s: AlignHook(Block(), [], s), fp.ModelError, "no layer"),
    "strength": (lambda s: AlignHook(Block(), "", s, strength=1.5), fp.ModelError, r"\[0, 1\]"),
    "strength text": (lambda s: AlignHook(Block(), "", s, strength="x"), fp.ModelError, "found"),
    "strength nan": (
        lambda s: MapHook(Block(), "", {"a": [1.0]}, strength=np.nan),
        fp.ModelError,
        "finite",
    ),
    "unknown group": (
        lambda s: AlignHook(Block(), "", s, sensitive_features=["a", "z"]),
        fp.DataError,
        "'z'",
    ),
    "unknown label": (
        lambda s: AlignHook(Block(), "", s, sensitive_features="z"),
        fp.DataError,
        "'z'",
    ),
    "lengths": (
        lambda s: SteerHook(Block(), "", s, y=[0, 1], sensitive_features=["a"] * 3),
        fp.DataError,
        "`y` has 2",
    ),
    "maps in a list": (lambda s: MapHook(Block(), "", [[1.0]]), fp.ModelError, "found list"),
    "no maps": (lambda s: MapHook(Block(), "", {}), fp.ModelError, "found none"),
    "vector nan": (lambda s: MapHook(Block(), "", {"a": [np.nan]}), fp.DataError, "group 'a'"),
    "vector text": (lambda s: MapHook(Block(), "", {"a": "x"}), fp.DataError, "found str"),
    "vector 2-d": (
        lambda s: MapHook(Block(), "", {"a": np.eye(2)}),
        fp.DataError,
        r"AffineMap or a finite vector.*shape \(2, 2\)",
    ),
    "sizes": (
        lambda s: MapHook(Block(), "", {"a": [1.0], "b": [1.0, 2.0]}),
        fp.DataError,
        "{'a': 1, 'b': 2}",
    ),
    "set of groups": (
        lambda s: AlignHook(Block(), "", s, sensitive_features={"a"}),
        fp.DataError,
        "one-dimensional",
    ),
    "no solution": (lambda s: AlignHook(Block(), "", s.maps), fp.ModelError, "solution"),
}


@pytest.mark.parametrize("make, error, match", BAD.values(), ids=BAD.keys())
def test_bad_arguments(sol, make, error, match):
    with pytest.raises(error, match=match):
        make(sol)


def test_maps_that_are_not_affine_are_refused():
    X = fp.LogNormal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 0.5], [1, 2]], std=[[1, 1], [1, 2]])
    sol = fp.NearestIdeal(X, steer=[1]).solve()
    with pytest.raises(fp.ModelError, match="ConjugatedMap"):
        AlignHook(Block(), "", sol)
    with pytest.raises(fp.ModelError, match="ConjugatedMap"):
        SteerHook(Block(), "", sol, y=1, sensitive_features=1)


def test_bad_batches(sol, batch):
    hidden, _, _ = batch
    model = Block()
    with AlignHook(model, "", sol) as hook:
        with pytest.raises(fp.DataError, match="say `sensitive_features`"):
            model(hidden)
        hook.set(sensitive_features=["a"] * 4)
        with pytest.raises(fp.DataError, match=r"4 examples.*has 9"):
            model(hidden)
        hook.set(sensitive_features="a")
        with pytest.raises(fp.DataError, match=f"maps have {D} features.*have 3"):
            model(hidden[..., :3])
        with pytest.raises(fp.DataError, match="floating-point numbers of shape"):
            model(hidden.long())
        with pytest.raises(fp.DataError, match="floating-point numbers of shape"):
            model(hidden[0, 0])
        with pytest.raises(fp.DataError, match="without hidden states"):
            model(("no tensor",))
        model(hidden)
    with (
        pytest.raises(fp.DataError, match="say `y` and `sensitive_features`"),
        SteerHook(model, "", sol, sensitive_features="a"),
    ):
        model(hidden)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused(sol, batch):
    layer = torch.nn.TransformerEncoderLayer(D, 2, 8, batch_first=True)
    padding = torch.arange(5)[None] > torch.arange(9)[:, None]
    for nested in (True, False):
        model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()
        with torch.no_grad(), AlignHook(model, "layers.0", sol, sensitive_features=batch[2]):
            if nested:
                with pytest.raises(fp.DataError, match="enable_nested_tensor=False"):
                    model(batch[0], src_key_padding_mask=padding)
            else:
                model(batch[0], src_key_padding_mask=padding)


def test_a_shared_module_has_all_its_names(sol, batch):
    model = torch.nn.Sequential(Block(), Block())
    model.add_module("again", model[0])
    with AlignHook(model, "again", sol, sensitive_features=batch[2]) as hook:
        model(batch[0])
    assert hook.layers["again"] is model[0]
    with pytest.raises(fp.ModelError, match="twice"):
        AlignHook(model, ["0", "again"], sol)


def test_labels_of_any_kind(batch):
    hidden = batch[0][:2, 0, :2]
    model = Block()
    pair, other = ("f", "old"), ("m", "old")
    maps = {pair: [1.0, 0.0], other: [0.0, 0.0]}
    with MapHook(model, "", maps, sensitive_features=pair) as hook:  # one label, for all
        assert torch.allclose(model(hidden) - hidden, torch.tensor([1.0, 0.0]), atol=1e-6)
        hook.set(sensitive_features=[other, pair])
        assert torch.equal(model(hidden)[0], hidden[0])
    with MapHook(model, "", {0: [1.0, 0.0], 1: [0.0, 0.0]}) as hook:
        for labels in (torch.tensor([1, 0]), np.array([1, 0]), [1, 0]):
            hook.set(sensitive_features=labels)
            assert torch.equal(model(hidden)[0], hidden[0])
        hook.set(sensitive_features=torch.tensor(1))
        assert model(hidden) is hidden
        hook.set(sensitive_features=torch.tensor(0.0, dtype=torch.bfloat16))
        assert torch.equal(model(hidden), hidden + torch.tensor([1.0, 0.0]))
        hook.set(sensitive_features=torch.tensor([1.0, 0.0], dtype=torch.bfloat16))
        assert torch.equal(model(hidden)[0], hidden[0])
        hook.set(sensitive_features=np.array([0]))
        assert torch.equal(model(hidden[:1]), hidden[:1] + torch.tensor([1.0, 0.0]))


def test_a_copied_model_is_no_concern_of_the_hook(sol, batch):
    hidden, _, a = batch
    model = small_model()
    plain = model(hidden)
    twin = copy.deepcopy(model)
    with AlignHook(model, "0", sol, sensitive_features=a):
        model(hidden)
        assert torch.equal(twin(hidden), plain)


# ---------------------------------------------------------------------------------- Hugging Face


@pytest.fixture(scope="module")
def gpt2():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: make test-torch"
    )
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=3, n_embd=D, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config).eval()


def test_hugging_face_layers_by_name(sol, gpt2):
    tokens, a = torch.arange(36).reshape(3, 12), ["a", "b", "c"]
    met = []  # what the next block is given
    mine = gpt2.transformer.h[2].register_forward_pre_hook(
        lambda module, args: met.append(args[0])
    )
    plain = gpt2(tokens).logits
    with AlignHook(gpt2, "transformer.h.1", sol, sensitive_features=a):
        assert not torch.allclose(gpt2(tokens).logits, plain, atol=1e-3)
    mine.remove()
    before, after = (h.detach() for h in met)
    assert np.abs(after.numpy() - align(sol, before, a)).max() < 1e-5
    with pytest.raises(fp.ModelError, match=r"'transformer.h.1'"):
        AlignHook(gpt2, "h.1", sol)
    with pytest.raises(fp.ModelError, match=r"'transformer.h.1'"):
        AlignHook(gpt2, "transformers.h.1", sol)


FAMILIES = {
    "Bert": ("encoder.layer.1", {}),
    "Llama": ("layers.1", {}),
    "Mistral": ("layers.1", {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4}),
    "GPTNeoX": ("layers.1", {}),
    "T5Encoder": ("encoder.block.1", {"d_kv": 8}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_face_families(sol, family):
    """What the next layer is given is what `align` makes of what the layer returned."""
    transformers = pytest.importorskip("transformers", reason="it needs transformers")
    layer, more = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family.removesuffix('Encoder')}Config")(
        hidden_size=D,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=50,
        **more,
    )
    model = getattr(transformers, f"{family}Model")(config).eval()
    met = []
    following = dict(model.named_modules())[layer.replace("1", "2")]
    following.register_forward_pre_hook(lambda module, args: met.append(args[0].detach()))
    tokens, a = torch.arange(36).reshape(3, 12), ["a", "b", "c"]
    mask = torch.tensor([[0] * 4 + [1] * 8, [1] * 12, [1] * 7 + [0] * 5])
    with torch.no_grad():
        model(input_ids=tokens, attention_mask=mask)
        with AlignHook(model, layer, sol, sensitive_features=a):
            model(input_ids=tokens, attention_mask=mask)
    before, after = met
    truth = align(sol, before, a)
    assert np.abs(after.numpy() - truth).max() < 1e-5 * max(1.0, np.abs(truth).max())


@pytest.mark.filterwarnings("ignore")
def test_generation_compiled_before_is_steered_too(sol):
    """With a static cache `generate` compiles the decoding steps, and keeps them."""
    transformers = pytest.importorskip("transformers", reason="it needs transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=D, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        vocab_size=50, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    compile_config = transformers.CompileConfig(backend="aot_eager", fullgraph=False, mode=None)
    compile_config._compile_all_devices = True
    tokens = torch.arange(12).reshape(3, 4) + 1
    how = {"attention_mask": torch.ones_like(tokens), "max_new_tokens": 8, "do_sample": False,
           "eos_token_id": None, "cache_implementation": "static"}  # fmt: skip
    push = {"a": 30 * np.random.default_rng(0).normal(size=D)}
    plain = model.generate(tokens, compile_config=compile_config, **how)
    assert getattr(model, "_compiled_call", None) is not None  # the control: it was compiled
    with MapHook(model, "model.layers.0", push, sensitive_features="a"):
        compiled = model.generate(tokens, compile_config=compile_config, **how)
    with MapHook(model, "model.layers.0", push, sensitive_features="a"):
        eager = model.generate(tokens, disable_compile=True, **how)
    assert torch.equal(compiled, eager) and not torch.equal(compiled, plain)
    assert torch.equal(model.generate(tokens, compile_config=compile_config, **how), plain)
    torch.compiler.reset()


def test_generation_with_its_cache_is_steered(sol, gpt2):
    tokens, a = torch.arange(12).reshape(3, 4) + 1, ["a", "b", "c"]
    how = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    mask = torch.ones_like(tokens)
    with torch.no_grad(), AlignHook(gpt2, "transformer.h.1", sol, sensitive_features=a):
        cached = gpt2.generate(tokens, attention_mask=mask, use_cache=True, **how)
        fresh = gpt2.generate(tokens, attention_mask=mask, use_cache=False, **how)
    plain = gpt2.generate(tokens, attention_mask=mask, **how)
    assert torch.equal(cached, fresh) and cached.shape == (3, 10)
    assert not torch.equal(cached, plain)
