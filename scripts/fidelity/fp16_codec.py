"""A codec in FP16 without a GPU: the graphs that TensorRT compiles, run by ONNX Runtime on the CPU."""

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone_runtime.manifests import ONNX_FILE

__all__ = ["Fp16Codec", "pieces"]

Array = NDArray[Any]
_DTYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(int64)": np.int64}


class Steps:
    """A live stream by the step that TensorRT runs; the past of its one row is kept here."""

    def __init__(self, session: onnxruntime.InferenceSession):
        self._session = session
        self._data, *pasts = session.get_inputs()
        self._past = {each.name: np.zeros((1, *each.shape[1:]), _DTYPES[each.type]) for each in pasts}

    def push(self, data: Array) -> Array:
        """The next frames [1, ..., steps] to what they give."""
        made, *nexts = self._session.run(None, {self._data.name: data, **self._past})
        self._past = dict(zip(self._past, nexts, strict=True))
        answer: Array = made
        return answer


class Fp16Codec:
    """Models of one codec in a repository that ``tritone-build engines`` wrote.

    Args:
        name: of the codec.
        repository: with its graphs.
    """

    def __init__(self, name: str, repository: Path):
        self._name, self._repository = name, repository
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def streams(self, role: str) -> bool:
        """Whether there is a step for it."""
        return self._path(f"{role}_stream").exists()

    def decode(self, tokens: Array, most: int) -> Array:
        """[K, T] -> [S], in pieces of at most so many frames."""
        return np.concatenate([self._decoded(piece[None]) for piece in pieces(tokens, most)])

    def _decoded(self, tokens: Array) -> Array:
        length = np.array([[tokens.shape[2]]])
        latent, frames = self._session("dequantize").run(None, {"tokens": tokens, "tokens_len": length})
        audio, samples = self._session("vocoder").run(None, {"latent": latent, "latent_len": frames})
        sound: Array = audio[0, : samples.item()]
        return sound

    def encode(self, audio: Array, most: int, hop: int) -> Array:
        """[S] -> [K, T], in pieces of at most so many frames of ``hop`` samples."""
        given = [(piece[None], np.array([[len(piece)]])) for piece in pieces(audio, most, hop)]
        made = [self._session("encode").run(None, {"audio": a, "audio_len": n})[0][0] for a, n in given]
        return np.concatenate(made, axis=1)

    def streamed(self, role: str, data: Array, step: int = 1) -> Array:
        """As a stream, a frame of ``step`` time steps at a time."""
        stream = Steps(self._session(f"{role}_stream"))
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
        options.enable_mem_pattern = False  # lengths differ, and planned buffers would pile up
        return options


def pieces(data: Array, most: int, step: int = 1) -> Iterator[Array]:
    """At most so many frames of ``step`` time steps each, as even as can be."""
    frames = -(-data.shape[-1] // step)
    count = -(-frames // most)
    edges = [step * round(frames * n / count) for n in range(count + 1)]
    return (data[..., start:stop] for start, stop in pairwise(edges))
