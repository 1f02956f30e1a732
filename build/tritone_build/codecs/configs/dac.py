"""DAC's geometry, from the three forms in which it is published.

transformers' DacConfig, the arguments of Descript's class as its files of weights hold them, and Parler-TTS's
configuration, which states the quantizer only. What a frame is follows from the rates: ``hop_length`` of
descript/dac_24khz is 512, and that network's hop is 320.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integer_lists,
    require_integers,
    require_keys,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.dac import DacConfig

__all__ = ["DAC_16KHZ", "DAC_24KHZ", "DAC_44KHZ", "DacCodecConfig", "describes", "network_in", "parse"]


def _published(rate_hz: int, ratios: list[int], num_codebooks: int) -> dict[str, Any]:
    return {
        "model_type": "dac",
        "sampling_rate": rate_hz,
        "encoder_hidden_size": 64,
        "downsampling_ratios": ratios,
        "decoder_hidden_size": 1536,
        "upsampling_ratios": ratios[::-1],
        "hidden_size": 1024,
        "n_codebooks": num_codebooks,
        "codebook_size": 1024,
        "codebook_dim": 8,
    }


DAC_44KHZ = _published(44100, [2, 4, 8, 8], 9)
DAC_24KHZ = _published(24000, [2, 4, 5, 8], 32)
DAC_16KHZ = _published(16000, [2, 4, 5, 8], 12)

_QUANTIZER = ("sampling_rate", "n_codebooks", "codebook_size", "codebook_dim")
_SIZES = ("encoder_hidden_size", "decoder_hidden_size")
_ORIGINAL = {
    "sample_rate": "sampling_rate",
    "encoder_dim": "encoder_hidden_size",
    "encoder_rates": "downsampling_ratios",
    "decoder_dim": "decoder_hidden_size",
    "decoder_rates": "upsampling_ratios",
    "latent_dim": "hidden_size",
    "n_codebooks": "n_codebooks",
    "codebook_size": "codebook_size",
    "codebook_dim": "codebook_dim",
}
"""Arguments of Descript's class, and transformers' names for them."""
_TRAINING_ONLY = ("quantizer_dropout",)
_PARLER = {
    "num_codebooks": "n_codebooks",
    "codebook_size": "codebook_size",
    "latent_dim": "hidden_size",
    "sampling_rate": "sampling_rate",
}
_MODEL_TYPES = ("dac", "dac_on_the_hub")


@dataclass(frozen=True)
class DacCodecConfig:
    """A checkpoint: its sample rate, the encoder and decoder, and the codebooks."""

    sample_rate_hz: int
    network: DacConfig
    num_codebooks: int
    codebook_size: int
    codebook_dim: int


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of DAC, supported or not."""
    return _is_transformers(config) or _is_original(config) or _is_parler(config)


def _is_transformers(config: Mapping[str, Any]) -> bool:
    return "downsampling_ratios" in config and "n_codebooks" in config


def _is_original(config: Mapping[str, Any]) -> bool:
    """SNAC has most of these keys too, and ``vq_strides``."""
    return "encoder_rates" in config and "decoder_rates" in config and "vq_strides" not in config


def _is_parler(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") in _MODEL_TYPES and "num_codebooks" in config


def parse(config: Mapping[str, Any]) -> DacCodecConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    if _is_original(config):
        config = _from_original(config)
    elif _is_parler(config):
        config = {**DAC_44KHZ, **{there: config[key] for key, there in _PARLER.items() if key in config}}
    require_keys(config, _QUANTIZER, "")
    require_integers(config, _QUANTIZER, "")
    parsed = DacCodecConfig(
        sample_rate_hz=config["sampling_rate"],
        network=network_in(config),
        num_codebooks=config["n_codebooks"],
        codebook_size=config["codebook_size"],
        codebook_dim=config["codebook_dim"],
    )
    if parsed == _MISTAKEN:
        raise UnsupportedNetworkError(
            "sampling_rate = 16000 with the network of descript/dac_44khz is a mistake of that repository's "
            "old revisions; take a newer revision, or write sampling_rate 44100 into config.json"
        )
    return parsed


def network_in(config: Mapping[str, Any], complete: bool = False, bounded: bool = True) -> DacConfig:
    """Encoder and decoder of a DacConfig of transformers.

    Args:
        config: the configuration; where it lacks ``upsampling_ratios`` or ``hidden_size``, they follow from
            ``downsampling_ratios`` as in transformers.
        complete: see :class:`tritone_build.layers.ahead.dac.DacConfig`.
        bounded: see there.

    Raises:
        UnsupportedNetworkError: as for :func:`parse`.
    """
    require_keys(config, (*_SIZES, "downsampling_ratios"), "")
    require_integers(config, _SIZES, "")
    require_integer_lists(config, ("downsampling_ratios",), "")
    rates = config["downsampling_ratios"]
    stated = {key: value for key, value in config.items() if value is not None}
    derived = {"upsampling_ratios": rates[::-1], "hidden_size": config["encoder_hidden_size"] << len(rates)}
    config = derived | stated
    require_integer_lists(config, ("upsampling_ratios",), "")
    require_integers(config, ("hidden_size",), "")
    _check_fits(config)
    return DacConfig(
        latent_dim=config["hidden_size"],
        latent_rate=1,
        encoder_channels=config["encoder_hidden_size"],
        encoder_rates=tuple(rates),
        decoder_channels=config["decoder_hidden_size"],
        decoder_rates=tuple(config["upsampling_ratios"]),
        complete=complete,
        bounded=bounded,
    )


def _from_original(config: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [key for key in config if key not in (*_ORIGINAL, *_TRAINING_ONLY)]
    if unknown:
        raise UnsupportedNetworkError(
            f"{', '.join(unknown)}: no arguments of DAC of descript-audio-codec 1.0.0, which is supported; "
            "this may be a network of a later version"
        )
    renamed = {there: config[key] for key, there in _ORIGINAL.items() if config.get(key) is not None}
    widths = renamed.get("codebook_dim")
    if isinstance(widths, list | tuple):
        refuse_other_values({"codebook_dim": widths}, {"codebook_dim": [widths[0]] * len(widths)}, "")
        renamed["codebook_dim"] = widths[0]
    return renamed


def _check_fits(config: Mapping[str, Any]) -> None:
    down, up, channels = (
        config[key] for key in ("downsampling_ratios", "upsampling_ratios", "decoder_hidden_size")
    )
    if prod(down) != prod(up):
        raise UnsupportedNetworkError(
            f"downsampling_ratios multiply to {prod(down)}, upsampling_ratios to {prod(up)}; expected one hop"
        )
    if channels % (1 << len(up)):
        raise UnsupportedNetworkError(
            f"decoder_hidden_size {channels} cannot be halved {len(up)} times, once for each of "
            "upsampling_ratios"
        )


_MISTAKEN = DacCodecConfig(16000, DacConfig(1024, 1, 64, (2, 4, 8, 8), 1536, (8, 8, 4, 2)), 9, 1024, 8)
"""What old revisions of descript/dac_44khz say; also the defaults of transformers' DacConfig."""
