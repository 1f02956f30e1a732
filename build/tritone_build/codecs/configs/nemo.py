"""The geometry of NeMo's AudioCodecModel, from a checkpoint's ``model_config.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.hifigan import ACTIVATIONS, HiFiGanConfig

__all__ = ["NemoConfig", "parse", "published"]

_MODEL = "nemo.collections.tts.models.audio_codec.AudioCodecModel"
_MODULES = "nemo.collections.tts.modules.audio_codec_modules"
_REQUIRED = object()

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
_DECODER = _COMMON | {"input_dim": _REQUIRED, "up_sample_rates": (8, 8, 2, 2), "output_activation": "tanh"}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "HiFiGANEncoder": _COMMON
    | {
        "encoded_dim": _REQUIRED,
        "down_sample_rates": (2, 2, 8, 8),
        "base_channels": 32,
        "out_kernel_size": 7,
    },
    "HiFiGANDecoder": _DECODER | {"n_groups_equal_to_out_channels": False},
    "CausalHiFiGANDecoder": _DECODER | {"n_groups_equal_to_out_channels": True, "pad_mode": "zeros"},
    "GroupFiniteScalarQuantizer": {"num_groups": _REQUIRED, "num_levels_per_group": _REQUIRED},
}
_PARTS = {
    "audio_encoder": ("HiFiGANEncoder",),
    "audio_decoder": ("CausalHiFiGANDecoder", "HiFiGANDecoder"),
    "vector_quantizer": ("GroupFiniteScalarQuantizer",),
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
    (_, encoder), (decoder_class, decoder), (_, quantizer) = (_options(config, part) for part in _PARTS)
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
    if config.get("target", _MODEL) != _MODEL:
        raise UnsupportedNetworkError(f"target {config['target']} is not supported; supported: {_MODEL}")
    if "sample_rate" not in config:
        raise UnsupportedNetworkError("the configuration has no sample_rate; is this an audio codec?")
    for key in ("semantic_codec", "semantic_codec_path"):
        if config.get(key):
            raise UnsupportedNetworkError(f"{key} is not supported: this codec contains a second codec")
    if config.get("output_sample_rate", config["sample_rate"]) != config["sample_rate"]:
        raise UnsupportedNetworkError("an output_sample_rate other than sample_rate is not supported")


def _options(config: Mapping[str, Any], part: str) -> tuple[str, dict[str, Any]]:
    """Return the class name of one part and its options, with defaults."""
    section = config.get(part)
    if not isinstance(section, Mapping):
        raise UnsupportedNetworkError(f"the configuration has no section {part!r}; is this an audio codec?")
    name = str(section.get("_target_")).removeprefix(f"{_MODULES}.")
    if name not in _PARTS[part]:
        supported = ", ".join(_PARTS[part])
        raise UnsupportedNetworkError(
            f"{part}: {section.get('_target_')} is not supported; supported: {supported}"
        )
    options = dict(_OPTIONS[name])
    for key, value in section.items():
        if key == "_target_":
            continue
        if key not in options:
            known = ", ".join(options)
            raise UnsupportedNetworkError(
                f"{part}: option {key} = {value!r} is not supported; known: {known}"
            )
        if value not in _VALUES.get(key, (value,)):
            supported = ", ".join(_VALUES[key])
            raise UnsupportedNetworkError(
                f"{part}: {key} = {value!r} is not supported; supported: {supported}"
            )
        options[key] = value
    missing = [key for key, value in options.items() if value is _REQUIRED]
    if missing:
        raise UnsupportedNetworkError(f"{part}: {name} needs the options {', '.join(missing)}")
    return name, options


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
        "target": _MODEL,
        "sample_rate": 22050,
        "samples_per_frame": prod(rates),
        "audio_encoder": {
            "_target_": f"{_MODULES}.HiFiGANEncoder",
            **encoder,
            "encoded_dim": latent_dim,
            "down_sample_rates": rates[::-1],
        },
        "audio_decoder": {
            **decoder,
            "_target_": f"{_MODULES}.{decoder['_target_']}",
            "input_dim": latent_dim,
            "up_sample_rates": rates,
        },
        "vector_quantizer": {
            "_target_": f"{_MODULES}.GroupFiniteScalarQuantizer",
            "num_groups": groups,
            "num_levels_per_group": levels,
        },
    }
