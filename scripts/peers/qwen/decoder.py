"""The decoder half of the authors' Qwen3-TTS tokenizer, qwen-tts 0.1.1, in this process.

Its code is the wheel's, on transformers 5.23.0. That version lacks three names with the signature of 4.57.3,
for which there are stand-ins: a decorator that only records outputs, two functions that make the attention's
mask, and the table of rotary embeddings. The audio is that of the decoder in :mod:`scripts.peers.qwen_tts`.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import torch
from torch import Tensor

from scripts.peers.qwen_tts import WHEEL, complete
from scripts.peers.transformers_mimi import transformers_module
from scripts.peers.wheel_imports import imported, stand_in

__all__ = ["PREFIX", "decoder_of"]

PREFIX = "decoder."
_PACKAGES = ("qwen_tts", "qwen_tts.core")
_MODULE = "qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2"


def decoder_of(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Qwen3TTSTokenizerV2Decoder on the CPU; called with tokens [B, K, T] it returns audio [B, 1, T * hop].

    Args:
        config: content of a config.json; missing keys of the decoder have the published values.
        tensors: by their published names; every one of the decoder must be used, and none is copied.
    """
    package = _package()
    wanted = package.Qwen3TTSTokenizerV2DecoderConfig(**copy.deepcopy(complete(config)["decoder_config"]))
    with torch.device("meta"):
        decoder = package.Qwen3TTSTokenizerV2Decoder._from_config(wanted)
    rotary = decoder.pre_transformer.rotary_emb
    rotary.inv_freq, _ = _default_rope(wanted)
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    decoder.load_state_dict(own, strict=True, assign=True)
    return decoder.eval().requires_grad_(False)


@cache
def _package() -> Any:
    for name in ("models.mimi.modeling_mimi", "processing_utils", "utils.deprecation", "utils.logging"):
        transformers_module(name)
    root = WHEEL.unpacked()
    # The packages themselves import librosa, sox and ONNX Runtime, so empty ones replace them.
    absent = {name: stand_in(name, __path__=[str(root / name.replace(".", "/"))]) for name in _PACKAGES}
    masks = transformers_module("masking_utils")
    rope = transformers_module("modeling_rope_utils")
    for module in (
        stand_in("transformers.utils.generic", check_model_inputs=_unchanged),
        stand_in(
            "transformers.masking_utils",
            create_causal_mask=_unused,
            create_sliding_window_causal_mask=_renamed(masks.create_sliding_window_causal_mask),
        ),
        stand_in(
            "transformers.modeling_rope_utils",
            ROPE_INIT_FUNCTIONS={"default": _default_rope},
            dynamic_rope_update=rope.dynamic_rope_update,
        ),
    ):
        absent[module.__name__] = module
    with redirect_stdout(None):  # transformers' decorators complain about arguments without documentation
        return imported(WHEEL, _MODULE, **absent)


def _unchanged() -> Callable[[Any], Any]:
    """A decorator that changes nothing."""
    return lambda function: function


def _unused(**_: Any) -> None:
    """The mask of full attention, which no layer of the decoder asks for."""


def _renamed(make: Callable[..., Any]) -> Callable[..., Any]:
    """Take the arguments of 4.57.3 and call the function of 5.23.0."""

    def made(input_embeds: Tensor, cache_position: Tensor, **others: Any) -> Any:
        del cache_position  # the position ids say the same
        return make(inputs_embeds=input_embeds, **others)

    return made


def _default_rope(config: Any, device: Any = None) -> tuple[Tensor, float]:
    """Inverse frequencies [head_dim / 2] and the scale of the attention; RoPE without any scaling."""
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.int64, device=device).float() / config.head_dim
    return 1.0 / (config.rope_theta**steps), 1.0
