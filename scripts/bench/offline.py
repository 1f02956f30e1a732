"""Whole utterances: beside the authors' networks, and beside the same models without Triton."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.bench.sessions import OfflineSession
from scripts.bench.steps import Sound
from scripts.bench.timing import Spread, interleaved_ms, ratio_row, spread_of
from scripts.common.memory import MemoryMonitor
from scripts.common.prepare import default_checkpoint
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated_audio
from scripts.peers import Reference, references_of
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_client import Codec
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.fidelity import snr_db
from tritone_server.launcher import TritonServer

__all__ = ["offline_rows"]

_ROUNDS: Mapping[int, int] = {1: 30, 10: 15, 50: 15}
_QUICK_ROUNDS: Mapping[int, int] = {1: 20, 10: 5}
"""Most rounds, by frames in a request."""
_ENCODED_FRAMES, _ENCODING_ROUNDS = 50, 15
_SECONDS = 4.0
"""Time for the rounds of a figure, if that is enough for one round per repeat."""
_CALLS, _TIMEOUT_S = 50, 10.0
_OVERHEAD_MS, _OVERHEAD_SHARE = 1.0, 0.05
_MEMORY_S, _MOST_MB = 60, {"nanocodec": 1000}
"""Seconds of sound, and the most memory that the codecs with a target may take."""
_MEMORY_CODECS = ("nanocodec", "mimi")
"""Codecs whose memory is measured here; docs/measurements.md has that of the other codecs."""
_LIMITS = {"openmoss": 0.8, "qwen-tts": 0.9}
"""Largest allowed ratio of our time to a peer's; 1 for peers that are not listed."""


def offline_rows(
    codec: Codec, server: TritonServer, sound: Sound, threads: int, quick: bool = False
) -> list[Row]:
    """Rows for decoding, encoding, the overhead of Triton, and memory."""
    session = OfflineSession(codec.name, threads)
    rows = [_call_row(codec, server, session, sound.tokens[:, : codec.info.min_frames])]
    peers = references_of(open_checkpoint(default_checkpoint(codec.name)))
    tokens = np.tile(sound.tokens, (1, 2))
    for frames, rounds in (_QUICK_ROUNDS if quick else _ROUNDS).items():
        if frames < codec.info.min_frames:
            continue
        rows.append(_overhead_row(codec, session, tokens[:, :frames], rounds))
        if frames > 1:
            rows += _decoding_rows(codec.name, session, peers, tokens[:, :frames], rounds)
    if not quick:
        samples = _ENCODED_FRAMES * codec.info.encode_samples_per_frame
        rows += _encoding_rows(codec, session, peers, sound.audio[..., :samples])
        if codec.name in _MEMORY_CODECS:
            rows.append(_memory_row(codec, server, sound.audio))
    return rows


def _overhead_row(codec: Codec, session: OfflineSession, tokens: NDArray[np.int64], rounds: int) -> Row:
    served, bare = interleaved_ms(
        [lambda: codec.decode(tokens), lambda: session.decode(tokens)], rounds, _SECONDS
    )
    overhead, alone = _overhead(served, bare), spread_of(bare).median
    limit = _OVERHEAD_MS + _OVERHEAD_SHARE * alone
    how = f"{tokens.shape[1]} frames, {spread_of(served).median:.1f} against {alone:.1f} ms"
    ok = overhead.median <= limit
    name, target = "triton_overhead", f"<= {limit:.2f}"
    return Row(codec.name, name, overhead.median, "ms", target, ok, how, overhead.low, overhead.high)


