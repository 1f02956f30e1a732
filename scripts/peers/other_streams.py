"""Ways in which other projects stream a codec's tokens, to hear what each way loses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scripts.peers import qwen_tts
from scripts.peers.qwen import sglang
from scripts.peers.qwen.decoder import decoder_of
from scripts.peers.qwen.token_windows import Decode, newest_of_windows
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["OtherStreams", "other_streams"]

Way = Callable[[Tensor, Sequence[int]], Tensor]
"""Tokens [1, K, T] and numbers of frames -> the audio of these frames in a stream of all tokens, [F, hop]."""
_CHUNK, _CHUNK_CONTEXT = 300, 25
_CONTEXTS = (0, 25, 72)


@dataclass(frozen=True)
class OtherStreams:
    """Ways to stream, and what they should equal.

    Attributes:
        whole: decode in one piece, by the authors' network.
        ways: by what they are called in a table.
    """

    whole: Decode
    ways: Mapping[str, Way]


def other_streams(checkpoint: Checkpoint) -> OtherStreams | None:
    """The ways of other projects with this network; None for codecs of which none is known."""
    if not qwen_tts.recognises(checkpoint):
        return None
    decoder = decoder_of(checkpoint.config, checkpoint.tensors)
    ways: dict[str, Way] = {"qwen-tts, chunks of 300 frames, 25 of context": partial(_chunked, decoder)}
    for context in _CONTEXTS:
        ways[f"one frame at a time, {context} of context"] = partial(newest_of_windows, decoder, context)
    ways["sglang-omni, one frame at a time, with state"] = partial(_stepped, decoder)
    return OtherStreams(decoder, ways)


@torch.inference_mode()
def _chunked(decoder: Any, tokens: Tensor, frames: Sequence[int]) -> Tensor:
    audio: Tensor = decoder.chunked_decode(tokens, _CHUNK, _CHUNK_CONTEXT)
    return audio.reshape(tokens.shape[2], -1)[list(frames)]


def _stepped(decoder: Any, tokens: Tensor, frames: Sequence[int]) -> Tensor:
    with sglang.streaming(decoder) as stream:
        steps = [stream.decode_step(tokens[:, :, n : n + 1])[0, 0] for n in range(tokens.shape[2])]
    return torch.stack([steps[frame] for frame in frames])
