"""Malformed requests: valid ones with one or two things wrong, damaged bytes, and random bytes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

__all__ = ["Malformed", "malformed_requests"]

_SIZES = {"INT64": 8, "FP32": 4}
_MAX_BYTES = 1024
"""Longest data generated to fit a shape; longer audio would only take computing time."""

_axes = st.sampled_from(
    [
        0,
        1,
        2,
        3,
        7,
        33,
        4096,
        -1,
        -8,
        2**31,
        2**32 + 1,
        2**58 + 1,
        2**61,
        2**62,
        2**63 - 1,
        1 - 2**58,
        -(2**63),
    ]
)
_words = st.sampled_from(
    ["", "tokens", "audio", "latent", "nope", "../../etc", "x" * 300, "\x00", "audio\n", "é"]
)
_types = st.sampled_from(
    ["", "BYTES", "BOOL", "INT8", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "nope"]
)
_versions = st.sampled_from(["1", "2", "0", "-1", "x", "9" * 30])
# Few ids, since every stream that starts takes a place on the server until its idle limit.
_ids = st.sampled_from([0, 1, 2, -1, 2**63 - 1, "", "a", "x" * 128, "x" * 129, "7"])
_numbers = st.sampled_from([0, 1, -1, 2**31, 2**40, 2**63 - 1, -(2**63)])
_keys = st.sampled_from(
    [
        *("sequence_id", "sequence_start", "sequence_end", "timeout", "priority", "binary_data"),
        *("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification"),
        *("triton_enable_empty_final_response", "triton_any"),
    ]
)
_kinds = ("bool_param", "int64_param", "string_param", "double_param", "uint64_param")
_values: dict[str, st.SearchStrategy[Any]] = {
    "bool_param": st.booleans(),
    "int64_param": _numbers,
    "string_param": _words,
    "double_param": st.floats(),
    "uint64_param": st.integers(0, 2**64 - 1),
}
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Malformed:
    """Bytes to send as they are: one gRPC message (``unary``), several (``stream``), or HTTP (``http``)."""

    transport: str
    messages: tuple[bytes, ...]


def malformed_requests(models: Sequence[Any], count: int) -> list[Malformed]:
    """``count`` malformed requests for these models, the same in every run.

    Args:
        models: metadata of the models, as Triton returns it.
        count: of requests.
    """
    made: list[Malformed] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_malformed(models))
    def make(request: Malformed) -> None:
        made.append(request)

    make()
    return made[:count]


@st.composite
def _malformed(draw: Draw, models: Sequence[Any]) -> Malformed:
    transport = draw(st.sampled_from(["unary", "unary", "unary", "stream", "stream", "http"]))
    if transport == "http":
        return Malformed(transport, (draw(_http(models)),))
    messages = draw(st.lists(_message(models), min_size=1, max_size=3 if transport == "stream" else 1))
    return Malformed(transport, tuple(messages))


@st.composite
def _message(draw: Draw, models: Sequence[Any]) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return bytes(draw(st.binary(max_size=200)))
    message: bytes = draw(_request(models)).SerializeToString()
    return _damaged(draw, message) if draw(st.integers(0, 9)) == 0 else message


@st.composite
def _request(draw: Draw, models: Sequence[Any]) -> Any:
    request = _valid(draw, draw(st.sampled_from(models)))
    for mutate in draw(st.lists(st.sampled_from(_MUTATIONS), min_size=1, max_size=2)):
        mutate(draw, request)
    return request


def _valid(draw: Draw, model: Any) -> Any:
    """A valid request of one row of zeros; its sequence parameters are ignored by stateless models."""
    request = service_pb2.ModelInferRequest(model_name=model.name)
    steps = draw(st.sampled_from([1, 2, 8]))
    for tensor in model.inputs:
        steps = draw(st.sampled_from([1919, 1920, 4000])) if tensor.name == "audio" else steps
        shape = [1, *(steps if size < 0 else size for size in tensor.shape[1:])]
        value = steps if tensor.name.endswith("_len") else 0
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        data = np.full(shape, value, f"i{_SIZES.get(tensor.datatype, 8)}")
        request.raw_input_contents.append(data.tobytes())
    request.parameters["sequence_id"].int64_param = draw(st.sampled_from([1, 2, 3]))
    request.parameters["sequence_start"].bool_param = draw(st.booleans())
    request.parameters["sequence_end"].bool_param = draw(st.booleans())
    return request


def _damaged(draw: Draw, message: bytes) -> bytes:
    """The message with some bytes changed, removed or inserted."""
    at: int = draw(st.integers(0, max(0, len(message) - 1)))
    new: bytes = draw(st.binary(max_size=8))
    return message[:at] + new + message[at + draw(st.integers(0, 8)) :]


def _wrong_shape(draw: Draw, request: Any) -> None:
    tensor = _input(draw, request)
    if draw(st.booleans()) and tensor.shape:
        tensor.shape[draw(st.integers(0, len(tensor.shape) - 1))] = draw(_axes)
    else:
        tensor.shape[:] = draw(st.lists(_axes, max_size=5))
    size = prod(tensor.shape) * _SIZES.get(tensor.datatype, 8) % 2**64
    if size <= _MAX_BYTES and draw(st.booleans()):
        _set_data(request, tensor, bytes(size))


def _wrong_type(draw: Draw, request: Any) -> None:
    _input(draw, request).datatype = draw(_types)


def _wrong_values(draw: Draw, request: Any) -> None:
    tensor = _input(draw, request)
    data = {
        "FP32": np.array([np.nan, np.inf, -np.inf, 1e38, 1e-45], np.float32),
        "INT64": np.array([-1, 2**62, 4096, 2016, -(2**63)]),
    }.get(tensor.datatype, np.arange(5))
    values = np.roll(data, draw(st.integers(0, 4)))
    size = prod(max(0, axis) for axis in tensor.shape)
    if 0 < size <= _MAX_BYTES:
        _set_data(request, tensor, np.resize(values, size).tobytes())


def _wrong_length(draw: Draw, request: Any) -> None:
    if request.raw_input_contents:
        at = draw(st.integers(0, len(request.raw_input_contents) - 1))
        data = request.raw_input_contents[at]
        request.raw_input_contents[at] = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=9))


def _wrong_inputs(draw: Draw, request: Any) -> None:
    """An input that is missing, surplus, misnamed, or without data."""
    how = draw(st.sampled_from(["missing", "more", "name", "data"]))
    if how == "missing" and request.inputs:
        del request.inputs[draw(st.integers(0, len(request.inputs) - 1))]
    elif how == "more":
        request.inputs.add(name=draw(_words), datatype=draw(_types), shape=draw(st.lists(_axes, max_size=3)))
        request.raw_input_contents.append(draw(st.binary(max_size=16)))
    elif how == "name":
        _input(draw, request).name = draw(_words)
    elif request.raw_input_contents:
        del request.raw_input_contents[-1]


def _wrong_contents(draw: Draw, request: Any) -> None:
    """Data in the typed contents field, beside or instead of the raw bytes."""
    contents = _input(draw, request).contents
    field = draw(st.sampled_from(["int64_contents", "fp32_contents", "bool_contents", "bytes_contents"]))
    value: Any = b"xx" if field == "bytes_contents" else 1
    getattr(contents, field).extend([value] * draw(st.integers(0, 20)))
    if draw(st.booleans()):
        del request.raw_input_contents[:]


def _wrong_model(draw: Draw, request: Any) -> None:
    if draw(st.booleans()):
        request.model_name = draw(_words)
    else:
        request.model_version = draw(_versions)


def _wrong_output(draw: Draw, request: Any) -> None:
    output = request.outputs.add(name=draw(_words))
    if draw(st.booleans()):
        _parameter(draw, output.parameters)


def _wrong_parameter(draw: Draw, request: Any) -> None:
    _parameter(draw, draw(st.sampled_from([request.parameters, _input(draw, request).parameters])))


def _wrong_sequence(draw: Draw, request: Any) -> None:
    """START and END flags and sequence ids in every combination."""
    for flag in ("sequence_start", "sequence_end"):
        request.parameters[flag].bool_param = draw(st.booleans())
    name = draw(_ids)
    if isinstance(name, str):
        request.parameters["sequence_id"].string_param = name
    else:
        request.parameters["sequence_id"].int64_param = name


def _parameter(draw: Draw, parameters: Any) -> None:
    kind = draw(st.sampled_from(_kinds))
    setattr(parameters[draw(_keys)], kind, draw(_values[kind]))


def _input(draw: Draw, request: Any) -> Any:
    if not request.inputs:
        request.inputs.add(name=draw(_words), datatype=draw(_types))
    return request.inputs[draw(st.integers(0, len(request.inputs) - 1))]


def _set_data(request: Any, tensor: Any, data: bytes) -> None:
    """Replace the raw bytes of a tensor."""
    at = list(request.inputs).index(tensor)
    if at < len(request.raw_input_contents):
        request.raw_input_contents[at] = data


@st.composite
def _http(draw: Draw, models: Sequence[Any]) -> bytes:
    """An HTTP request whose path, length, encoding or JSON may be wrong."""
    name = draw(st.sampled_from([*(model.name for model in models), "nope", "%00", "x" * 2000]))
    path = draw(
        st.sampled_from(
            [f"models/{name}/infer", f"models/{name}", "repository/index", "logging", "health/ready"]
        )
    )
    body = draw(st.one_of(_json(), st.binary(max_size=100)))
    length = draw(st.sampled_from([len(body), len(body), 0, -1, 2**31, 2**63]))
    header = draw(st.sampled_from(["", "0", "-1", str(len(body)), str(2**31), "9" * 30, "x"]))
    encoding = draw(st.sampled_from(["identity", "identity", "gzip", "deflate", "nope"]))
    lines = [
        f"{draw(st.sampled_from(['POST', 'POST', 'GET', 'PUT', '']))} /v2/{path} HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Content-Length: {length}",
        f"Content-Encoding: {encoding}",
    ]
    lines += [f"Inference-Header-Content-Length: {header}"] if header else []
    return "\r\n".join([*lines, "", ""]).encode() + bytes(body)


@st.composite
def _json(draw: Draw) -> bytes:
    data = draw(st.recursive(st.one_of(st.none(), st.floats(), _numbers, _words), st.lists, max_leaves=20))
    tensor = {
        "name": draw(_words),
        "shape": draw(st.lists(_axes, max_size=4)),
        "datatype": draw(_types),
        "data": data,
    }
    text = json.dumps({"inputs": [tensor], "parameters": {draw(_keys): draw(_numbers)}}).encode()
    return _damaged(draw, text) if draw(st.booleans()) else text


_MUTATIONS = (
    *(_wrong_shape, _wrong_type, _wrong_values, _wrong_length, _wrong_inputs),
    *(_wrong_contents, _wrong_model, _wrong_output, _wrong_parameter, _wrong_sequence),
)
