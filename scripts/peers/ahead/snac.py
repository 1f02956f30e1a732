"""SNAC's own class, of snac 1.2.1, with its noise off, or with ours in its place."""

from collections.abc import Iterable, Mapping
from functools import cache, partial
from itertools import accumulate, islice
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn

from scripts.peers.rounding_margin import direction_margins
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.configs.snac import describes, parse
from tritone_build.layers.ahead.dac import DacConfig
from tritone_build.layers.ahead.noise import noise_table
from tritone_server.wheels import Wheel

__all__ = ["Snac", "recognises", "reference"]

_WHEEL = Wheel(
    "snac==1.2.1",
    "96f90e221121ad03d6e3b060a787268b1efdbe424560a58f6f732df6d4914dc7",
    ("snac/snac.py", "snac/layers.py", "snac/attention.py", "snac/vq.py"),
)


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the configuration is SNAC's."""
    return describes(checkpoint.config)


def reference(checkpoint: Checkpoint) -> "Snac":
    """The authors' network with these weights."""
    return Snac(checkpoint.config, checkpoint.tensors)


class Snac:
    """SNAC on the CPU, with tokens as rows of one rate; :meth:`lists` has them as the class does.

    Args:
        config: content of a config.json.
        tensors: by SNAC's names, in either spelling of weight norm; every one must be used.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        parsed = parse(config)
        self._hop, steps = parsed.network.hop, parsed.network.latent_rate
        self._rows = [steps // stride for stride in parsed.strides]
        self._dim = parsed.network.latent_dim
        self._model = _package().SNAC(**config)
        self._model.load_state_dict(dict(tensors), strict=True)
        self._model.eval().requires_grad_(False)
        _set_noise(self._model.decoder, parsed.network)

    def double(self) -> "Snac":
        """The same network, in FP64 from now on."""
        self._model.double()
        return self

    def lists(self, tokens: Tensor) -> list[Tensor]:
        """Tokens [B, R, T] -> those of each codebook, [B, T * its rows]."""
        return [part.transpose(1, 2).flatten(1) for part in torch.split(tokens, self._rows, 1)]

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, R, T]; zeros complete the last frame."""
        return self._as_rows(self._model.encode(audio[:, None]))[:, :num_codebooks]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, R, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decode(self.lists(tokens.long()))
        return audio[:, 0]

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, steps * D, T] -> audio [B, T * hop]."""
        steps = latent.transpose(1, 2).reshape(len(latent), -1, self._dim).transpose(1, 2)
        audio: Tensor = self._model.decoder(steps)
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest directions at each token, [B, R, T]."""
        latent = self._model.encoder(self._model.preprocess(audio[:, None]))
        margins = direction_margins(latent, list(self._model.quantizer.quantizers))
        return self._as_rows(margins)[:, :num_codebooks].float()

    def _as_rows(self, lists: Iterable[Tensor]) -> Tensor:
        """The inverse of :meth:`lists`."""
        parts = zip(lists, self._rows, strict=True)
        return torch.cat([part.reshape(len(part), -1, rows).transpose(1, 2) for part, rows in parts], 1)


def _set_noise(decoder: nn.Module, config: DacConfig) -> None:
    """Replace the noise that the class draws."""
    blocks = [module for module in decoder.modules() if type(module).__name__ == "NoiseBlock"]
    rates = accumulate(config.decoder_rates, mul, initial=config.latent_rate)
    for block, rate in zip(blocks, islice(rates, 1, None), strict=True):
        table = noise_table(config.noise_frames * rate)
        block.forward = partial(_with_noise, block.get_submodule("linear"), table)


def _with_noise(linear: nn.Module, table: Tensor, x: Tensor) -> Tensor:
    if not len(table):
        return x
    noise = table.repeat(-(-x.shape[-1] // len(table)))[: x.shape[-1]]
    y: Tensor = x + noise.to(x.dtype) * linear(x)
    return y


@cache
def _package() -> Any:
    parent = stand_in("snac", __path__=[str(_WHEEL.unpacked() / "snac")])
    return imported(_WHEEL, "snac.snac", snac=parent)
