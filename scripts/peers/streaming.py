"""Implementations with a streaming mode, whose steps are timed beside ours."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from safetensors.torch import save_file
from torch import Tensor

from scripts.peers import moshi, openmoss, qwen_tts
from scripts.peers.layouts import all_layouts
from scripts.peers.qwen import sglang, token_windows
from scripts.peers.qwen.decoder import decoder_of
from scripts.peers.rustymimi import RustyMimi
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["StepPeer", "StreamOpener", "streaming_peers"]

_WINDOW_FRAMES = (25, 72)
"""Frames of context of the stateless streams."""


class StepPeer(Protocol):
    """Streams that advance together; each call continues where the last one ended."""

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, C, hop] -> tokens [B, K, 1]."""
        ...

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, C, hop]."""
        ...


class StreamOpener(Protocol):
    """A function that opens ``batch`` new streams for as long as its context lasts."""

    def __call__(self, batch: int) -> AbstractContextManager[StepPeer]:
        """Open the streams."""
        ...


def streaming_peers(checkpoint: Checkpoint, num_codebooks: int) -> Mapping[str, StreamOpener]:
    """The implementations with streams of this network, by package; empty for most codecs."""
    for each in all_layouts(checkpoint):
        if moshi.recognises(each):
            streaming = partial(moshi.reference(each).streaming, num_codebooks=num_codebooks)
            return {"moshi": streaming, "rustymimi": partial(_rustymimi, each, num_codebooks)}
        if openmoss.recognises(each):
            return {"openmoss": partial(openmoss.reference(each).streaming, num_codebooks=num_codebooks)}
        if qwen_tts.recognises(each):
            return _qwen_streams(each)
    return {}


def _qwen_streams(checkpoint: Checkpoint) -> Mapping[str, StreamOpener]:
    decoder = decoder_of(checkpoint.config, checkpoint.tensors)
    windows = {
        f"window-{context}": partial(token_windows.streaming, decoder, context) for context in _WINDOW_FRAMES
    }
    return {"sglang-omni": partial(sglang.streaming, decoder), **windows}


@contextmanager
def _rustymimi(checkpoint: Checkpoint, num_codebooks: int, batch: int) -> Iterator[StepPeer]:
    del batch  # the first step determines it
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mimi.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, path)
        yield RustyMimi(path, num_codebooks)
