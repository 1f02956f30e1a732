"""The authors' Qwen3-TTS tokenizer of 12 Hz, qwen-tts 0.1.1, in a process with transformers 4.57.3.

Later versions of transformers cannot import it. See ``modeling_qwen3_tts_tokenizer_v2.py`` in the wheel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.peers.environments import Environment
from scripts.peers.rounding_margin import residual_margin
from scripts.peers.worker_process import WorkerProcess
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.nested import has_signature
from tritone_server.wheels import Wheel

__all__ = ["WHEEL", "QwenTts", "complete", "recognises", "reference", "tensor_shapes"]

WHEEL = Wheel(
    "qwen-tts==0.1.1",
    "11a290d8dabc7ef91a90c54478c8ab19b3edb1d85c0882313721892bdc4af15d",
    ("qwen_tts/core/tokenizer_12hz/",),
)
_ENVIRONMENT = Environment(
    "qwen-tts",
    (
        "transformers==4.57.3",
        "huggingface-hub==0.36.0",
        "tokenizers==0.22.1",
        "certifi==2025.8.3",
        "charset-normalizer==3.4.3",
        "idna==3.10",
        "packaging==25.0",
        "PyYAML==6.0.3",
        "regex==2025.9.18",
        "requests==2.32.5",
        "tqdm==4.67.1",
        "urllib3==2.5.0",
    ),
)
_MARKS = ("decoder.pre_transformer.", "encoder.encoder_transformer.")
_DECODER = {  # the published values; the class's defaults describe another network
    "codebook_dim": 512,
    "head_dim": 64,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "latent_dim": 1024,
    "upsample_rates": [8, 5, 4, 3],
    "upsampling_ratios": [2, 2],
}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the tensors have the published names of the decoder's and the encoder's transformer."""
    return has_signature(checkpoint.tensors, _MARKS)


def reference(checkpoint: Checkpoint) -> "QwenTts":
    """The authors' network with these weights.

    Its encoder is bounded, as the configuration says and as a stream must be.
    """
    return QwenTts(checkpoint.config, checkpoint.tensors, bounded_encoder=True)


def tensor_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a network of this configuration has, by published name."""
    shapes: dict[str, tuple[int, ...]] = _worker().call("build", complete(config))
    return shapes


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the published values for missing keys of the decoder."""
    return {**config, "decoder_config": {**_DECODER, **config.get("decoder_config", {})}}


class QwenTts:
    """Qwen3TTSTokenizerV2Model on the CPU, in a worker process.

    In FP64 the class still computes RMSNorm and the phases of the rotary embedding in FP32.

    Args:
        config: content of a config.json; missing keys have the published values.
        tensors: by their published names; every one must be used.
        dtype: of weights and activations, the codebooks included.
        bounded_encoder: whether the encoder's transformer sees ``sliding_window`` steps, as in transformers
            5. In 4.57.3, which the authors require, it sees all earlier steps. The tokens of the first 10 s
            are the same.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype = torch.float32,
        bounded_encoder: bool = False,
    ):
        self._worker = _worker()
        self._worker.call("build", complete(config))
        for name, tensor in tensors.items():
            self._worker.call("add", name, tensor.float().numpy())
        self._hop: int = self._worker.call("load", str(dtype).removeprefix("torch."))
        if bounded_encoder:
            self._worker.call("bound_encoder")
        self._quantizers = {
            name: tensor.float() for name, tensor in tensors.items() if name.startswith("encoder.quantizer.")
        }

    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> tokens INT64 [B, K, T]; zeros complete the last frame; all codebooks by default."""
        return self._call("encode", self._whole(audio))[:, :num_codebooks]

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop], in one piece; the class refuses fewer codebooks."""
        return self._call("decode", tokens.long())

    def decode_chunked(self, tokens: Tensor, chunk: int = 300, context: int = 25) -> Tensor:
        """Tokens [B, K, T] -> audio [B, T * hop], by the class's ``chunked_decode``, as the authors do.

        Every chunk of ``chunk`` frames is decoded with ``context`` earlier frames.
        """
        return self._call("decode_chunked", tokens.long(), chunk, context)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> the decoder's latent [B, D, T]."""
        return self._call("dequantize", tokens.long())

    def network(self, latent: Tensor) -> Tensor:
        """Dequantized latent [B, D, T] -> audio [B, T * hop]."""
        return self._call("network", latent)

    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio [B, S] -> relative gap between the two nearest codes at each token, [B, K, T]."""
        books = self.encode(audio[:, : self._hop]).shape[1] if num_codebooks is None else num_codebooks
        latent = self._call("encoder_latent", self._whole(audio)).float()
        margins = []
        for part, count in (("semantic", 1), ("acoustic", books - 1)):
            if count:
                name = f"encoder.quantizer.{part}_residual_vector_quantizer"
                projected = torch.conv1d(latent, self._quantizers[f"{name}.input_proj.weight"])
                margins.append(residual_margin(projected, (self._codebook(name, n) for n in range(count))))
        return torch.cat(margins, dim=1)

    def _codebook(self, quantizer: str, number: int) -> Tensor:
        """Codebook [N, D] of a quantizer of the encoder."""
        name = f"{quantizer}.layers.{number}.codebook"
        usage = self._quantizers[f"{name}.cluster_usage"].clamp(min=1e-5)
        return self._quantizers[f"{name}.embed_sum"] / usage[:, None]

    def _whole(self, audio: Tensor) -> Tensor:
        """Pad with zeros to a whole frame; the encoder itself would pad in each layer."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[1] % self._hop))

    def _call(self, method: str, values: Tensor, *options: int) -> Tensor:
        answer: np.ndarray[Any, Any] = self._worker.call(method, values.contiguous().numpy(), *options)
        return torch.from_numpy(answer)


def _worker() -> WorkerProcess:
    script = Path(__file__).parent / "qwen" / "qwen_tts_worker.py"
    return WorkerProcess(script, [str(WHEEL.unpacked())], _ENVIRONMENT.folder())
