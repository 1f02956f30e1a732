"""The process that runs qwen-tts 0.1.1 with transformers 4.57.3, for scripts/peers/qwen_tts.py.

It runs with packages of its own, so it imports nothing of this repository.

Arguments: the file descriptor of the connection, and the folder with the files of the wheel.
"""

import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


def main() -> None:
    """Answer requests until the other side closes the connection."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    model = Model(Path(sys.argv[2]))
    while True:
        try:
            threads, method, arguments = connection.recv()
        except EOFError:
            return
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                answer = True, getattr(model, method)(*arguments)
        except Exception:
            answer = False, traceback.format_exc()
        connection.send(answer)


class Model:
    """Qwen3TTSTokenizerV2Model; the public methods are the requests.

    Audio, latents and tokens are arrays; those that are sent are converted to the type of the network.
    """

    def __init__(self, wheel: Path):
        # The packages themselves import librosa, sox and ONNX Runtime, so empty ones replace them.
        for name in ("qwen_tts", "qwen_tts.core"):
            package = ModuleType(name)
            package.__path__ = [str(wheel / name.replace(".", "/"))]
            sys.modules[name] = package
        self._model: Any = None
        self._tensors: dict[str, Tensor] = {}

    def build(self, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Build the network without weights, and return the shapes of its tensors by name."""
        package = import_module("qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2")
        with import_module("transformers.modeling_utils").no_init_weights():
            self._model = package.Qwen3TTSTokenizerV2Model(package.Qwen3TTSTokenizerV2Config(**config))
        return {name: tuple(tensor.shape) for name, tensor in self._model.state_dict().items()}

    def add(self, name: str, tensor: Array) -> None:
        """Keep a tensor for ``load``."""
        self._tensors[name] = torch.from_numpy(tensor)

    def load(self, dtype: str) -> int:
        """Load the tensors that were added, all of which must fit, and return the samples per frame."""
        self._model.load_state_dict(self._tensors, strict=True)
        self._tensors.clear()
        self._model.eval().to(getattr(torch, dtype))
        return int(self._model.encode_downsample_rate)

    def bound_encoder(self) -> None:
        """Apply ``sliding_window`` in the encoder's transformer, as transformers 5 does."""
        masks: Any = import_module("transformers.masking_utils")
        mimi: Any = import_module("transformers.models.mimi.modeling_mimi")
        mimi.create_causal_mask = masks.create_sliding_window_causal_mask

    def encode(self, audio: Array) -> Array:
        """Audio [B, S] of whole frames -> tokens INT64 [B, K, T]."""
        samples = self._input(audio)
        codes = self._model.encode(samples, torch.ones_like(samples, dtype=torch.long)).audio_codes
        return torch.stack(codes).transpose(1, 2).numpy()

    def encoder_latent(self, audio: Array) -> Array:
        """Audio [B, S] of whole frames -> the encoder's latent before quantization, [B, D, T]."""
        encoder = self._model.encoder
        steps = encoder.encoder(self._input(audio)[:, None]).transpose(1, 2)
        return _output(encoder.downsample(encoder.encoder_transformer(steps)[0].transpose(1, 2)))

    def dequantize(self, tokens: Array) -> Array:
        """Tokens [B, K, T] -> the decoder's latent [B, D, T]."""
        return _output(self._model.decoder.quantizer.decode(torch.from_numpy(tokens)))

    def decode(self, tokens: Array) -> Array:
        """Tokens [B, K, T] -> audio [B, S], in one piece."""
        return _output(self._model.decoder(torch.from_numpy(tokens))[:, 0])

    def decode_chunked(self, tokens: Array, chunk: int, context: int) -> Array:
        """Tokens [B, K, T] -> audio [B, S], by ``chunked_decode``."""
        return _output(self._model.decoder.chunked_decode(torch.from_numpy(tokens), chunk, context)[:, 0])

    def network(self, latent: Array) -> Array:
        """Latent [B, D, T] -> audio [B, S]; the class's own forward, with this latent for its quantizer's."""
        given, decoder = self._input(latent), self._model.decoder
        decoder.quantizer.decode = lambda codes: given
        try:
            codes = torch.zeros(len(given), decoder.config.num_quantizers, given.shape[2], dtype=torch.long)
            return _output(decoder(codes)[:, 0])
        finally:
            del decoder.quantizer.decode

    def _input(self, values: Array) -> Tensor:
        return torch.from_numpy(values).to(self._model.dtype)


def _output(values: Tensor) -> Array:
    """Half precision is widened, so that results are FP32 or FP64."""
    return (values.float() if values.dtype in {torch.float16, torch.bfloat16} else values).numpy()


if __name__ == "__main__":
    main()
