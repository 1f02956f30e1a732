"""Triton's backend ``tritone``, which is Python-based: ONNX Runtime, and the state of live streams.

Models say ``backend: "tritone"`` and hold a ``model.onnx``. NVIDIA's native backend for ONNX Runtime cannot
run them: it does not know the inputs of a step (``slot``, and ``past_*`` of all streams).
A bad request fails alone: stateless ones are answered one by one, and steps of live streams, which run
as one batch, are told apart by row.

Arrays cross by DLPack, both ways. Triton 24.10's own NumPy conversions were compiled for NumPy 1: with
NumPy 2 they take every element size for zero, so inputs repeat their first element and outputs are empty.
"""

import ctypes
import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from device import chosen_device
from events import Journal
from meter import Meter
from pages import settle_pages
from runner import BadInputError, Runner
from shapes import is_possible, survive_impossible_shapes
from streams import FullError, Limits, Step, Streams

_CPU = 1  # DLPack's kDLCPU
_TAKEN = b"used_dltensor"
_LONGEST_CALL_S, _LONGEST_STEP_S = 300.0, 10.0
"""Of sound in a request, all rows together: longer ones take gigabytes, and hold up everybody else's."""
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the model; a failure here is what the server reports for it."""
        survive_impossible_shapes(lambda: pb_utils.Tensor("any", np.zeros(1)))
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        path = Path(args["model_repository"], args["model_version"])
        path /= config.get("default_model_filename") or "model.onnx"
        batching = config.get("sequence_batching")
        device = chosen_device(say=pb_utils.Logger.log_warn)
        runner = Runner(path, int(parameters.get("intra_op_thread_count", "0")), device)
        inputs = [tensor["name"] for tensor in config["input"]]
        if batching is None:
            self.served: _Served = _Calls(runner, _Inputs(inputs, parameters, _LONGEST_CALL_S))
        else:
            idle_s = int(batching["max_sequence_idle_microseconds"]) / 1e6
            frame_s = int(parameters["samples_per_frame"]) / int(parameters["sample_rate"])
            limits = Limits(_most_streams(int(parameters["max_streams"])), idle_s, frame_s)
            journal = Journal(args["model_name"], everything=bool(os.environ.get("TRITONE_LOG_STREAMS")))
            streams = Streams(runner, inputs[0], config["output"][0]["name"], limits, journal)
            given = _Inputs(inputs, parameters, _LONGEST_STEP_S)
            self.served = _Steps(streams, given, Meter(pb_utils, args["model_name"], streams))
        settle_pages()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its outputs or its error."""
        return self.served.execute(requests)

    def finalize(self) -> None:
        """Stop what runs beside the requests."""
        self.served.close()


class _Served(Protocol):
    def execute(self, requests: list[Any]) -> list[Any]: ...

    def close(self) -> None: ...


class _Calls:
    """A stateless model: requests are answered one by one."""

    def __init__(self, runner: Runner, inputs: "_Inputs"):
        self._runner, self._inputs = runner, inputs

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        pass

    def _answer(self, request: Any) -> Any:
        try:
            wanted = request.requested_output_names()
            return _response(wanted, self._runner.run(self._inputs.of(request), wanted))
        except BadInputError as error:
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            return _failure(f"the model failed: {error}", pb_utils.TritonError.INTERNAL)


