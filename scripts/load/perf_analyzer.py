"""NVIDIA's perf_analyzer out of its pinned wheel: live streams at real-time pace, and how they fared."""

import mmap
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_server.binaries import find_server
from tritone_server.cache import CACHE
from tritone_server.direct import environment_without_proxies
from tritone_server.wheels import Wheel

__all__ = [
    "ClosedLoop",
    "Load",
    "PerfAnalyzerError",
    "Result",
    "find_perf_analyzer",
    "measure",
    "read_answers",
    "unanswered_share",
]

_BINARY = "tritonclient-2.51.0.data/data/bin/perf_analyzer"
# Later wheels need a newer glibc than the server itself does.
_WHEEL = Wheel(
    "tritonclient==2.51.0", "c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52", (_BINARY,)
)
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
_WINDOWS, _WINDOW_STRETCH = 3, 1.2
_LEAD_S, _GRACE_S = 1.0, 60.0
_IDS_PER_RUN, _IDS = 2**16, 2**31

_ANSWER = re.compile(
    rb'"timestamp":(\d+),(?:"sequence_id":\d+,)?"request_inputs":\{[^}]*\},"response_timestamps":\[(\d+)'
)
_THREAD_ERROR = re.compile(r"Thread \[\d+\] had error: (.+)")
_BOUNDARIES = re.compile(rb'"window_boundaries":\[([\d,]+)\]')


class PerfAnalyzerError(RuntimeError):
    """perf_analyzer cannot run, or ended without a result; the message says why."""


