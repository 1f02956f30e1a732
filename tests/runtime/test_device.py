"""The choice of a device, and streams whose state stays on a device; the CPU stands in for a GPU."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from tritone_runtime.errors import BadInputError
from tritone_runtime.executors.device import CPU, VARIABLE, Device, chosen_device
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.streams.device_slots import DeviceSlots
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler
from tritone_runtime.streams.slots import Slots

ELSEWHERE = replace(CPU, name="elsewhere")
KINDS = ["small_nanocodec_decode_stream", "small_mimi_decode_stream", "small_mimi_encode_stream"]


@pytest.fixture(params=KINDS)
def pair(
    request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[StreamScheduler, StreamScheduler]:
    """The same model twice: with the state of its streams in main memory, and on a device."""
    path = repository / str(request.param) / "1" / "model.onnx"
    names = ("audio", "tokens") if "encode" in path.parts[-3] else ("tokens", "audio")
    here = StreamScheduler(OnnxExecutor(path), *names, Limits(3, 5), EventLog(""))
    monkeypatch.setattr(Device, "is_cpu", False)
    there = StreamScheduler(OnnxExecutor(path, device=ELSEWHERE), *names, Limits(3, 5), EventLog(""))
    assert type(here._slots) is Slots
    assert isinstance(there._slots, DeviceSlots)
    return here, there


def steps_of(streams: StreamScheduler) -> list[list[Step]]:
    """Steps of streams that start and end at different times: short and long, good and bad ones."""
    draw, unit = np.random.default_rng(0), streams._multiple

    def step(stream: int, frames: int, bad: bool = False, start: bool = False, end: bool = False) -> Step:
        if streams._data == "tokens":
            data = draw.integers(0, 128, (1, 4, frames))
            data[..., 0] = -1 if bad else data[..., 0]
            return Step(stream, {"tokens": data}, start, end)
        sound = draw.standard_normal((1, frames * unit)).astype(np.float32)
        sound[0, 0] = np.nan if bad else sound[0, 0]
        return Step(stream, {"audio": sound}, start, end)

    return [
        [step(1, 1, start=True), step(2, 1, start=True)],
        [step(2, 3), step(1, 3), step(3, 3, start=True)],
        [step(1, 1, bad=True), step(2, 1), step(3, 1)],
        [step(1, 30), step(2, 30, end=True)],
        [step(4, 2, start=True), step(1, 2), step(3, 2)],
        [step(3, 1, start=True), step(4, 1)],
        [step(3, 1), step(1, 1)],
    ]


def test_a_past_on_a_device_is_the_same_past(pair: tuple[StreamScheduler, StreamScheduler]) -> None:
    here, there = pair
    failures = 0
    for steps in steps_of(here):
        for mine, other in zip(here.run(steps), there.run(steps), strict=True):
            if isinstance(mine, Exception):
                failures += 1
                assert isinstance(mine, BadInputError)
                assert str(mine) == str(other)
            else:
                np.testing.assert_array_equal(mine, other)
    assert failures == 1


def chosen_and_logged(wanted: str | None) -> tuple[Device, list[str]]:
    lines: list[str] = []
    return chosen_device(wanted, lines.append), lines


def test_the_cpu_is_taken_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_and_logged("cpu") == (CPU, [])
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_and_logged(None) == (CPU, [])


@pytest.mark.parametrize("wanted", ["auto", "cuda", "rtx"])
def test_a_gpu_that_is_not_there_falls_back_with_one_line(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, wanted)
    device, (line,) = chosen_and_logged(None)
    assert device == CPU
    assert line.startswith(f"device {wanted}: models run on the CPU; ")
    assert ("onnxruntime-gpu" in line) == (wanted != "rtx")
    assert ("onnxruntime-ep-nv-tensorrt-rtx-cu13" in line) == (wanted != "cuda")


def test_a_device_that_does_not_exist_is_reported() -> None:
    assert chosen_and_logged("tpu")[1] == [
        "device tpu: models run on the CPU; tpu: no such device; there are cpu, cuda, rtx and auto"
    ]


def test_a_plugin_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    vars(plugin).update(get_ep_name=lambda: "Rtx", get_library_path=lambda: str(tmp_path / "none.so"))
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    assert "rtx: the provider cannot be loaded (" in chosen_and_logged("rtx")[1][0]


def test_the_first_gpu_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        ep_name = "CUDAExecutionProvider"

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [Gpu.ep_name])
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [Gpu])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    device, lines = chosen_and_logged("auto")
    assert (device.name, device.is_cpu) == ("cuda", False)
    assert lines == ["device auto: models run on cuda"]
