"""MOSS Audio Tokenizer's geometry, from the configuration beside its weights.

The defaults of the authors' configuration class describe no model that is published, so missing keys have no
defaults here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.transformer import TransformerConfig

__all__ = ["Block", "MossConfig", "PatchConfig", "QuantizerConfig", "StageConfig", "describes", "parse"]

_ALIASES = {"channels_numbers": "number_channels", "sample_rate": "sampling_rate"}
"""Keys that the authors' class also accepts, and what it calls them."""
_REQUIRED = ("sampling_rate", "downsample_rate", "encoder_kwargs", "decoder_kwargs", "quantizer_kwargs")
_SECONDS = "causal_transformer_context_duration"
_ONLY_OF_STAGES = {"causal": True, "norm": "layer_norm", "positional_embedding": "rope", "gating": "none"}
_QUANTIZERS = ("rlfq", "random_prefix_rlfq")


@dataclass(frozen=True)
class PatchConfig:
    """A change of rate: ``size`` steps become one in the encoder, one becomes ``size`` in the decoder."""

    size: int


@dataclass(frozen=True)
class StageConfig:
    """A transformer between two linear maps; ``maps_in`` and ``maps_out`` say whether they exist."""

    channels_in: int
    channels_out: int
    transformer: TransformerConfig
    maps_in: bool
    maps_out: bool


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
    """The network of a checkpoint: the blocks of encoder and decoder in order, and the quantizer.

    ``samples_per_frame`` counts the samples of one channel. ``newer`` is true if the configuration says how
    many channels there are, as those of v2 and Nano do. Then transformers have linear maps also between
    equal sizes, and the tensors are published under newer names.
    """

    sample_rate_hz: int
    samples_per_frame: int
    num_channels: int
    latent_dim: int
    newer: bool
    encoder: tuple[Block, ...]
    decoder: tuple[Block, ...]
    quantizer: QuantizerConfig


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of MOSS Audio Tokenizer or of one of its siblings."""
    return "encoder_kwargs" in config and "quantizer_kwargs" in config


def parse(config: Mapping[str, Any]) -> MossConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    config = _without_aliases(config)
    missing = [key for key in _REQUIRED if key not in config]
    if missing:
        raise UnsupportedNetworkError(f"the configuration has no {', '.join(missing)}")
    _refuse_siblings(config)
    rate, hop, quantizer = config["sampling_rate"], config["downsample_rate"], config["quantizer_kwargs"]
    channels = config.get("number_channels", 1)
    parsed = MossConfig(
        sample_rate_hz=rate,
        samples_per_frame=hop,
        num_channels=channels,
        latent_dim=quantizer["input_dim"],
        newer="number_channels" in config,
        encoder=_blocks(config, "encoder", rate * channels),
        decoder=_blocks(config, "decoder", rate / hop),
        quantizer=QuantizerConfig(
            quantizer["num_quantizers"],
            quantizer["codebook_size"],
            quantizer["codebook_dim"],
            quantizer["rvq_dim"],
        ),
    )
    _check_fits(parsed, "encoder")
    _check_fits(parsed, "decoder")
    return parsed


def _without_aliases(config: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(config)
    for alias, key in _ALIASES.items():
        value = renamed.pop(alias, None)
        if value is not None and renamed.setdefault(key, value) != value:
            raise UnsupportedNetworkError(
                f"{key} = {renamed[key]} and {alias} = {value} contradict each other"
            )
    return renamed


def _refuse_siblings(config: Mapping[str, Any]) -> None:
    channels = config.get("number_channels", 1)
    if channels not in (1, 2):
        raise UnsupportedNetworkError(f"number_channels = {channels!r} is not supported; supported: 1, 2")
    if channels > 1 and not config.get("enable_channel_interleave", True):
        raise UnsupportedNetworkError(
            f"enable_channel_interleave = {config['enable_channel_interleave']!r} is not supported with "
            f"number_channels = {channels}; supported: True, the channels in turn as one signal"
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


def _blocks(config: Mapping[str, Any], half: str, rate_hz: float) -> tuple[Block, ...]:
    """Blocks of the half of the network whose input has ``rate_hz`` steps per second."""
    blocks: list[Block] = []
    for number, written in enumerate(config[f"{half}_kwargs"]):
        kind = written.get("module_type")
        if kind == "PatchedPretransform":
            size = written["patch_size"]
            blocks.append(PatchConfig(size))
            rate_hz = rate_hz * size if half == "decoder" else rate_hz / size
        elif kind == "Transformer":
            seconds = written.get("context_duration") or config.get(_SECONDS)
            if seconds is None:
                raise UnsupportedNetworkError(
                    f"{half}_kwargs[{number}] has no context_duration, and the configuration no {_SECONDS}"
                )
            blocks.append(_stage_config(written, round(rate_hz * seconds), "number_channels" in config))
        else:
            raise UnsupportedNetworkError(
                f"module_type = {kind!r} is not supported; supported: PatchedPretransform, Transformer"
            )
    return tuple(blocks)


def _stage_config(written: Mapping[str, Any], context: int, always_maps: bool) -> StageConfig:
    for key, value in _ONLY_OF_STAGES.items():
        if written.get(key, value) != value:
            raise UnsupportedNetworkError(f"{key} = {written[key]!r} is not supported; supported: {value!r}")
    if written.get("layer_scale") is None:
        raise UnsupportedNetworkError("a transformer without layer_scale is not supported")
    dim = written["d_model"]
    return StageConfig(
        channels_in=written["input_dimension"],
        channels_out=written["output_dimension"],
        transformer=TransformerConfig(
            dim=dim,
            num_layers=written["num_layers"],
            num_heads=written["num_heads"],
            feedforward_dim=written["dim_feedforward"],
            context=context,
            rope_theta=float(written["max_period"]),
        ),
        maps_in=always_maps or written["input_dimension"] != dim,
        maps_out=always_maps or written["output_dimension"] != dim,
    )


def _check_fits(config: MossConfig, half: str) -> None:
    """Check that each block fits the output of the block before it, and that a frame has its samples."""
    blocks = config.encoder if half == "encoder" else config.decoder
    rate = prod(block.size for block in blocks if isinstance(block, PatchConfig))
    if rate != config.samples_per_frame * config.num_channels:
        raise UnsupportedNetworkError(
            f"{half}_kwargs: patch sizes multiply to {rate}, not to downsample_rate "
            f"{config.samples_per_frame}{f' x {config.num_channels} channels' * (config.num_channels > 1)}"
        )
    channels, last = (1, config.latent_dim) if half == "encoder" else (config.latent_dim, 1)
    for number, block in enumerate(blocks):
        channels = _channels_after(block, channels, f"{half}_kwargs[{number}]")
    if channels != last:
        raise UnsupportedNetworkError(f"{half}_kwargs: the last block gives {channels}, expected {last}")


def _channels_after(block: Block, channels: int, where: str) -> int:
    grows = where.startswith("decoder")
    if isinstance(block, StageConfig):
        if block.channels_in != channels:
            raise UnsupportedNetworkError(
                f"{where}: input_dimension is {block.channels_in}, the block before it gives {channels}"
            )
        return block.channels_out
    if grows and channels % block.size:
        raise UnsupportedNetworkError(f"{where}: patch_size {block.size} does not divide {channels} channels")
    return channels // block.size if grows else channels * block.size
