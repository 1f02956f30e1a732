"""The served models on ONNX Runtime in this process, run as the backend runs them."""

from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as pb

from scripts.common.prepare import REPOSITORY
from tritone_runtime.events import Journal
from tritone_runtime.executors.onnx_runtime import Runner
from tritone_runtime.scheduler import Limits, Step, Streams

__all__ = ["NEAR_COPIES", "OfflineSession", "StreamSession", "has_streams", "weight_bytes"]

Array = NDArray[np.generic]
_FOR_GOOD_S = 1e6
NEAR_COPIES = ("nanocodec_1780bps", "nanocodec_1890bps")
"""Networks as nanocodec's, with other strides or codebooks: less of them is measured."""


class OfflineSession:
    """The models of a codec without memory, each loaded when it is first asked for."""

    def __init__(self, codec: str, threads: int):
        self._codec, self._threads = codec, threads

    @cached_property
    def dequantize(self) -> Runner:
        """Tokens to latent."""
        return Runner(_model(self._codec, "dequantize"), self._threads)

    @cached_property
    def vocoder(self) -> Runner:
        """Latent to audio."""
        return Runner(_model(self._codec, "vocoder"), self._threads)

    @cached_property
    def encoder(self) -> Runner:
        """Audio to tokens."""
        return Runner(_model(self._codec, "encode"), self._threads)

    def latent(self, tokens: NDArray[np.int64]) -> tuple[Array, Array]:
        """Tokens [K, T] -> latent [1, D, T] and its length."""
        length = np.array([[tokens.shape[1]]])
        latent, length_out = self.dequantize.run({"tokens": tokens[None], "tokens_len": length})
        return latent, length_out

    def decode(self, tokens: NDArray[np.int64]) -> Array:
        """Tokens [K, T] -> audio [S]."""
        latent, length = self.latent(tokens)
        audio: Array = self.sound(latent, length)[0]
        return audio

    def sound(self, latent: Array, length: Array) -> Array:
        """Latent [1, D, T] and its length -> audio [1, S]."""
        audio: Array = self.vocoder.run({"latent": latent, "latent_len": length})[0]
        return audio

    def encode(self, audio: NDArray[np.float32]) -> Array:
        """Audio [S] -> tokens [K, T], of as many codebooks as the codec has by default."""
        tokens: Array = self.encoder.run({"audio": audio[None], "audio_len": np.array([[len(audio)]])})[0][0]
        return tokens


class StreamSession:
    """Some live streams that advance together, their state kept and written as on the server.

    Args:
        codec: whose.
        role: ``decode_stream`` or ``encode_stream``.
        threads: of a step.
        repository: with the model; the usual one unless told.
        profile: prefix of a file for the time of each operator.
    """

    def __init__(
        self, codec: str, role: str, threads: int, repository: Path | None = None, profile: Path | None = None
    ):
        folder = (repository or REPOSITORY) / f"{codec}_{role}"
        config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
        self._input = config.input[0].name
        count = int(config.parameters["max_streams"].string_value)
        self.runner = runner = Runner(folder / "1" / "model.onnx", threads, profile=profile)
        self._streams = Streams(
            runner, self._input, config.output[0].name, Limits(count, _FOR_GOOD_S), Journal("")
        )
        self._started = False

    def step(self, data: Array) -> list[Array]:
        """One row [B, ...] for each stream, and its answer; raises what a stream was answered instead."""
        rows = [{self._input: data[n : n + 1]} for n in range(len(data))]
        steps = [Step(n, row, start=not self._started, end=False) for n, row in enumerate(rows)]
        answers = self._streams.run(steps)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        self._started = True
        return [answer for answer in answers if not isinstance(answer, Exception)]


def weight_bytes(codec: str, role: str) -> int:
    """Of a built model, the weights that every step reads: all but tables, where a few rows are looked up."""
    graph = onnx.load(_model(codec, role), load_external_data=False).graph
    multiplied = {
        name for node in graph.node for name in (node.input[1:] if node.op_type == "Gather" else node.input)
    }
    return sum(_size(tensor) for tensor in graph.initializer if tensor.name in multiplied)


def _size(tensor: onnx.TensorProto) -> int:
    itemsize: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(prod(tensor.dims)) * itemsize


def has_streams(codec: str, role: str) -> bool:
    """Whether the server keeps streams of this codec."""
    return _model(codec, role).exists()


def _model(codec: str, role: str) -> Path:
    return REPOSITORY / f"{codec}_{role}" / "1" / "model.onnx"
