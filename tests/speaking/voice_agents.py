"""A program: LiveKit's node or Pipecat's service says a text, and its PCM goes into a file.

python voice_agents.py livekit|pipecat REPOSITORY-OR-URL CODEC FRAMES.npy RATE_HZ PCM
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.stand_in import written_async
from tritone_client import AsyncCodec

TEXT = "Hello there."
FAST = 1000.0


class Model:
    """A stand-in for a speech model that writes these frames for every text."""

    def __init__(self, frames: NDArray[np.int64]):
        self.frames, self.texts = frames, list[str]()

    def __call__(self, text: str) -> AsyncIterator[NDArray[np.int64]]:
        self.texts.append(text.strip())
        return written_async(self.frames, FAST)


async def by_livekit(codec: AsyncCodec, model: Model, rate_hz: int) -> bytes:
    from livekit.agents import APIConnectOptions
    from livekit.agents.tts import StreamAdapter

    from examples.livekit_tts import CodecTTS

    node = StreamAdapter(tts=CodecTTS(codec, model, rate_hz))
    pieces = []
    async with node.stream(conn_options=APIConnectOptions(max_retry=0)) as stream:
        stream.push_text(TEXT)
        stream.end_input()
        async for event in stream:
            assert event.frame.sample_rate == rate_hz
            assert event.frame.num_channels == codec.info.num_channels
            pieces.append(event.frame.data.tobytes())
    return b"".join(pieces)


async def by_pipecat(codec: AsyncCodec, model: Model, rate_hz: int) -> bytes:
    from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame, TTSSpeakFrame
    from pipecat.pipeline.worker import PipelineParams
    from pipecat.tests.utils import run_test

    from examples.pipecat_tts import CodecTTSService

    down, up = await run_test(
        CodecTTSService(codec, model),
        frames_to_send=[TTSSpeakFrame(TEXT)],
        pipeline_params=PipelineParams(audio_out_sample_rate=rate_hz),
        start_timeout=300.0,
    )
    for frame in (*down, *up):
        if isinstance(frame, ErrorFrame):
            sys.exit(frame.error)
    heard = [frame for frame in down if isinstance(frame, TTSAudioRawFrame)]
    assert {(frame.sample_rate, frame.num_channels) for frame in heard} <= {
        (rate_hz, codec.info.num_channels)
    }
    return b"".join(frame.audio for frame in heard)


async def main(framework: str, place: str, name: str, frames: str, rate_hz: str, pcm: str) -> None:
    say = {"livekit": by_livekit, "pipecat": by_pipecat}[framework]
    model = Model(np.load(frames))
    async with AsyncCodec(name, Path(place) if Path(place).is_dir() else place) as codec:
        Path(pcm).write_bytes(await say(codec, model, int(rate_hz)))
    assert model.texts == [TEXT], model.texts


asyncio.run(main(*sys.argv[1:]))
