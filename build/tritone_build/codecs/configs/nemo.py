"""The geometry of NeMo's AudioCodecModel, from a checkpoint's ``model_config.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.codecs.configs.nemo_sections import (
    MODEL,
    MODULES,
    QUANTIZERS,
    REQUIRED,
    Classes,
    refuse_other_models,
    section_options,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.hifigan import ACTIVATIONS, HiFiGanConfig

__all__ = ["NemoConfig", "parse", "published"]

# Signatures of NeMo 3.0.0's classes; options that are missing here are not implemented.
_COMMON = {
    "base_channels": 512,
    "in_kernel_size": 7,
    "out_kernel_size": 3,
    "resblock_kernel_sizes": (3, 7, 11),
    "resblock_dilation_sizes": (1, 3, 5),
    "activation": "lrelu",
    "pad_mode": "reflect",
}
_DECODER = _COMMON | {"input_dim": REQUIRED, "up_sample_rates": (8, 8, 2, 2), "output_activation": "tanh"}
_PARTS: Mapping[str, Classes] = {
    "audio_encoder": {
        "HiFiGANEncoder": _COMMON
        | {
            "encoded_dim": REQUIRED,
            "down_sample_rates": (2, 2, 8, 8),
            "base_channels": 32,
            "out_kernel_size": 7,
        }
    },
    "audio_decoder": {
        "CausalHiFiGANDecoder": _DECODER | {"n_groups_equal_to_out_channels": True, "pad_mode": "zeros"},
        "HiFiGANDecoder": _DECODER | {"n_groups_equal_to_out_channels": False},
    },
    "vector_quantizer": QUANTIZERS,
}
_VALUES = {
    "activation": tuple(ACTIVATIONS),
    "pad_mode": ("zeros", "replicate", "reflect"),
    "output_activation": ("tanh", "clamp"),
}


@dataclass(frozen=True)
class NemoConfig:
    """The network of a checkpoint."""

    sample_rate_hz: int
    encoder: HiFiGanConfig
    decoder: HiFiGanConfig
    num_groups: int
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        down, up = prod(self.encoder.rates), prod(self.decoder.rates)
        if down != up:
            raise UnsupportedNetworkError(f"the encoder's hop of {down} samples is not the decoder's, {up}")
        dims = (self.encoder.latent_dim, self.decoder.latent_dim, self.num_groups * len(self.levels))
        if len(set(dims)) != 1:
            raise UnsupportedNetworkError(f"latent sizes of encoder, decoder and quantizer differ: {dims}")

    @property
    def samples_per_frame(self) -> int:
        """The hop."""
        return prod(self.decoder.rates)


def parse(config: Mapping[str, Any]) -> NemoConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing or unsupported option."""
    _refuse_unsupported(config)
    (_, encoder), (decoder_class, decoder), (_, quantizer) = (
        section_options(config, part, classes, _VALUES) for part, classes in _PARTS.items()
    )
    parsed = NemoConfig(
        sample_rate_hz=int(config["sample_rate"]),
        encoder=_half(encoder, encoder["down_sample_rates"], encoder["encoded_dim"]),
        decoder=_half(
            decoder,
            decoder["up_sample_rates"],
            decoder["input_dim"],
            causal=decoder_class == "CausalHiFiGANDecoder",
            grouped=bool(decoder["n_groups_equal_to_out_channels"]),
            output_activation=decoder["output_activation"],
        ),
        num_groups=int(quantizer["num_groups"]),
        levels=tuple(quantizer["num_levels_per_group"]),
    )
    hop = config.get("samples_per_frame", parsed.samples_per_frame)
    if hop != parsed.samples_per_frame:
        raise UnsupportedNetworkError(
            f"samples_per_frame = {hop}, but the upsampling rates multiply to {parsed.samples_per_frame}"
        )
    return parsed


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    refuse_other_models(config)
    if config.get("output_sample_rate", config["sample_rate"]) != config["sample_rate"]:
        raise UnsupportedNetworkError("an output_sample_rate other than sample_rate is not supported")


def _half(options: Mapping[str, Any], rates: list[int], latent_dim: int, **decoder: Any) -> HiFiGanConfig:
    return HiFiGanConfig(
        rates=tuple(rates),
        latent_dim=latent_dim,
        base_channels=options["base_channels"],
        in_kernel_size=options["in_kernel_size"],
        out_kernel_size=options["out_kernel_size"],
        kernel_sizes=tuple(options["resblock_kernel_sizes"]),
        dilations=tuple(options["resblock_dilation_sizes"]),
        activation=options["activation"],
        pad_mode=options["pad_mode"],
        **decoder,
    )


def published(
    encoder: Mapping[str, Any], decoder: Mapping[str, Any], rates: list[int], groups: int, levels: list[int]
) -> dict[str, Any]:
    """The part of a ``model_config.yaml`` that describes the network, as NeMo writes it.

    Args:
        encoder: options of HiFiGANEncoder other than rates and latent size.
        decoder: ``_target_``, and options of that class other than rates and latent size.
        rates: upsampling rates of the decoder; the encoder uses them reversed.
        groups: number of codebooks.
        levels: number of levels of each dimension of a group.
    """
    latent_dim = groups * len(levels)
    return {
        "target": MODEL,
        "sample_rate": 22050,
        "samples_per_frame": prod(rates),
        "audio_encoder": {
            "_target_": f"{MODULES}.HiFiGANEncoder",
            **encoder,
            "encoded_dim": latent_dim,
            "down_sample_rates": rates[::-1],
        },
        "audio_decoder": {
            **decoder,
            "_target_": f"{MODULES}.{decoder['_target_']}",
            "input_dim": latent_dim,
            "up_sample_rates": rates,
        },
        "vector_quantizer": {
            "_target_": f"{MODULES}.GroupFiniteScalarQuantizer",
            "num_groups": groups,
            "num_levels_per_group": levels,
        },
    }
