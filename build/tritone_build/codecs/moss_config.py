"""MOSS Audio Tokenizer's geometry, from the configuration beside its weights.

The defaults of the authors' configuration class describe another model (48 kHz, stereo), so missing keys have
no defaults here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.transformer import TransformerConfig

__all__ = ["PUBLISHED", "SHALLOW", "Block", "MossConfig", "PatchConfig", "QuantizerConfig", "StageConfig"]
__all__ += ["describes", "parse"]


def _stage(dim: int, channels_in: int, channels_out: int, layers: int) -> dict[str, Any]:
    return {
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


def _patch(size: int) -> dict[str, Any]:
    return {"module_type": "PatchedPretransform", "patch_size": size}


PUBLISHED: dict[str, Any] = {
    "model_type": "speech_tokenizer",
    "architectures": ["MossAudioTokenizerModel"],
    "sampling_rate": 24000,
    "downsample_rate": 1920,
    "causal_transformer_context_duration": 10,
    "code_dim": 768,
    "encoder_kwargs": [
        _patch(240),
        _stage(768, 240, 384, 12),
        _patch(2),
        _stage(768, 768, 384, 12),
        _patch(2),
        _stage(768, 768, 640, 12),
        _patch(2),
        _stage(1280, 1280, 768, 32),
    ],
    "decoder_kwargs": [
        _stage(1280, 768, 1280, 32),
        _patch(2),
        _stage(768, 640, 768, 12),
        _patch(2),
        _stage(768, 384, 768, 12),
        _patch(2),
        _stage(768, 384, 240, 12),
        _patch(240),
    ],
    "quantizer_type": "rlfq",
    "quantizer_kwargs": {
        "quantizer_type": "rlfq",
        "input_dim": 768,
        "rvq_dim": 512,
        "output_dim": 768,
        "num_quantizers": 32,
        "codebook_size": 1024,
        "codebook_dim": 8,
    },
}
"""The part of OpenMOSS-Team/MOSS-Audio-Tokenizer's config.json that describes the network."""

SHALLOW: Mapping[str, Any] = PUBLISHED | {
    half: [block | {"num_layers": 2} if "num_layers" in block else block for block in PUBLISHED[half]]
    for half in ("encoder_kwargs", "decoder_kwargs")
}
"""The published network with two layers in each transformer."""

_REQUIRED = (
    "sampling_rate",
    "downsample_rate",
    "causal_transformer_context_duration",
    "encoder_kwargs",
    "decoder_kwargs",
    "quantizer_kwargs",
)
_ONLY_OF_STAGES = {"causal": True, "norm": "layer_norm", "positional_embedding": "rope", "gating": "none"}
_QUANTIZERS = ("rlfq", "random_prefix_rlfq")


@dataclass(frozen=True)
class PatchConfig:
    """A change of rate: ``size`` steps become one in the encoder, one becomes ``size`` in the decoder."""

    size: int


@dataclass(frozen=True)
class StageConfig:
    """A transformer between two linear maps; a map is left out if its two sizes are equal."""

    channels_in: int
    channels_out: int
    transformer: TransformerConfig


Block: TypeAlias = PatchConfig | StageConfig


@dataclass(frozen=True)
class QuantizerConfig:
    """Arguments of :class:`tritone_build.layers.lfq.ResidualLfq`."""

    num_codebooks: int
    codebook_size: int
    code_dim: int
    dim: int


