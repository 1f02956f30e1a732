"""Pads the channels of convolutions to multiples of 8, which the tensor cores of a GPU want in FP16.

The padded network computes the same numbers as the network it is made of (see
:mod:`tritone_build.layers.channels`). Its streams carry the channels of zeros in their state too. These keep
their channels:

- what a caller sees: audio, latents and tokens;
- layers over all channels at once (norms, attention, quantizers) and the layers next to them;
- layers that make channels into time steps and back (patches);
- grouped upsampling, whose groups follow one another; it appends zeros to its output where the next layer has
  more channels than groups. It computes in FP32.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

from torch import nn

from tritone_build.codecs.base import Codec
from tritone_build.layers.channels import PadsChannels

__all__ = ["MULTIPLE", "with_padded_channels"]

MULTIPLE = 8
"""FP16 numbers in 16 bytes, by which the fast kernels read channels."""


@runtime_checkable
class _Chain(Protocol):
    """A network that lists its layers; what it does between them keeps zeros."""

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        ...


def with_padded_channels(codec: Codec) -> Codec:
    """Return the codec with the channels between its layers padded to multiples of 8.

    The given codec is not changed. A network with nothing to pad stays the same object.
    """
    return replace(codec, decoder=_padded(codec.decoder), encoder=_padded(codec.encoder))


def _padded(network: nn.Module) -> nn.Module:
    padded = _sharing_weights(network)
    if not isinstance(padded, _Chain):
        return network
    layers = list(padded.chain())
    able = [isinstance(layer, PadsChannels) for layer in layers]
    between = [MULTIPLE if before and after else 1 for before, after in pairwise(able)]
    for layer, (inputs, outputs) in zip(layers, pairwise([1, *between, 1]), strict=True):
        if isinstance(layer, PadsChannels):
            layer.pad_channels(inputs, outputs)
    same = all(new is old for new, old in zip(padded.parameters(), network.parameters(), strict=True))
    return network if same else padded


def _sharing_weights(network: nn.Module) -> nn.Module:
    """A copy of the modules with the same parameters and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