class Asked:
    """A load that perf_analyzer can be asked for, measured for ``seconds`` after a second that is not."""

    url: str
    model: str
    inputs: Path
    seconds: float

    @property
    def duration_s(self) -> float:
        """How long it takes if the server answers."""
        return self.seconds + _LEAD_S

    def command(self, executable: Path, export: Path) -> list[str]:
        """The command line."""
        options = self._options() | {
            "input-data": self.inputs,
            # Windows of fixed length, any outcome counts as stable: the search for stability ends.
            "measurement-mode": "time_windows",
            "measurement-interval": round(1000 * self.duration_s / _WINDOWS / _WINDOW_STRETCH),
            "stability-percentage": 999,
            "max-trials": _WINDOWS,
            "profile-export-file": export,
        }
        flags = [*self._flags, *(f"--{name}={value}" for name, value in options.items())]
        return [str(executable), "-m", self.model, "-u", self.url, "-i", "grpc", *flags]

    _flags: ClassVar[Sequence[str]] = ()

    def _options(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Load(Asked):
    """Live streams: each sends a frame when it is due, and never two at a time.

    Args:
        url: host and gRPC port.
        model: a model with sequence batching.
        inputs: JSON of the sequences that streams are drawn from.
        streams: at the same time; one that ends is followed by another.
        rate_hz: requests per second of one stream.
        seconds: measured.
    """

    url: str
    model: str
    inputs: Path
    streams: int
    rate_hz: float
    seconds: float

    _flags: ClassVar[Sequence[str]] = ("--streaming", "--async", "--serial-sequences")

    @property
    def asked_hz(self) -> float:
        """Requests per second of all streams."""
        return self.streams * self.rate_hz

    def _options(self) -> dict[str, Any]:
        """Sequence ids differ from call to call."""
        # perf_analyzer reads ids as 32-bit integers and, without an end, an end it never set.
        first = 1 + _IDS_PER_RUN * secrets.randbelow(_IDS // _IDS_PER_RUN - 1)
        return {
            "request-rate-range": f"{self.asked_hz:.6g}",
            "num-of-sequences": self.streams,
            # One thread per stream, else a late answer shifts the other streams of its thread.
            "max-threads": self.streams,
            "sequence-id-range": f"{first}:{first + _IDS_PER_RUN}",
        }


@dataclass(frozen=True)
class ClosedLoop(Asked):
    """So many requests at a time to a model without memory, each followed by another once answered.

    Args:
        url: host and gRPC port.
        model: its name.
        inputs: JSON of the requests, which are sent in turn.
        at_once: requests that wait for their answers.
        seconds: measured.
    """

    url: str
    model: str
    inputs: Path
    at_once: int
    seconds: float

    def _options(self) -> dict[str, Any]:
        return {"concurrency-range": self.at_once}


L = TypeVar("L", bound=Asked)


@dataclass(frozen=True)
class Result(Generic[L]):
    """How a load fared.

    Args:
        load: what was asked.
        latencies_ms: FP64 [answers], from the sending of a frame to its answer.
        span_s: time in which these answers came.
        errors: what the server said to streams it failed; perf_analyzer then gives up, without answers.
    """

    load: L
    latencies_ms: NDArray[np.float64]
    span_s: float
    errors: Sequence[str] = ()

    @property
    def achieved_hz(self) -> float:
        """Answers per second."""
        return len(self.latencies_ms) / self.span_s

    def percentile_ms(self, percent: float) -> float:
        """Of the latencies; infinite where there are none."""
        return float(np.percentile(self.latencies_ms, percent)) if len(self.latencies_ms) else float("inf")


def find_perf_analyzer() -> tuple[Path, dict[str, str]]:
    """The executable and the environment it needs.

    Raises:
        PerfAnalyzerError: it does not run on this machine; the message names the missing library.
        WheelError: it cannot be fetched.
    """
    executable = _WHEEL.unpacked() / _BINARY
    environment = {"LD_LIBRARY_PATH": f"{_linked_libraries()}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    tried = subprocess.run(
        [executable, "--version"],
        check=False,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        raise PerfAnalyzerError(f"perf_analyzer does not run here: {tried.stderr.strip()}")
    return executable, environment


def _linked_libraries() -> Path:
    """Folder where the server's own libraries have the names that perf_analyzer asks for."""
    folder = CACHE / "perf_analyzer"
    folder.mkdir(parents=True, exist_ok=True)
    searched = find_server()[2].get("LD_LIBRARY_PATH", "").split(":")
    for name, pattern in _LIBRARIES.items():
        for library in [path for place in filter(None, searched) for path in Path(place).glob(pattern)][:1]:
            partial = folder / f".{name}.{os.getpid()}"
            partial.symlink_to(library)
            partial.rename(folder / name)
    return folder


def unanswered_share(result: Result[Load]) -> float:
    """Share of the asked requests that was not answered; one at the edge of the span is no miss."""
    return max(0.0, 1 - (len(result.latencies_ms) + 1) / (result.load.asked_hz * result.span_s))


def measure(load: L, progress: Callable[[float], None] = lambda seconds: None) -> Result[L]:
    """Run the load, calling ``progress`` about once a second with the seconds gone.

    Raises:
        PerfAnalyzerError: there is no server or no such model, or no result came in time.
        WheelError: perf_analyzer cannot be fetched.
    """
    executable, environment = find_perf_analyzer()
    with tempfile.TemporaryDirectory() as scratch:
        export, log = Path(scratch, "answers.json"), Path(scratch, "log")
        status = _run(load.command(executable, export), environment, log, load.duration_s, progress)
        said = log.read_text(errors="replace")
        errors = _THREAD_ERROR.findall(said)
        if errors:
            return Result(load, np.zeros(0), load.seconds, errors)
        if status or not export.exists():
            raise PerfAnalyzerError(f"perf_analyzer failed: {_reason(said)}")
        return Result(load, *read_answers(export))


def _run(
    command: Sequence[str],
    environment: dict[str, str],
    log: Path,
    duration_s: float,
    progress: Callable[[float], None],
) -> int:
    """Exit status; what it says goes to ``log``."""
    started = time.monotonic()
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env=environment_without_proxies() | environment, stdout=out, stderr=out
        ) as process,
    ):
        try:
            while (gone_s := time.monotonic() - started) < duration_s + _GRACE_S:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    progress(gone_s)
        finally:
            process.kill()
    # It waits for ever for the answers of a server that has gone.
    said = _reason(log.read_text(errors="replace"))
    raise PerfAnalyzerError(f"perf_analyzer gave no result within {duration_s + _GRACE_S:.0f} s: {said}")


def _reason(said: str) -> str:
    """The line that explains a failure; its usage text, which may follow, does not."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.match("error:|failed", line, re.IGNORECASE)]
    return (_THREAD_ERROR.findall(said) or telling or lines[-1:] or ["it said nothing"])[0]


def read_answers(export: Path) -> tuple[NDArray[np.float64], float]:
    """Latencies in ms of the answers after the lead, and the seconds in which they came.

    Only time stamps are read: the file also holds every sample of every answer as text, which is
    some hundred MB.
    """
    with export.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        (boundaries,) = _BOUNDARIES.findall(text, text.rfind(b'"window_boundaries"'))
        times = [(int(sent), int(answered)) for sent, answered in _ANSWER.findall(text)]
    edges = [int(edge) for edge in boundaries.split(b",")]
    begin, end = edges[0] + int(1e9 * _LEAD_S), edges[-1]
    kept = np.array([pair for pair in times if begin <= pair[1] <= end], dtype=np.int64).reshape(-1, 2)
    return (kept[:, 1] - kept[:, 0]) / 1e6, (end - begin) / 1e9
