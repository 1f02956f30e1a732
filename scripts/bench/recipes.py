"""Public recipes for live decoding without a streaming model: their error, and their time beside our step.

- nano-codec-decoder-onnx decodes each frame alone;
- KaniTTS decodes each frame with the 15 frames before it;
- orpheus-speech decodes each frame of SNAC with one frame before it and two after it;
- MossAudioTokenizer-ONNX concatenates pieces of 200 frames, decoded with graph optimizations off;
- transformers' MimiModel, and ONNX files made from it, keep the past of attention but not of convolutions.
"""

import statistics
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from scripts.bench.sessions import NEAR_COPIES, Array, OfflineSession, has_streams
from scripts.bench.steps import Sound, our_step
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.prepare import REPOSITORY, default_checkpoint
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from scripts.peers.layouts import all_layouts
from scripts.peers.transformers_mimi import TransformersMimi, recognises, reference
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_client import CodecInfo
from tritone_runtime.fidelity import snr_db

__all__ = ["recipe_rows"]

_Window: TypeAlias = tuple[int, int, float | None]
"""Frames before and after the frame that is kept, and the largest allowed ratio of our step to the window."""
_MAX_LOOKBACK = 64
"""Most frames that a network may look back for windows over earlier frames to be practical."""
_WINDOWS, _FEWER_WINDOWS = (0, 5, 15), (0,)
_COMPARED_FRAMES, _ROUNDS, _QUICK_ROUNDS = 12, 10, 5
_GROWN_FRAMES = 250
_SECONDS = 4.0
_PIECEWISE, _PIECE, _PIECES = ("mimi", "moss_nano", "moss_shallow"), 200, 2
"""Codecs whose public ONNX files are used for pieces, frames of a piece, and pieces."""
_LIMITS: Mapping[int, float] = {0: 1.15}
"""Largest allowed ratio of our step to decoding a window, by the number of earlier frames in the window."""
_EXACT_LIMIT = 1 / 15
"""The same for the window that is as long as the network looks back."""
_LATE_WINDOWS: Mapping[str, _Window] = {"snac_24khz": (1, 2, 1 / 2.5)}
"""The usual window of codecs that look ahead."""
_LATE_EXACT_LIMITS: Mapping[int, float] = {7: 1 / 5, 21: 1 / 12}
"""Largest allowed ratio to a window with all frames that such a decoder sees, by its length."""


def recipe_rows(codec: str, threads: int, sound: Sound, quick: bool = False) -> list[Row]:
    """Rows for the recipes that apply to the codec."""
    if not has_streams(codec, "decode_stream"):
        return []
    session, rounds = OfflineSession(codec, threads), _QUICK_ROUNDS if quick else _ROUNDS
    windows = _windows(codec, sound.info, quick)
    if windows:
        step = our_step(codec, "decode", 1, threads, sound)
        return [_window_row(codec, session, step, sound, window, rounds) for window in windows]
    if quick or codec not in _PIECEWISE:  # decoding 20 s of audio takes long
        return []
    growing = _growing_cache_rows(codec, session, threads, sound, rounds)
    return [*growing, _concatenated_row(codec, session, threads, sound)]


def _windows(codec: str, info: CodecInfo, quick: bool) -> list[_Window]:
    """The windows of the recipes, and the shortest one that is exact; none if that one is too long."""
    exact = info.lookaround_frames
    if not info.causal:
        usual = [_LATE_WINDOWS[codec]] if codec in _LATE_WINDOWS else []
        return [*usual, (exact, exact, _LATE_EXACT_LIMITS.get(2 * exact + 1, 1.0))]
    if exact >= _MAX_LOOKBACK:
        return []
    backs = _FEWER_WINDOWS if quick or codec in NEAR_COPIES else _WINDOWS
    return [*((back, 0, _LIMITS.get(back)) for back in backs), (exact, 0, _EXACT_LIMIT)]


def _window_row(
    codec: str,
    session: OfflineSession,
    step: Callable[[], object],
    sound: Sound,
    window: _Window,
    rounds: int,
) -> Row:
    """Our step beside decoding each frame in a window around it."""
    before, after, limit = window
    exact, hop = sound.info.lookaround_frames, sound.info.samples_per_frame
    end = exact + _COMPARED_FRAMES
    whole = session.decode(sound.tokens[:, : end if sound.info.causal else end + exact])
    frames = [
        session.decode(sound.tokens[:, at - before : at + 1 + after])[..., before * hop : (before + 1) * hop]
        for at in range(exact, end)
    ]
    error = _error(whole[..., exact * hop : end * hop], np.concatenate(frames, axis=-1))
    tokens = sound.tokens[:, : before + 1 + after]
    times = interleaved_ms([step, lambda: session.decode(tokens)], rounds, _SECONDS)
    what = f"each frame with {before} before it" if before else "each frame alone"
    name = f"decode_step_vs_window_{before}"
    if after:
        what, name = f"{what} and {after} after it", f"{name}_{after}"
    return _row(codec, name, times, limit, f"{what}: {error}")


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
