"""Writes a role as an ONNX graph, with the weights of large graphs beside it.

The programs of a GPU need none of the packages that this imports.
"""

from pathlib import Path

from tritone_build.graphs.export import graph_of, write_onnx
from tritone_build.graphs.quantization import (
    SMALLEST,
    SMALLEST_OF_A_DECODER,
    large_products,
    quantized_to_int8,
)
from tritone_build.graphs.role import Role
from tritone_build.graphs.weights import SharedWeights
from tritone_runtime.manifests import ONNX_FILE

__all__ = ["SharedWeights", "write_graph"]


def write_graph(role: Role, version: Path, in_int8: bool, shared: SharedWeights) -> None:
    """Export a role and write its graph into a version folder.

    Args:
        role: the role.
        version: the folder.
        in_int8: quantize the large matrices of networks; an encoder without any stays in FP32.
        shared: the files of weights of the codec's models.

    Raises:
        PrecisionError: a decoder has no matrix for INT8.
    """
    graph = graph_of(role)
    if in_int8 and role.name != "dequantize":
        large = bool(large_products(graph))
        if large or not role.name.startswith("encode"):
            graph = quantized_to_int8(graph, SMALLEST if large else SMALLEST_OF_A_DECODER)
    shared.externalize(graph, version, role.name)
    write_onnx(graph, version / ONNX_FILE)
