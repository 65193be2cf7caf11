"""Hooks at layers of Hugging Face models do what `align` does, while text is generated too."""

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

from fairprog.torch import AlignHook, MapHook  # noqa: E402
from tests.hooked_models import D, align  # noqa: E402


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
