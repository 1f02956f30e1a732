"""What a load test sends: the speech sample, as tokens or sound, in the form that perf_analyzer reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritone_client import Codec
from tritone_client.inputs.audio import read_audio, resampled
from tritone_server.launcher import TritonServer

__all__ = ["frames_of", "reordered", "repeated", "tokens_of", "write_inputs", "write_requests"]

_SPEECH = Path("samples/speech.wav")
_SEQUENCES = 6
_SLICE_FRAMES = 5


def tokens_of(codec: Codec) -> NDArray[np.int64]:
    """The speech sample as tokens [K, T]."""
    return codec.encode(*read_audio(_SPEECH))


def repeated(tokens: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Tokens [K, T] over and over, or cut, to so many frames."""
    return np.resize(tokens.T, (frames, len(tokens))).T


def reordered(tokens: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Slices of tokens [K, T] in another order for each seed, as they are for seed 0.

    Their sound differs, since a frame's depends on those before; so streams can be told apart.
    """
    slices = np.split(tokens, range(_SLICE_FRAMES, tokens.shape[1], _SLICE_FRAMES), axis=1)
    order = np.random.default_rng(seed).permutation(len(slices)) if seed else range(len(slices))
    return np.concatenate([slices[number] for number in order], axis=1)


def frames_of(codec: str, direction: str, server: TritonServer) -> tuple[str, NDArray[np.generic]]:
    """The name of a stream model's input, and the speech sample as such inputs [frames, ...]."""
    with Codec(codec, server.url) as client:
        if direction == "decode":
            return "tokens", tokens_of(client).T[:, :, None]
        own_hz, hop = client.info.sample_rate_hz, client.info.samples_per_frame
    audio = resampled(*read_audio(_SPEECH), own_hz)
    return "audio", audio[: len(audio) // hop * hop].reshape(-1, hop)


def write_inputs(path: Path, name: str, frames: NDArray[np.generic]) -> None:
    """Sequences for perf_analyzer, one request per frame.

    Each starts elsewhere in ``frames`` [T, ...] and is of another length, so streams neither say the
    same nor end together.
    """
    steps = [{name: {"content": frame.ravel().tolist(), "shape": list(frame.shape)}} for frame in frames]
    count = len(steps)
    sequences = []
    for index in range(_SEQUENCES):
        start = index * count // _SEQUENCES
        sequences.append((steps[start:] + steps[:start])[: count - index * count // (2 * _SEQUENCES)])
    path.write_text(json.dumps({"data": sequences}))


def write_requests(path: Path, tokens: NDArray[np.int64], lengths: Sequence[int]) -> None:
    """Requests to decode the first frames of tokens [K, T], so many each, for a model without memory."""
    requests = [
        {
            "tokens": {"content": tokens[:, :length].ravel().tolist(), "shape": [len(tokens), length]},
            "tokens_len": {"content": [length], "shape": [1]},
        }
        for length in lengths
    ]
    path.write_text(json.dumps({"data": requests}))
