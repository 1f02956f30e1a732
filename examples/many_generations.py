"""Many generations at a time, each with a live stream, as an engine like vLLM or SGLang has them.

The codec runs in the engine's own process, or on a server; the engine's loop is asyncio's. Steps of streams
that are there at the same time share a batch by themselves. Print what a listener would notice:

  python -m examples.many_generations nanocodec --local artifacts/model_repository --generations 16
  python -m examples.many_generations nanocodec --url 127.0.0.1:8001
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.stand_in import written_async
from tritone_client import AsyncCodec

__all__ = ["Heard", "generation", "main"]


@dataclass
class Heard:
    """What one listener got: the pieces of audio, and when each came, in seconds from the first token."""

    pieces: list[NDArray[np.float32]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def late_pieces(self, frame_s: float) -> int:
        """Pieces that came after a player with one frame in hand had played all others."""
        due = [self.times_s[0] + (number + 1) * frame_s for number in range(len(self.times_s))]
        return sum(came > wanted for came, wanted in zip(self.times_s, due, strict=True))


async def generation(frames: AsyncIterable[NDArray[np.int64]], codec: AsyncCodec) -> Heard:
    """Speak the frames [K] of one generation as they are written."""
    heard, begun = Heard(), time.monotonic()
    async for audio in codec.stream(frames):
        heard.pieces.append(audio)
        heard.times_s.append(time.monotonic() - begun)
    return heard


async def _all(codec: AsyncCodec, generations: int, seconds: float) -> list[Heard]:
    info = codec.info
    frames = round(seconds * info.frame_rate_hz)
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, info.codebook_size, (generations, frames, info.num_codebooks))
    return await asyncio.gather(
        *(generation(written_async(each, info.frame_rate_hz), codec) for each in tokens)
    )


async def _run(options: argparse.Namespace) -> None:
    async with AsyncCodec(options.codec, options.local or options.url) as codec:
        heard = await _all(codec, options.generations, options.seconds)
        frame_s = 1 / codec.info.frame_rate_hz
    first_ms = [1000 * each.times_s[0] for each in heard]
    late = sum(each.late_pieces(frame_s) for each in heard)
    print(
        f"{len(heard)} generations: first sound after {np.median(first_ms):.0f} ms "
        f"(worst {max(first_ms):.0f} ms), {late} of {sum(len(each.pieces) for each in heard)} pieces late"
    )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        "examples.many_generations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codec", help="name of the codec")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", default="127.0.0.1:8001", help="address of a server (%(default)s)")
    place.add_argument("--local", type=Path, help="folder of models, to run in this process")
    parser.add_argument("--generations", type=int, default=8, help="at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each (%(default)s)")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
