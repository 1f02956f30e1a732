"""A minimal streaming model, steps for it, and a clock that tests set."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.streams.scheduler import Step


def summing(tmp_path: Path) -> OnnxExecutor:
    """A streaming model whose audio is the running sum of its tokens, which must not be negative."""
    state = [{"name": "total", "shape": [1], "dtype": "float32", "ring_axis": None, "places": None}]
    nodes = [
        helper.make_node("Cast", ["tokens"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["floats", "one"], ["flat"]),
        helper.make_node("CumSum", ["flat", "axis"], ["sums"]),
        helper.make_node("Gather", ["past_total", "slot"], ["before"]),
        helper.make_node("Add", ["sums", "before"], ["audio"]),
        helper.make_node("Slice", ["audio", "minus", "huge", "one"], ["next_total"]),
        helper.make_node("ReduceMin", ["flat", "one"], ["least"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["least", "zero"], ["valid"]),
    ]
    constants = {"one": [1], "minus": [-1], "huge": [1 << 40]}
    initializers = [helper.make_tensor(n, TensorProto.INT64, [1], v) for n, v in constants.items()]
    initializers += [
        helper.make_tensor("axis", TensorProto.INT64, [], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 1, "frames"]),
            helper.make_tensor_value_info("slot", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("past_total", TensorProto.FLOAT, ["slots", 1]),
        ],
        [
            helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("valid", TensorProto.BOOL, ["batch"]),
            helper.make_tensor_value_info("next_total", TensorProto.FLOAT, ["batch", 1]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(
        model, {"state": json.dumps(state), "rule": "tokens must not be negative", "multiple": "1"}
    )
    onnx.save(model, tmp_path / "model.onnx")
    return OnnxExecutor(tmp_path / "model.onnx")


class Clock:
    """A clock that returns ``now``, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def step(stream: int, tokens: list[int], start: bool = False, end: bool = False) -> Step:
    """A step of a stream with these tokens."""
    return Step(stream, {"tokens": np.array([[tokens]], np.int64).reshape(1, 1, -1)}, start, end)
