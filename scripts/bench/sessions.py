"""The built models in this process, without Triton, run as our backend runs them."""

from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as pb

from scripts.common.prepare import REPOSITORY
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler

__all__ = ["NEAR_COPIES", "OfflineSession", "StreamSession", "has_streams", "weight_bytes"]

Array = NDArray[np.generic]
_NEVER_IDLE_S = 1e6
NEAR_COPIES = (
    "nanocodec_1780bps",
    "nanocodec_1890bps",
    "snac_32khz",
    "snac_44khz",
    "dac_24khz",
    "dac_16khz",
    "moss_v2_shallow",
)
"""Codecs with the network of another codec but other sizes; fewer measurements are made of them."""


class OfflineSession:
    """The stateless models of a codec, each loaded at its first use.

    Args:
        codec: name of the codec.
        threads: of ONNX Runtime.
    """

    def __init__(self, codec: str, threads: int):
        self._codec, self._threads = codec, threads

    @cached_property
    def dequantize(self) -> OnnxExecutor:
        """The model from tokens to latent."""
        return OnnxExecutor(_model(self._codec, "dequantize"), self._threads)

    @cached_property
    def vocoder(self) -> OnnxExecutor:
        """The model from latent to audio."""
        return OnnxExecutor(_model(self._codec, "vocoder"), self._threads)

    @cached_property
    def encoder(self) -> OnnxExecutor:
        """The model from audio to tokens."""
        return OnnxExecutor(_model(self._codec, "encode"), self._threads)

    def latent(self, tokens: NDArray[np.int64]) -> tuple[Array, Array]:
        """Tokens [K, T] -> latent [1, D, T] and its length."""
        length = np.array([[tokens.shape[1]]])
        latent, length_out = self.dequantize.run({"tokens": tokens[None], "tokens_len": length})
        return latent, length_out

    def decode(self, tokens: NDArray[np.int64]) -> Array:
        """Tokens [K, T] -> audio [S] or [C, S]."""
        latent, length = self.latent(tokens)
        audio: Array = self.sound(latent, length)[0]
        return audio

    def sound(self, latent: Array, length: Array) -> Array:
        """Latent [1, D, T] and its length -> audio [1, S] or [1, C, S]."""
        audio: Array = self.vocoder.run({"latent": latent, "latent_len": length})[0]
        return audio

    def encode(self, audio: NDArray[np.float32]) -> Array:
        """Audio [S] or [C, S] -> tokens [K, T], with the codec's default number of codebooks."""
        length = np.array([[audio.shape[-1]]])
        tokens: Array = self.encoder.run({"audio": audio[None], "audio_len": length})[0][0]
        return tokens


class StreamSession:
    """Live streams that advance together, with their state kept as the server keeps it.

    Args:
        codec: name of the codec.
        role: ``decode_stream`` or ``encode_stream``.
        threads: of a step.
        repository: where the model is; by default the one that the commands build.
        profile: prefix of the file to which ONNX Runtime writes the time of each operator, if any.
    """

    def __init__(
        self, codec: str, role: str, threads: int, repository: Path | None = None, profile: Path | None = None
    ):
        folder = (repository or REPOSITORY) / f"{codec}_{role}"
        config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
        self._input = config.input[0].name
        count = int(config.parameters["max_streams"].string_value)
        self.runner = runner = OnnxExecutor(folder / "1" / "model.onnx", threads, profile=profile)
        self._streams = StreamScheduler(
            runner, self._input, config.output[0].name, Limits(count, _NEVER_IDLE_S), EventLog("")
        )
        self._started = False

    def step(self, data: Array) -> list[Array]:
        """Run one step with one row of ``data`` [B, ...] per stream; return one answer per stream.

        Raises:
            Exception: the error with which the scheduler answered a stream.
        """
        rows = [{self._input: data[n : n + 1]} for n in range(len(data))]
        steps = [Step(n, row, start=not self._started, end=False) for n, row in enumerate(rows)]
        answers = self._streams.run(steps)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        self._started = True
        return [answer for answer in answers if not isinstance(answer, Exception)]


def weight_bytes(codec: str, role: str) -> int:
    """Bytes of weights that every step of a built model reads.

    Lookup tables do not count, since a step reads a few of their rows only.
    """
    graph = onnx.load(_model(codec, role), load_external_data=False).graph
    read = {
        name for node in graph.node for name in (node.input[1:] if node.op_type == "Gather" else node.input)
    }
    return sum(_size(tensor) for tensor in graph.initializer if tensor.name in read)


def _size(tensor: onnx.TensorProto) -> int:
    itemsize: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(prod(tensor.dims)) * itemsize


def has_streams(codec: str, role: str) -> bool:
    """Whether a streaming model of this codec was built."""
    return _model(codec, role).exists()


def _model(codec: str, role: str) -> Path:
    return REPOSITORY / f"{codec}_{role}" / "1" / "model.onnx"
