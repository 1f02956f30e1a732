"""Geometry of Qwen3-TTS's tokenizer of 12 Hz, from its configuration (Qwen3TTSTokenizerV2Config)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.codecs.configs import mimi as mimi_config
from tritone_build.codecs.configs.mimi import MimiConfig
from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integer_lists,
    require_integers,
    require_keys,
    require_numbers,
    rotary_base,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.transformer import TransformerConfig
from tritone_build.layers.upsampling import SnakeDecoderConfig

__all__ = ["PUBLISHED", "Qwen3TtsConfig", "describes", "parse"]

_MODEL_TYPE = "qwen3_tts_tokenizer_12hz"
_SIBLING = "qwen3_tts_tokenizer_25hz"
PUBLISHED: Mapping[str, Any] = {
    "architectures": ["Qwen3TTSTokenizerV2Model"],
    "model_type": _MODEL_TYPE,
    "encoder_valid_num_quantizers": 16,
    "input_sample_rate": 24000,
    "output_sample_rate": 24000,
    "decode_upsample_rate": 1920,
    "encode_downsample_rate": 1920,
    "decoder_config": {
        "attention_bias": False,
        "latent_dim": 1024,
        "codebook_dim": 512,
        "codebook_size": 2048,
        "decoder_dim": 1536,
        "hidden_act": "silu",
        "hidden_size": 512,
        "intermediate_size": 1024,
        "head_dim": 64,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "num_hidden_layers": 8,
        "num_quantizers": 16,
        "num_semantic_quantizers": 1,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000,
        "sliding_window": 72,
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
        "vector_quantization_hidden_dimension": 512,
    },
    "encoder_config": dict(mimi_config.PUBLISHED),
}
"""The part of the published configuration that describes the network."""

_HALVES = ("decoder_config", "encoder_config")
_TOP_INTEGERS = (
    "encoder_valid_num_quantizers",
    "input_sample_rate",
    "output_sample_rate",
    "decode_upsample_rate",
    "encode_downsample_rate",
)
_INTEGERS = (
    "latent_dim",
    "codebook_dim",
    "codebook_size",
    "decoder_dim",
    "hidden_size",
    "intermediate_size",
    "head_dim",
    "num_attention_heads",
    "num_hidden_layers",
    "num_quantizers",
    "sliding_window",
)
_NUMBERS = ("rms_norm_eps", "rope_theta")
_LISTS = ("upsample_rates", "upsampling_ratios")
_DECODER = (*_INTEGERS, *_NUMBERS, *_LISTS)
"""Keys that must be there: the defaults of the authors' class describe another network."""
_ENCODER = ("codebook_size", "hidden_size", "num_quantizers", "sliding_window", "upsampling_ratios")
_ONLY = {
    "attention_bias": False,
    "hidden_act": "silu",
    "num_semantic_quantizers": 1,
}
"""Options of the decoder of which only this value is implemented."""


