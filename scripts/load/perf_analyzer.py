"""NVIDIA's perf_analyzer, from a pinned wheel: run a load on a server and read the latencies."""

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
    "PerfAnalyzerError",
    "Result",
    "StreamLoad",
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
    """perf_analyzer does not run here, or ended without a result; the message says why."""


class Load:
    """A load on one model; it is measured for ``seconds``, after a first second that does not count."""

    url: str
    model: str
    inputs: Path
    seconds: float

    @property
    def duration_s(self) -> float:
        """Duration of the run, if the server answers."""
        return self.seconds + _LEAD_S

    def command(self, executable: Path, export: Path) -> list[str]:
        """The command line."""
        options = self._options() | {
            "input-data": self.inputs,
            # Windows have a fixed length and any result counts as stable, so the run ends after the last one.
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
class StreamLoad(Load):
    """Live streams: each sends a frame when it is due, and waits for an answer before it sends the next.

    Args:
        url: host and gRPC port.
        model: a model with sequence batching.
        inputs: JSON file of the sequences that the streams send.
        streams: at the same time; when one ends, another starts.
        rate_hz: requests per second of one stream.
        seconds: duration of the measurement.
    """

    url: str
    model: str
    inputs: Path
    streams: int
    rate_hz: float
    seconds: float

    _flags: ClassVar[Sequence[str]] = ("--streaming", "--async", "--serial-sequences")

    @property
    def request_rate_hz(self) -> float:
        """Requests per second of all streams."""
        return self.streams * self.rate_hz

    def _options(self) -> dict[str, Any]:
        # Every run has sequence ids of its own. perf_analyzer reads them as 32-bit integers; if the range has
        # no end, it uses an uninitialized value.
        first = 1 + _IDS_PER_RUN * secrets.randbelow(_IDS // _IDS_PER_RUN - 1)
        return {
            "request-rate-range": f"{self.request_rate_hz:.6g}",
            "num-of-sequences": self.streams,
            # With one thread per stream, a late answer delays no other stream.
            "max-threads": self.streams,
            "sequence-id-range": f"{first}:{first + _IDS_PER_RUN}",
        }


@dataclass(frozen=True)
class ClosedLoop(Load):
    """A constant number of concurrent requests to a stateless model; each answer triggers the next request.

    Args:
        url: host and gRPC port.
        model: name of the model.
        inputs: JSON file of the requests, which are sent in turn.
        concurrency: requests in flight.
        seconds: duration of the measurement.
    """

    url: str
    model: str
    inputs: Path
    concurrency: int
    seconds: float

    def _options(self) -> dict[str, Any]:
        return {"concurrency-range": self.concurrency}


L = TypeVar("L", bound=Load)


@dataclass(frozen=True)
class Result(Generic[L]):
    """The measurement of one load.

    Args:
        load: that was run.
        latencies_ms: FP64 [answers], from sending each request to its answer.
        span_s: time in which these answers came.
        errors: the server's error messages; after an error perf_analyzer gives up, and there are no answers.
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
        """A percentile of the latencies; infinite if there are none."""
        return float(np.percentile(self.latencies_ms, percent)) if len(self.latencies_ms) else float("inf")


def find_perf_analyzer() -> tuple[Path, dict[str, str]]:
    """The executable, and the environment variables that it needs.

    Raises:
        PerfAnalyzerError: it does not run on this machine; the message names the missing library.
        WheelError: its wheel cannot be downloaded.
    """
    executable = _WHEEL.unpacked() / _BINARY
    environment = {"LD_LIBRARY_PATH": f"{_linked_libraries()}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    trial = subprocess.run(
        [executable, "--version"],
        check=False,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if trial.returncode:
        raise PerfAnalyzerError(f"perf_analyzer does not run here: {trial.stderr.strip()}")
    return executable, environment


def _linked_libraries() -> Path:
    """A folder that links the server's libraries under the names that perf_analyzer looks for."""
    folder = CACHE / "perf_analyzer"
    folder.mkdir(parents=True, exist_ok=True)
    searched = find_server()[2].get("LD_LIBRARY_PATH", "").split(":")
    for name, pattern in _LIBRARIES.items():
        for library in [path for place in filter(None, searched) for path in Path(place).glob(pattern)][:1]:
            partial = folder / f".{name}.{os.getpid()}"
            partial.symlink_to(library)
            partial.rename(folder / name)
    return folder


def unanswered_share(result: Result[StreamLoad]) -> float:
    """Share of the due requests that were not answered; one request at the edge of the span is forgiven."""
    due = result.load.request_rate_hz * result.span_s
    return max(0.0, 1 - (len(result.latencies_ms) + 1) / due)


def measure(load: L, progress: Callable[[float], None] = lambda seconds: None) -> Result[L]:
    """Run the load; call ``progress`` about once a second with the seconds that have passed.

    Raises:
        PerfAnalyzerError: the server or the model is missing, or no result came in time.
        WheelError: perf_analyzer cannot be downloaded.
    """
    executable, environment = find_perf_analyzer()
    with tempfile.TemporaryDirectory() as scratch:
        export, log = Path(scratch, "answers.json"), Path(scratch, "log")
        status = _run(load.command(executable, export), environment, log, load.duration_s, progress)
        output = log.read_text(errors="replace")
        errors = _THREAD_ERROR.findall(output)
        if errors:
            return Result(load, np.zeros(0), load.seconds, errors)
        if status or not export.exists():
            raise PerfAnalyzerError(f"perf_analyzer failed: {_reason(output)}")
        return Result(load, *read_answers(export))


def _run(
    command: Sequence[str],
    environment: dict[str, str],
    log: Path,
    duration_s: float,
    progress: Callable[[float], None],
) -> int:
    """Run the command, with its output in ``log``, and return its exit status."""
    started = time.monotonic()
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env=environment_without_proxies() | environment, stdout=out, stderr=out
        ) as process,
    ):
        try:
            while (elapsed_s := time.monotonic() - started) < duration_s + _GRACE_S:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    progress(elapsed_s)
        finally:
            process.kill()
    # perf_analyzer waits forever for the answers of a server that has ended.
    reason = _reason(log.read_text(errors="replace"))
    raise PerfAnalyzerError(f"perf_analyzer gave no result within {duration_s + _GRACE_S:.0f} s: {reason}")


def _reason(output: str) -> str:
    """The line that explains a failure; a usage text may follow it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match("error:|failed", line, re.IGNORECASE)]
    return (_THREAD_ERROR.findall(output) or errors or lines[-1:] or ["it printed nothing"])[0]


def read_answers(export: Path) -> tuple[NDArray[np.float64], float]:
    """Read latencies in ms, and the seconds in which the answers came; the first second does not count.

    Only the time stamps are read, since the file also holds every sample of every answer as text, some
    hundred MB.
    """
    with export.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        (boundaries,) = _BOUNDARIES.findall(text, text.rfind(b'"window_boundaries"'))
        times = [(int(sent), int(answered)) for sent, answered in _ANSWER.findall(text)]
    edges = [int(edge) for edge in boundaries.split(b",")]
    begin, end = edges[0] + int(1e9 * _LEAD_S), edges[-1]
    kept = np.array([pair for pair in times if begin <= pair[1] <= end], dtype=np.int64).reshape(-1, 2)
    return (kept[:, 1] - kept[:, 0]) / 1e6, (end - begin) / 1e9