class _Steps:
    """A stateful model: the requests of a batch belong to as many streams."""

    def __init__(self, streams: Streams, inputs: "_Inputs", meter: Meter):
        self._streams, self._inputs, self._meter = streams, inputs, meter

    def execute(self, requests: list[Any]) -> list[Any]:
        answered = set()

        def answer_at_once(row: int, answer: Any) -> None:
            # Who is refused need not wait for everybody's next frame.
            response = self._answer(requests[row], answer)
            requests[row].get_response_sender().send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            answered.add(row)

        answers = self._streams.run([self._step(request) for request in requests], answer_at_once)
        return [
            None if row in answered else self._answer(requests[row], answer)
            for row, answer in enumerate(answers)
        ]

    def close(self) -> None:
        self._meter.close()

    def _step(self, request: Any) -> Step:
        flags = request.flags()
        start = bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
        arrays, problem = {}, None
        try:
            arrays = self._inputs.of(request, begins=start)
        except BadInputError as error:
            problem = error
        return Step(
            request.correlation_id(),
            arrays,
            start,
            bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END),
            start and json.loads(request.parameters() or "{}").get("tritone_resumed") is True,
            problem,
        )

    def _answer(self, request: Any, answer: Any) -> Any:
        if isinstance(answer, BadInputError):
            return _failure(str(answer), pb_utils.TritonError.INVALID_ARG)
        if isinstance(answer, FullError):
            return _failure(str(answer), pb_utils.TritonError.UNAVAILABLE)
        if isinstance(answer, Exception):
            return _failure(str(answer), pb_utils.TritonError.INTERNAL)
        return _response(request.requested_output_names(), [answer])


def _most_streams(configured: int) -> int:
    """The model's limit, or a lower one of the operator, who knows how many this machine serves in time."""
    return min(configured, int(os.environ.get("TRITONE_MAX_STREAMS") or configured))


def _response(names: list[str], arrays: list[Any]) -> Any:
    tensors = [_tensor(name, array) for name, array in zip(names, arrays, strict=True)]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def _tensor(name: str, array: Any) -> Any:
    # A capsule, not the array: handed the array, the server takes 0.3 ms to ask for its capsule.
    capsule = _exported(array)
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # The server marks it as taken by another name than NumPy knows, which would log each of them.
    _rename(capsule, _TAKEN)
    return tensor


def _exported(array: Any) -> Any:
    if array.size == 0:
        # NumPy has strides of its own for empty arrays, which the server takes for not contiguous.
        strides = [array.itemsize * prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        array = np.lib.stride_tricks.as_strided(np.zeros(1, array.dtype), array.shape, strides)
    return array.__dlpack__()


class _Capsule:
    """A tensor of the server as NumPy wants to be given it; the server's own knows too few arguments."""

    def __init__(self, tensor: Any):
        self._capsule = tensor.to_dlpack()

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0


class _Inputs:
    """What requests bring; names of inputs, and the most sound in seconds, where the model says its rates."""

    _books = range(0)

    def __init__(self, names: list[str], parameters: Mapping[str, str], longest_s: float):
        self._names, self._longest_s = names, longest_s
        self._rate_hz = int(parameters.get("sample_rate", "0"))
        self._frame = int(parameters.get("samples_per_frame", "1"))
        if "num_codebooks" in parameters:
            most = int(parameters["num_codebooks"])
            self._books = range(int(parameters.get("min_codebooks", most)), most + 1)

    def of(self, request: Any, begins: bool = True) -> dict[str, NDArray[np.generic]]:
        """The inputs that the request has, optional ones may be missing; BadInputError if too much.

        What does not begin is held against what its stream began with, by the streams.
        """
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._names}
        given = {name: _array(name, tensor) for name, tensor in tensors.items() if tensor is not None}
        for name, array in given.items():
            self._refuse_long(name, array)
        if begins and "tokens" in given:
            self._refuse_books(given["tokens"].shape[1])
        return given

    def _refuse_books(self, books: int) -> None:
        if self._books and books not in self._books:
            raise BadInputError(
                f"tokens must have {self._books[0]} to {self._books[-1]} codebooks, got {books}"
            )

    def _refuse_long(self, name: str, array: NDArray[np.generic]) -> None:
        samples = array.shape[0] * array.shape[-1] * (1 if name == "audio" else self._frame)
        if samples > self._longest_s * self._rate_hz > 0:
            raise BadInputError(
                f"{name} may have at most {self._longest_s:g} s of sound in a request, all rows together, "
                f"got {samples / self._rate_hz:g} s"
            )


def _array(name: str, tensor: Any) -> NDArray[np.generic]:
    shape = tensor.shape()
    if not is_possible(shape):
        raise BadInputError(f"no array has the shape {list(shape)}, which {name} claims")
    array: NDArray[np.generic] = np.from_dlpack(_Capsule(tensor))
    return array


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
