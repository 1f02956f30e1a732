"""A decoder for KaniTTS with the interface of its ONNX decoder; it decodes in a live stream.

Change one import, and give the address of a server in place of the model file::

    # from onnx_decoder_optimized import ONNXKaniTTSDecoderOptimized
    from tritone_client.adapters.kanitts import KaniTTSDecoder as ONNXKaniTTSDecoderOptimized

    decoder = ONNXKaniTTSDecoderOptimized("nanocodec", url="127.0.0.1:8001")
    pcm = decoder.decode_frame([100, 200, 300, 400])  # INT16 [1764]

KaniTTS's decoder keeps no state between frames, which makes a seam at each border. This decoder keeps the
state, so the frames of an utterance join without seams. Call :meth:`KaniTTSDecoder.reset` before the next
utterance.
"""

from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array
from tritone_client.inputs.frames import frames_of
from tritone_client.layouts.flat import KANITTS
from tritone_client.streams.stream import Stream

__all__ = ["KaniTTSDecoder", "codes_of"]


class KaniTTSDecoder:
    """Decodes frame by frame, one utterance at a time; a context manager.

    Args:
        codec: name of a NanoCodec with 0.6 kbit/s and 12.5 frames per second.
        url: host and gRPC port of a server, or the ``Path`` of a model repository to run in this process.
        timeout_s: longest wait for one answer of a server.

    Raises:
        TritoneError: as of :class:`tritone_client.Codec`.
    """

    def __init__(self, codec: str = "nanocodec", url: Endpoints = "127.0.0.1:8001", timeout_s: float = 120.0):
        self._codec = Codec(codec, url, timeout_s)
        self._stream: Stream[np.int16] | None = None

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self._codec.info.sample_rate_hz

    def decode_frame(self, codes: Sequence[int] | ArrayLike) -> NDArray[np.int16]:
        """Decode one frame, the codes of codebooks 0 to 3, each 0..4031, to PCM INT16 [samples per frame].

        Errors as of :meth:`decode_frames`.
        """
        return self.decode_frames([codes])

    def decode_frames(self, frames: Sequence[Sequence[int] | ArrayLike] | ArrayLike) -> NDArray[np.int16]:
        """Decode the next frames [T, 4] to PCM INT16 [T * samples per frame], in one request.

        Raises:
            TokensError: the number of codes is wrong, or a code is out of range; the utterance goes on.
            StreamBusyError: another thread is decoding; the utterance goes on.
            CodecNotOpenError: the decoder was closed.
            ServerFullError, StreamLostError, ServerRefusedError, ServerUnavailableError: as of
                :meth:`tritone_client.Stream.push`. The utterance has ended; call :meth:`reset`.
        """
        codes = as_array(frames, "frames are [frames, codebooks], integers", TokensError)
        if self._stream is None:
            self._stream = self._codec.decode_stream(dtype="int16")
        return self._stream.push(codes.T)

    def reset(self) -> None:
        """End the utterance; the next frame starts another one."""
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
    """Frames INT64 [T, 4] of audio tokens, which the language model writes frame after frame.

    A token is 64410 + 4032 * codebook + code. Other tokens give codes out of range, which decoding refuses;
    :data:`tritone_client.layouts.KANITTS` refuses them here, and knows the tokens of start and end.

    Args:
        token_ids: integers of any shape, read row by row.
        drop_remainder: leave out an incomplete last frame, as when generation was cut off.

    Raises:
        TokensError: the last frame is incomplete and not left out; or the tokens are not integers.
    """
    books = np.arange(KANITTS.num_codebooks)
    frames = frames_of(token_ids, KANITTS.num_codebooks, drop_remainder)
    return frames - KANITTS.first_id - KANITTS.codebook_size * books
