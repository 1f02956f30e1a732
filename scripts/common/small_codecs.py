"""Configurations of small codecs, for tests and rehearsals: published ones, less deep and wide."""

import copy
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from tritone_build.codecs import VARIANTS

__all__ = ["CAUSAL", "NEMO", "SMALL", "small"]


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with two stages, two residual blocks, few channels and short windows."""
    reduced = next((reduce for key, reduce in _BY_KEY.items() if key in config), _small_nemo)
    return reduced(config)


def _small_moss(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two transformers each way, at 50 and 25 Hz, with windows of 20 and 10 steps."""
    reduced = copy.deepcopy(dict(config))
    stage = {"d_model": 64, "num_heads": 4, "num_layers": 2, "dim_feedforward": 96}
    sizes = {"encoder_kwargs": ((8, 32), (64, 48)), "decoder_kwargs": ((48, 64), (32, 8))}
    for half, channels in sizes.items():
        blocks = [block for block in reduced[half] if block["module_type"] == "Transformer"][:2]
        first, second = (
            block | stage | {"input_dimension": pair[0], "output_dimension": pair[1]}
            for block, pair in zip(blocks, channels, strict=True)
        )
        patches = ({"module_type": "PatchedPretransform", "patch_size": size} for size in (2, 8))
        two, eight = patches
        decodes = half == "decoder_kwargs"
        reduced[half] = [first, two, second, eight] if decodes else [eight, first, two, second]
    reduced["quantizer_kwargs"] |= _SMALL_QUANTIZER
    rate = {"sampling_rate": 400, "downsample_rate": 16, "causal_transformer_context_duration": 0.4}
    return reduced | rate


_SMALL_QUANTIZER = {
    "input_dim": 48,
    "output_dim": 48,
    "rvq_dim": 32,
    "codebook_size": 128,
    "codebook_dim": 4,
}


