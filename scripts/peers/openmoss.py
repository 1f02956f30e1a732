"""OpenMOSS's own code of MOSS Audio Tokenizer, as included in vllm-omni 0.30.0; offline and streaming."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from scripts.peers.rounding_margin import direction_margin
from scripts.peers.transformers_mimi import transformers_module
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = ["OpenMoss", "OpenMossStream", "recognises", "reference"]

_FOLDER = "vllm_omni/model_executor/models/moss_tts/"
_WHEEL = Wheel(
    "vllm-omni==0.30.0", "141cb0c7b9c07970e5c92a99aab9696e81682dbfa3d2bfcde359c3c1533385f4", (_FOLDER,)
)
_MARK = "encoder.1.transformer.layers.0.norm1.weight"


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have OpenMOSS's names."""
    return _MARK in checkpoint.tensors


def reference(checkpoint: Checkpoint) -> "OpenMoss":
    """OpenMOSS's network with these weights."""
    return OpenMoss(checkpoint.config, checkpoint.tensors)


@dataclass(frozen=True)
class OpenMossStream:
    """Streams in the model's streaming mode; each call continues where the last one ended."""

    model: Any
    num_codebooks: int | None

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, C, hop] -> tokens INT64 [B, K, 1]."""
        tokens: Tensor = self.model.encode(audio, num_quantizers=self.num_codebooks).audio_codes
        return tokens.transpose(0, 1)

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, C, hop]."""
        audio: Tensor = self.model.decode(tokens.transpose(0, 1)).audio
        return audio


class OpenMoss:
    """MossAudioTokenizerModel on the CPU; audio [B, C, S] is [B, S] for a model with one channel.

    Args:
        config: content of a config.json.
        tensors: by their published names; every one must be used, and none is copied.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        package = _package()
        # Missing keys would get the values of a stereo model of the same family.
        older = "number_channels" not in config
        wanted = {"number_channels": 1} | copy.deepcopy(dict(config))
        with torch.device("meta"):
            self._model = package.MossAudioTokenizerModel(package.MossAudioTokenizerConfig(**wanted))
        for half in ("encoder", "decoder") if older else ():
            for kwargs, module in zip(config[f"{half}_kwargs"], getattr(self._model, half), strict=True):
                _remove_projections(module, kwargs)
        self._channels = int(wanted["number_channels"])
        self._model.load_state_dict(_named_as_there(tensors), strict=True, assign=True)
        self._model.eval().requires_grad_(False)
        self._hop = int(config["downsample_rate"])
        self._rate_hz = int(config["sampling_rate"])

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, C, S] -> tokens INT64 [B, K, T], by default all codebooks; zeros fill the last frame."""
        tokens: Tensor = self._model.encode(self._whole(audio), num_quantizers=num_codebooks).audio_codes
        return tokens.transpose(0, 1)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, C, T * hop]."""
        return self._of_channels(self._model.decode(tokens.long().transpose(0, 1)).audio)

    @torch.no_grad()
    def decode_in_chunks(self, tokens: Tensor, frames: int) -> Tensor:
        """Decode one row by the model's own streaming, in chunks of ``frames`` frames."""
        seconds = frames * self._hop / self._rate_hz
        codes = tokens.long().transpose(0, 1)
        return self._of_channels(self._model.decode(codes, chunk_duration=seconds).audio)

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, C, T * hop]."""
        x, lengths = latent, torch.full((len(latent),), latent.shape[2])
        for module in self._model.decoder:
            x, lengths = module(x, lengths)
        return self._of_channels(x.reshape(len(x), -1, self._channels).transpose(1, 2))

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, C, S] -> relative gap between the two nearest directions at each token, [B, K, T]."""
        encoded, quantizer = (
            self._model.encode(self._whole(audio)).encoder_hidden_states,
            self._model.quantizer,
        )
        return direction_margin(quantizer.input_proj(encoded), list(quantizer.quantizers)[:num_codebooks])

    @contextmanager
    def streaming(self, batch: int = 1, num_codebooks: int | None = None) -> Iterator[OpenMossStream]:
        """Open new streams for as long as the context lasts; meanwhile nothing may run offline.

        They equal the offline network until a ring buffer of keys wraps around, after the shortest window.
        """
        with torch.inference_mode(), self._model.streaming(batch):
            yield OpenMossStream(self._model, num_codebooks)

    def _whole(self, audio: Tensor) -> Tensor:
        """Pad with zeros to a whole frame, since the model marks tokens of a partial frame as invalid."""
        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self._hop))
        return padded.reshape(len(padded), self._channels, -1)

    def _of_channels(self, audio: Tensor) -> Tensor:
        """[B, C, S], or [B, S] if there is one channel."""
        return audio if self._channels > 1 else audio[:, 0]


def _remove_projections(module: Any, kwargs: Mapping[str, Any]) -> None:
    """Remove projections that change no dimension; newer models of the family have them."""
    for side in ("input", "output"):
        if kwargs.get(f"{side}_dimension", 0) == kwargs.get("d_model"):
            setattr(module, f"{side}_proj", torch.nn.Identity())


def _named_as_there(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the older names of feedforward layers; the class itself accepts those of attention."""
    newer = ((".ffn.0.weight", ".linear1.weight"), (".ffn.2.weight", ".linear2.weight"))
    named = dict(tensors)
    for ending, there in newer:
        for name in tensors:
            if name.endswith(ending):
                named[name.removesuffix(ending) + there] = named.pop(name)
    return named


@cache
def _package() -> Any:
    for name in ("modeling_utils", "configuration_utils"):
        transformers_module(name)
    root = _WHEEL.unpacked()
    # The parent packages import vLLM, so they are replaced by empty ones.
    parents = [".".join(_FOLDER.split("/")[:depth]) for depth in (1, 2, 3, 4)]
    absent = {name: stand_in(name, __path__=[str(root / name.replace(".", "/"))]) for name in parents}
    name = f"{parents[-1]}.audio_tokenizer_v2"
    with redirect_stdout(
        None
    ):  # transformers' decorators complain about configurations that they do not know
        return imported(_WHEEL, name, **absent)
