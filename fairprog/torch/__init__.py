"""Activations of PyTorch models: gather their moments, apply a solution's maps inside the model.

Needs the extra ``fairprog[torch]``. A model is any ``torch.nn.Module`` and a layer one of its
modules by name, so models of Hugging Face (``fairprog[transformers]``) are nothing special.
"""

from fairprog.errors import MissingExtraError

try:  # imports are absolute: inside this package too `import torch` is the library
    import torch  # noqa: F401 - first, so that nothing else is what misses it

    from fairprog.torch.concept import fit_concept
    from fairprog.torch.hooks import AlignHook, MapHook, SteerHook
    from fairprog.torch.losses import notion_loss
    from fairprog.torch.memory import memory_estimate
    from fairprog.torch.next_word import next_word_effect, next_word_effects
    from fairprog.torch.positions import AssistantTokens, Tokens
    from fairprog.torch.stream import HiddenStates, collect
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError(
        "fairprog.torch needs PyTorch, which is not installed. Install the extra: "
        "pip install 'fairprog[torch]'.",
        details={"extra": "torch"},
    ) from error

__all__ = [
    "AlignHook",
    "AssistantTokens",
    "HiddenStates",
    "MapHook",
    "SteerHook",
    "Tokens",
    "collect",
    "fit_concept",
    "memory_estimate",
    "next_word_effect",
    "next_word_effects",
    "notion_loss",
]
