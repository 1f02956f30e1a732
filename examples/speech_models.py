"""KaniTTS, Orpheus and Qwen3-TTS: the ids that they write become sound while they write.

Each function takes ids as the model writes them, from its generator, and yields audio. Only the layout
differs; :mod:`tritone_client.layouts` has those of other models.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from tritone_client import Codec
from tritone_client.layouts import KANITTS, ORPHEUS, QWEN3_TTS, Layout

__all__ = ["kanitts", "orpheus", "qwen3_tts", "spoken"]

Audio = NDArray[np.float32]


def kanitts(ids: Iterable[int], codec: Codec) -> Iterator[Audio]:
    """Ids of KaniTTS through NanoCodec at 12.5 frames per second, one by one; audio FP32 [S] per frame."""
    return spoken(ids, KANITTS, codec)


def orpheus(ids: Iterable[int], codec: Codec) -> Iterator[Audio]:
    """Ids of Orpheus through SNAC at 24 kHz, one by one; audio FP32 [S] per frame, 198 ms late."""
    return spoken(ids, ORPHEUS, codec)


def qwen3_tts(
    steps: Iterable[NDArray[np.int64]], codec: Codec, voice: NDArray[np.int64] | None = None
) -> Iterator[Audio]:
    """Steps [16] of Qwen3-TTS's talker; ``voice`` [16, T] is a voice to clone, which is not heard itself."""
    return spoken(steps, QWEN3_TTS, codec, voice)


def spoken(
    ids: Iterable[int] | Iterable[NDArray[np.int64]],
    layout: Layout,
    codec: Codec,
    prefix: NDArray[np.int64] | None = None,
) -> Iterator[Audio]:
    """Audio of ids in a layout, a piece for each frame that is complete; ids that do not fit are left out."""
    frames = layout.assembler(skip=True)
    with codec.decode_stream(prefix=prefix) as stream:
        for each in ids:
            tokens = frames.push(each)
            if tokens.size:
                yield stream.push(tokens)
            if frames.ended:
                break
        yield stream.close()
    frames.close()
