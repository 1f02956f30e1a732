"""Weights in INT8 for the CPU, where a live step takes as long as reading its weights.

This is ONNX Runtime's weight-only quantization (MatMulNBits): blocks of 32 weights share a scale, and
products are computed in integers, with the activations in blocks of INT8 too (accuracy level 4). Only
large matrices are quantized: small ones cost little, and small differences decide the search in a codec's
quantizer. A decoder has no search, so one without large matrices is quantized from a smaller size on.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from math import prod

import onnx_ir as ir

from tritone_build.errors import PrecisionError

__all__ = ["SMALLEST", "SMALLEST_OF_A_DECODER", "large_products", "quantized_to_int8"]

SMALLEST, SMALLEST_OF_A_DECODER = 1 << 19, 1 << 16
"""Elements of the smallest matrix in INT8, and of that in a decoder without such a matrix."""
_BLOCK, _IN_INTEGERS = 32, 4


def large_products(model: ir.Model, smallest: int = SMALLEST) -> list[str]:
    """Names of the matrix products with a constant matrix of at least ``smallest`` elements."""
    return [str(node.name) for node in model.graph if _elements(node) >= smallest]


def _elements(node: ir.Node) -> int:
    constant = node.inputs[1].const_value if node.op_type == "MatMul" and node.inputs[1] else None
    shape = () if constant is None else constant.shape.numpy()
    return prod(shape) if len(shape) == len("KN") else 0


def quantized_to_int8(model: ir.Model, smallest: int = SMALLEST) -> ir.Model:
    """Return the graph with its large matrices in INT8.

    Args:
        model: the graph, in FP32.
        smallest: number of elements from which a matrix counts as large.

    Raises:
        PrecisionError: the graph has no large matrix, so INT8 would change nothing.
    """
    wanted = large_products(model, smallest)
    if not wanted:
        raise PrecisionError(
            f"no matrix product has {smallest} weights or more; INT8 makes nothing faster; build it in FP32"
        )
    others = [
        str(node.name)
        for node in model.graph.all_nodes()  # those of branches as well
        if node.op_type == "MatMul" and node.name not in wanted
    ]
    with _unlogged():
        tool = import_module("onnxruntime.quantization.matmul_nbits_quantizer")
        config = tool.DefaultWeightOnlyQuantConfig(
            block_size=_BLOCK, is_symmetric=True, accuracy_level=_IN_INTEGERS, bits=8
        )
        quantizer = tool.MatMulNBitsQuantizer(ir.to_proto(model), algo_config=config, nodes_to_exclude=others)
        quantizer.process()
        quantized: ir.Model = ir.from_proto(quantizer.model.model)
    return quantized


@contextmanager
def _unlogged() -> Iterator[None]:
    """Suppress two log lines per weight, and restore the logging that importing the tool changes."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        root.handlers[:] = handlers
