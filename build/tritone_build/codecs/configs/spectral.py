"""The geometry of NeMo's spectral codec, from a checkpoint's ``model_config.yaml``.

The encoder and the decoder have rates of their own, and the same frames.
"""

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
    class_named,
    refuse_other_models,
    section_options,
)
from tritone_build.codecs.configs.required import require_integer_lists, require_integers
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.spectral.decoder import DecoderConfig
from tritone_build.layers.spectral.encoder import EncoderConfig

__all__ = ["PUBLISHED", "SpectralConfig", "is_spectral", "parse"]

# Signatures of NeMo 3.0.0's classes. A causal decoder pads with zeros, whatever its pad_mode says.
_PARTS: Mapping[str, Classes] = {
    "audio_encoder": {
        "MultiResolutionSTFTEncoder": {
            "out_dim": REQUIRED,
            "resolutions": REQUIRED,
            "resolution_filter_list": REQUIRED,
            "down_sample_filter_list": (),
            "down_sample_rate_list": (),
            "kernel_size": 3,
            "activation": "lrelu",
            "pad_mode": "replicate",
        }
    },
    "audio_decoder": {
        "ResNetDecoder": {
            "input_dim": REQUIRED,
            "input_filters": REQUIRED,
            "pre_up_sample_rates": REQUIRED,
            "pre_up_sample_filters": REQUIRED,
            "n_hidden_layers": REQUIRED,
            "hidden_filters": REQUIRED,
            "resblock_up_sample_rates": REQUIRED,
            "resblock_up_sample_filters": REQUIRED,
            "resblock_up_sample_kernel_size": 7,
            "kernel_size": 3,
            "activation": "half_snake",
            "is_causal": False,
            "pad_mode": "replicate",
        }
    },
    "vector_quantizer": QUANTIZERS,
}
_RESOLUTION = ("n_fft", "hop", "window")
_VALUES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "audio_encoder": {"activation": ("lrelu",), "pad_mode": ("replicate",)},
    "audio_decoder": {"activation": ("half_snake",), "is_causal": (True,)},
    "vector_quantizer": {},
}


@dataclass(frozen=True)
class SpectralConfig:
    """The network of a checkpoint."""

    sample_rate_hz: int
    encode_sample_rate_hz: int
    encoder: EncoderConfig
    decoder: DecoderConfig
    num_groups: int
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        dims = (self.encoder.latent_dim, self.decoder.latent_dim, self.num_groups * len(self.levels))
        if len(set(dims)) != 1:
            raise UnsupportedNetworkError(f"latent sizes of encoder, decoder and quantizer differ: {dims}")
        hops = self.encode_samples_per_frame, self.samples_per_frame
        if hops[0] * self.sample_rate_hz != hops[1] * self.encode_sample_rate_hz:
            raise UnsupportedNetworkError(
                f"a frame has {hops[0]} samples at {self.encode_sample_rate_hz} Hz for the encoder and "
                f"{hops[1]} at {self.sample_rate_hz} Hz for the decoder; expected the same duration"
            )

    @property
    def samples_per_frame(self) -> int:
        """The decoder's hop."""
        return prod(self.decoder.pre_rates) * prod(self.decoder.rates)

    @property
    def encode_samples_per_frame(self) -> int:
        """The encoder's hop."""
        return self.encoder.resolutions[-1][1] * prod(self.encoder.down_rates)


def is_spectral(config: Mapping[str, Any]) -> bool:
    """Whether one half of the codec is of this family's class, supported or not."""
    return any(class_named(config, part) in classes for part, classes in _PARTS.items() if "audio" in part)


