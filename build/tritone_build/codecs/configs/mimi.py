"""Mimi's geometry, from a configuration in Hugging Face's format (transformers, MimiConfig)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integer_lists,
    require_integers,
    require_numbers,
    rotary_base,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.seanet import SeanetConfig
from tritone_build.layers.transformer import TransformerConfig

__all__ = ["PUBLISHED", "MimiConfig", "describes", "parse"]

PUBLISHED: Mapping[str, Any] = {
    "model_type": "mimi",
    "sampling_rate": 24000,
    "frame_rate": 12.5,
    "hidden_size": 512,
    "num_filters": 64,
    "upsampling_ratios": [8, 6, 5, 4],
    "kernel_size": 7,
    "last_kernel_size": 3,
    "residual_kernel_size": 3,
    "compress": 2,
    "codebook_size": 2048,
    "codebook_dim": 256,
    "num_quantizers": 32,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "sliding_window": 250,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
}
"""The published codec; also the defaults of transformers for missing keys."""

_INTEGERS = (
    "sampling_rate",
    "hidden_size",
    "num_filters",
    "kernel_size",
    "last_kernel_size",
    "residual_kernel_size",
    "compress",
    "codebook_size",
    "codebook_dim",
    "num_quantizers",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "sliding_window",
)
_RESAMPLE = 2
"""Default stride between the two rates of latents."""
_ONLY = {
    "audio_channels": 1,
    "num_residual_layers": 1,
    "use_causal_conv": True,
    "pad_mode": "constant",
    "trim_right_ratio": 1.0,
    "use_conv_shortcut": False,
    "num_semantic_quantizers": 1,
    "attention_bias": False,
    "hidden_act": "gelu",
}
"""Options of which only this value is implemented."""


@dataclass(frozen=True)
class MimiConfig:
    """The network of a checkpoint; ``resample`` is the stride between its two rates of latents."""

    sample_rate_hz: int
    resample: int
    seanet: SeanetConfig
    transformer: TransformerConfig
    num_codebooks: int
    codebook_size: int
    codebook_dim: int

    @property
    def dim(self) -> int:
        """Size of the latent."""
        return self.seanet.dim

    @property
    def samples_per_frame(self) -> int:
        """The hop."""
        return self.resample * prod(self.seanet.ratios)


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of Mimi."""
    return config.get("model_type") == "mimi"


def parse(config: Mapping[str, Any], where: str = "") -> MimiConfig:
    """Parse a configuration, or the section ``where`` of one; missing keys have the published values.

    Raises:
        UnsupportedNetworkError: an option is not implemented, or a value is of another kind than expected;
            the message names it.
    """
    c = {**PUBLISHED, **config}
    require_integers(c, _INTEGERS, where)
    require_integer_lists(c, ("upsampling_ratios",), where)
    require_numbers(c, ("norm_eps",), where)
    refuse_other_values(config, _only(c), where)
    ratios, rate = tuple(c["upsampling_ratios"]), c["sampling_rate"]
    frame_rate = _frame_rate(config, rate / prod(ratios) / _RESAMPLE)
    resample = rate / prod(ratios) / frame_rate
    if resample != int(resample):
        raise UnsupportedNetworkError(
            f"frame_rate = {frame_rate}: {rate} Hz / {prod(ratios)} is not a whole multiple of it"
        )
    return MimiConfig(
        sample_rate_hz=rate,
        resample=int(resample),
        seanet=SeanetConfig(
            dim=c["hidden_size"],
            base_channels=c["num_filters"],
            ratios=ratios,
            kernel_size=c["kernel_size"],
            last_kernel_size=c["last_kernel_size"],
            residual_kernel_size=c["residual_kernel_size"],
            compress=c["compress"],
        ),
        transformer=TransformerConfig(
            dim=c["hidden_size"],
            num_layers=c["num_hidden_layers"],
            num_heads=c["num_attention_heads"],
            feedforward_dim=c["intermediate_size"],
            context=c["sliding_window"],
            rope_theta=rotary_base(config, PUBLISHED["rope_theta"], where),
            norm_eps=c["norm_eps"],
        ),
        num_codebooks=c["num_quantizers"],
        codebook_size=c["codebook_size"],
        codebook_dim=c["codebook_dim"],
    )


def _frame_rate(config: Mapping[str, Any], default: float) -> float:
    """Read the frame rate; transformers 5 writes ``_frame_rate``, or nothing if the strides determine it."""
    stated = (config.get(name) for name in ("frame_rate", "_frame_rate"))
    return next((float(rate) for rate in stated if rate is not None), default)


def _only(complete: Mapping[str, Any]) -> dict[str, Any]:
    dim, heads = complete["hidden_size"], complete["num_attention_heads"]
    return _ONLY | {
        "upsample_groups": dim,
        "num_key_value_heads": heads,
        "head_dim": dim // heads,
        "vector_quantization_hidden_dimension": complete["codebook_dim"],
    }
