"""DAC's own class, of descript-audio-codec 1.0.0, without audiotools, which only its training needs."""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from scripts.peers.rounding_margin import direction_margin
from scripts.peers.wheel_imports import imported, stand_in
from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.configs.dac import DacCodecConfig, parse
from tritone_build.codecs.names.dac import is_original
from tritone_server.wheels import Wheel

__all__ = ["Descript", "recognises", "reference"]

_WHEEL = Wheel(
    "descript-audio-codec==1.0.0",
    "7ecd1883040613d143494f27f199c11c7053a8a7f9fd2120568c5a98db926e61",
    ("dac/model/dac.py", "dac/model/base.py", "dac/nn/layers.py", "dac/nn/quantize.py"),
)
_MARK = "decoder.model.1.block.1."
"""A decoder's first transposed convolution; SNAC has another layer there."""
_PREFIX = "model."


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have Descript's names, perhaps within Parler-TTS's class."""
    return any(name.removeprefix(_PREFIX).startswith(_MARK) for name in checkpoint.tensors)


def reference(checkpoint: Checkpoint) -> "Descript":
    """Descript's network with these weights."""
    return Descript(parse(checkpoint.config), checkpoint.tensors)


class Descript:
    """DAC of ``dac.model.dac`` on the CPU.

    Args:
        config: the network.
        tensors: by Descript's names, in any spelling of weight norm; every one must be used.
    """

    def __init__(self, config: DacCodecConfig, tensors: Mapping[str, Tensor]):
        tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
        assert is_original(tensors)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's older weight norm
            self._model = _package().DAC(
                encoder_dim=config.network.encoder_channels,
                encoder_rates=list(config.network.encoder_rates),
                latent_dim=config.network.latent_dim,
                decoder_dim=config.network.decoder_channels,
                decoder_rates=list(config.network.decoder_rates),
                n_codebooks=config.num_codebooks,
                codebook_size=config.codebook_size,
                codebook_dim=config.codebook_dim,
                sample_rate=config.sample_rate_hz,
            )
            _remove_weight_norm(self._model)
        self._model.load_state_dict(weight_norm.fold(tensors), strict=True)
        self._model.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame, as in ``preprocess``."""
        tokens: Tensor = self._model.encode(self._whole(audio), num_codebooks)[1]
        return tokens

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, S]; a rate that is odd leaves out samples of the last frame."""
        return self.network(self._model.quantizer.from_codes(tokens.long())[0])

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, S]."""
        audio: Tensor = self._model.decode(latent)
        return audio[:, 0]

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest directions at each token, [B, K, T]."""
        latent = self._model.encoder(self._whole(audio))
        return direction_margin(latent, list(self._model.quantizer.quantizers)[:num_codebooks])

    def _whole(self, audio: Tensor) -> Tensor:
        whole: Tensor = self._model.preprocess(audio[:, None], None)
        return whole


def _remove_weight_norm(network: nn.Module) -> None:
    for module in network.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)


@cache
def _package() -> Any:
    root = _WHEEL.unpacked()
    audiotools = stand_in("audiotools", AudioSignal=object, STFTParams=object)
    trained = stand_in("audiotools.ml", BaseModel=nn.Module)
    # The packages' own __init__ import the training.
    names = ("dac", "dac.model", "dac.nn")
    parents = {name: stand_in(name, __path__=[str(root / name.replace(".", "/"))]) for name in names}
    absent = {"audiotools": audiotools, "audiotools.ml": trained, **parents}
    with patch.object(torch.jit, "script", lambda function: function):  # compiling takes seconds
        return imported(_WHEEL, "dac.model.dac", **absent)
