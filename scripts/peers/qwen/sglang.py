"""sglang-omni 0.1.9's incremental decoder of Qwen3-TTS, in eager PyTorch on the CPU.

It keeps state around the layers of the authors' class: ``sglang_omni/models/qwen3_tts/incremental_codec.py``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from scripts.peers.qwen.decoding_only import DecodingOnly
from scripts.peers.wheel_imports import imported, stand_in
from tritone_server.wheels import Wheel

__all__ = ["SglangStream", "streaming"]

_WHEEL = Wheel(
    "sglang-omni==0.1.9",
    "dcc1d0a4871cf0f534961db58180eda5987dd541a39641683ddf2ae24d6cac05",
    ("sglang_omni/models/qwen3_tts/incremental_codec.py", "sglang_omni/utils/channels_last_conv.py"),
)
_PACKAGES = ("sglang_omni", "sglang_omni.utils", "sglang_omni.models", "sglang_omni.models.qwen3_tts")


@contextmanager
def streaming(decoder: Any, batch: int = 1) -> Iterator["SglangStream"]:
    """Open ``batch`` new streams of a decoder of :func:`scripts.peers.qwen.decoder.decoder_of`."""
    with torch.inference_mode():
        yield SglangStream(decoder, batch)


class SglangStream(DecodingOnly):
    """Streams that advance together, with the state that the server allocates for them."""

    def __init__(self, decoder: Any, batch: int):
        self._steps = _package().Qwen3TTSIncrementalDecoder(decoder)
        dtype = decoder.pre_conv.conv.weight.dtype
        self._state = self._steps.init_state(batch, device=torch.device("cpu"), dtype=dtype)

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, 1, T * hop]."""
        audio: Tensor = self._steps.decode(tokens, self._state)
        return audio


@cache
def _package() -> Any:
    root = _WHEEL.unpacked()
    # The packages themselves import SGLang, so empty ones replace them.
    absent = {name: stand_in(name, __path__=[str(root / name.replace(".", "/"))]) for name in _PACKAGES}
    platform = SimpleNamespace(is_cuda=lambda: False)
    absent["sglang_omni.platforms"] = stand_in("sglang_omni.platforms", current_platform=platform)
    return imported(_WHEEL, "sglang_omni.models.qwen3_tts.incremental_codec", **absent)
