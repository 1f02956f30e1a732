"""Layers whose channels can be padded with zeros.

A channel of zeros changes no result. The layer before it makes it with weights and a bias of zero, an
activation keeps it zero, and the layer after it multiplies it by zero.
"""

from typing import Protocol, runtime_checkable

from torch import nn
from torch.nn import functional

__all__ = ["PadsChannels", "next_multiple", "padded_alike", "zero_padded"]


@runtime_checkable
class PadsChannels(Protocol):
    """A layer that can append channels of zeros to its input and its output."""

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """Append channels until both counts are multiples of these numbers; 1 leaves a side as it is.

        The layer gets new parameters; the tensors of the present ones are not changed.
        """
        ...


def next_multiple(count: int, factor: int) -> int:
    """Return the smallest multiple of ``factor`` that is at least ``count``."""
    return -(-count // factor) * factor


def zero_padded(parameter: nn.Parameter, *sizes: int) -> nn.Parameter:
    """Append zeros up to ``sizes``, one per axis; the same parameter if it has these sizes."""
    if parameter.shape == sizes:
        return parameter
    amounts = [size - found for size, found in zip(sizes, parameter.shape, strict=True)]
    both_ends = [each for amount in reversed(amounts) for each in (0, amount)]
    return nn.Parameter(functional.pad(parameter.detach(), both_ends), parameter.requires_grad)


def padded_alike(layer: nn.Module, inputs: int, outputs: int) -> int:
    """Return the multiple for a layer that has as many channels out as in."""
    assert inputs == outputs, f"{type(layer).__name__} has as many channels out as in: {inputs}, {outputs}"
    return inputs