def _call_row(codec: Codec, server: TritonServer, session: OfflineSession, few: NDArray[np.int64]) -> Row:
    """Overhead of one call to one model: dequantizing a few frames, which itself takes next to no time."""
    inputs = {"tokens": few[None], "tokens_len": np.array([[few.shape[1]]])}
    call = (f"{codec.name}_dequantize", inputs)
    with closing(Transport(server.url, _TIMEOUT_S)) as transport:
        sides = [lambda: transport.results([call], "latent"), lambda: session.latent(few)]
        served, bare = interleaved_ms(sides, _CALLS)
    overhead = _overhead(served, bare)
    how = f"dequantizing {few.shape[1]} frames, "
    how += f"{spread_of(served).median:.2f} against {spread_of(bare).median:.2f} ms"
    low, high = overhead.low, overhead.high
    return Row(codec.name, "call_overhead", overhead.median, "ms", "none", True, how, low, high)


def _overhead(served: Sequence[float], bare: Sequence[float]) -> Spread:
    """How much longer the served side takes, round by round."""
    return spread_of([a - b for a, b in zip(served, bare, strict=True)])


def _decoding_rows(
    name: str,
    session: OfflineSession,
    peers: Mapping[str, Reference],
    tokens: NDArray[np.int64],
    rounds: int,
) -> list[Row]:
    """The decoder networks alone: ours in ONNX Runtime, the authors' in PyTorch."""
    latent, length = session.latent(tokens)
    theirs, mine = torch.tensor(latent), session.sound(latent, length)
    sides = [lambda: session.sound(latent, length), *(_network(peer, theirs) for peer in peers.values())]
    times = interleaved_ms(sides, rounds, _SECONDS)
    rows = []
    for (peer, network), taken in zip(peers.items(), times[1:], strict=True):
        apart = snr_db(network.network(theirs).numpy(), mine)
        how = f"{tokens.shape[1]} frames, {_formatted(times[0], taken)}; {apart:.1f} dB apart"
        rows.append(ratio_row(name, f"decode_vs_{peer}", times[0], taken, _limit(peer), how))
    return rows


def _network(peer: Reference, latent: torch.Tensor) -> Callable[[], object]:
    return lambda: peer.network(latent)


def _encoding_rows(
    codec: Codec, session: OfflineSession, peers: Mapping[str, Reference], audio: NDArray[np.float32]
) -> list[Row]:
    theirs, mine = torch.tensor(audio[None]), session.encode(audio)
    books = len(mine) if codec.info.min_codebooks < codec.info.num_codebooks else None
    sides = [lambda: session.encode(audio), *(_encoder(peer, theirs, books) for peer in peers.values())]
    times = interleaved_ms(sides, _ENCODING_ROUNDS, _SECONDS)
    rows = []
    for (peer, network), taken in zip(peers.items(), times[1:], strict=True):
        differing = np.mean(network.encode(theirs, books).numpy()[0] != mine)
        how = f"{mine.shape[1]} frames, {_formatted(times[0], taken)}; {differing:.2%} of tokens differ"
        rows.append(ratio_row(codec.name, f"encode_vs_{peer}", times[0], taken, _limit(peer), how))
    return rows


def _encoder(peer: Reference, audio: torch.Tensor, num_codebooks: int | None) -> Callable[[], object]:
    return lambda: peer.encode(audio, num_codebooks)


def _limit(peer: str) -> float:
    return _LIMITS.get(peer, 1.0)


def _formatted(ours: Sequence[float], theirs: Sequence[float]) -> str:
    return f"{spread_of(ours).median:.1f} against {spread_of(theirs).median:.1f} ms"


def _memory_row(codec: Codec, server: TritonServer, speech: NDArray[np.float32]) -> Row:
    audio = repeated_audio(speech, _MEMORY_S * codec.info.encode_sample_rate_hz)
    with MemoryMonitor(server.pid) as memory:
        codec.decode(codec.encode(audio, codec.info.encode_sample_rate_hz))
    value = memory.peak_mb
    how = f"server and its children, encoding and decoding {_MEMORY_S} s"
    most = _MOST_MB.get(codec.name)
    target = "none" if most is None else f"< {most}"
    return Row(codec.name, "peak_memory", value, "MB", target, most is None or value < most, how)