@dataclass(frozen=True)
class Qwen3TtsConfig:
    """The network of a checkpoint.

    ``encoder`` is the whole encoder with all its codebooks, of which the first ``num_codebooks`` are used.
    ``ratios`` are the upsampling rates of the stages between the decoder's transformer and ``snake``.
    """

    sample_rate_hz: int
    samples_per_frame: int
    num_codebooks: int
    codebook_size: int
    latent_dim: int
    hidden_dim: int
    transformer: TransformerConfig
    ratios: tuple[int, ...]
    snake: SnakeDecoderConfig
    encoder: MimiConfig

    @property
    def codebook_dim(self) -> int:
        """Size of an entry of the decoder's codebooks: half of the latent, as in the authors' class."""
        return self.latent_dim // 2


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of this tokenizer, or of its sibling of 25 Hz.

    A configuration with the sections of both halves is one, whatever its ``model_type``; :func:`parse`
    refuses a model type that is missing or foreign.
    """
    return config.get("model_type") in (_MODEL_TYPE, _SIBLING) or all(half in config for half in _HALVES)


def parse(config: Mapping[str, Any]) -> Qwen3TtsConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    _check_model_type(config.get("model_type"))
    require_keys(config, (*_HALVES, *_TOP_INTEGERS), "")
    require_integers(config, _TOP_INTEGERS, "")
    d, encoder = (config[half] for half in _HALVES)
    _check_decoder(d)
    require_keys(encoder, _ENCODER, "encoder_config")
    parsed = Qwen3TtsConfig(
        sample_rate_hz=config["output_sample_rate"],
        samples_per_frame=config["decode_upsample_rate"],
        num_codebooks=d["num_quantizers"],
        codebook_size=d["codebook_size"],
        latent_dim=d["codebook_dim"],
        hidden_dim=d["latent_dim"],
        transformer=_transformer(d),
        ratios=tuple(d["upsampling_ratios"]),
        snake=SnakeDecoderConfig(d["latent_dim"], d["decoder_dim"], tuple(d["upsample_rates"])),
        encoder=mimi_config.parse(encoder, "encoder_config"),
    )
    _check_fits(config, parsed)
    return parsed


def _check_model_type(found: object) -> None:
    if found == _SIBLING:
        raise UnsupportedNetworkError(
            f"model_type = {_SIBLING!r}, the tokenizer of 25 Hz, is not supported; supported: {_MODEL_TYPE!r}"
        )
    if found != _MODEL_TYPE:
        said = "a configuration without model_type" if found is None else f"model_type = {found!r}"
        raise UnsupportedNetworkError(
            f"{said} is not supported for a codec with decoder_config and encoder_config; supported: "
            f"{_MODEL_TYPE!r}"
        )


def _check_decoder(decoder: Any) -> None:
    where = "decoder_config"
    require_keys(decoder, _DECODER, where)
    require_integers(decoder, _INTEGERS, where)
    require_integer_lists(decoder, _LISTS, where)
    require_numbers(decoder, _NUMBERS, where)
    only = _ONLY | {"num_key_value_heads": decoder["num_attention_heads"]}
    refuse_other_values(decoder, only, where)


def _transformer(decoder: Mapping[str, Any]) -> TransformerConfig:
    return TransformerConfig(
        dim=decoder["hidden_size"],
        num_layers=decoder["num_hidden_layers"],
        num_heads=decoder["num_attention_heads"],
        feedforward_dim=decoder["intermediate_size"],
        context=decoder["sliding_window"],
        rope_theta=rotary_base(decoder, decoder["rope_theta"], "decoder_config"),
        norm_eps=decoder["rms_norm_eps"],
        norm="rms",
        gated=True,
        head_width=decoder["head_dim"],
    )


def _check_fits(config: Mapping[str, Any], parsed: Qwen3TtsConfig) -> None:
    """Check that decoder, encoder and the stated rates and codebooks are those of one codec."""
    encoder, books = parsed.encoder, parsed.num_codebooks
    if encoder.num_codebooks < books:
        raise UnsupportedNetworkError(
            f"the encoder has {encoder.num_codebooks} codebooks, the decoder needs {books}"
        )
    rate, hop = parsed.sample_rate_hz, parsed.samples_per_frame
    stated = (
        ("input_sample_rate", config["input_sample_rate"], rate),
        ("encode_downsample_rate", config["encode_downsample_rate"], hop),
        ("encoder_valid_num_quantizers", config["encoder_valid_num_quantizers"], books),
        ("the product of the decoder's rates", prod((*parsed.ratios, *parsed.snake.rates)), hop),
        ("the encoder's sampling_rate", encoder.sample_rate_hz, rate),
        ("the encoder's hop", encoder.samples_per_frame, hop),
        ("encoder_config.codebook_size", encoder.codebook_size, parsed.codebook_size),
        ("encoder_config.hidden_size", encoder.dim, parsed.latent_dim),
    )
    for what, found, wanted in stated:
        if found != wanted:
            raise UnsupportedNetworkError(
                f"{what} is {found}, which does not fit the decoder's {wanted}; only a codec whose halves "
                "have the same rates and codebooks is supported"
            )
