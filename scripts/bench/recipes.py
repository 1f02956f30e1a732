"""Public recipes for live decoding without a streaming model: their error, and their time beside our step.

- nano-codec-decoder-onnx decodes each frame alone;
- KaniTTS decodes each frame with the 15 frames before it;
- MossAudioTokenizer-ONNX concatenates pieces of 200 frames, decoded with graph optimizations off;
- transformers' MimiModel, and ONNX files made from it, keep the past of attention but not of convolutions.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from scripts.bench.late_windows import late_window_rows
from scripts.bench.sessions import NEAR_COPIES, Array, OfflineSession, has_streams
from scripts.bench.steps import Sound, our_step
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.prepare import REPOSITORY, default_checkpoint
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from scripts.peers.layouts import all_layouts
from scripts.peers.transformers_mimi import TransformersMimi, recognises, reference
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_runtime.fidelity import snr_db

__all__ = ["recipe_rows"]

_MAX_LOOKBACK = 64
"""Most frames that a network may look back for windows over earlier frames to be practical."""
_WINDOWS, _FEWER_WINDOWS = (0, 5, 15), (0,)
_COMPARED_FRAMES, _ROUNDS, _QUICK_ROUNDS = 12, 10, 5
_GROWN_FRAMES = 250
_PIECE, _PIECES = 200, 2
_LIMITS: Mapping[int, float] = {0: 1.15}
"""Largest allowed ratio of our step to decoding a window, by the number of earlier frames in the window."""
_EXACT_LIMIT = 1 / 15
"""The same for the window that is as long as the network looks back."""


def recipe_rows(codec: str, threads: int, sound: Sound, quick: bool = False) -> list[Row]:
    """Rows for the recipes that apply to the codec."""
    if not has_streams(codec, "decode_stream"):
        return []
    if not sound.info.causal:
        return late_window_rows(codec, threads, sound, quick)
    session, rounds = OfflineSession(codec, threads), _QUICK_ROUNDS if quick else _ROUNDS
    if sound.info.lookaround_frames < _MAX_LOOKBACK:
        windows = _FEWER_WINDOWS if quick or codec in NEAR_COPIES else _WINDOWS
        return _window_rows(codec, session, threads, sound, windows, rounds)
    if quick:  # decoding 20 s of audio takes too long
        return []
    growing = _growing_cache_rows(codec, session, threads, sound, rounds)
    return [*growing, _concatenated_row(codec, session, threads, sound)]


def _window_rows(
    codec: str, session: OfflineSession, threads: int, sound: Sound, windows: Sequence[int], rounds: int
) -> list[Row]:
    """Decoding each frame in windows of earlier frames, and in the shortest window that is exact."""
    exact, hop, rows = sound.info.lookaround_frames, sound.info.samples_per_frame, []
    whole = session.decode(sound.tokens[:, : exact + _COMPARED_FRAMES])
    step = our_step(codec, "decode", 1, threads, sound)
    for back in (*windows, exact):
        ends = range(exact, exact + _COMPARED_FRAMES)
        frames = [session.decode(sound.tokens[:, end - back : end + 1])[..., -hop:] for end in ends]
        error = _error(whole[..., exact * hop :], np.concatenate(frames, axis=-1))
        window = sound.tokens[:, : back + 1]
        limit = _EXACT_LIMIT if back == exact else _LIMITS.get(back)
        times = interleaved_ms([step, lambda window=window: session.decode(window)], rounds)  # type: ignore[misc]
        what = f"each frame with {back} before it" if back else "each frame alone"
        rows.append(_row(codec, f"decode_step_vs_window_{back}", times, limit, f"{what}: {error}"))
    return rows


def _growing_cache_rows(
    codec: str, session: OfflineSession, threads: int, sound: Sound, rounds: int
) -> list[Row]:
    """The step after 20 s, when the cache has outgrown the attention window."""
    network = _transformers(codec)
    if network is None:
        return []
    tokens = repeated(sound.tokens, _GROWN_FRAMES)
    stream, frame = network.growing_cache_stream(), torch.from_numpy(tokens[:, -1:])[None]
    audio = [stream.decode_step(torch.from_numpy(each)[None]).numpy()[0] for each in _frames(tokens)]
    error = _error(session.decode(tokens), np.concatenate(audio, axis=-1))
    step = our_step(codec, "decode", 1, threads, sound)
    times = interleaved_ms([step, lambda: stream.decode_step(frame)], rounds)
    how = f"frame {_GROWN_FRAMES}, transformers, only attention keeps its past: {error}"
    return [_row(codec, "decode_step_vs_growing_cache", times, None, how)]


def _transformers(codec: str) -> TransformersMimi | None:
    layouts = all_layouts(open_checkpoint(default_checkpoint(codec)))
    return next((reference(each) for each in layouts if recognises(each)), None)


def _frames(tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [tokens[:, n : n + 1] for n in range(tokens.shape[1])]


def _concatenated_row(codec: str, session: OfflineSession, threads: int, sound: Sound) -> Row:
    """Decoding pieces and concatenating them, without graph optimizations, beside ours with them.

    The error is measured after the seam.
    """
    tokens = repeated(sound.tokens, _PIECE * _PIECES)
    whole = session.decode(tokens)
    pieces = [session.decode(tokens[:, n : n + _PIECE]) for n in range(0, tokens.shape[1], _PIECE)]
    joined = np.concatenate(pieces, axis=-1)
    after = _PIECE * sound.info.samples_per_frame
    error = f"{_error(whole[..., after:], joined[..., after:])} after the seam"
    latent, length = session.latent(tokens[:, :_PIECE])
    plain = _unoptimized(codec, threads)
    times = interleaved_ms([lambda: session.sound(latent, length), lambda: plain(latent, length)], 2)
    return _row(
        codec, "decode_vs_unoptimized", times, None, f"pieces of {_PIECE} frames, concatenated: {error}"
    )


def _unoptimized(codec: str, threads: int) -> Callable[[Array, Array], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Otherwise the threads of this session would spin while the other side is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = REPOSITORY / f"{codec}_vocoder" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda latent, length: session.run(None, {"latent": latent, "latent_len": length})


def _error(whole: Array, made: Array) -> str:
    return f"{snr_db(whole, made):.1f} dB"


def _row(codec: str, check: str, times: list[list[float]], limit: float | None, how: str) -> Row:
    ours, theirs = times
    how = f"{how}; {statistics.median(ours):.2f} against {statistics.median(theirs):.2f} ms"
    return ratio_row(codec, check, ours, theirs, limit, how)
