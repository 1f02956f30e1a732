"""The published configurations of MOSS Audio Tokenizer: the parts that describe the network."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MOSS", "MOSS_NANO", "MOSS_V2", "shallow"]


def _patch(size: int) -> dict[str, Any]:
    return {"module_type": "PatchedPretransform", "patch_size": size}


def _stage(dim: int, channels_in: int, channels_out: int, layers: int, **more: Any) -> dict[str, Any]:
    stage = {
        "module_type": "Transformer",
        "input_dimension": channels_in,
        "output_dimension": channels_out,
        "d_model": dim,
        "num_heads": dim // 64,
        "num_layers": layers,
        "dim_feedforward": 4 * dim,
        "causal": True,
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "max_period": 10000,
        "gating": "none",
        "layer_scale": 0.01,
        "conv_layout": True,
    }
    return stage | more


def _quantizer(num_codebooks: int) -> dict[str, Any]:
    return {
        "quantizer_type": "rlfq",
        "input_dim": 768,
        "rvq_dim": 512,
        "output_dim": 768,
        "num_quantizers": num_codebooks,
        "codebook_size": 1024,
        "codebook_dim": 8,
    }


def _mirrored(encoder: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The decoder of an encoder: its blocks in reverse order, each with its two sizes exchanged."""
    return [
        {**block, "input_dimension": block["output_dimension"], "output_dimension": block["input_dimension"]}
        if block["module_type"] == "Transformer"
        else dict(block)
        for block in reversed(encoder)
    ]


def _stereo(encoder: list[dict[str, Any]], num_codebooks: int) -> dict[str, Any]:
    return {
        "model_type": "moss-audio-tokenizer",
        "sampling_rate": 48000,
        "downsample_rate": 3840,
        "number_channels": 2,
        "enable_channel_interleave": True,
        "code_dim": 768,
        "encoder_kwargs": encoder,
        "decoder_kwargs": _mirrored(encoder),
        "quantizer_type": "rlfq",
        "quantizer_kwargs": _quantizer(num_codebooks),
    }


_MOSS_ENCODER = [
    _patch(240),
    _stage(768, 240, 384, 12),
    _patch(2),
    _stage(768, 768, 384, 12),
    _patch(2),
    _stage(768, 768, 640, 12),
    _patch(2),
    _stage(1280, 1280, 768, 32),
]

MOSS: Mapping[str, Any] = {
    "model_type": "speech_tokenizer",
    "architectures": ["MossAudioTokenizerModel"],
    "sampling_rate": 24000,
    "downsample_rate": 1920,
    "causal_transformer_context_duration": 10,
    "code_dim": 768,
    "encoder_kwargs": _MOSS_ENCODER,
    "decoder_kwargs": _mirrored(_MOSS_ENCODER),
    "quantizer_type": "rlfq",
    "quantizer_kwargs": _quantizer(32),
}
"""From config.json of OpenMOSS-Team/MOSS-Audio-Tokenizer."""

MOSS_NANO: Mapping[str, Any] = _stereo(
    [
        _patch(240),
        _stage(256, 240, 384, 4, context_duration=4),
        _patch(2),
        _stage(256, 768, 384, 2, context_duration=6),
        _patch(2),
        _stage(256, 768, 384, 2, context_duration=8),
        _patch(2),
        _stage(256, 768, 192, 4, context_duration=10),
        _patch(4),
    ],
    num_codebooks=16,
)
"""Of OpenMOSS-Team/MOSS-Audio-Tokenizer-Nano, without having read its config.json. The metadata of its ONNX
files has the layers, heads and windows of the decoder; the sizes give the published number of weights; the
encoder is taken to be the decoder mirrored."""

MOSS_V2: Mapping[str, Any] = _stereo(
    [
        _patch(240),
        _stage(768, 240, 384, 12, context_duration=1),
        _patch(2),
        _stage(768, 768, 384, 12, context_duration=2),
        _patch(2),
        _stage(768, 768, 384, 12, context_duration=4),
        _patch(2),
        _stage(768, 768, 384, 12, context_duration=8),
        _patch(2),
        _stage(768, 768, 640, 12, context_duration=10),
        _patch(2),
        _stage(1280, 1280, 768, 32, context_duration=10),
    ],
    num_codebooks=32,
)
"""Of OpenMOSS-Team/MOSS-Audio-Tokenizer-v2, after public descriptions of its config.json."""


def shallow(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same network with two layers in each transformer."""
    halves = {
        half: [block | {"num_layers": 2} if "num_layers" in block else block for block in config[half]]
        for half in ("encoder_kwargs", "decoder_kwargs")
    }
    return {**config, **halves}
