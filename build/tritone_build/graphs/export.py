"""Exports a codec's networks to ONNX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
import onnxscript
import torch
from onnx_ir.passes import common
from onnxscript import optimizer

from tritone_build.files import atomic_write
from tritone_build.graphs.role import Role
from tritone_build.graphs.tracing import quietly, traced
from tritone_runtime.manifests import data_files

__all__ = ["OPSET", "graph_of", "onnx_from_module", "write_onnx"]

OPSET = 20
_FOLD_LIMIT_ELEMENTS = 1 << 30
_REFUSED = -(1 << 40)
_DOMAIN = "tritone"
_Expansion: TypeAlias = Callable[[Any, ir.Value, ir.Value, str, ir.Value], None]
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


def onnx_from_module(role: Role) -> onnx.ModelProto:
    """Return the graph of a module as one protobuf message of at most 2 GB; see :func:`graph_of`."""
    proto = ir.to_proto(graph_of(role))
    onnx.checker.check_model(proto)
    return proto


def graph_of(role: Role) -> ir.Model:
    """Trace a module and return its graph, with constants folded and rules expanded.

    Named axes stay variable.
    """
    program = traced(role.module, role, role.packing is not None)
    with quietly(), torch.no_grad():
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
    _simplify(model)
    _expand_guards(model, _marking if role.engine else _failing)
    _name_axes(model, role)
    _add_defaults(model, role)
    model.metadata_props.update(role.metadata)
    return model


def _simplify(model: ir.Model) -> None:
    """Fold constants and merge repeated computations.

    The optimizer's rewriting rules are not applied: they take minutes on these graphs, and ONNX Runtime
    and TensorRT have their own.
    """
    optimizer.fold_constants(
        model, input_size_limit=_FOLD_LIMIT_ELEMENTS, output_size_limit=_FOLD_LIMIT_ELEMENTS
    )
    common.IdentityEliminationPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)


def write_onnx(model: ir.Model, path: Path) -> None:
    """Write a model of at most 2 GB atomically, so that no reader sees part of it."""
    with atomic_write(path) as partial:
        ir.save(model, partial, format="protobuf")
    if not data_files(path):  # the checker refuses linked files
        onnx.checker.check_model(path)


def _translate_require(length: Any, holds: Any, rule: str) -> Any:
    return _REQUIRE(length, holds, rule=rule)


def _expand_guards(model: ir.Model, expanded: _Expansion) -> None:
    """Replace each Require node by nodes that act on a broken rule."""
    for node in list(model.graph):
        if node.domain != _DOMAIN:
            continue
        length, holds = node.inputs
        assert length is not None
        assert holds is not None
        tape = ir.tape.Tape()
        guarded = ir.Value(name=node.outputs[0].name)
        expanded(tape, length, holds, node.attributes["rule"].as_string(), guarded)
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], tape.nodes, node.outputs, tape.nodes[-1].outputs
        )
    model.graph.opset_imports.pop(_DOMAIN, None)
    model.opset_imports.pop(_DOMAIN, None)


def _failing(tape: Any, length: ir.Value, holds: ir.Value, rule: str, guarded: ir.Value) -> None:
    """Add a lookup that fails, in a node named after the rule: length + [0][1 - min(holds)]."""
    all_hold = tape.op("ReduceMin", [tape.op("Cast", [holds], {"to": ir.DataType.INT64})], {"keepdims": 0})
    index = tape.op("Sub", [_constant(tape, 1), all_hold])
    zero = tape.op("Gather", [_constant(tape, [0]), index], {"axis": 0}, name=rule)
    tape.op("Add", [length, zero], output=guarded)


def _marking(tape: Any, length: ir.Value, holds: ir.Value, rule: str, guarded: ir.Value) -> None:
    """Make the length of rows that break the rule so negative that later arithmetic keeps it negative.

    On a GPU a failing lookup would read arbitrary memory.
    """
    rows = tape.op("Cast", [holds], {"to": ir.DataType.INT32})
    rows = tape.op("Reshape", [rows, _constant(tape, [0, -1])])
    rows = tape.op("ReduceMin", [rows, _constant(tape, [1])], {"keepdims": 1}, name=rule)
    tape.op(
        "Where",
        [tape.op("Cast", [rows], {"to": ir.DataType.BOOL}), length, _constant(tape, [_REFUSED])],
        output=guarded,
    )


def _constant(tape: Any, value: int | list[int]) -> ir.Value:
    made: ir.Value = tape.op("Constant", [], {"value": ir.tensor(value, dtype=ir.DataType.INT64)})
    return made


def _name_axes(model: ir.Model, role: Role) -> None:
    for values, axes in ((model.graph.inputs, role.inputs), (model.graph.outputs, role.outputs)):
        for value, shape in zip(values, axes.values(), strict=True):
            value.shape = ir.Shape(shape)


def _add_defaults(model: ir.Model, role: Role) -> None:
    """Make inputs optional: an initializer of the same name is the default in ONNX."""
    for value in model.graph.inputs:
        name = str(value.name)
        if name in role.defaults:
            value.const_value = ir.tensor(role.defaults[name], name=name)
            model.graph.initializers[name] = value
