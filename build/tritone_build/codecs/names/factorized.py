"""The published names of :class:`tritone_build.layers.quantizers.factorized.FactorizedQuantizer`.

The tensors of all codebooks are one parameter here. DAC and SNAC publish the projections as convolutions of
kernel 1, Higgs Audio as linear maps.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["CONVOLUTIONS", "LINEAR_MAPS", "from_published", "to_published"]

CONVOLUTIONS: Mapping[str, str] = {
    "codebooks": "quantizer.quantizers.{}.codebook.weight",
    "in_weight": "quantizer.quantizers.{}.in_proj.weight",
    "in_bias": "quantizer.quantizers.{}.in_proj.bias",
    "out_weight": "quantizer.quantizers.{}.out_proj.weight",
    "out_bias": "quantizer.quantizers.{}.out_proj.bias",
}
"""Names of the parameters in DAC and SNAC, with {} for the number of the codebook."""
LINEAR_MAPS: Mapping[str, str] = {
    "codebooks": "quantizer.quantizers.{}.codebook.embed",
    "in_weight": "quantizer.quantizers.{}.project_in.weight",
    "in_bias": "quantizer.quantizers.{}.project_in.bias",
    "out_weight": "quantizer.quantizers.{}.project_out.weight",
    "out_bias": "quantizer.quantizers.{}.project_out.bias",
}
"""Names of the parameters in Higgs Audio v2."""


def to_published(quantizer: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors by published name; without data on the meta device."""
    return {
        there.format(book): _shaped(part, here, names)
        for here, there in names.items()
        for book, part in enumerate(quantizer.get_parameter(here))
    }


def from_published(
    tensors: Mapping[str, Tensor], quantizer: nn.Module, names: Mapping[str, str]
) -> dict[str, Tensor]:
    """The parameters by their names here, in FP32; the inverse of :func:`to_published`."""
    parameters = {}
    for here, there in names.items():
        parts = [tensors[there.format(book)].float() for book in range(len(quantizer.get_parameter(here)))]
        parameters[here] = torch.stack(parts).reshape(quantizer.get_parameter(here).shape)
    return parameters


def _shaped(part: Tensor, name: str, names: Mapping[str, str]) -> Tensor:
    return part[..., None] if names is CONVOLUTIONS and name.endswith("_weight") else part
