"""A codec in FP16 without a GPU: ONNX Runtime on the CPU runs the graphs that TensorRT compiles."""

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone_runtime.manifests import ONNX_FILE

__all__ = ["Fp16Codec", "split_evenly"]

Array = NDArray[Any]
_DTYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(int64)": np.int64}


class _Stream:
    """A live stream of one row; its state is kept here, as Triton keeps it for an engine."""

    def __init__(self, session: onnxruntime.InferenceSession):
        self._session = session
        self._data, *pasts = session.get_inputs()
        self._past = {each.name: np.zeros((1, *each.shape[1:]), _DTYPES[each.type]) for each in pasts}

    def push(self, data: Array) -> Array:
        """Run one step on the next frames, [1, ..., steps]."""
        output, *nexts = self._session.run(None, {self._data.name: data, **self._past})
        self._past = dict(zip(self._past, nexts, strict=True))
        answer: Array = output
        return answer


class Fp16Codec:
    """One codec of a repository that ``tritone-build engines`` wrote.

    Args:
        name: of the codec.
        repository: that contains its graphs.
    """

    def __init__(self, name: str, repository: Path):
        self._name, self._repository = name, repository
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def has_stream(self, role: str) -> bool:
        """Whether the codec has a streaming model for ``decode`` or ``encode``."""
        return self._path(f"{role}_stream").exists()

    def decode(self, tokens: Array, most: int) -> Array:
        """Tokens [K, T] -> audio [S] or [C, S], in pieces of at most ``most`` frames."""
        return np.concatenate([self._decoded(piece[None]) for piece in split_evenly(tokens, most)], axis=-1)

    def _decoded(self, tokens: Array) -> Array:
        length = np.array([[tokens.shape[2]]])
        latent, frames = self._session("dequantize").run(None, {"tokens": tokens, "tokens_len": length})
        audio, samples = self._session("vocoder").run(None, {"latent": latent, "latent_len": frames})
        sound: Array = audio[0, ..., : samples.item()]
        return sound

    def encode(self, audio: Array, most: int, hop: int) -> Array:
        """Audio [S] or [C, S] -> tokens [K, T], in pieces of at most ``most`` frames of ``hop`` samples."""
        given = [(piece[None], np.array([[piece.shape[-1]]])) for piece in split_evenly(audio, most, hop)]
        made = [self._session("encode").run(None, {"audio": a, "audio_len": n})[0][0] for a, n in given]
        return np.concatenate(made, axis=1)

    def run_stream(self, role: str, data: Array, step: int = 1) -> Array:
        """The output of a stream that gets ``data`` frame by frame; a frame has ``step`` time steps."""
        stream = _Stream(self._session(f"{role}_stream"))
        frames = range(0, data.shape[-1], step)
        made = [stream.push(data[None, ..., start : start + step])[0] for start in frames]
        return np.concatenate(made, axis=-1)

    def _session(self, role: str) -> onnxruntime.InferenceSession:
        if role not in self._sessions:
            self._sessions[role] = onnxruntime.InferenceSession(self._path(role), self._options)
        return self._sessions[role]

    def _path(self, role: str) -> Path:
        return self._repository / f"{self._name}_{role}" / "1" / ONNX_FILE

    @cached_property
    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.enable_mem_pattern = (
            False  # lengths differ, and ONNX Runtime would keep a memory plan for each
        )
        return options


def split_evenly(data: Array, most: int, step: int = 1) -> Iterator[Array]:
    """Cut ``data`` along its last axis into pieces of similar size.

    Args:
        data: [..., time steps].
        most: frames in a piece, at most.
        step: time steps in a frame.
    """
    frames = -(-data.shape[-1] // step)
    count = -(-frames // most)
    edges = [step * round(frames * n / count) for n in range(count + 1)]
    return (data[..., start:stop] for start, stop in pairwise(edges))
