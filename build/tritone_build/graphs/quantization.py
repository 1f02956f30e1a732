"""Weights in INT8 for the CPU, where a live step takes as long as reading its weights.

ONNX Runtime's weight-only quantization (MatMulNBits): blocks of 32 weights share a scale, and products are
taken in integers, with the other factor in blocks of INT8 too (accuracy level 4). Only large matrices are
quantized: what is small costs little, and the search of a quantizer is decided by small differences.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from math import prod

import onnx_ir as ir

from tritone_build.errors import PrecisionError

__all__ = ["in_int8", "large_products"]

_SMALLEST = 1 << 19
_BLOCK, _IN_INTEGERS = 32, 4


def large_products(model: ir.Model, smallest: int = _SMALLEST) -> list[str]:
    """Names of the matrix products with a constant matrix of at least so many elements."""
    return [str(node.name) for node in model.graph if _elements(node) >= smallest]


def _elements(node: ir.Node) -> int:
    constant = node.inputs[1].const_value if node.op_type == "MatMul" and node.inputs[1] else None
    shape = () if constant is None else constant.shape.numpy()
    return prod(shape) if len(shape) == len("KN") else 0


def in_int8(model: ir.Model, smallest: int = _SMALLEST) -> ir.Model:
    """The graph with its large matrices in INT8.

    Args:
        model: in FP32.
        smallest: elements of a matrix that counts as large.

    Raises:
        PrecisionError: it has none, so that INT8 would change nothing.
    """
    wanted = large_products(model, smallest)
    if not wanted:
        raise PrecisionError(
            f"no matrix product has {smallest} weights or more: INT8 makes nothing faster; build it in FP32"
        )
    others = [str(node.name) for node in model.graph if node.op_type == "MatMul" and node.name not in wanted]
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
    """Without two lines per weight; importing the tool sets up the logging of the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        root.handlers[:] = handlers