@dataclass(frozen=True)
class MossConfig:
    """The network of a checkpoint: the blocks of encoder and decoder in order, and the quantizer."""

    sample_rate_hz: int
    samples_per_frame: int
    latent_dim: int
    encoder: tuple[Block, ...]
    decoder: tuple[Block, ...]
    quantizer: QuantizerConfig


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of MOSS Audio Tokenizer or of one of its siblings."""
    return "encoder_kwargs" in config and "quantizer_kwargs" in config


def parse(config: Mapping[str, Any]) -> MossConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    missing = [key for key in _REQUIRED if key not in config]
    if missing:
        raise UnsupportedNetworkError(f"the configuration has no {', '.join(missing)}")
    _refuse_siblings(config)
    rate, hop = config["sampling_rate"], config["downsample_rate"]
    quantizer = config["quantizer_kwargs"]
    latent_dim = quantizer["input_dim"]
    seconds = config["causal_transformer_context_duration"]
    parsed = MossConfig(
        sample_rate_hz=rate,
        samples_per_frame=hop,
        latent_dim=latent_dim,
        encoder=_blocks(config["encoder_kwargs"], rate, seconds, grows=False),
        decoder=_blocks(config["decoder_kwargs"], rate / hop, seconds, grows=True),
        quantizer=QuantizerConfig(
            quantizer["num_quantizers"],
            quantizer["codebook_size"],
            quantizer["codebook_dim"],
            quantizer["rvq_dim"],
        ),
    )
    for half, blocks, ends in (
        ("encoder", parsed.encoder, (1, latent_dim)),
        ("decoder", parsed.decoder, (latent_dim, 1)),
    ):
        _check_fits(half, blocks, hop, ends, grows=half == "decoder")
    return parsed


def _refuse_siblings(config: Mapping[str, Any]) -> None:
    channels = config.get("number_channels") or config.get("channels_numbers") or 1
    if channels != 1:
        raise UnsupportedNetworkError(
            f"number_channels = {channels}: MOSS-Audio-Tokenizer-v2 and -Nano, which are stereo, are not "
            "supported; supported: MOSS-Audio-Tokenizer (24 kHz, mono)"
        )
    quantizer = config["quantizer_kwargs"]
    kind = quantizer.get("quantizer_type", config.get("quantizer_type"))
    if kind not in _QUANTIZERS:
        raise UnsupportedNetworkError(
            f"quantizer_type = {kind!r} is not supported; supported: {', '.join(_QUANTIZERS)}"
        )
    dims = {quantizer[key] for key in ("input_dim", "output_dim")}
    if len(dims) > 1 or quantizer["rvq_dim"] in (*dims, quantizer["codebook_dim"]):
        raise UnsupportedNetworkError(
            "quantizer_kwargs is supported only with input_dim = output_dim, and with an rvq_dim that "
            "differs from these and from codebook_dim"
        )


def _blocks(
    written: Sequence[Mapping[str, Any]], rate_hz: float, seconds: float, grows: bool
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for each in written:
        kind = each.get("module_type")
        if kind == "PatchedPretransform":
            size = each["patch_size"]
            blocks.append(PatchConfig(size))
            rate_hz = rate_hz * size if grows else rate_hz / size
        elif kind == "Transformer":
            blocks.append(_stage_config(each, int(rate_hz * each.get("context_duration", seconds))))
        else:
            raise UnsupportedNetworkError(
                f"module_type = {kind!r} is not supported; supported: PatchedPretransform, Transformer"
            )
    return tuple(blocks)


def _stage_config(written: Mapping[str, Any], context: int) -> StageConfig:
    for key, value in _ONLY_OF_STAGES.items():
        if written.get(key, value) != value:
            raise UnsupportedNetworkError(f"{key} = {written[key]!r} is not supported; supported: {value!r}")
    if written.get("layer_scale") is None:
        raise UnsupportedNetworkError("a transformer without layer_scale is not supported")
    return StageConfig(
        channels_in=written["input_dimension"],
        channels_out=written["output_dimension"],
        transformer=TransformerConfig(
            dim=written["d_model"],
            num_layers=written["num_layers"],
            num_heads=written["num_heads"],
            feedforward_dim=written["dim_feedforward"],
            context=context,
            rope_theta=float(written["max_period"]),
        ),
    )


def _check_fits(half: str, blocks: tuple[Block, ...], hop: int, ends: tuple[int, int], grows: bool) -> None:
    """Check that each block fits the output of the block before it, and that a frame has ``hop`` samples."""
    rate = prod(block.size for block in blocks if isinstance(block, PatchConfig))
    if rate != hop:
        raise UnsupportedNetworkError(
            f"{half}_kwargs: patch sizes multiply to {rate}, not to downsample_rate {hop}"
        )
    channels, last = ends
    for number, block in enumerate(blocks):
        if isinstance(block, StageConfig):
            if block.channels_in != channels:
                raise UnsupportedNetworkError(
                    f"{half}_kwargs[{number}]: input_dimension is {block.channels_in}, the block before it "
                    f"gives {channels}"
                )
            channels = block.channels_out
        else:
            channels = channels // block.size if grows else channels * block.size
    if channels != last:
        raise UnsupportedNetworkError(f"{half}_kwargs: the last block gives {channels}, expected {last}")
