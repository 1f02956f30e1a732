"""Strict loading: every tensor of a checkpoint is used, and the error names those that do not fit."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tritone_build.errors import CheckpointMismatchError

__all__ = ["assign_published", "assign_strictly", "check_strictly", "published_tensors"]


def check_strictly(
    expected: Mapping[str, torch.Size],
    constants: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source: str,
) -> None:
    """Compare the tensors of a checkpoint with those that a network needs.

    Args:
        expected: expected shapes by name in the checkpoint.
        constants: tensors that the checkpoint must contain with exactly these values.
        tensors: tensors of the checkpoint.
        source: name of the checkpoint, for errors.

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
    """Give a network on the meta device its weights, in FP32.

    Args:
        network: the network, on the meta device.
        names: names in the checkpoint -> parameters of the network, complete.
        tensors: tensors of the checkpoint, with weight norm folded, without networks for training.
        constants: see :func:`check_strictly`, which raises if a tensor does not fit.
        source: name of the checkpoint, for errors.
    """
    expected = {there: network.get_parameter(here).shape for there, here in names.items()}
    check_strictly(expected, constants, tensors, source)
    network.load_state_dict({here: tensors[there].float() for there, here in names.items()}, assign=True)


def published_tensors(network: nn.Module, published_name: Callable[[str], str]) -> dict[str, Tensor]:
    """Parameters by published name.

    Args:
        network: the network; on the meta device its tensors have no data.
        published_name: published name of a parameter; with {} for the index of a row if each row of the
            parameter is published as a tensor.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        there = published_name(name)
        if "{}" in there:
            tensors |= {there.format(index): entry for index, entry in enumerate(parameter)}
        else:
            tensors[there] = parameter
    return tensors


def assign_published(
    network: nn.Module, published_name: Callable[[str], str], tensors: Mapping[str, Tensor]
) -> None:
    """Give a network the tensors of :func:`published_tensors`; those in FP32 and one piece are not copied."""
    state = {}
    for name, parameter in network.named_parameters():
        there = published_name(name)
        if "{}" in there:
            state[name] = torch.stack([tensors[there.format(n)].float() for n in range(len(parameter))])
        else:
            state[name] = tensors[there].float()
    network.load_state_dict(state, assign=True)
