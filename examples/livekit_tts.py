"""A text-to-speech node for LiveKit Agents: a speech model and a codec behind its public interface.

``speak`` is the speech model: it takes a text and yields frames [K] of the codec, as it writes them.

  async with AsyncCodec("nanocodec", "127.0.0.1:8001") as codec:
      session = AgentSession(tts=tts.StreamAdapter(tts=CodecTTS(codec, speak)), ...)

The adapter is LiveKit's own; it gives this node one sentence at a time.
Needs ``livekit-agents`` (tested with 1.8.9).
"""

from collections.abc import AsyncIterable, Callable

import numpy as np
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectionError, APIConnectOptions, tts
from livekit.agents.utils import shortuuid
from numpy.typing import NDArray

from tritone_client import AsyncCodec, ServerUnavailableError, TritoneError

__all__ = ["CodecTTS", "Speak"]

Speak = Callable[[str], AsyncIterable[NDArray[np.int64]]]
PIECE_MS = 20  # LiveKit collects 200 ms otherwise, before a listener hears the first of it


class CodecTTS(tts.TTS):
    """Speech of a model that writes a codec's frames.

    Args:
        codec: open, and open for as long as this node is used.
        speak: text into frames [K].
        sample_rate_hz: of the audio that LiveKit gets; the codec's if None.
    """

    def __init__(self, codec: AsyncCodec, speak: Speak, sample_rate_hz: int | None = None):
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=sample_rate_hz or codec.info.sample_rate_hz,
            num_channels=codec.info.num_channels,
        )
        self.codec, self.speak = codec, speak

    @property
    def model(self) -> str:
        """Name of the codec, for LiveKit's metrics."""
        return self.codec.info.name

    @property
    def provider(self) -> str:
        """For LiveKit's metrics."""
        return "tritone"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> "CodecSpeech":
        """Speak a text; iterate over the result, or ``collect`` it."""
        return CodecSpeech(tts=self, input_text=text, conn_options=conn_options)


class CodecSpeech(tts.ChunkedStream):
    """One text: audio goes out as frames are decoded. LiveKit retries where no server answers."""

    _tts: CodecTTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        node = self._tts
        output_emitter.initialize(
            request_id=shortuuid(),
            sample_rate=node.sample_rate,
            num_channels=node.num_channels,
            mime_type="audio/pcm",
            frame_size_ms=PIECE_MS,
        )
        frames = node.speak(self.input_text)
        try:
            async for audio in node.codec.stream(frames, sample_rate_hz=node.sample_rate, dtype="int16"):
                output_emitter.push(audio.T.tobytes())  # channels side by side, as PCM has them
        except TritoneError as error:
            lost = isinstance(error, ServerUnavailableError)
            raise APIConnectionError(str(error), retryable=lost) from error
