"""ONNX from a codec's networks."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxscript
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from tritone_build.codecs.base import Codec, Dequantizer, Encoder, Vocoder

__all__ = ["OPSET", "Role", "onnx_from_module", "roles", "write_onnx"]

OPSET = 20
_FOLD_LIMIT_ELEMENTS = 1 << 30
_DOMAIN = "tritone"
_REQUIRE = onnxscript.values.Op(
    onnxscript.values.Opset(_DOMAIN, 1),
    "Require",
    onnx.defs.OpSchema(
        "Require",
        _DOMAIN,
        1,
        inputs=[
            onnx.defs.OpSchema.FormalParameter("length", "tensor(int64)"),
            onnx.defs.OpSchema.FormalParameter("holds", "tensor(bool)"),
        ],
        outputs=[onnx.defs.OpSchema.FormalParameter("guarded", "tensor(int64)")],
        attributes=[onnx.defs.OpSchema.Attribute("rule", onnx.defs.OpSchema.AttrType.STRING)],
    ),
)


@dataclass(frozen=True)
class Role:
    """One model of a codec: a module, an example of its inputs, and how its tensors are called.

    ``inputs`` and ``outputs`` give each tensor's axes after the batch; axes that are names vary.
    """

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]


def roles(codec: Codec) -> tuple[Role, ...]:
    """The models of a codec that hold a network or a table, in the order data passes them."""
    g = codec.geometry
    batch, frames = 2, max(5, g.min_frames)
    lengths = torch.full((batch, 1), frames)
    tokens = torch.zeros(batch, g.num_codebooks, frames, dtype=torch.int64)
    latent = torch.zeros(batch, g.latent_dim, frames)
    samples = frames * g.samples_per_frame - 1
    audio = torch.zeros(batch, samples)
    token_axes, latent_axes = (g.num_codebooks, "frames"), (g.latent_dim, "frames")
    return (
        Role(
            "dequantize",
            Dequantizer(codec),
            (tokens, lengths),
            {"tokens": token_axes, "tokens_len": (1,)},
            {"latent": latent_axes, "latent_len": (1,)},
        ),
        Role(
            "vocoder",
            Vocoder(codec),
            (latent, lengths),
            {"latent": latent_axes, "latent_len": (1,)},
            {"audio": ("samples",), "audio_len": (1,)},
        ),
        Role(
            "encode",
            Encoder(codec),
            (audio, torch.full((batch, 1), samples)),
            {"audio": ("samples",), "audio_len": (1,)},
            {"tokens": token_axes, "tokens_len": (1,)},
        ),
    )


def onnx_from_module(role: Role) -> onnx.ModelProto:
    """Trace a module and return its graph, constants folded and rules in place.

    Batch and every named axis stay variable.
    """
    dynamic = [
        {0: torch.export.Dim.DYNAMIC}
        | {axis + 1: torch.export.Dim.DYNAMIC for axis, size in enumerate(axes) if isinstance(size, str)}
        for axes in role.inputs.values()
    ]
    with _quietly(), torch.no_grad():
        program = torch.export.export(
            role.module.eval(), role.example, dynamic_shapes=tuple(dynamic), strict=False
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(role.inputs),
            output_names=list(role.outputs),
            opset_version=OPSET,
            optimize=False,
            verbose=False,
            custom_translation_table={torch.ops.tritone.require.default: _translate_require},
        )
    assert exported is not None
    model = exported.model
    optimizer.optimize_ir(
        model, input_size_limit=_FOLD_LIMIT_ELEMENTS, output_size_limit=_FOLD_LIMIT_ELEMENTS
    )
    _expand_guards(model)
    _name_axes(model, role)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    return proto


def write_onnx(proto: onnx.ModelProto, path: Path) -> None:
    """Write a model so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    onnx.save(proto, partial)
    partial.rename(path)


def _translate_require(length: Any, holds: Any, rule: str) -> Any:
    return _REQUIRE(length, holds, rule=rule)


def _expand_guards(model: ir.Model) -> None:
    """Replace each Require by a lookup that fails, under the rule's name, where the rule is broken.

    index = 1 - min(holds); length + [0][index].
    """
    for node in list(model.graph):
        if node.domain != _DOMAIN:
            continue
        length, holds = node.inputs
        rule = node.attributes["rule"].as_string()
        tape = ir.tape.Tape()
        one = _constant(tape, 1)
        all_hold = tape.op(
            "ReduceMin", [tape.op("Cast", [holds], {"to": ir.DataType.INT64})], {"keepdims": 0}
        )
        index = tape.op("Sub", [one, all_hold])
        zero = tape.op("Gather", [_constant(tape, [0]), index], {"axis": 0}, name=rule)
        tape.op("Add", [length, zero], output=ir.Value(name=node.outputs[0].name))
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], tape.nodes, node.outputs, tape.nodes[-1].outputs
        )
    model.graph.opset_imports.pop(_DOMAIN, None)
    model.opset_imports.pop(_DOMAIN, None)


def _constant(tape: Any, value: int | list[int]) -> ir.Value:
    made: ir.Value = tape.op("Constant", [], {"value": ir.tensor(value, dtype=ir.DataType.INT64)})
    return made


def _name_axes(model: ir.Model, role: Role) -> None:
    for values, axes in ((model.graph.inputs, role.inputs), (model.graph.outputs, role.outputs)):
        for value, shape in zip(values, axes.values(), strict=True):
            value.shape = ir.Shape(["batch", *shape])


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not installed and axes it renames."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
