"""A hook leaves nothing behind in the model, with `no_grad` and compiled code as without."""

import copy

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, SteerHook  # noqa: E402
from tests.hooked_models import Block, D, align, small_model  # noqa: E402


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
