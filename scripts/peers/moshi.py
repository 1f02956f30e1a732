"""Kyutai's own Mimi, moshi 0.2.13 in PyTorch, offline and streaming."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scripts.peers.rounding_margin import residual_margin
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = ["MoshiMimi", "MoshiStream", "recognises", "reference"]

_WHEEL = Wheel(
    "moshi==0.2.13", "beeb3ebc1d769a800e22b26bf4ec0d25f9525d54ae77979b37c86a2f782f4e64", ("moshi/",)
)
_MARK = "encoder_transformer.transformer.layers.0.self_attn.in_proj_weight"
_SERVED_CODEBOOKS = 8
_SEANET = {  # moshi's names for the keys of MimiConfig
    "dimension": "hidden_size",
    "n_filters": "num_filters",
    "ratios": "upsampling_ratios",
    "n_residual_layers": "num_residual_layers",
    "kernel_size": "kernel_size",
    "last_kernel_size": "last_kernel_size",
    "residual_kernel_size": "residual_kernel_size",
    "dilation_base": "dilation_growth_rate",
    "compress": "compress",
}
_TRANSFORMER = {
    "d_model": "hidden_size",
    "input_dimension": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers",
    "dim_feedforward": "intermediate_size",
    "context": "sliding_window",
    "max_period": "rope_theta",
}
_QUANTIZER = {
    "dimension": "codebook_dim",
    "bins": "codebook_size",
    "n_q": "num_quantizers",
    "n_q_semantic": "num_semantic_quantizers",
    "input_dimension": "hidden_size",
    "output_dimension": "hidden_size",
}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have Kyutai's published names."""
    return _MARK in checkpoint.tensors


def reference(checkpoint: Checkpoint) -> "MoshiMimi":
    """Kyutai's network with these weights."""
    return MoshiMimi(checkpoint.config, checkpoint.tensors)


@dataclass(frozen=True)
class MoshiStream:
    """Streams in moshi's streaming mode; each call continues where the last one ended."""

    model: Any

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, 1, hop] -> tokens INT64 [B, K, 1]."""
        tokens: Tensor = self.model.encode(audio)
        return tokens

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, 1, hop]."""
        audio: Tensor = self.model.decode(tokens)
        return audio


class MoshiMimi:
    """moshi's MimiModel on the CPU.

    Args:
        config: keys of MimiConfig; missing ones have the published values.
        tensors: by Kyutai's names; every one must be used.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        self._model = _built(config)
        self._model.load_state_dict(dict(tensors), strict=True)
        self._model.requires_grad_(False)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame; 8 codebooks by default."""
        self._choose(num_codebooks)
        tokens: Tensor = self._model.encode(audio[:, None])
        return tokens

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decode(tokens.long())
        return audio[:, 0]

    @torch.no_grad()
    def latent(self, audio: Tensor) -> Tensor:
        """Audio [B, S] -> latent before quantization, [B, D, T]."""
        latent: Tensor = self._model.encode_to_latent(audio[:, None], quantize=False)
        return latent

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, T * hop]."""
        (steps,) = self._model.decoder_transformer(self._model.upsample(latent))
        audio: Tensor = self._model.decoder(steps)
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest codes at each token, [B, K, T]."""
        self._choose(num_codebooks)
        latent, quantizer = self.latent(audio), self._model.quantizer
        margins = [
            residual_margin(
                part.input_proj(latent), (layer.embedding for layer in part.vq.layers[: part.n_q])
            )
            for part in (quantizer.rvq_first, quantizer.rvq_rest)
            if part.n_q
        ]
        return torch.cat(margins, dim=1)

    @contextmanager
    def streaming(self, batch: int = 1, num_codebooks: int | None = None) -> Iterator[MoshiStream]:
        """Open new streams for as long as the context lasts; meanwhile nothing may run offline.

        They equal the offline network only for the first ``sliding_window`` steps of the transformers. After
        that, the cache has dropped the oldest key that the first of two new steps should still see.
        """
        self._choose(num_codebooks)
        with torch.inference_mode(), self._model.streaming(batch):
            yield MoshiStream(self._model)

    def _choose(self, num_codebooks: int | None) -> None:
        served = min(_SERVED_CODEBOOKS, self._model.total_codebooks)
        self._model.set_num_codebooks(served if num_codebooks is None else num_codebooks)


def _built(config: Mapping[str, Any]) -> Any:
    os.environ.setdefault("NO_TORCH_COMPILE", "1")  # read while importing
    sentencepiece = stand_in("sentencepiece", SentencePieceProcessor=object)
    loaders = imported(_WHEEL, "moshi.models.loaders", sentencepiece=sentencepiece)
    seanet = _section(loaders._seanet_kwargs, _SEANET, config)
    transformer = _section(loaders._transformer_kwargs, _TRANSFORMER, config)
    quantizer = _section(loaders._quantizer_kwargs, _QUANTIZER, config)
    _refuse_unknown_geometry(config, seanet["dimension"], quantizer["dimension"])
    rate = config.get("sampling_rate", loaders.SAMPLE_RATE)
    made = {
        "seanet": seanet,
        "transformer": {**transformer, "output_dimensions": [seanet["dimension"]]},
        "quantizer": quantizer,
        "channels": 1,
        "sample_rate": rate,
        "frame_rate": config.get("frame_rate", rate / (2 * math.prod(seanet["ratios"]))),
    }
    return loaders.get_mimi(None, made, num_codebooks=quantizer["n_q"])


def _section(
    published: Mapping[str, Any], names: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, Any]:
    return {**published, **{theirs: config[ours] for theirs, ours in names.items() if ours in config}}


def _refuse_unknown_geometry(config: Mapping[str, Any], width: int, code_width: int) -> None:
    fixed = {  # moshi has no option for these
        "upsample_groups": width,
        "vector_quantization_hidden_dimension": code_width,
        "num_key_value_heads": config.get("num_attention_heads", 8),
        "use_conv_shortcut": False,
    }
    for key, only in fixed.items():
        if config.get(key, only) != only:
            raise ValueError(f"moshi supports only {key} = {only} for Mimi, got {config[key]}")
