"""A codec whose models pass their data through, to time the way of a request without a network."""

import json
from pathlib import Path

import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.repository.configs import OUR_BACKEND, add_parameters
from tritone_runtime.manifests import FORMAT, MANIFEST, ONNX_FILE

__all__ = ["CODEC", "MODEL", "write_pass_through"]

CODEC, MODEL = "pass_through", "pass_through_decode_stream"
_ROLES = ("dequantize", "vocoder", "decode", "encode", "decode_stream")
"""Without all of these it is no codec for the launcher; only the last one gets requests."""
_PARAMETERS = {"sample_rate": "1000", "samples_per_frame": "1", "num_codebooks": "1", "max_streams": "1024"}
_IDLE_LIMIT_US, _CANDIDATES, _MOST_ROWS = 5_000_000, 4096, 16


def write_pass_through(repository: Path) -> Path:
    """Write the models to a repository, and return it."""
    for role in _ROLES:
        version = repository / f"{CODEC}_{role}" / "1"
        version.mkdir(parents=True)
        onnx.save(_step(), version / ONNX_FILE)
        (version / MANIFEST).write_text(json.dumps({"format": FORMAT}))
        (version.parent / "config.pbtxt").write_text(text_format.MessageToString(_config(role)))
    return repository


def _config(role: str) -> pb.ModelConfig:
    config = pb.ModelConfig(
        name=f"{CODEC}_{role}",
        backend=OUR_BACKEND,
        max_batch_size=_MOST_ROWS,
        instance_group=[pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)],
    )
    config.input.add(name="tokens", data_type=pb.TYPE_INT64, dims=[1, -1])
    config.output.add(name="audio", data_type=pb.TYPE_FP32, dims=[-1])
    config.output.add(name="nonce", data_type=pb.TYPE_INT64, dims=[1])
    add_parameters(config, _PARAMETERS)
    if role == "decode_stream":
        config.sequence_batching.max_sequence_idle_microseconds = _IDLE_LIMIT_US
        config.sequence_batching.oldest.max_candidate_sequences = _CANDIDATES
    return config


def _step() -> onnx.ModelProto:
    """A step whose audio is its tokens, with a state of one number that stays as it is."""
    nodes = [
        helper.make_node("Cast", ["tokens"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["floats", "book"], ["audio"]),
        helper.make_node("Gather", ["past_kept", "slot"], ["next_kept"]),
        helper.make_node("Equal", ["slot", "slot"], ["valid"]),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 1, "frames"]),
        helper.make_tensor_value_info("slot", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("past_kept", TensorProto.FLOAT, ["slots", 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "frames"]),
        helper.make_tensor_value_info("valid", TensorProto.BOOL, ["batch"]),
        helper.make_tensor_value_info("next_kept", TensorProto.FLOAT, ["batch", 1]),
    ]
    book = helper.make_tensor("book", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "pass_through", inputs, outputs, [book])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    state = [{"name": "kept", "shape": [1], "dtype": "float32", "ring_axis": None, "places": None}]
    helper.set_model_props(
        model, {"state": json.dumps(state), "rule": "every token is taken", "multiple": "1"}
    )
    return model
