"""NeMo 3.0.0's own codec classes, without NeMo's dependencies.

The two source files that define the classes are extracted from the PyPI wheel and imported unchanged.
Modules that they import but the codec does not use (types, logging, models of discriminators) are replaced by
empty stand-ins.
"""

import importlib.util
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from scripts.peers.wheel_imports import replaced
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_server.wheels import Wheel

__all__ = ["NemoCodec", "recognises", "reference"]

_WHEEL = Wheel(
    "nemo-toolkit==3.0.0",
    "f1d8238e35909464cf426e5792af3113a7060de419f194b83bedd81cbe909394",
    ("nemo/collections/common/parts/utils.py", "nemo/collections/tts/modules/audio_codec_modules.py"),
)
_UTILS = "nemo.collections.common.parts.utils"
_MODULES = "nemo.collections.tts.modules.audio_codec_modules"


_ELEMENTS = (
    "AudioSignal",
    "EncodedRepresentation",
    "LengthsType",
    "MelSpectrogramType",
    "TokenIndex",
    "VoidType",
)


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the configuration has NeMo's sections."""
    return "audio_encoder" in checkpoint.config


def reference(checkpoint: Checkpoint) -> "NemoCodec":
    """NeMo's network with these weights."""
    return NemoCodec(checkpoint.config, checkpoint.tensors)


class _Unused:
    """Stand-in for a class that is imported but never used by the codec."""

    def __init__(self, *_: Any, **__: Any): ...


def _undecorated(*_: Any, **__: Any) -> Any:
    return lambda function: function


def _stand_ins() -> dict[str, ModuleType]:
    members: dict[str, dict[str, Any]] = {
        "transformers": dict.fromkeys(("AutoFeatureExtractor", "AutoModel", "Wav2Vec2BertModel"), _Unused),
        "nemo.collections.asr.modules": {"AudioToMelSpectrogramPreprocessor": _Unused},
        "nemo.collections.audio.parts.utils.transforms": dict.fromkeys(
            ("MelSpectrogram", "Resample"), _Unused
        ),
        "nemo.core.classes.common": {"typecheck": _undecorated},
        "nemo.core.classes.module": {"NeuralModule": nn.Module},
        "nemo.core.neural_types.elements": dict.fromkeys(_ELEMENTS, _Unused),
        "nemo.core.neural_types.neural_type": {"NeuralType": _Unused},
        "nemo.utils": {"logging": logging},
    }
    modules: dict[str, ModuleType] = {}
    for name, values in members.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(values)
    for name in [*members, _UTILS, _MODULES]:
        parts = name.split(".")
        for depth in range(1, len(parts)):
            modules.setdefault(".".join(parts[:depth]), ModuleType(".".join(parts[:depth])))
    return modules


def _source(name: str, root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / (name.replace(".", "/") + ".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _classes() -> ModuleType:
    root = _WHEEL.unpacked()
    with replaced({**_stand_ins(), _UTILS: ModuleType(_UTILS)}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _source(_UTILS, root)
        module = _source(_MODULES, root)
        sys.modules.pop(_MODULES)
    return module


def _instance(classes: ModuleType, section: Mapping[str, Any]) -> nn.Module:
    options = dict(section)
    made: nn.Module = getattr(classes, options.pop("_target_").rpartition(".")[2])(**options)
    return made


class NemoCodec(nn.Module):
    """Encoder, quantizer and decoder built from a model_config.yaml by NeMo's classes.

    Follows AudioCodecModel.encode and .decode (nemo/collections/tts/models/audio_codec.py), the
    zero padding of the last frame included.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]):
        super().__init__()
        classes, self.hop = _classes(), int(config["samples_per_frame"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.audio_encoder: Any = _instance(classes, config["audio_encoder"])
            self.vector_quantizer: Any = _instance(classes, config["vector_quantizer"])
            self.audio_decoder: Any = _instance(classes, config["audio_decoder"])
        own = {name: t for name, t in tensors.items() if name.split(".")[0] in dict(self.named_children())}
        if any(name.endswith(".conv.weight") for name in own):
            _remove_weight_norm(self)
        self.load_state_dict(own, strict=True)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT32 [B, K, T]; always all codebooks."""
        assert num_codebooks is None, "NeMo's codebooks do not refine each other"
        encoded, length = self._encoded(audio)
        tokens: Tensor = self.vector_quantizer.encode(inputs=encoded, input_len=length)
        return tokens.transpose(0, 1)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop]."""
        length = torch.full((len(tokens),), tokens.shape[2])
        latent = self.vector_quantizer.decode(indices=tokens.transpose(0, 1), input_len=length)
        return self.network(latent)

    @torch.no_grad()
    def network(self, latent: Tensor) -> Tensor:
        """Latent [B, D, T] -> audio [B, T * hop]."""
        length = torch.full((len(latent),), latent.shape[2])
        audio: Tensor = self.audio_decoder(inputs=latent, input_len=length)[0]
        return audio

    @torch.no_grad()
    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> distance to the nearest rounding edge behind each token, [B, K, T]."""
        assert num_codebooks is None, "NeMo's codebooks do not refine each other"
        encoded, length = self._encoded(audio)
        groups = zip(
            encoded.chunk(len(self.vector_quantizer.fsqs), dim=1), self.vector_quantizer.fsqs, strict=True
        )
        levels = [fsq.compress(inputs=group, input_len=length) for group, fsq in groups]
        return torch.stack([(0.5 - (level - level.round()).abs()).amin(1) for level in levels], dim=1)

    def _encoded(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        audio = nn.functional.pad(audio, (0, -audio.shape[1] % self.hop))
        samples = torch.full((len(audio),), audio.shape[1])
        encoded, length = self.audio_encoder(audio=audio, audio_len=samples)
        return encoded, length


def _remove_weight_norm(network: nn.Module) -> None:
    """Remove weight norm, for checkpoints in which it is folded; NeMo's own method fails on such layers."""
    for module in list(network.modules()):
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")
