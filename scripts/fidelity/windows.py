"""What the ways in which other projects stream lose against decoding in one piece; without a target."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from scripts.common.prepare import default_checkpoint
from scripts.common.report import Row
from scripts.fidelity.case import Case, Direction
from scripts.peers.other_streams import OtherStreams, other_streams
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_runtime.fidelity import snr_db
from tritone_server.stream_check import frames_db

__all__ = ["compared_ways", "other_stream_rows"]

_FRAMES, _COMPARED = 400, 32


def other_stream_rows(case: Case) -> list[Row]:
    """Each way against the authors' network in one piece; no rows for codecs of which no way is known."""
    others = other_streams(open_checkpoint(default_checkpoint(case.name)))
    if others is None:
        return []
    tokens = torch.tensor(Direction(case, "decode").input_frames(0, _FRAMES))[None]
    return [
        Row(case.name, "other_streams", value, "dB", "none", True, f"{way}; {how}")
        for way, value, how in compared_ways(others, tokens, _COMPARED)
    ]


def compared_ways(others: OtherStreams, tokens: torch.Tensor, count: int) -> Iterator[tuple[str, float, str]]:
    """Yield each way's name, its distance from the whole in dB, and how it was measured.

    Args:
        others: the whole and the ways.
        tokens: of one stream, [1, K, T].
        count: number of frames that are compared, spread evenly over the stream. They are not all, since a
            stream without state decodes a whole window for each of them.
    """
    total = tokens.shape[2]
    frames = [math.ceil((number + 1) * total / count) - 1 for number in range(count)]
    whole = others.whole(tokens).reshape(total, -1)[frames].flatten().numpy()
    hop = len(whole) // count
    for name, way in others.ways.items():
        heard = way(tokens, frames).flatten().numpy()
        worst = np.min(frames_db(whole, heard, hop))
        how = f"{count} of {total} frames, the worst {worst:.1f} dB; against the whole in one piece"
        yield name, snr_db(whole, heard), how
