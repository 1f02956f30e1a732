"""MOSS Audio Tokenizer's geometry, from the configuration beside its weights.

The defaults of the authors' configuration class describe no model that is published, so missing keys have no
defaults here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integers,
    require_keys,
    require_numbers,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.transformer import TransformerConfig

__all__ = ["Block", "MossConfig", "PatchConfig", "QuantizerConfig", "StageConfig", "describes", "parse"]

_ALIASES = {"channels_numbers": "number_channels", "sample_rate": "sampling_rate"}
"""Keys that the authors' class also accepts, and what it calls them."""
_RATES = ("sampling_rate", "downsample_rate")
_REQUIRED = (*_RATES, "encoder_kwargs", "decoder_kwargs", "quantizer_kwargs")
_OF_QUANTIZER = ("input_dim", "output_dim", "rvq_dim", "num_quantizers", "codebook_size", "codebook_dim")
_OF_STAGES = ("input_dimension", "output_dimension", "d_model", "num_layers", "num_heads", "dim_feedforward")
_SECONDS = "causal_transformer_context_duration"
_ONLY_OF_STAGES = {
    "causal": True,
    "norm": "layer_norm",
    "positional_embedding": "rope",
    "gating": "none",
    "weights_per_step": 0,
    "weights_per_step_schedule": None,
}
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
    """Arguments of :class:`tritone_build.layers.quantizers.lfq.ResidualLfq`."""

    num_codebooks: int
    codebook_size: int
    code_dim: int
    dim: int


@dataclass(frozen=True)
class MossConfig:
    """The network of a checkpoint: the blocks of encoder and decoder in order, and the quantizer.

    ``samples_per_frame`` counts the samples of one channel. ``states_channels`` is true if the configuration
    states a number of channels, as those of v2 and Nano do. Then transformers have linear maps also between
    equal sizes, and the tensors are published under newer names.
    """

    sample_rate_hz: int
    samples_per_frame: int
    num_channels: int
    latent_dim: int
    states_channels: bool
    encoder: tuple[Block, ...]
    decoder: tuple[Block, ...]
    quantizer: QuantizerConfig


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of MOSS Audio Tokenizer or of one of its siblings."""
    return "encoder_kwargs" in config and "quantizer_kwargs" in config


def parse(config: Mapping[str, Any]) -> MossConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    config = _without_aliases(config)
    require_keys(config, _REQUIRED, "")
    require_integers(config, _RATES, "")
    require_keys(config["quantizer_kwargs"], _OF_QUANTIZER, "quantizer_kwargs")
    require_integers(config["quantizer_kwargs"], _OF_QUANTIZER, "quantizer_kwargs")
    _refuse_siblings(config)
    rate, hop, quantizer = config["sampling_rate"], config["downsample_rate"], config["quantizer_kwargs"]
    channels, states_channels = config.get("number_channels", 1), "number_channels" in config
    parsed = MossConfig(
        sample_rate_hz=rate,
        samples_per_frame=hop,
        num_channels=channels,
        latent_dim=quantizer["input_dim"],
        states_channels=states_channels,
        encoder=_blocks(config, "encoder", rate * channels, states_channels),
        decoder=_blocks(config, "decoder", rate / hop, states_channels),
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
    if type(channels) is not int or channels not in (1, 2):
        raise UnsupportedNetworkError(
            f"number_channels = {channels!r} is not supported; supported: 1, 2, as integers"
        )
    if channels > 1:
        _check_interleaved(config, channels)
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


def _check_interleaved(config: Mapping[str, Any], channels: int) -> None:
    key = "enable_channel_interleave"
    if config.get(key) is not True:
        said = f"{key} = {config[key]!r}" if key in config else f"a configuration without {key}"
        raise UnsupportedNetworkError(
            f"{said} is not supported with number_channels = {channels}; supported: {key} = True, the "
            "channels in turn as one signal"
        )


def _blocks(config: Mapping[str, Any], half: str, rate_hz: float, always_maps: bool) -> tuple[Block, ...]:
    """Blocks of the half of the network whose input has ``rate_hz`` steps per second."""
    written_blocks = config[f"{half}_kwargs"]
    if not isinstance(written_blocks, list | tuple):
        raise UnsupportedNetworkError(f"{half}_kwargs is {written_blocks!r}, expected a list of blocks")
    blocks: list[Block] = []
    for number, written in enumerate(written_blocks):
        where = f"{half}_kwargs[{number}]"
        require_keys(written, ("module_type",), where)
        kind = written["module_type"]
        if kind == "PatchedPretransform":
            require_integers(written, ("patch_size",), where)
            size = written["patch_size"]
            blocks.append(PatchConfig(size))
            rate_hz = rate_hz * size if half == "decoder" else rate_hz / size
        elif kind == "Transformer":
            context = _context(written, config, rate_hz, where)
            blocks.append(_stage_config(written, context, always_maps, where))
        else:
            raise UnsupportedNetworkError(
                f"module_type = {kind!r} is not supported; supported: PatchedPretransform, Transformer"
            )
    return tuple(blocks)


def _context(written: Mapping[str, Any], config: Mapping[str, Any], rate_hz: float, where: str) -> int:
    """Steps in the window of a transformer with ``rate_hz`` steps per second."""
    stated, path = written.get("context_duration"), f"{where}.context_duration"
    if stated is None:
        stated, path = config.get(_SECONDS), _SECONDS
    if stated is None:
        raise UnsupportedNetworkError(f"{where} has no context_duration, and the configuration no {_SECONDS}")
    require_numbers({path: stated}, (path,), "")
    steps: int = round(rate_hz * stated)
    if steps < 1:
        raise UnsupportedNetworkError(
            f"{path} = {stated!r} is a window of 0 steps in {where}, which has {rate_hz:g} steps per second; "
            "expected at least 1 step"
        )
    return steps


def _stage_config(written: Mapping[str, Any], context: int, always_maps: bool, where: str) -> StageConfig:
    require_keys(written, (*_OF_STAGES, "max_period"), where)
    require_integers(written, _OF_STAGES, where)
    require_numbers(written, ("max_period",), where)
    refuse_other_values(written, _ONLY_OF_STAGES, where)
    if written.get("layer_scale") is None:
        raise UnsupportedNetworkError(f"{where}: a transformer without layer_scale is not supported")
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
        channels = _channels_after(block, channels, half, number)
    if channels != last:
        raise UnsupportedNetworkError(f"{half}_kwargs: the last block gives {channels}, expected {last}")


def _channels_after(block: Block, channels: int, half: str, number: int) -> int:
    """Channels that a block gives from ``channels``; a patch divides them in the decoder."""
    where = f"{half}_kwargs[{number}]"
    if isinstance(block, StageConfig):
        if block.channels_in != channels:
            raise UnsupportedNetworkError(
                f"{where}: input_dimension is {block.channels_in}, the block before it gives {channels}"
            )
        return block.channels_out
    if half == "encoder":
        return channels * block.size
    if channels % block.size:
        raise UnsupportedNetworkError(f"{where}: patch_size {block.size} does not divide {channels} channels")
    return channels // block.size
