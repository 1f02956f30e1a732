"""DAC in Hugging Face transformers 5.23.0."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.peers.rounding_margin import direction_margin
from scripts.peers.transformers_mimi import loaded_strictly, transformers_module
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["TransformersDac", "recognises", "reference"]

_MARKS = ("decoder.conv1.weight", "quantizer.quantizers.0.in_proj.weight")


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have transformers' names, without weight norm."""
    return all(mark in checkpoint.tensors for mark in _MARKS)


def reference(checkpoint: Checkpoint) -> "TransformersDac":
    """Transformers' network with these weights."""
    return TransformersDac(checkpoint.config, checkpoint.tensors)


class TransformersDac:
    """DacModel on the CPU.

    Args:
        config: content of a config.json.
        tensors: by transformers' names; every one must be used.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        package = transformers_module("models.dac.modeling_dac")
        self._model = loaded_strictly(package.DacModel, package.DacConfig(**config), tensors)
        self._hop = 1
        for rate in self._model.config.downsampling_ratios:
            self._hop *= rate

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame."""
        tokens: Tensor = self._model.encode(self._whole(audio), n_quantizers=num_codebooks).audio_codes
        return tokens

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, S]; a rate that is odd leaves out samples of the last frame."""
        audio: Tensor = self._model.decode(audio_codes=tokens.long()).audio_values
        return audio

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, S]."""
        audio: Tensor = self._model.decoder(latent)
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest directions at each token, [B, K, T]."""
        latent = self._model.encoder(self._whole(audio))
        return direction_margin(latent, list(self._model.quantizer.quantizers)[:num_codebooks])

    def _whole(self, audio: Tensor) -> Tensor:
        return torch.nn.functional.pad(audio, (0, -audio.shape[1] % self._hop))[:, None]
