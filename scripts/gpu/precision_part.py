"""Part ``precision``: what FP16 and the device itself change, on speech.

Steps of two live streams go through the runtime, with its slots and CUDA graphs, until every ring has been
full for long. Their audio is compared in dB, their tokens by the share of equal ones in the first codebook::

    fp16_against_fp32   the served precision against FP32, both on the device
    device_against_cpu  FP32 on the device against FP32 on the CPU

The vocoder is compared on one whole input.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.gpu.models import Models
from scripts.gpu.points import Point, Reading
from tritone_build.codecs.base import Codec
from tritone_build.engines.speech import speech_audio, speech_tokens
from tritone_runtime.executors.torch import TorchExecutor
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["measured"]

Array = NDArray[Any]
_STEPS, _STEPS_ON_CPU, _TINY_STEPS = 1000, 60, 40
_SPEECH_FRAMES, _TINY_SPEECH = 100, 20
_WHOLE_FRAMES = 64
_MOST_DB = 999.0


def measured(point: Point, models: Models) -> Iterator[Reading]:
    """How far the two ways are apart, and in the note the worst stretch."""
    outputs = _whole if point.model == "vocoder" else _stream
    other, device = point.kind.rpartition("_")[2], models.settings.device
    ours = outputs(point, models, point.weights, device)
    theirs = outputs(point, models, "fp32", "cpu" if other == "cpu" else device)
    yield _compared(theirs, ours)


def _compared(theirs: Array, ours: Array) -> Reading:
    broken = int(np.sum(~np.isfinite(ours)))
    if ours.dtype == np.int64:
        share = 1 - differing_share(theirs[:, 0], ours[:, 0])
        return Reading(share, "share of equal tokens", note=f"{ours.shape[-1]} frames")
    pieces = zip(np.array_split(theirs, 10, axis=-1), np.array_split(ours, 10, axis=-1), strict=True)
    worst = min(snr_db(*piece) for piece in pieces)
    value = max(-_MOST_DB, min(snr_db(theirs, ours), _MOST_DB))
    return Reading(value, "dB", note=f"worst tenth {worst:.1f} dB; {broken} of {ours.size} not finite")


def _stream(point: Point, models: Models, weights: str, device: str) -> Array:
    """The outputs of two streams, the second one half a sentence behind: [2, S] or [2, K, T]."""
    tiny, on_cpu = models.settings.tiny, point.kind.endswith("cpu")
    steps = _TINY_STEPS if tiny else _STEPS_ON_CPU if on_cpu else _STEPS
    executor = models.executor(point.codec, point.model, weights, device)
    speech = _speech(models.codec(point.codec), point.model, _TINY_SPEECH if tiny else _SPEECH_FRAMES)
    memory = executor.memory(2)
    slots = np.array([memory.take(), memory.take()])
    made = []
    for number in range(steps):
        places = [number % len(speech), (number + len(speech) // 2) % len(speech)]
        given = {executor.inputs[0]: speech[places], "slot": slots}
        made.append(np.array(memory.run(given, True)[executor.outputs[0]]))
    return np.concatenate(made, axis=-1)


def _speech(codec: Codec, model: str, frames: int) -> Array:
    """A sentence, frame by frame: tokens [T, K, 1], or audio [T, hop] or [T, C, hop]."""
    if model.startswith("encode"):
        hop = codec.geometry.encode_samples_per_frame
        return torch.cat(torch.split(speech_audio(codec, frames), hop, dim=-1)).numpy()
    return speech_tokens(codec, frames)[0].T[:, :, None].contiguous().numpy()


def _whole(point: Point, models: Models, weights: str, device: str) -> Array:
    codec = models.codec(point.codec)
    frames = max(_WHOLE_FRAMES, codec.geometry.min_frames)
    executor: TorchExecutor = models.executor(point.codec, point.model, weights, device)
    with torch.no_grad():
        latent = codec.quantizer.dequantize(speech_tokens(codec, frames)).numpy()
    audio, *_ = executor.run({"latent": latent, "latent_len": np.full((1, 1), frames)}, ["audio"])
    return np.array(audio)
