"""Higgs Audio v2's tokenizer in Hugging Face transformers 5.23.0."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from scripts.peers.transformers_mimi import loaded_strictly, transformers_module
from scripts.peers.wheel_imports import imported, replaced, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = ["Higgs", "recognises", "reference"]

_TORCHAUDIO = Wheel(
    "torchaudio==2.11.1",
    "0173b5b51e1368aa88de3cbe4e98508b5e9df4d8d59356c4e1fbc830c96191ef",
    ("torchaudio/functional/functional.py",),
)
_MARK = "acoustic_decoder.conv1.weight"


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have transformers' names."""
    return _MARK in checkpoint.tensors


def reference(checkpoint: Checkpoint) -> "Higgs":
    """The network of transformers with these weights."""
    return Higgs(checkpoint.config, checkpoint.tensors)


class Higgs:
    """HiggsAudioV2TokenizerModel on the CPU.

    Args:
        config: content of a config.json.
        tensors: by transformers' names; every one must be used.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        package = _package()
        made = package.HiggsAudioV2TokenizerConfig(**config)
        with replaced({"torchaudio": package.torchaudio}):
            self._model = loaded_strictly(package.HiggsAudioV2TokenizerModel, made, tensors)
        self._hop = int(made.hop_length)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame."""
        tokens: Tensor = self._model.encode(self._whole(audio)).audio_codes
        return tokens[:, :num_codebooks]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decode(tokens.long()).audio_values
        return audio[:, 0]

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Latent of the decoder [B, D, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.acoustic_decoder(latent)
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest rows at each token, [B, K, T]."""
        residual, margins = self._latent(audio), []
        for each in list(self._model.quantizer.quantizers)[:num_codebooks]:
            code = each.project_in(residual.transpose(1, 2)).double()
            squared = torch.cdist(code, each.codebook.embed.double()[None]).square()
            best, second = squared.topk(2, largest=False).values.unbind(-1)
            margins.append((second - best) / second)
            residual = residual - each.decode(each.encode(residual))
        return torch.stack(margins, dim=1).float()

    def _latent(self, audio: Tensor) -> Tensor:
        """Audio [B, S] -> what is quantized, [B, D, T]."""
        taken: list[Tensor] = []
        mapping = self._model.fc.register_forward_hook(lambda _, __, output: taken.append(output))
        self.encode(audio)
        mapping.remove()
        return taken[0].transpose(1, 2)

    def _whole(self, audio: Tensor) -> Tensor:
        """Pad with zeros to whole frames, for which transformers and the authors agree."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[1] % self._hop))[:, None]


@cache
def _package() -> Any:
    """The module of transformers, with resampling by torchaudio, whose compiled part is not used."""
    functional = _TORCHAUDIO.unpacked() / "torchaudio" / "functional"
    filters = stand_in("torchaudio.functional.filtering", highpass_biquad=None, treble_biquad=None)
    parent = stand_in("torchaudio.functional", __path__=[str(functional)])
    root = stand_in("torchaudio", __path__=[str(functional.parent)])
    absent = {module.__name__: module for module in (root, parent, filters)}
    found = imported(_TORCHAUDIO, "torchaudio.functional.functional", **absent)
    vars(root)["functional"] = stand_in(parent.__name__, resample=found.resample)
    # transformers looks for installed packages while it is imported, so it must not find the stand-in then.
    transformers_module("modeling_utils")
    processing = stand_in("transformers.models.auto.processing_auto", PROCESSOR_MAPPING_NAMES={})
    with replaced({"torchaudio": root, processing.__name__: processing}):  # which would need tokenizers
        transformers_module("models.hubert.modeling_hubert")
        return transformers_module("models.higgs_audio_v2_tokenizer.modeling_higgs_audio_v2_tokenizer")
