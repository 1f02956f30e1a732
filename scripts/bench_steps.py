"""Steps of live streams, one frame each, beside peers that keep streams or decoding without memory."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from bench_pairs import alternating, median_ratio
from bench_sessions import Array, BareSession, BareStreams, has_streams
from peers.live import Opening, StepPeer, live_peers
from prepare import default_checkpoint
from report import Row
from tritone_build.checkpoints import open_checkpoint
from tritone_client import CodecInfo

__all__ = ["Sound", "step_rows"]

_WARM, _ROUNDS, _ROUNDS_STATELESS = 130, 60, 9
_TARGETS: Mapping[tuple[str, int], Mapping[str, float]] = {
    ("decode", 1): {"moshi": 1 / 3.5, "rustymimi": 1 / 3.5, "openmoss": 1.0},
    ("encode", 1): {"moshi": 1 / 2, "rustymimi": 1 / 2, "openmoss": 1.0},
    ("decode", 8): {"moshi": 1 / 2, "openmoss": 1.0},
}
"""Most that one of our steps may take, in steps of the peer, by direction and streams."""
_STREAM_FRAME_MS = {("mimi", "decode", 8): 3.0}
_ONE_FRAME, _SAME_EXACTNESS = 1.15, 1 / 15


@dataclass(frozen=True)
class Sound:
    """What goes in: audio [S] at the codec's rate and its tokens [K, T]."""

    info: CodecInfo
    audio: NDArray[np.float32]
    tokens: NDArray[np.int64]

    def frames(self, role: str, batch: int) -> Iterator[Array]:
        """Rows [batch, K, 1] or [batch, hop], over and over; streams differ."""
        hop, count = self.info.samples_per_frame, self.tokens.shape[1] - 1
        frame = 0
        while True:
            at = [(frame + 7 * row) % count for row in range(batch)]
            if role == "decode":
                yield np.stack([self.tokens[:, n : n + 1] for n in at])
            else:
                yield np.stack([self.audio[n * hop : (n + 1) * hop] for n in at])
            frame += 1


def step_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Where a peer keeps streams it is the measure; else what decoding without memory costs."""
    peers = live_peers(open_checkpoint(default_checkpoint(codec)), len(sound.tokens))
    if peers:
        return [
            row for role, batch in _TARGETS for row in _peer_rows(codec, role, batch, threads, sound, peers)
        ]
    return _stateless_rows(codec, threads, sound) if has_streams(codec, "decode_stream") else []


def _peer_rows(
    codec: str, role: str, batch: int, threads: int, sound: Sound, peers: Mapping[str, Opening]
) -> list[Row]:
    targets = {name: limit for name, limit in _TARGETS[role, batch].items() if name in peers}
    with ExitStack() as opened:
        sides = [_ours(codec, role, batch, threads, sound)]
        for name in targets:
            sides.append(_theirs(opened.enter_context(peers[name](batch)), role, batch, sound))
        for side in sides:
            for _ in range(_WARM):
                side()
        ours, *others = alternating(sides, _ROUNDS)
    each, mine = f"streams: {batch}, codebooks: {len(sound.tokens)}", statistics.median(ours) / batch
    rows = [_stream_frame_row(codec, role, batch, mine, each)]
    for (name, limit), theirs in zip(targets.items(), others, strict=True):
        value = median_ratio(ours, theirs)
        how = f"{each}; {mine:.2f} against {statistics.median(theirs) / batch:.2f} ms per stream and frame"
        check = f"{_step(role, batch)}_vs_{name}"
        rows.append(Row(codec, check, value, "ratio", f"<= {limit:.3f}", value <= limit, how))
    return rows


def _stream_frame_row(codec: str, role: str, batch: int, value: float, how: str) -> Row:
    limit = _STREAM_FRAME_MS.get((codec, role, batch))
    target = "none" if limit is None else f"<= {limit:.1f}"
    ok = limit is None or value <= limit
    return Row(codec, _step(role, batch), value, "ms", target, ok, f"{how}; per stream and frame")


def _step(role: str, batch: int) -> str:
    return f"{role}_step" if batch == 1 else f"{role}_step_batch{batch}"


def _ours(codec: str, role: str, batch: int, threads: int, sound: Sound) -> Callable[[], object]:
    streams, frames = BareStreams(codec, f"{role}_stream", threads), sound.frames(role, batch)
    return lambda: streams.step(next(frames))


def _theirs(peer: StepPeer, role: str, batch: int, sound: Sound) -> Callable[[], object]:
    frames = sound.frames(role, batch)
    if role == "decode":
        return lambda: peer.decode_step(torch.from_numpy(next(frames)))
    return lambda: peer.encode_step(torch.from_numpy(next(frames))[:, None])


def _stateless_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """A step against one frame without a past, which is wrong, and with all the past that matters."""
    step, session = _ours(codec, "decode", 1, threads, sound), BareSession(codec, threads)
    rows, back = [], sound.info.lookaround_frames
    for check, frames, limit, rounds in (
        ("step_vs_one_frame", 1, _ONE_FRAME, _ROUNDS),
        ("step_vs_same_exactness", back + 1, _SAME_EXACTNESS, _ROUNDS_STATELESS),
    ):
        tokens = sound.tokens[:, :frames]
        ours, theirs = alternating([step, partial(session.decode, tokens)], rounds)
        value = median_ratio(ours, theirs)
        how = f"{statistics.median(ours):.2f} against {statistics.median(theirs):.2f} ms without memory, "
        how += "1 frame alone" if frames == 1 else f"the frame and the {back} before that it depends on"
        rows.append(Row(codec, f"decode_{check}", value, "ratio", f"<= {limit:.3f}", value <= limit, how))
    return rows
