"""Engines are compared with FP32 at every shape; ONNX Runtime stands in for a GPU and runs their graphs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.engine_graphs import EngineGraphs
from numpy.typing import NDArray

from tritone_build.codecs.base import Codec
from tritone_build.engines.engine_run import Run, check_engine
from tritone_build.engines.profiles import Profile, Span, profiles_of
from tritone_build.errors import PrecisionError
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role, role_names

NAME = "small_nanocodec"
Damage = Callable[[int, Mapping[str, NDArray[Any]], list[NDArray[Any]]], None]


def small_profiles(codec: Codec, role: Role) -> list[Profile]:
    """The engine's profiles with at most five rows and 70 frames."""

    def within(profile: Profile) -> Profile:
        batch = Span(*(min(rows, 5) for rows in profile.batch))
        return replace(profile, batch=batch, frames=Span(*(min(frames, 70) for frames in profile.frames)))

    return [within(profile) for profile in profiles_of(role, codec.geometry)]


@pytest.fixture
def engine(engine_graphs: EngineGraphs, codecs: dict[str, Codec]) -> Callable[[str, Damage | None], Any]:
    """Compares a role's graph with FP32, after ``damage`` to its outputs."""

    def compared(name: str, damage: Damage | None = None) -> tuple[dict[str, float], set[tuple[int, ...]]]:
        codec, running, shapes = codecs[NAME], engine_graphs.running(NAME), set()
        role = engine_role(in_fp16(codec), name)
        assert name in role_names(codec)

        def run(profile: int, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            shapes.add(next(iter(inputs.values())).shape)
            outputs = running(name, **inputs)
            if damage is not None:
                damage(profile, inputs, outputs)
            return dict(zip(role.outputs, outputs, strict=True))

        checked: Run = run
        return check_engine(codec, role, small_profiles(codec, role), checked, 50, 0.95), shapes

    return compared


def test_whole_inputs_are_compared_at_the_least_usual_and_largest_shape(engine: Any) -> None:
    found, shapes = engine("vocoder")
    assert 50 <= found["engine_snr_db"] < 100
    assert {shape[-1] for shape in shapes} == {1, 8, 9, 32, 64, 65, 70}
    assert {shape[0] for shape in shapes} == {1, 2, 4, 5}
    assert engine("encode")[0]["engine_equal_tokens"] >= 0.95


def test_steps_are_compared_with_full_rings(engine: Any) -> None:
    steps = 0

    def count(profile: int, inputs: Mapping[str, Any], outputs: list[Any]) -> None:
        nonlocal steps
        steps += 1

    found, shapes = engine("decode_stream", count)
    assert found["engine_snr_db"] >= 50
    assert steps > 300
    assert {(shape[0], shape[-1]) for shape in shapes} >= {(1, 1), (5, 1), (1, 2), (5, 8)}


def test_a_row_that_is_not_finite_in_one_shape_is_refused(engine: Any) -> None:
    def last_row(profile: int, inputs: Mapping[str, Any], outputs: list[Any]) -> None:
        if outputs[0].shape[0] == 5:
            outputs[0][4, -1] = np.nan

    with pytest.raises(PrecisionError, match=r"small_nanocodec_decode_stream: .* at 5 x 1 frames in a step"):
        engine("decode_stream", last_row)


def test_rows_that_are_exchanged_are_noticed(engine: Any) -> None:
    def exchanged(profile: int, inputs: Mapping[str, Any], outputs: list[Any]) -> None:
        outputs[0] = outputs[0][::-1].copy()

    with pytest.raises(PrecisionError, match="at least 50 is expected"):
        engine("vocoder", exchanged)
