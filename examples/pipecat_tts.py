"""A text-to-speech service for Pipecat: a speech model and a codec behind its public interface.

``speak`` is the speech model: it takes a text and yields frames [K] of the codec, as it writes them.

  async with AsyncCodec("nanocodec", "127.0.0.1:8001") as codec:
      pipeline = Pipeline([transport.input(), ..., llm, CodecTTSService(codec, speak), transport.output()])

Pipecat gives it one sentence at a time, and says the sample rate.
Needs ``pipecat-ai`` (tested with 1.14.0).
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import ErrorFrame, Frame, TTSAudioRawFrame
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

from tritone_client import AsyncCodec, TritoneError

__all__ = ["CodecTTSService", "Speak"]

Speak = Callable[[str], AsyncIterable[NDArray[np.int64]]]


class CodecTTSService(TTSService):
    """Speech of a model that writes a codec's frames.

    Args:
        codec: open, and open for as long as this service is used.
        speak: text into frames [K].
        options: of Pipecat's TTSService.
    """

    def __init__(self, codec: AsyncCodec, speak: Speak, **options: Any):
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            settings=TTSSettings(model=codec.info.name, voice=None, language=None),
            **options,
        )
        self.codec, self.speak = codec, speak

    def can_generate_metrics(self) -> bool:
        """Pipecat measures the time to the first audio."""
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """Yield audio as soon as the frames are decoded, at the rate of the pipeline."""
        await self.start_tts_usage_metrics(text)
        channels = self.codec.info.num_channels
        pieces = self.codec.stream(self.speak(text), sample_rate_hz=self.sample_rate, dtype="int16")
        try:
            async for audio in pieces:
                await self.stop_ttfb_metrics()
                pcm = audio.T.tobytes()  # channels side by side, as PCM has them
                yield TTSAudioRawFrame(pcm, self.sample_rate, channels, context_id=context_id)
        except TritoneError as error:
            yield ErrorFrame(f"{self.codec.info.name}: {error}")
        finally:
            await pieces.aclose()
            await self.stop_ttfb_metrics()