def _small_stereo_moss(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two transformers each way, at 50 and 25 Hz, with windows of 20 and 15 steps, between patches.

    The one at 25 Hz has a linear map between equal sizes.
    """
    stage = next(block for block in config["encoder_kwargs"] if block["module_type"] == "Transformer")
    stage = stage | {"d_model": 64, "num_heads": 4, "num_layers": 2, "dim_feedforward": 96}

    def patch(size: int) -> dict[str, Any]:
        return {"module_type": "PatchedPretransform", "patch_size": size}

    def sized(channels_in: int, channels_out: int, seconds: float) -> dict[str, Any]:
        sizes = {"input_dimension": channels_in, "output_dimension": channels_out}
        return {**stage, **sizes, "context_duration": seconds}

    encoder = [patch(8), sized(8, 32, 0.4), patch(2), sized(64, 24, 0.6), patch(2)]
    decoder = [patch(2), sized(24, 64, 0.6), patch(2), sized(32, 8, 0.4), patch(8)]
    quantizer = {**config["quantizer_kwargs"], **_SMALL_QUANTIZER}
    rate = {"sampling_rate": 200, "downsample_rate": 16}
    halves = {"encoder_kwargs": encoder, "decoder_kwargs": decoder, "quantizer_kwargs": quantizer}
    return {**copy.deepcopy(dict(config)), **halves, **rate}


def _small_mimi(config: Mapping[str, Any]) -> dict[str, Any]:
    ratios = config["upsampling_ratios"][:2]
    sizes = {"hidden_size": 64, "upsample_groups": 64, "num_filters": 4, "intermediate_size": 96}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    books = {"codebook_size": 128, "codebook_dim": 32, "vector_quantization_hidden_dimension": 32}
    rate = {
        "sampling_rate": 1200,
        "frame_rate": 1200 / (2 * ratios[0] * ratios[1]),
        "upsampling_ratios": ratios,
    }
    return {**config, **sizes, **heads, **books, **rate, "num_hidden_layers": 2, "sliding_window": 20}


def _small_qwen3_tts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two blocks each way; the heads are wider than the model, as in the published decoder."""
    encoder = _small_mimi(config["encoder_config"])
    rates = {"upsample_rates": [8, 3], "upsampling_ratios": [2, 2]}
    hop = 8 * 3 * 2 * 2
    sizes = {"latent_dim": 48, "decoder_dim": 64, "hidden_size": 32, "intermediate_size": 56}
    books = {"codebook_dim": encoder["hidden_size"], "codebook_size": encoder["codebook_size"]}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    layers = {"num_hidden_layers": 2, "sliding_window": 20}
    decoder = {**config["decoder_config"], **rates, **sizes, **books, **heads, **layers}
    return {
        **config,
        "input_sample_rate": encoder["sampling_rate"],
        "output_sample_rate": encoder["sampling_rate"],
        "decode_upsample_rate": hop,
        "encode_downsample_rate": hop,
        "decoder_config": decoder,
        "encoder_config": encoder,
    }


def _small_dac(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two stages each way, of which one has an odd rate if one of the published has."""
    rates = [4, next((rate for rate in config["downsampling_ratios"] if rate % 2), 2)]
    sizes = {"encoder_hidden_size": 8, "decoder_hidden_size": 32, "hidden_size": 32}
    books = {"n_codebooks": 4, "codebook_size": 128, "codebook_dim": 4}
    frame_rate = config["sampling_rate"] / prod(config["downsampling_ratios"])
    halves = {"downsampling_ratios": rates, "upsampling_ratios": rates[::-1]}
    return {**config, **sizes, **books, **halves, "sampling_rate": round(frame_rate * prod(rates))}


def _small_snac(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two stages each way, and attention over blocks of 8 steps if the published network has attention."""
    windowed = config["attn_window_size"] is not None
    sizes = {"encoder_dim": 32, "decoder_dim": 128} if windowed else {"encoder_dim": 8, "decoder_dim": 32}
    rates = config["encoder_rates"][:2]
    reduced = {**config, **sizes, "encoder_rates": rates, "decoder_rates": rates[::-1]}
    hop = prod(rates) * (8 if windowed else config["vq_strides"][0])
    rate = {"attn_window_size": 8 if windowed else None, "sampling_rate": 10 * hop}
    return {**reduced, **rate, "codebook_size": 128, "codebook_dim": 4}


def _small_higgs(config: Mapping[str, Any]) -> dict[str, Any]:
    """Three stages each way, one of an odd rate; HuBERT with two layers of each kind.

    The hop stays 960: the class pads HuBERT's input by half of its step of 320 samples.
    """
    rates = [8, 15, 8]
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "hidden_size": 24}
    acoustic = {**sizes, "downsampling_ratios": rates, "upsampling_ratios": rates}
    layers = {"conv_dim": [16, 16], "conv_kernel": [40, 32], "conv_stride": [20, 16], "num_hidden_layers": 2}
    heads = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    books = {"codebook_size": 128, "codebook_dim": 8, "target_bandwidths": [0.175, 0.7]}
    semantic = {**layers, **heads, **positions, "num_feat_extract_layers": 2}
    return {
        **config,
        **books,
        "acoustic_model_config": {**config["acoustic_model_config"], **acoustic},
        "semantic_model_config": {**config["semantic_model_config"], **semantic},
    }


_RESIDUAL = {"resblock_kernel_sizes": (3, 7, 11), "resblock_dilation_sizes": (1, 3, 5)}
"""What NeMo's classes take where a configuration says nothing."""


def _small_nemo(config: Mapping[str, Any]) -> dict[str, Any]:
    reduced = copy.deepcopy(dict(config))
    rates = reduced["audio_decoder"]["up_sample_rates"][:2]
    reduced["audio_decoder"] |= {"up_sample_rates": rates, "base_channels": 16}
    reduced["audio_encoder"] |= {"down_sample_rates": rates[::-1], "base_channels": 4}
    for half in ("audio_decoder", "audio_encoder"):
        for sizes, usual in _RESIDUAL.items():
            reduced[half][sizes] = list(reduced[half].get(sizes, usual))[:2]
    reduced["samples_per_frame"] = rates[0] * rates[1]
    return reduced


def _small_spectral(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two spectra, two blocks and two rates; 16 samples of a frame go in at 800 Hz, 18 come out at 900 Hz."""
    reduced = copy.deepcopy(dict(config))
    reduced["audio_encoder"] |= {
        "resolutions": [[16, 4, 16], [32, 8, 32]],
        "resolution_filter_list": [12, 16],
        "down_sample_filter_list": [24],
    }
    reduced["audio_decoder"] |= {
        "input_filters": 24,
        "pre_up_sample_filters": [24],
        "n_hidden_layers": 2,
        "hidden_filters": 32,
        "resblock_up_sample_rates": [3, 3],
        "resblock_up_sample_filters": [12, 4],
    }
    rates = {"sample_rate": 800, "samples_per_frame": 16, "output_sample_rate": 900}
    return reduced | rates


_BY_KEY: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "number_channels": _small_stereo_moss,
    "quantizer_kwargs": _small_moss,
    "decoder_config": _small_qwen3_tts,
    "vq_strides": _small_snac,
    "acoustic_model_config": _small_higgs,
    "downsampling_ratios": _small_dac,
    "output_sample_rate": _small_spectral,
    "upsampling_ratios": _small_mimi,
}
"""How to reduce a configuration, by the first of these keys that it has."""
_NEMO = ("nanocodec", "nanocodec_1890bps", "lfsc")
_KINDS = (
    *_NEMO,
    *("mimi", "moss", "moss_nano", "qwen3_tts_12hz", "spectral_25fps"),
    *("snac_24khz", "dac_24khz", "higgs_v2"),
)
"""Published codecs that stand for all kinds of networks; the rest have other sizes only."""

_SETTINGS: dict[str, dict[str, Any]] = {"snac_24khz": {"noise": "position"}}

SMALL = {f"small_{name}": small(VARIANTS[name].config) | _SETTINGS.get(name, {}) for name in _KINDS}
_LOOK_AHEAD = [f"small_{name}" for name in ("lfsc", "snac_24khz", "dac_24khz", "higgs_v2")]
CAUSAL = [name for name in SMALL if name not in _LOOK_AHEAD]
NEMO = [f"small_{name}" for name in _NEMO]
