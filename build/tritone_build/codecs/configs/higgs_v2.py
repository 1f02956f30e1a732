"""The geometry of Higgs Audio v2's tokenizer, from HiggsAudioV2TokenizerConfig of transformers.

The defaults of that class describe another network (hop 320, five codebooks), so what the number of codebooks
and the hop follow from must be stated. A configuration within it lists only what differs from the defaults of
its own class: sizes that are missing from ``semantic_model_config`` are those of HuBERT base.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

from tritone_build.codecs.configs.dac import network_in
from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integer_lists,
    require_integers,
    require_keys,
    require_numbers,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.dac import DacConfig
from tritone_build.layers.hubert import HubertConfig

__all__ = ["PUBLISHED", "HiggsConfig", "describes", "parse"]

_HUBERT: Mapping[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "layer_norm_eps": 1e-5,
}
"""HuBERT base, which is also what transformers' HubertConfig holds by default."""

PUBLISHED: Mapping[str, Any] = {
    "model_type": "higgs_audio_v2_tokenizer",
    "sample_rate": 24000,
    "target_bandwidths": [0.5, 1, 1.5, 2],
    "codebook_size": 1024,
    "codebook_dim": 64,
    "semantic_sample_rate": 16000,
    "downsample_factor": 320,
    "kernel_size": 3,
    "unit_kernel_size": 3,
    "channel_ratios": [1, 1],
    "strides": [1, 1],
    "block_dilations": [1, 1],
    "acoustic_model_config": {
        "model_type": "dac",
        "encoder_hidden_size": 64,
        "downsampling_ratios": [8, 5, 4, 2, 3],
        "decoder_hidden_size": 1024,
        "upsampling_ratios": [8, 5, 4, 2, 3],
        "hidden_size": 256,
    },
    "semantic_model_config": {"model_type": "hubert", **_HUBERT},
}

_INTEGERS = ("sample_rate", "codebook_size", "codebook_dim", "semantic_sample_rate", "downsample_factor")
_ONLY = {key: PUBLISHED[key] for key in ("kernel_size", "unit_kernel_size", "channel_ratios", "strides")}
_ONLY_BLOCKS = {"block_dilations": PUBLISHED["block_dilations"]}
_ACOUSTIC = ("downsampling_ratios", "upsampling_ratios", "decoder_hidden_size", "hidden_size")
_DEFAULT_CHANNELS = {"encoder_hidden_size": 64}
_ONLY_HUBERT = {
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "hidden_act": "gelu",
    "conv_bias": False,
    "conv_pos_batch_norm": False,
    "do_stable_layer_norm": False,
    "feat_proj_layer_norm": True,
}
_HUBERT_LISTS = ("conv_dim", "conv_kernel", "conv_stride")


@dataclass(frozen=True)
class HiggsConfig:
    """A tokenizer: DAC's network, HuBERT, and the codebooks for both latents together.

    ``semantic_stride`` is the number of HuBERT's steps in a frame, of which one is used.
    """

    sample_rate_hz: int
    semantic_rate_hz: int
    acoustic: DacConfig
    semantic: HubertConfig
    semantic_stride: int
    num_codebooks: int
    codebook_size: int
    codebook_dim: int

    @property
    def dim(self) -> int:
        """Size of the vectors that are quantized."""
        return self.acoustic.latent_dim + self.semantic.dim


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of the tokenizer, supported or not."""
    return "acoustic_model_config" in config and "semantic_model_config" in config


def parse(config: Mapping[str, Any]) -> HiggsConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    require_keys(config, (*_INTEGERS, "target_bandwidths", "acoustic_model_config"), "")
    require_integers(config, _INTEGERS, "")
    refuse_other_values(config, {**_ONLY, **_ONLY_BLOCKS}, "")
    require_keys(config["acoustic_model_config"], _ACOUSTIC, "acoustic_model_config")
    acoustic = network_in(
        {**_DEFAULT_CHANNELS, **config["acoustic_model_config"]}, complete=True, bounded=False
    )
    return HiggsConfig(
        sample_rate_hz=config["sample_rate"],
        semantic_rate_hz=config["semantic_sample_rate"],
        acoustic=acoustic,
        semantic=_hubert(config["semantic_model_config"] or {}, config["downsample_factor"]),
        semantic_stride=_stride(config, acoustic.hop),
        num_codebooks=_num_codebooks(config, acoustic.hop),
        codebook_size=config["codebook_size"],
        codebook_dim=config["codebook_dim"],
    )


def _hubert(stated: Mapping[str, Any], step: int) -> HubertConfig:
    where = "semantic_model_config"
    config = {**_HUBERT, **stated}
    sizes = [key for key in _HUBERT if key not in (*_HUBERT_LISTS, "layer_norm_eps")]
    require_integers(config, sizes, where)
    require_integer_lists(config, _HUBERT_LISTS, where)
    require_numbers(config, ("layer_norm_eps",), where)
    refuse_other_values(config, _ONLY_HUBERT, where)
    lengths = {key: len(config[key]) for key in _HUBERT_LISTS}
    if len(set(lengths.values())) > 1 or prod(config["conv_stride"]) != step:
        raise UnsupportedNetworkError(
            f"{where}: conv_dim, conv_kernel and conv_stride have {', '.join(map(str, lengths.values()))} "
            f"layers, and the strides multiply to {prod(config['conv_stride'])}; expected equal numbers, and "
            f"downsample_factor = {step}"
        )
    for key in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config["hidden_size"] % config[key]:
            raise UnsupportedNetworkError(
                f"{where}: hidden_size {config['hidden_size']} is no multiple of {key} {config[key]}"
            )
    return HubertConfig(
        dim=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        feedforward_dim=config["intermediate_size"],
        conv_dims=tuple(config["conv_dim"]),
        conv_kernels=tuple(config["conv_kernel"]),
        conv_strides=tuple(config["conv_stride"]),
        position_kernel=config["num_conv_pos_embeddings"],
        position_groups=config["num_conv_pos_embedding_groups"],
        norm_eps=float(config["layer_norm_eps"]),
    )


def _stride(config: Mapping[str, Any], hop: int) -> int:
    """HuBERT's steps in a frame."""
    samples, rest = divmod(hop * config["semantic_sample_rate"], config["sample_rate"])
    if rest or samples % config["downsample_factor"]:
        raise UnsupportedNetworkError(
            f"a frame of {hop} samples at {config['sample_rate']} Hz is no whole number of steps of "
            f"{config['downsample_factor']} samples at {config['semantic_sample_rate']} Hz"
        )
    return int(samples // config["downsample_factor"])


def _num_codebooks(config: Mapping[str, Any], hop: int) -> int:
    """As many as the largest bandwidth, in kbit/s, has room for."""
    bandwidths = config["target_bandwidths"]
    if not isinstance(bandwidths, list | tuple) or not bandwidths:
        raise UnsupportedNetworkError(f"target_bandwidths is {bandwidths!r}, expected a list of kbit/s")
    require_numbers({"target_bandwidths[-1]": bandwidths[-1]}, ("target_bandwidths[-1]",), "")
    bits = ceil(config["sample_rate"] / hop) * ceil(log2(config["codebook_size"]))
    found = int(1000 * bandwidths[-1] // bits) if bits else 0
    if found < 1:
        raise UnsupportedNetworkError(
            f"target_bandwidths: {bandwidths[-1]} kbit/s are less than one codebook's {bits} bit/s"
        )
    return found
