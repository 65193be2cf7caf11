"""Inside the model a hook does what `align` and `steer` do to rows: the same numbers."""

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, MapHook, SteerHook  # noqa: E402
from tests.hooked_models import GROUPS, Block, D, align, steer  # noqa: E402


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
