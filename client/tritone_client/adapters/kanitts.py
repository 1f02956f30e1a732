"""A decoder for KaniTTS with the interface of its ONNX decoder, over a live stream.

Change one import, and the address of a server takes the place of the model file::

    # from onnx_decoder_optimized import ONNXKaniTTSDecoderOptimized
    from tritone_client.adapters.kanitts import KaniTTSDecoder as ONNXKaniTTSDecoderOptimized

    decoder = ONNXKaniTTSDecoderOptimized("nanocodec", url="127.0.0.1:8001")
    pcm = decoder.decode_frame([100, 200, 300, 400])  # INT16 [1764]

That decoder forgets everything between two frames, which makes a seam at each. This one remembers, so
the frames of an utterance join without any; call :meth:`KaniTTSDecoder.reset` before the next one.
"""

from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tritone_client.cli.pcm import pcm_of
from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array
from tritone_client.inputs.frames import frames_of
from tritone_client.streams.stream import Stream

__all__ = ["KaniTTSDecoder", "codes_of"]

_AUDIO_TOKENS_START = 64410
_CODEBOOK_SIZE = 4032


class KaniTTSDecoder:
    """Decodes frame by frame; a context manager, for one utterance at a time.

    Args:
        codec: as the server names its NanoCodec (0.6 kbit/s, 12.5 frames per second).
        url: host and gRPC port, or the ``Path`` of a model repository to run in this process.
        timeout_s: longest wait for one answer.
    """

    def __init__(self, codec: str = "nanocodec", url: Endpoints = "127.0.0.1:8001", timeout_s: float = 120.0):
        self._codec = Codec(codec, url, timeout_s)
        self._stream: Stream[np.float32] | None = None

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._codec.info.sample_rate_hz

    def decode_frame(self, codes: Sequence[int] | ArrayLike) -> NDArray[np.int16]:
        """One frame, codes of codebook 0 to 3, each 0..4031, as PCM [samples per frame]."""
        return self.decode_frames([codes])

    def decode_frames(self, frames: Sequence[Sequence[int] | ArrayLike] | ArrayLike) -> NDArray[np.int16]:
        """The next frames, [frames][codebooks], as PCM; one request for all of them.

        Raises:
            TokensError: a wrong number of codes, or one out of range; the utterance goes on.
            StreamBusyError: another thread decodes; the utterance goes on.
            CodecNotOpenError: after :meth:`close`.
            ServerFullError, StreamLostError, ServerRefusedError, ServerUnavailableError: the utterance
                is over; :meth:`reset` and start again.
        """
        codes = as_array(frames, "frames are [frames, codebooks], integers", TokensError)
        if self._stream is None:
            self._stream = self._codec.decode_stream()
        return pcm_of(self._stream.push(codes.T))

    def reset(self) -> None:
        """End the utterance; the next frame begins another one."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def close(self) -> None:
        """End the utterance and the connection."""
        try:
            self.reset()
        finally:
            self._codec.close()

    def __enter__(self) -> "KaniTTSDecoder":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def codes_of(token_ids: Sequence[int] | ArrayLike, drop_remainder: bool = False) -> NDArray[np.int64]:
    """Frames [frames, 4] of audio tokens as the language model writes them, frame after frame.

    Token 64410 + 4032 * codebook + code, as in kani-tts (examples/basic/audio/player.py, 5ba36d3). Tokens
    that are no audio give codes out of range, which decoding refuses.

    Args:
        token_ids: integers of any shape, read row by row.
        drop_remainder: leave out a last frame that is not full, as where generation was cut off.

    Raises:
        TokensError: the last frame is not full, unless it is left out; or the tokens are no integers.
    """
    return frames_of(token_ids, 4, drop_remainder) - _AUDIO_TOKENS_START - _CODEBOOK_SIZE * np.arange(4)
