"""Inspects the network that TensorRT parsed: precision of its layers, names and shapes of its tensors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.engines.compiler import Network
from tritone_build.errors import EngineError
from tritone_build.graphs.role import Axes, Role

__all__ = ["Inspection", "inspect_network"]

_CONVOLUTIONS = {"CONVOLUTION": "IConvolutionLayer", "DECONVOLUTION": "IDeconvolutionLayer"}
_PRODUCT = "MATRIX_MULTIPLY"
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Inspection:
    """Number of layers by dtype of their output, and of convolution and matrix weights by dtype."""

    layers: Mapping[str, int]
    weights: Mapping[str, int]

    @property
    def fp16_share(self) -> float:
        """Share of FP16 among these weights, which take nearly all the time."""
        return self.weights.get("HALF", 0) / max(1, sum(self.weights.values()))


def inspect_network(network: Network, role: Role) -> Inspection:
    """Check a parsed network against its role.

    Raises:
        EngineError: it is not FP16, or its tensors have other names or shapes.
    """
    definition = network.definition
    layers: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for number in range(definition.num_layers):
        layer = definition.get_layer(number)
        dtype = layer.get_output(0).dtype.name
        layers[dtype] += 1
        weights[dtype] += _weights_of(layer, network.trt)
    _check_tensors(definition, role)
    found = Inspection(dict(layers), dict(weights))
    if found.fp16_share < _LEAST_SHARE:
        raise EngineError(
            f"{role.name}: only {found.fp16_share:.0%} of the weights of its convolutions and matrix "
            f"products are FP16, expected at least {_LEAST_SHARE:.0%}; export it for the target tensorrt"
        )
    return found


def _weights_of(layer: Any, trt: Any) -> int:
    """Number of weights of a matrix product or convolution; 0 for other layers."""
    kind = layer.type.name
    if kind == _PRODUCT:
        return prod(size for size in layer.get_input(1).shape if size > 0)
    if kind not in _CONVOLUTIONS:
        return 0
    layer.__class__ = getattr(trt, _CONVOLUTIONS[kind])  # TensorRT returns layers as their base class
    return int(layer.kernel.size)


def _check_tensors(definition: Any, role: Role) -> None:
    inputs = [definition.get_input(number) for number in range(definition.num_inputs)]
    outputs = [definition.get_output(number) for number in range(definition.num_outputs)]
    for tensors, expected in ((inputs, role.inputs), (outputs, role.outputs)):
        found = {tensor.name: tuple(tensor.shape) for tensor in tensors}
        if list(found) != list(expected):
            raise EngineError(f"{role.name}: TensorRT has tensors {list(found)}, expected {list(expected)}")
        for name, axes in expected.items():
            if not _fits(found[name], axes):
                raise EngineError(f"{role.name}: {name} is {list(found[name])}, expected {list(axes)}")


def _fits(shape: tuple[int, ...], axes: Axes) -> bool:
    """Whether a shape fits the axes; named axes vary, and TensorRT may not know a fixed output axis."""
    return len(shape) == len(axes) and all(
        isinstance(axis, str) or size in (axis, -1) for size, axis in zip(shape, axes, strict=True)
    )
