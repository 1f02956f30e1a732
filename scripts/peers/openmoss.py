"""OpenMOSS's own code of MOSS Audio Tokenizer, as vllm-omni 0.30.0 carries it, offline and in chunks."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from scripts.peers.transformers_mimi import transformers_module
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = ["OpenMoss", "OpenMossStream", "recognises", "reference"]

_FOLDER = "vllm_omni/model_executor/models/moss_tts/"
_WHEEL = Wheel(
    "vllm-omni==0.30.0", "141cb0c7b9c07970e5c92a99aab9696e81682dbfa3d2bfcde359c3c1533385f4", (_FOLDER,)
)
_MARK = "quantizer.quantizers.0.codebook.weight"


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have OpenMOSS's names."""
    return _MARK in checkpoint.tensors


def reference(checkpoint: Checkpoint) -> "OpenMoss":
    """OpenMOSS's network with these weights."""
    return OpenMoss(checkpoint.config, checkpoint.tensors)


@dataclass(frozen=True)
class OpenMossStream:
    """The class's streaming mode: each call continues where the last one ended."""

    model: Any
    num_codebooks: int | None

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, 1, hop] -> tokens INT64 [B, K, 1]."""
        tokens: Tensor = self.model.encode(audio, num_quantizers=self.num_codebooks).audio_codes
        return tokens.transpose(0, 1)

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, 1, hop]."""
        audio: Tensor = self.model.decode(tokens.transpose(0, 1)).audio
        return audio


class OpenMoss:
    """MossAudioTokenizerModel on the CPU.

    Args:
        config: a config.json.
        tensors: by their published names, every one used and none copied.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        package = _package()
        # The class takes what is left out for that of a stereo sibling.
        wanted = {"number_channels": 1} | copy.deepcopy(dict(config))
        with torch.device("meta"):
            self._model = package.MossAudioTokenizerModel(package.MossAudioTokenizerConfig(**wanted))
        for half in ("encoder", "decoder"):
            for kwargs, module in zip(config[f"{half}_kwargs"], getattr(self._model, half), strict=True):
                _leave_out_projections(module, kwargs)
        self._model.load_state_dict(dict(tensors), strict=True, assign=True)
        self._model.eval().requires_grad_(False)
        self._hop = int(config["downsample_rate"])
        self._rate_hz = int(config["sampling_rate"])

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame; all codebooks by default."""
        tokens: Tensor = self._model.encode(self._whole(audio), num_quantizers=num_codebooks).audio_codes
        return tokens.transpose(0, 1)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop]."""
        audio: Tensor = self._model.decode(tokens.long().transpose(0, 1)).audio
        return audio[:, 0]

    @torch.no_grad()
    def decode_in_chunks(self, tokens: Tensor, frames: int) -> Tensor:
        """The same, by the class's own streaming with chunks of so many frames; one row only."""
        seconds = frames * self._hop / self._rate_hz
        codes = tokens.long().transpose(0, 1)
        audio: Tensor = self._model.decode(codes, chunk_duration=seconds).audio
        return audio[:, 0]

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, T * hop]."""
        x, lengths = latent, torch.full((len(latent),), latent.shape[2])
        for module in self._model.decoder:
            x, lengths = module(x, lengths)
        return x[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest directions at each token, [B, K, T]."""
        encoded, quantizer = (
            self._model.encode(self._whole(audio)).encoder_hidden_states,
            self._model.quantizer,
        )
        residual, margins = quantizer.input_proj(encoded), []
        for each in list(quantizer.quantizers)[:num_codebooks]:
            codes = torch.nn.functional.normalize(each.in_proj(residual).double(), dim=1).transpose(1, 2)
            directions = torch.nn.functional.normalize(each.codebook.weight.double(), dim=1)
            nearest = torch.cdist(codes, directions[None]).square().topk(2, largest=False).values
            best, second = nearest.unbind(-1)
            margins.append((second - best) / second)
            residual = residual - each(residual)[0]
        return torch.stack(margins, dim=1).float()

    @contextmanager
    def streaming(self, batch: int = 1, num_codebooks: int | None = None) -> Iterator[OpenMossStream]:
        """Fresh streaming state for as long as the context lasts; nothing offline meanwhile.

        Equals the offline network until a ring of keys has come round, after ten seconds.
        """
        with torch.inference_mode(), self._model.streaming(batch):
            yield OpenMossStream(self._model, num_codebooks)

    def _whole(self, audio: Tensor) -> Tensor:
        """Zeros to a whole frame: the class takes tokens of a last one that is not for not valid."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[1] % self._hop))[:, None]


def _leave_out_projections(module: Any, kwargs: Mapping[str, Any]) -> None:
    """Where they would change no dimension: this revision of the class has them for its siblings' sake."""
    for side in ("input", "output"):
        if kwargs.get(f"{side}_dimension", 0) == kwargs.get("d_model"):
            setattr(module, f"{side}_proj", torch.nn.Identity())


@cache
def _package() -> Any:
    for name in ("modeling_utils", "configuration_utils"):
        transformers_module(name)
    root = _WHEEL.unpacked()
    # Its parent packages import vLLM.
    parents = [".".join(_FOLDER.split("/")[:depth]) for depth in (1, 2, 3, 4)]
    absent = {name: stand_in(name, __path__=[str(root / name.replace(".", "/"))]) for name in parents}
    name = f"{parents[-1]}.audio_tokenizer_v2"
    with redirect_stdout(None):  # transformers' decorators miss configurations of their own
        return imported(_WHEEL, name, **absent)
