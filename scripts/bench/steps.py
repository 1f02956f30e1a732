"""One-frame steps of live streams, beside peers that keep streams too."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.bench.sessions import Array, StreamSession, has_streams
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.prepare import default_checkpoint
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from scripts.peers.streaming import StepPeer, StreamOpener, streaming_peers
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_client import CodecInfo

__all__ = ["Sound", "our_step", "step_ms", "step_rows"]

_WARM = 5
"""Warm-up frames of our side, whose state has one size whether it is filled or not."""
_PEER_WARM: Mapping[str, int] = {"qwen3_tts_12hz": 72}
_MOST_PEER_WARM, _QUICK_PEER_WARM = 130, 25
"""Warm-up frames of peers: as many as fill the attention window (by codec where it is shorter), and fewer for
--quick."""
_ROUNDS, _QUICK_ROUNDS, _QUICK_ROLES = 40, 15, ("decode",)
_ALONE_ROUNDS = 25
_SECONDS, _ALONE_SECONDS = 20.0, 5.0
"""Time for the rounds of a figure, with and without peers, if that is enough for one round per repeat."""
_TARGETS: Mapping[tuple[str, int], Mapping[str, float]] = {
    ("decode", 1): {"moshi": 0.45, "rustymimi": 1 / 3.5, "openmoss": 1.0, "sglang-omni": 0.6},
    ("encode", 1): {"moshi": 1 / 2, "rustymimi": 1 / 2, "openmoss": 1.0},
    ("decode", 8): {"moshi": 1 / 2, "openmoss": 1.0, "sglang-omni": 0.8},
}
"""Largest allowed ratio of our step to the peer's, by direction and number of streams."""
_WINDOW_TARGETS: Mapping[str, tuple[int, float]] = {"window-72": (72, 1 / 10)}
"""Frames of context of a peer that decodes a window for each frame, and the largest allowed ratio to it."""
_WINDOW_ROUNDS = 4
_STREAM_FRAME_MS = {("mimi", "decode", 8): 3.0, ("nanocodec", "decode", 1): 24.0}
"""Most ms per stream and frame, by codec, direction and number of streams."""


@dataclass(frozen=True)
class Sound:
    """The input of a measurement: audio [S] or [C, S] at the codec's sample rate, and its tokens [K, T]."""

    info: CodecInfo
    audio: NDArray[np.float32]
    tokens: NDArray[np.int64]

    def frames(self, role: str, batch: int) -> Iterator[Array]:
        """Frames without end: [batch, K, 1] to decode or [batch, ..., hop] to encode; rows differ."""
        hop, count = self.info.encode_samples_per_frame, self.tokens.shape[1] - 1
        frame = 0
        while True:
            at = [(frame + 7 * row) % count for row in range(batch)]
            if role == "decode":
                yield np.stack([self.tokens[:, n : n + 1] for n in at])
            else:
                yield np.stack([self.audio[..., n * hop : (n + 1) * hop] for n in at])
            frame += 1


def step_rows(codec: str, threads: int, sound: Sound, quick: bool = False) -> list[Row]:
    """Our step beside that of every peer that keeps streams; alone for codecs without such a peer."""
    peers = streaming_peers(open_checkpoint(default_checkpoint(codec)), len(sound.tokens))
    rounds = _QUICK_ROUNDS if quick else _ROUNDS if peers else _ALONE_ROUNDS
    rows = [
        row
        for role, batch in _TARGETS
        if has_streams(codec, f"{role}_stream") and (role in _QUICK_ROLES or not quick)
        for row in _peer_rows(codec, role, batch, threads, sound, peers, rounds, quick)
    ]
    windows = [name for name in _WINDOW_TARGETS if name in peers]
    return rows + [_window_row(codec, threads, sound, name, peers[name]) for name in windows]


def _window_row(codec: str, threads: int, sound: Sound, name: str, opener: StreamOpener) -> Row:
    """Our step beside a stream that has all its context, since it got that in one push."""
    context, limit = _WINDOW_TARGETS[name]
    with opener(1) as peer:
        peer.decode_step(torch.from_numpy(repeated(sound.tokens, context)[None]))
        sides = [our_step(codec, "decode", 1, threads, sound), _theirs(peer, "decode", 1, sound)]
        ours, theirs = interleaved_ms(sides, _WINDOW_ROUNDS)
    how = f"each frame again with {context} before it: {statistics.median(ours):.1f} against "
    how += f"{statistics.median(theirs):.1f} ms"
    return ratio_row(codec, f"decode_step_vs_{name}", ours, theirs, limit, how)


def _peer_rows(
    codec: str,
    role: str,
    batch: int,
    threads: int,
    sound: Sound,
    peers: Mapping[str, StreamOpener],
    rounds: int,
    quick: bool,
) -> list[Row]:
    targets = {name: limit for name, limit in _TARGETS[role, batch].items() if name in peers}
    with ExitStack() as stack:
        mine = _warm(our_step(codec, role, batch, threads, sound), _WARM)
        frames = _QUICK_PEER_WARM if quick else _PEER_WARM.get(codec, _MOST_PEER_WARM)
        opened = [stack.enter_context(peers[name](batch)) for name in targets]
        theirs = [_warm(_theirs(peer, role, batch, sound), frames) for peer in opened]
        ours, *others = interleaved_ms([mine, *theirs], rounds, _SECONDS if theirs else _ALONE_SECONDS)
    each, frame_ms = f"streams: {batch}, codebooks: {len(sound.tokens)}", statistics.median(ours) / batch
    rows = [_stream_frame_row(codec, role, batch, frame_ms, each)]
    for (name, limit), taken in zip(targets.items(), others, strict=True):
        how = f"{each}; {frame_ms:.2f} against {statistics.median(taken) / batch:.2f} ms per stream and frame"
        rows.append(ratio_row(codec, f"{_step(role, batch)}_vs_{name}", ours, taken, limit, how))
    return rows


def _warm(side: Callable[[], object], frames: int) -> Callable[[], object]:
    """The side, after that many frames."""
    for _ in range(frames):
        side()
    return side


def _stream_frame_row(codec: str, role: str, batch: int, value: float, how: str) -> Row:
    limit = _STREAM_FRAME_MS.get((codec, role, batch))
    target = "none" if limit is None else f"<= {limit:.1f}"
    ok = limit is None or value <= limit
    return Row(codec, _step(role, batch), value, "ms", target, ok, f"{how}; per stream and frame")


def _step(role: str, batch: int) -> str:
    return f"{role}_step" if batch == 1 else f"{role}_step_batch{batch}"


def our_step(codec: str, role: str, batch: int, threads: int, sound: Sound) -> Callable[[], object]:
    """A function that runs one step of ``batch`` streams, each call with the next frames."""
    streams, frames = StreamSession(codec, f"{role}_stream", threads), sound.frames(role, batch)
    return lambda: streams.step(next(frames))


def step_ms(codec: str, role: str, threads: int, sound: Sound) -> list[float]:
    """Milliseconds of 25 steps of one stream, after a warm-up."""
    step = _warm(our_step(codec, role, 1, threads, sound), _WARM)
    return interleaved_ms([step], _ALONE_ROUNDS)[0]


def _theirs(peer: StepPeer, role: str, batch: int, sound: Sound) -> Callable[[], object]:
    frames = sound.frames(role, batch)
    if role == "decode":
        return lambda: peer.decode_step(torch.from_numpy(next(frames)))
    if sound.info.num_channels > 1:
        return lambda: peer.encode_step(torch.from_numpy(next(frames)))
    return lambda: peer.encode_step(torch.from_numpy(next(frames))[:, None])
