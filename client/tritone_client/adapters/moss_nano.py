"""MOSS-Audio-Tokenizer-Nano with the tensors of its published ONNX files, on a server or in this process.

Code written for those files keeps its arrays: codes INT32 with the codebooks last, batches padded to the
longest row, an array of lengths, and a session for live decoding::

    from tritone_client.adapters.moss_nano import NanoTokenizer

    with NanoTokenizer("moss_nano", url="127.0.0.1:8001") as tokenizer:
        codes, codes_lengths = tokenizer.encode(waveform)  # [B, 2, S] -> [B, T, 16], [B]
        audio, audio_lengths = tokenizer.decode_full(codes, codes_lengths)  # [B, 2, S], [B]
        with tokenizer.decode_step_session() as session:  # the InferenceSession of decode_step
            outputs = session.run(None, {"audio_codes": codes[:1, :1], "audio_code_lengths": [1], **state})

Names are those of ort_cpu_runtime.py in OpenMOSS/MOSS-TTS-Nano (a843f17) and of the files that it runs.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.adapters.batches import audio_rows, lengths_of, padded, sizes_of
from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.errors import StreamClosedError, TokensError, TritoneError
from tritone_client.inputs.arrays import ArrayLike, as_array
from tritone_client.streams.stream import Stream

__all__ = ["DecodeStepSession", "NanoTokenizer", "TensorName"]

Array = NDArray[Any]
_AXES = 3
_steps = count(1)
_STATE = "transformer_offset_0"
"""The tensor of the state that names the stream; 0 begins another one."""
_CODES = "audio_codes is [B, T, codebooks], integers"


class NanoTokenizer:
    """Encodes and decodes batches; a context manager.

    Args:
        codec: name of the codec.
        url: host and gRPC port of a server, or the ``Path`` of a model repository to run in this process.
        timeout_s: longest wait for one answer of a server.

    Raises:
        TritoneError: as of :class:`tritone_client.Codec`.
    """

    def __init__(self, codec: str = "moss_nano", url: Endpoints = "127.0.0.1:8001", timeout_s: float = 120.0):
        self._codec = Codec(codec, url, timeout_s)
        self._sessions: weakref.WeakSet[DecodeStepSession] = weakref.WeakSet()

    def encode(self, waveform: ArrayLike, input_lengths: ArrayLike | None = None) -> tuple[Array, Array]:
        """Encode audio to codes.

        Args:
            waveform: floats [B, C, S] at the codec's rate; with C = 1, both channels get a copy.
            input_lengths: samples of each row [B]; by default the rows are complete.

        Returns:
            Codes INT32 [B, T, codebooks], 0 after a row's end, and their lengths INT32 [B], which count an
            incomplete last frame.

        Raises:
            AudioError: the input has another shape, is too short or not finite; nothing was sent.
            ServerRefusedError, ServerUnavailableError: as of :meth:`tritone_client.Codec.encode`.
        """
        info = self._codec.info
        expected = f"waveform is [B, {info.num_channels}, S]"
        rows = audio_rows(waveform, expected, input_lengths, info.num_channels)
        tokens = self._codec.encode(rows, info.sample_rate_hz)
        return padded(tokens).transpose(0, 2, 1).astype(np.int32), sizes_of(tokens).astype(np.int32)

    def decode_full(
        self, audio_codes: ArrayLike, audio_code_lengths: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], Array]:
        """Decode whole utterances.

        Args:
            audio_codes: integers [B, T, codebooks].
            audio_code_lengths: frames of each row [B]; by default the rows are complete.

        Returns:
            Audio FP32 [B, C, S], silent after a row's end, and the lengths in samples, INT32 [B].

        Raises:
            TokensError: the codes have another shape or type, or are out of range, such as the padding 1024;
                nothing was sent.
            ServerRefusedError, ServerUnavailableError: as of :meth:`tritone_client.Codec.decode`.
        """
        audio = self._codec.decode(_rows(audio_codes, audio_code_lengths))
        return padded(audio), sizes_of(audio).astype(np.int32)

    def decode_step_session(self, max_streams: int = 1) -> "DecodeStepSession":
        """A session for live decoding, which keeps the state of at most ``max_streams`` utterances.

        By default a new utterance ends the one before it, as ``reset`` does in the published code.
        """
        session = DecodeStepSession(self._codec, max_streams)
        self._sessions.add(session)
        return session

    def close(self) -> None:
        """End the utterances of all sessions, and close the connection."""
        for session in list(self._sessions):
            session.close()
        self._codec.close()

    def __enter__(self) -> "NanoTokenizer":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class TensorName:
    """An output of :class:`DecodeStepSession`, as ``InferenceSession.get_outputs`` lists it."""

    name: str


class DecodeStepSession:
    """Live decoding with the call of ONNX Runtime's session of the file ``decode_step``; a context manager.

    The published graph takes and returns the past of an utterance: 52 tensors, 25 MB. Here a live stream
    keeps the past, and ``transformer_offset_0`` holds the number of the stream's last step, which no other
    step in this process has. Keys, values and positions are returned as they came, so they may be left out.
    A state can be continued once. Several threads may run steps of different utterances.

    Args:
        codec: the codec, open.
        max_streams: utterances whose state is kept. When another one begins, the one that was used least
            recently ends.
    """

    def __init__(self, codec: Codec, max_streams: int):
        self._codec, self._max_streams = codec, max_streams
        self._streams: OrderedDict[int, Stream[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self._outputs = ["audio", "audio_lengths", _returned(_STATE)]

    def get_outputs(self) -> list[TensorName]:
        """All outputs that the last run could give, in its order."""
        return [TensorName(name) for name in self._outputs]

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Array]:
        """Decode the next frames of one utterance.

        Args:
            output_names: the outputs wanted, in this order; all if None.
            feeds: ``audio_codes`` INT32 [1, T, codebooks]; ``audio_code_lengths`` [1], by default T; and the
                state: zeros for a new utterance, else what the step before returned.

        Returns:
            ``audio`` FP32 [1, C, S], ``audio_lengths`` INT32 [1], and for each state tensor ``<name>_<n>`` of
            the feeds ``<name>_out_<n>``.

        Raises:
            TokensError: codes are missing, out of range or of another shape, or there is no such output; the
                utterance goes on.
            StreamClosedError: the state was continued before, or its utterance has ended.
            ServerFullError, StreamLostError, ServerRefusedError, ServerUnavailableError: as of
                :meth:`tritone_client.Stream.push`; the utterance has ended.
        """
        if "audio_codes" not in feeds:
            raise TokensError(f"{_CODES}; got only {', '.join(feeds) or 'nothing'}")
        rows = _rows(feeds["audio_codes"], feeds.get("audio_code_lengths"))
        if len(rows) != 1:
            raise TokensError(f"a step takes one utterance, got {len(rows)} rows")
        state = {_STATE: np.zeros(1, np.int32)} | {
            name: np.asarray(value) for name, value in feeds.items() if not name.startswith("audio_code")
        }
        names = ["audio", "audio_lengths", *map(_returned, state)]
        _refuse_unknown(output_names or (), names)
        audio, number = self._pushed(_number_of(state[_STATE]), rows[0])
        found = {"audio": audio[None], "audio_lengths": np.array([audio.shape[-1]], np.int32)}
        found |= {_returned(name): value for name, value in state.items()}
        found[_returned(_STATE)] = np.full_like(state[_STATE], number)
        self._outputs = names
        return [found[name] for name in output_names or names]

    def close(self) -> None:
        """End all utterances; a server that fails meanwhile ends them itself."""
        with self._lock:
            streams, self._streams = list(self._streams.values()), OrderedDict()
        _end(streams)

    def __enter__(self) -> "DecodeStepSession":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _pushed(self, number: int, tokens: Array) -> tuple[Array, int]:
        """The audio of the next tokens [K, T], and the number of this step."""
        stream = self._taken(number)
        try:
            audio = stream.push(tokens)
        except TokensError:
            if number:  # nothing was sent, so the utterance can be continued
                self._kept(number, stream)
            else:
                _end([stream])
            raise
        step = next(_steps)
        self._kept(step, stream)
        return audio, step

    def _taken(self, number: int) -> Stream[np.float32]:
        """The stream of that state, which no other step can take now; a new one for 0."""
        with self._lock:
            stream = self._streams.pop(number, None)
            surplus = [] if number else self._surplus()
        _end(surplus)
        if number and stream is None:
            raise StreamClosedError(
                f"the state {number} was continued before, or its utterance has ended; begin with zeros"
            )
        return stream or self._codec.decode_stream()

    def _surplus(self) -> list[Stream[np.float32]]:
        """The streams that leave no room for another one."""
        count = len(self._streams) - self._max_streams + 1
        return [self._streams.popitem(last=False)[1] for _ in range(count)]

    def _kept(self, number: int, stream: Stream[np.float32]) -> None:
        with self._lock:
            self._streams[number] = stream


def _end(streams: Sequence[Stream[np.float32]]) -> None:
    for stream in streams:
        with suppress(TritoneError):
            stream.close()


def _refuse_unknown(wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise TokensError(f"there is no output {', '.join(unknown)}; there are {', '.join(names)}")


def _number_of(offset: Array) -> int:
    if offset.size != 1 or offset.dtype.kind not in "iu":
        raise TokensError(f"{_STATE} is one integer, got {offset.dtype} {list(offset.shape)}")
    return int(offset.ravel()[0])


def _rows(codes: ArrayLike, lengths: ArrayLike | None) -> list[Array]:
    """Tokens [K, T] of each row."""
    given = as_array(codes, _CODES, TokensError)
    if given.ndim != _AXES:
        raise TokensError(f"{_CODES}, got {list(given.shape)}")
    frames = lengths_of(lengths, len(given), given.shape[1], TokensError)
    return [row[:length].T for row, length in zip(given, frames, strict=True)]


def _returned(name: str) -> str:
    """Name of the output for a state tensor: ``attn_offset_3`` comes back as ``attn_offset_out_3``."""
    stem, _, number = name.rpartition("_")
    return f"{stem}_out_{number}"
