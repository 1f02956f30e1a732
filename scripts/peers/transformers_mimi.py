"""Mimi in Hugging Face transformers 5.23.0, offline."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.peers.rounding_margin import residual_margin
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = [
    "GrowingCacheStream",
    "TransformersMimi",
    "loaded_strictly",
    "recognises",
    "reference",
    "transformers_module",
]

_WHEEL = Wheel(
    "transformers==5.23.0",
    "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf",
    ("transformers/",),
)
_MARK = "quantizer.semantic_residual_vector_quantizer.input_proj.weight"
_SERVED_CODEBOOKS = 8


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have the names of the files on the hub."""
    return _MARK in checkpoint.tensors


def reference(checkpoint: Checkpoint) -> "TransformersMimi":
    """Hugging Face's network with these weights."""
    return TransformersMimi(checkpoint.config, checkpoint.tensors)


class TransformersMimi:
    """transformers' MimiModel on the CPU.

    Args:
        config: content of a config.json; missing keys have the published values.
        tensors: by the names of the files on the hub; every one must be used.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        package = transformers_module("models.mimi.modeling_mimi")
        self._model = loaded_strictly(package.MimiModel, package.MimiConfig(**config), tensors)
        self._hop = int(self._model.config.frame_size)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; 8 codebooks by default."""
        tokens: Tensor = self._model.encode(
            self._whole(audio), num_quantizers=self._chosen(num_codebooks)
        ).audio_codes
        return tokens

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decode(tokens.long()).audio_values
        return audio[:, 0]

    def growing_cache_stream(self) -> "GrowingCacheStream":
        """A stream through the ``past_key_values`` of ``decode``."""
        return GrowingCacheStream(self._model, transformers_module("cache_utils").DynamicCache())

    @torch.no_grad()
    def latent(self, audio: Tensor) -> Tensor:
        """Audio [B, S] -> latent before quantization, [B, D, T]."""
        latent: Tensor = self._model.encoder(self._whole(audio)).latents
        return latent

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decoder(latent).audio_values
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest codes at each token, [B, K, T]."""
        latent, quantizer = self.latent(audio), self._model.quantizer
        semantic = quantizer.num_semantic_quantizers
        parts = [(quantizer.semantic_residual_vector_quantizer, semantic)]
        if acoustic := self._chosen(num_codebooks) - semantic:
            parts.append((quantizer.acoustic_residual_vector_quantizer, acoustic))
        margins = [
            residual_margin(part.input_proj(latent), (layer.codebook.embed for layer in part.layers[:count]))
            for part, count in parts
        ]
        return torch.cat(margins, dim=1)

    def _whole(self, audio: Tensor) -> Tensor:
        """Pad with zeros to a whole frame, as moshi does; MimiModel itself would pad in each layer."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[1] % self._hop))[:, None]

    def _chosen(self, num_codebooks: int | None) -> int:
        served = min(_SERVED_CODEBOOKS, int(self._model.config.num_quantizers))
        return served if num_codebooks is None else num_codebooks


class GrowingCacheStream:
    """A stream whose attention keeps its past, in a growing cache, but whose convolutions do not."""

    def __init__(self, model: Any, cache: Any):
        self._model, self._cache = model, cache

    @torch.no_grad()
    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [1, K, T] -> audio FP32 [1, T * hop]."""
        made = self._model.decode(tokens, decoder_past_key_values=self._cache)
        audio: Tensor = made.audio_values
        return audio[:, 0]


def loaded_strictly(model: Any, config: Any, tensors: Mapping[str, Tensor]) -> Any:
    """A model of a class of transformers in FP32, for inference; ValueError names tensors that do not fit."""
    transformers_module("utils.logging").disable_progress_bar()
    made, report = model.from_pretrained(
        None, config=config, state_dict=dict(tensors), dtype=torch.float32, output_loading_info=True
    )
    wrong = {what: names for what, names in report.items() if names}
    if wrong:
        raise ValueError(f"the tensors do not fit transformers' {model.__name__}: {wrong}")
    return made.eval().requires_grad_(False)


def transformers_module(name: str) -> Any:
    """Import a module of the pinned wheel, by its name inside the package."""
    unchecked = stand_in("transformers.dependency_versions_check", dep_version_check=lambda *_: None)
    absent = {unchecked.__name__: unchecked, "regex": re}
    return imported(_WHEEL, f"transformers.{name}", **absent)
