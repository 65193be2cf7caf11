"""What a hook cannot use is refused by name: layers, solutions, batches, labels."""

import copy

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, MapHook, SteerHook  # noqa: E402
from tests.hooked_models import Block, D, small_model  # noqa: E402


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
