"""Loading that uses every tensor of a checkpoint, and names whatever does not fit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tritone_build.errors import CheckpointMismatchError

__all__ = ["assign_strictly", "check_strictly"]


def check_strictly(
    expected: Mapping[str, torch.Size],
    constants: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source: str,
) -> None:
    """Hold the tensors of a checkpoint against those of a network.

    Args:
        expected: shapes by name in the checkpoint.
        constants: tensors that the checkpoint must repeat with these very values.
        tensors: of the checkpoint.
        source: named in errors.

    Raises:
        CheckpointMismatchError: names every tensor that is missing, left over or of another shape.
    """
    expected = {**expected, **{there: tensor.shape for there, tensor in constants.items()}}
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ] + [
        f"{name} is {tensors[name].flatten().tolist()}, expected {constant.flatten().tolist()}"
        for name, constant in constants.items()
        if name in tensors
        and tensors[name].shape == constant.shape
        and not tensors[name].to(constant.dtype).equal(constant)
    ]
    if missing or unexpected or misshapen:
        raise CheckpointMismatchError(source, missing, unexpected, misshapen)


def assign_strictly(
    network: nn.Module,
    names: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    source: str,
) -> None:
    """Give a network built on the meta device its weights, in FP32.

    Args:
        network: on the meta device.
        names: name in the checkpoint -> parameter of the network; every parameter is named.
        tensors: of the checkpoint, weight norm folded, training-only networks left out.
        constants: see :func:`check_strictly`, which holds the checkpoint to all of these.
        source: named in errors.
    """
    expected = {there: network.get_parameter(here).shape for there, here in names.items()}
    check_strictly(expected, constants, tensors, source)
    network.load_state_dict({here: tensors[there].float() for there, here in names.items()}, assign=True)
