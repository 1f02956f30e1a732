"""The speech sample as tokens or audio, and as the input files that perf_analyzer reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tritone_build.engines.speech import in_channels
from tritone_client import Codec
from tritone_client.inputs.audio import read_audio, resampled
from tritone_server.launcher import TritonServer

__all__ = [
    "reordered",
    "repeated",
    "repeated_audio",
    "speech_of",
    "stream_inputs",
    "tokens_of",
    "write_requests",
    "write_sequences",
]

_SPEECH = Path("samples/speech.wav")
_SEQUENCES = 6
_SLICE_FRAMES = 5


def speech_of(codec: Codec) -> NDArray[np.float32]:
    """The speech sample as the codec takes it, [S] or [C, S]."""
    audio, rate_hz = read_audio(_SPEECH)
    mono = torch.from_numpy(resampled(audio, rate_hz, codec.info.encode_sample_rate_hz))
    return in_channels(mono, codec.info.num_channels).numpy()


def repeated_audio(audio: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Audio [S] or [C, S], repeated or cut to the given number of samples per channel."""
    return np.take(audio, range(samples), axis=-1, mode="wrap")


def tokens_of(codec: Codec) -> NDArray[np.int64]:
    """The speech sample as tokens [K, T]."""
    return codec.encode(speech_of(codec), codec.info.encode_sample_rate_hz)


def repeated(tokens: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Tokens [K, T], repeated or cut to the given number of frames."""
    return np.resize(tokens.T, (frames, len(tokens))).T


def reordered(tokens: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Tokens [K, T] with slices of five frames shuffled; seed 0 keeps the order.

    A frame's sound depends on the frames before it, so every seed gives different audio, and a frame that
    was delivered to the wrong stream can be recognized.
    """
    slices = np.split(tokens, range(_SLICE_FRAMES, tokens.shape[1], _SLICE_FRAMES), axis=1)
    order = np.random.default_rng(seed).permutation(len(slices)) if seed else range(len(slices))
    return np.concatenate([slices[number] for number in order], axis=1)


def stream_inputs(codec: str, direction: str, server: TritonServer) -> tuple[str, NDArray[np.generic]]:
    """The name of a streaming model's input, and the speech sample in that form.

    Returns:
        ``tokens`` and [frames, K, 1], or ``audio`` and [frames, hop] or [frames, C, hop].
    """
    with Codec(codec, server.url) as client:
        if direction == "decode":
            return "tokens", tokens_of(client).T[:, :, None]
        audio, hop = speech_of(client), client.info.encode_samples_per_frame
    frames = audio.shape[-1] // hop
    return "audio", np.stack(np.split(audio[..., : frames * hop], frames, axis=-1))


def write_sequences(path: Path, name: str, frames: NDArray[np.generic]) -> None:
    """Write sequences for perf_analyzer, with one request per frame of ``frames`` [T, ...].

    Each sequence starts at another frame and has another length, so that concurrent streams differ and do
    not end together.
    """
    steps = [{name: {"content": frame.ravel().tolist(), "shape": list(frame.shape)}} for frame in frames]
    count = len(steps)
    sequences = []
    for index in range(_SEQUENCES):
        start = index * count // _SEQUENCES
        sequences.append((steps[start:] + steps[:start])[: count - index * count // (2 * _SEQUENCES)])
    path.write_text(json.dumps({"data": sequences}))


def write_requests(path: Path, tokens: NDArray[np.int64], lengths: Sequence[int]) -> None:
    """Write requests for a stateless decoder: for each length, that many first frames of tokens [K, T]."""
    requests = [
        {
            "tokens": {"content": tokens[:, :length].ravel().tolist(), "shape": [len(tokens), length]},
            "tokens_len": {"content": [length], "shape": [1]},
        }
        for length in lengths
    ]
    path.write_text(json.dumps({"data": requests}))
