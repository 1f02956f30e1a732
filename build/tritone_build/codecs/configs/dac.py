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

__all__ = ["DAC_16KHZ", "DAC_24KHZ", "DAC_44KHZ", "DacConfig", "describes", "parse"]


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

_REQUIRED = (
    "sampling_rate",
    "encoder_hidden_size",
    "decoder_hidden_size",
    "n_codebooks",
    "codebook_size",
    "codebook_dim",
)
_RATES = ("downsampling_ratios", "upsampling_ratios")
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
class DacConfig:
    """The network of a checkpoint.

    The encoder begins with ``encoder_dim`` channels and doubles them with each rate; the decoder begins with
    ``decoder_dim`` channels and halves them.
    """

    sample_rate_hz: int
    encoder_dim: int
    encoder_rates: tuple[int, ...]
    decoder_dim: int
    decoder_rates: tuple[int, ...]
    latent_dim: int
    num_codebooks: int
    codebook_size: int
    codebook_dim: int

    @property
    def samples_per_frame(self) -> int:
        """The hop."""
        return prod(self.decoder_rates)


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


def parse(config: Mapping[str, Any]) -> DacConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    if _is_original(config):
        config = _from_original(config)
    elif _is_parler(config):
        config = {**DAC_44KHZ, **{there: config[key] for key, there in _PARLER.items() if key in config}}
    require_keys(config, (*_REQUIRED, "downsampling_ratios"), "")
    require_integers(config, _REQUIRED, "")
    config = _with_derived(config)
    require_integer_lists(config, _RATES, "")
    require_integers(config, ("hidden_size",), "")
    parsed = DacConfig(
        sample_rate_hz=config["sampling_rate"],
        encoder_dim=config["encoder_hidden_size"],
        encoder_rates=tuple(config["downsampling_ratios"]),
        decoder_dim=config["decoder_hidden_size"],
        decoder_rates=tuple(config["upsampling_ratios"]),
        latent_dim=config["hidden_size"],
        num_codebooks=config["n_codebooks"],
        codebook_size=config["codebook_size"],
        codebook_dim=config["codebook_dim"],
    )
    _check_fits(parsed)
    return parsed


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


def _with_derived(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the values that transformers derives where it does not state them."""
    rates = config["downsampling_ratios"]
    require_integer_lists(config, ("downsampling_ratios",), "")
    derived = {
        "upsampling_ratios": rates[::-1],
        "hidden_size": config["encoder_hidden_size"] << len(rates),
    }
    stated = {key: value for key, value in config.items() if value is not None}
    return derived | stated


def _check_fits(config: DacConfig) -> None:
    hops = prod(config.encoder_rates), prod(config.decoder_rates)
    if hops[0] != hops[1]:
        raise UnsupportedNetworkError(
            f"downsampling_ratios multiply to {hops[0]}, upsampling_ratios to {hops[1]}; expected one hop"
        )
    if config.decoder_dim % (1 << len(config.decoder_rates)):
        raise UnsupportedNetworkError(
            f"decoder_hidden_size {config.decoder_dim} cannot be halved {len(config.decoder_rates)} times, "
            "once for each of upsampling_ratios"
        )
    if config == _defaults():
        raise UnsupportedNetworkError(
            "sampling_rate = 16000 with the network of descript/dac_44khz is a mistake of that repository's "
            "old revisions; take a newer revision, or write sampling_rate 44100 into config.json"
        )


def _defaults() -> DacConfig:
    """What a DacConfig of transformers holds if nothing is given, and what those old revisions hold."""
    return DacConfig(16000, 64, (2, 4, 8, 8), 1536, (8, 8, 4, 2), 1024, 9, 1024, 8)