def parse(config: Mapping[str, Any]) -> SpectralConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing or unsupported option."""
    refuse_other_models(config)
    encoder, decoder, quantizer = (
        section_options(config, part, classes, _VALUES[part])[1] for part, classes in _PARTS.items()
    )
    rates = {"output_sample_rate": config["sample_rate"], **config}
    require_integers(rates, ("sample_rate", "output_sample_rate"), "")
    require_integers(quantizer, ("num_groups",), "vector_quantizer")
    require_integer_lists(quantizer, ("num_levels_per_group",), "vector_quantizer")
    parsed = SpectralConfig(
        sample_rate_hz=rates["output_sample_rate"],
        encode_sample_rate_hz=rates["sample_rate"],
        encoder=_encoder(encoder),
        decoder=_decoder(decoder),
        num_groups=quantizer["num_groups"],
        levels=tuple(quantizer["num_levels_per_group"]),
    )
    hop = config.get("samples_per_frame", parsed.encode_samples_per_frame)
    if hop != parsed.encode_samples_per_frame:
        raise UnsupportedNetworkError(
            f"samples_per_frame = {hop}, but the encoder's hop is {parsed.encode_samples_per_frame}"
        )
    return parsed


def _encoder(options: Mapping[str, Any]) -> EncoderConfig:
    where = "audio_encoder"
    require_integers(options, ("out_dim", "kernel_size"), where)
    require_integer_lists(options, ("resolution_filter_list",), where)
    filters = tuple(options["down_sample_filter_list"] or ())
    rates = tuple(options["down_sample_rate_list"] or (2,) * len(filters))
    resolutions = _resolutions(options["resolutions"])
    _same_length(where, resolutions=resolutions, resolution_filter_list=options["resolution_filter_list"])
    _same_length(where, down_sample_filter_list=filters, down_sample_rate_list=rates)
    if filters:
        require_integer_lists(
            {"down_sample_rate_list": rates, "down_sample_filter_list": filters},
            ("down_sample_rate_list", "down_sample_filter_list"),
            where,
        )
    if options["kernel_size"] % 2 == 0:
        raise UnsupportedNetworkError(
            f"{where}.kernel_size is {options['kernel_size']}, expected an odd number"
        )
    return EncoderConfig(
        latent_dim=options["out_dim"],
        resolutions=resolutions,
        filters=tuple(options["resolution_filter_list"]),
        down_filters=filters,
        down_rates=rates,
        kernel_size=options["kernel_size"],
    )


def _resolutions(given: Any) -> tuple[tuple[int, int, int], ...]:
    """Resolutions whose spectra this package computes, each with half as many steps as the one before."""
    where = "audio_encoder.resolutions"
    listed = list(given) if isinstance(given, list | tuple) else []
    if not listed:
        raise UnsupportedNetworkError(f"{where} is {given!r}, expected a list of [n_fft, hop, window]")
    named = {str(number): each for number, each in enumerate(listed)}
    require_integer_lists(named, named, where)
    for number, each in enumerate(listed):
        n_fft, hop, window = each if len(each) == len(_RESOLUTION) else (1, 2, 1)
        if n_fft % hop or (n_fft - hop) % 2 or window > n_fft:
            raise UnsupportedNetworkError(
                f"{where}[{number}] is {each}, expected [n_fft, hop, window]: n_fft a multiple of the hop, "
                "n_fft - hop even, and the window no longer than n_fft"
            )
        if number and hop != 2 * listed[number - 1][1]:
            raise UnsupportedNetworkError(
                f"{where}[{number}] has a hop of {hop}, expected twice the one before"
            )
    return tuple((n_fft, hop, window) for n_fft, hop, window in listed)


def _decoder(options: Mapping[str, Any]) -> DecoderConfig:
    where = "audio_decoder"
    sizes = ("input_dim", "input_filters", "hidden_filters", "kernel_size", "resblock_up_sample_kernel_size")
    pairs = (
        ("pre_up_sample_rates", "pre_up_sample_filters"),
        (
            "resblock_up_sample_rates",
            "resblock_up_sample_filters",
        ),
    )
    require_integers(options, (*sizes, "n_hidden_layers"), where)
    for pair in pairs:
        require_integer_lists(options, pair, where)
        _same_length(where, **{key: options[key] for key in pair})
    channels = options["input_filters"]
    for after in (*options["pre_up_sample_filters"], *options["resblock_up_sample_filters"]):
        if channels % after:
            raise UnsupportedNetworkError(
                f"{where} makes {after} channels of {channels}, expected a divisor of {channels}"
            )
        channels = after
    return DecoderConfig(
        latent_dim=options["input_dim"],
        channels=options["input_filters"],
        pre_rates=tuple(options["pre_up_sample_rates"]),
        pre_filters=tuple(options["pre_up_sample_filters"]),
        hidden_blocks=options["n_hidden_layers"],
        hidden_filters=options["hidden_filters"],
        rates=tuple(options["resblock_up_sample_rates"]),
        filters=tuple(options["resblock_up_sample_filters"]),
        kernel_size=options["kernel_size"],
        last_kernel_size=options["resblock_up_sample_kernel_size"],
    )


def _same_length(where: str, **lists: Any) -> None:
    if len({len(each) for each in lists.values()}) > 1:
        found = " and ".join(f"{len(each)} {key}" for key, each in lists.items())
        raise UnsupportedNetworkError(f"{where} has {found}, expected as many of both")


PUBLISHED: Mapping[str, Any] = {
    "target": MODEL,
    "sample_rate": 16000,
    "samples_per_frame": 640,
    "output_sample_rate": 22050,
    "audio_encoder": {
        "_target_": f"{MODULES}.MultiResolutionSTFTEncoder",
        "out_dim": 40,
        "resolutions": [[80, 20, 80], [160, 40, 160], [320, 80, 320], [640, 160, 640], [1280, 320, 1280]],
        "resolution_filter_list": [256, 384, 512, 640, 768],
        "down_sample_filter_list": [768],
        "down_sample_rate_list": [2],
    },
    "audio_decoder": {
        "_target_": f"{MODULES}.ResNetDecoder",
        "input_dim": 40,
        "input_filters": 768,
        "pre_up_sample_rates": [2],
        "pre_up_sample_filters": [768],
        "n_hidden_layers": 6,
        "hidden_filters": 1536,
        "resblock_up_sample_rates": [9, 7, 7],
        "resblock_up_sample_filters": [384, 128, 32],
        "is_causal": True,
    },
    "vector_quantizer": {
        "_target_": f"{MODULES}.GroupFiniteScalarQuantizer",
        "num_groups": 5,
        "num_levels_per_group": [4] * 8,
    },
}
"""The values that NVIDIA's converter for EasyMagpie expects of the ``.nemo`` file at 25 frames per second."""
