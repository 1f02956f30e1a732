"""SNAC's geometry, from the ``config.json`` of its repositories.

The arguments of the class have defaults that belong to no published model, so every key must be there. The
decoder adds no noise, unless ``noise`` is ``"position"`` in place of ``true``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, lcm, log2, prod
from typing import Any

from tritone_build.codecs.configs.required import (
    refuse_other_values,
    require_integer_lists,
    require_integers,
    require_keys,
)
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.dac import DacConfig

__all__ = ["SNAC_24KHZ", "SNAC_32KHZ", "SNAC_44KHZ", "SnacCodecConfig", "describes", "parse"]


def _large(rate_hz: int) -> dict[str, Any]:
    """The network of 32 and 44 kHz."""
    return {
        "sampling_rate": rate_hz,
        "encoder_dim": 64,
        "encoder_rates": [2, 3, 8, 8],
        "decoder_dim": 1536,
        "decoder_rates": [8, 8, 3, 2],
        "attn_window_size": 32,
        "codebook_size": 4096,
        "codebook_dim": 8,
        "vq_strides": [8, 4, 2, 1],
        "noise": True,
        "depthwise": True,
    }


SNAC_24KHZ: dict[str, Any] = {
    "sampling_rate": 24000,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}
SNAC_32KHZ, SNAC_44KHZ = _large(32000), _large(44100)

_INTEGERS = ("sampling_rate", "encoder_dim", "decoder_dim", "codebook_size", "codebook_dim")
_LISTS = ("encoder_rates", "decoder_rates", "vq_strides")
_ONLY = {"depthwise": True}
_POSITION = "position"
_NOISE_S = 2
"""The noise repeats after at least so many seconds."""
_HEAD_DIM = 64


@dataclass(frozen=True)
class SnacCodecConfig:
    """A checkpoint: its sample rate, the encoder and decoder, and the codebooks with their strides."""

    sample_rate_hz: int
    network: DacConfig
    codebook_size: int
    codebook_dim: int
    strides: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Tokens of a frame."""
        return sum(self.network.latent_rate // stride for stride in self.strides)


def describes(config: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of SNAC, supported or not."""
    return "vq_strides" in config


def parse(config: Mapping[str, Any]) -> SnacCodecConfig:
    """Parse a configuration; UnsupportedNetworkError names a missing key or an unsupported option."""
    require_keys(config, (*_INTEGERS, *_LISTS), "")
    require_integers(config, _INTEGERS, "")
    require_integer_lists(config, _LISTS, "")
    refuse_other_values(config, _ONLY, "")
    noise = config.get("noise", True)
    if noise not in (True, _POSITION):
        raise UnsupportedNetworkError(
            f"noise = {noise!r} is not supported; supported: true, for networks whose noise stays off, "
            f"and {_POSITION!r}, for noise that depends on the position"
        )
    _check_fits(config)
    window, strides = config.get("attn_window_size"), tuple(config["vq_strides"])
    network = DacConfig(
        latent_dim=config.get("latent_dim") or config["encoder_dim"] << len(config["encoder_rates"]),
        latent_rate=lcm(strides[0], window or 1),
        encoder_channels=config["encoder_dim"],
        encoder_rates=tuple(config["encoder_rates"]),
        decoder_channels=config["decoder_dim"],
        decoder_rates=tuple(config["decoder_rates"]),
        depthwise=True,
        complete=True,
        attention_window=window,
        noise=True,
    )
    rate_hz = config["sampling_rate"]
    if noise == _POSITION:
        network = replace(network, noise_frames=_power_of_two(_NOISE_S * rate_hz / network.hop))
    return SnacCodecConfig(rate_hz, network, config["codebook_size"], config["codebook_dim"], strides)


def _power_of_two(least: float) -> int:
    """The smallest power of two that is at least so much."""
    return 1 << max(0, ceil(log2(least)))


def _check_fits(config: Mapping[str, Any]) -> None:
    down, up, strides = (config[key] for key in ("encoder_rates", "decoder_rates", "vq_strides"))
    window, latent_dim = config.get("attn_window_size"), config["encoder_dim"] << len(down)
    if prod(down) != prod(up):
        raise UnsupportedNetworkError(
            f"encoder_rates multiply to {prod(down)}, decoder_rates to {prod(up)}; expected one hop"
        )
    if config.get("latent_dim") not in (None, latent_dim):
        raise UnsupportedNetworkError(
            f"latent_dim = {config['latent_dim']} is not supported; supported: {latent_dim}, the channels "
            "after the encoder's last stride"
        )
    if config["decoder_dim"] % (1 << len(up)):
        raise UnsupportedNetworkError(
            f"decoder_dim {config['decoder_dim']} cannot be halved {len(up)} times, once for each of "
            "decoder_rates"
        )
    if any(strides[0] % stride for stride in strides):
        raise UnsupportedNetworkError(f"vq_strides {strides} must begin with a multiple of all of them")
    if window is not None and (window < 1 or latent_dim % _HEAD_DIM or config["decoder_dim"] % _HEAD_DIM):
        raise UnsupportedNetworkError(
            f"attn_window_size = {window} needs channels in multiples of {_HEAD_DIM}, the size of a head: "
            f"got {latent_dim} and {config['decoder_dim']}"
        )
