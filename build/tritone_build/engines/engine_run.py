"""Runs a compiled engine on the GPU that it was compiled for, and compares it with FP32 on speech.

:mod:`tritone_build.engines.verification` compares the network in FP16 before it is compiled. This compares
the kernels that TensorRT chose, at the least, usual and largest shape of every profile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.engines.profiles import Profile
from tritone_build.engines.speech import speech_audio, speech_tokens
from tritone_build.errors import PrecisionError
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["Run", "check_engine", "engine_on_gpu"]

Array: TypeAlias = NDArray[Any]
Run: TypeAlias = Callable[[int, Mapping[str, Array]], Mapping[str, Array]]
"""Runs an engine: number of the profile, inputs by name -> outputs by name."""
_SPEAKERS = 2
"""Rows that differ; a larger batch repeats them, so that a row that meets another's data is noticed."""
_FILLED, _MORE = 300, 3
"""Frames after which every ring is full, and the steps of each shape that follow."""


@contextmanager
def engine_on_gpu(plan: bytes) -> Iterator[Run]:
    """The engine, through Polygraphy's runner (polygraphy.backend.trt.TrtRunner)."""
    backend = import_module("polygraphy.backend.trt")
    with backend.TrtRunner(backend.EngineFromBytes(plan)) as runner:

        def run(profile: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            runner.set_profile(profile)
            return {name: np.array(output) for name, output in runner.infer(dict(inputs)).items()}

        yield run


@torch.no_grad()
def check_engine(
    codec: Codec, role: Role, profiles: Sequence[Profile], run: Run, least_db: float, least_equal: float
) -> dict[str, float]:
    """Compare an engine with its network in FP32.

    Args:
        codec: the codec, in FP32.
        role: the role of the engine.
        profiles: of the engine.
        run: runs the engine.
        least_db: least SNR of audio.
        least_equal: least share of equal tokens in the first codebook.

    Returns:
        The worst of all shapes: ``engine_snr_db`` for audio, or ``engine_equal_tokens``.

    Raises:
        PrecisionError: an output is not finite or too far from FP32; the message names profile and shape.
    """
    # The same network with the same state as the engine's, whose channels may be padded.
    exact = engine_role(replace(in_fp16(codec), dtype=torch.float32), role.name)
    compared = _steps if role.packing is not None else _wholes
    worst: dict[str, float] = {}
    for shape, theirs, ours in compared(codec, exact, role, profiles, run):
        figure, value = _measured(theirs, ours)
        least = least_equal if ours.dtype == np.int64 else least_db
        if not (np.isfinite(ours).all() and value >= least):
            raise PrecisionError(
                f"{codec.name}_{role.name}: the engine is {value:.3g} from FP32 on speech at {shape} "
                f"({figure}), at least {least:g} is expected, and no NaN or infinity; compile it again with "
                "another version of TensorRT, or serve this checkpoint in FP32, with the cpu target"
            )
        worst[f"engine_{figure}"] = min(value, worst.get(f"engine_{figure}", np.inf))
    return worst


_Compared: TypeAlias = Iterator[tuple[str, Array, Array]]


def _wholes(codec: Codec, exact: Role, role: Role, profiles: Sequence[Profile], run: Run) -> _Compared:
    for number, profile in enumerate(profiles):
        for rows, frames in zip(profile.batch, profile.frames, strict=True):
            data = _speech(codec, role.name, frames)
            lengths = torch.full((_SPEAKERS, 1), data.shape[-1])
            theirs, *_ = exact.module(data, lengths)
            given = dict(zip(role.inputs, (_tiled(data, rows), _tiled(lengths, rows)), strict=True))
            ours = run(number, given)[next(iter(role.outputs))]
            yield f"{rows} x {frames} frames", _tiled(theirs, rows), ours


def _steps(codec: Codec, exact: Role, role: Role, profiles: Sequence[Profile], run: Run) -> _Compared:
    """Single frames until every ring is full; then each shape goes on from there."""
    longest = _MORE * max(profile.frames.most for profile in profiles)
    data = _speech(codec, role.name, _FILLED + longest)
    unit = data.shape[-1] // (_FILLED + longest)
    frames = torch.split(data, unit, dim=-1)
    half = {name: value.numpy() for name, value in _fresh(role).items()}
    full = list(_fresh(exact).values())
    pieces = []
    for frame in frames[:_FILLED]:
        theirs, *full = exact.module(frame, *full)
        ours, half = _step(role, run, 0, frame, half, _SPEAKERS)
        pieces.append((theirs, ours))
    yield "single frames", _joined([each[0] for each in pieces]), _joined([each[1] for each in pieces])
    rest = data[..., _FILLED * unit :]
    for number, profile in enumerate(profiles):
        for rows, count in zip(profile.batch, profile.frames, strict=True):
            theirs_state, ours_state = list(full), dict(half)
            for piece in torch.split(rest[..., : _MORE * count * unit], count * unit, dim=-1):
                theirs, *theirs_state = exact.module(piece, *theirs_state)
                ours, ours_state = _step(role, run, number, piece, ours_state, rows)
                yield f"{rows} x {count} frames in a step", _tiled(theirs, rows), ours


def _step(
    role: Role, run: Run, profile: int, data: Tensor, past: Mapping[str, Array], rows: int
) -> tuple[Array, dict[str, Array]]:
    """The output of a step of the engine, and the state that it leaves, by the names of inputs."""
    state = {name: _tiled(torch.from_numpy(value), rows) for name, value in past.items()}
    found = run(profile, {next(iter(role.inputs)): _tiled(data, rows), **state})
    after = {name: found[name.replace("past_", "next_", 1)] for name in past}
    return found[next(iter(role.outputs))], after


def _fresh(role: Role) -> dict[str, Tensor]:
    """The state of new streams, by the names of inputs."""
    parts = role.packing.parts if role.packing else ()
    return {f"past_{part.name}": torch.zeros(_SPEAKERS, *part.shape, dtype=part.dtype) for part in parts}


def _speech(codec: Codec, role: str, frames: int) -> Tensor:
    """Speech for a role, in rows that differ."""
    if role.startswith("encode"):
        audio = speech_audio(codec, _SPEAKERS * frames)
        return torch.cat(torch.split(audio, frames * codec.geometry.encode_samples_per_frame, dim=-1))
    tokens = torch.cat(torch.split(speech_tokens(codec, _SPEAKERS * frames), frames, dim=-1))
    return tokens if role.endswith("_stream") else codec.quantizer.dequantize(tokens)


def _tiled(rows: Tensor, count: int) -> Array:
    """The first ``count`` of the rows, repeated without end."""
    numbers = torch.arange(count) % len(rows)
    return rows.index_select(0, numbers).numpy()


def _joined(pieces: Sequence[Any]) -> Array:
    return np.concatenate([np.asarray(piece) for piece in pieces], axis=-1)


def _measured(theirs: Array, ours: Array) -> tuple[str, float]:
    """The worst row."""
    if ours.dtype == np.int64:
        return "equal_tokens", min(1 - differing_share(a[0], b[0]) for a, b in zip(theirs, ours, strict=True))
    return "snr_db", min(snr_db(a, b) for a, b in zip(theirs, ours, strict=True))
