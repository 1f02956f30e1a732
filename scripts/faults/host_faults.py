"""Faults of the machine that a server runs on: no memory left, a full disk, a damaged file, a set clock."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
from numpy.typing import NDArray

from scripts.common.prepare import default_checkpoint
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, lost_row
from tritone_client import Codec, Resume, ServerRefusedError
from tritone_server.launcher import Ports, ServerError, TritonServer

__all__ = ["clock_rows", "disk_rows", "machine_rows"]

_SPARE_BYTES, _LONG_S = 64 << 20, 15.0
_DISK_BYTES = 1 << 20
_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
_LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
_STEPS_S, _SETTLE_S = (3600, -7200, 3600), 2.0


def machine_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Rows for all faults of the machine; the memory fault is injected ``count`` times."""
    rows = [_memory_row(server, utterances, count), _damage_row(server, next(iter(utterances)))]
    return rows + disk_rows() + clock_rows(server.repository, utterances)


def _memory_row(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> Row:
    """Limit a decoder's memory; a large request may be refused, live streams and the next request may not."""
    codec = list(utterances)[-1]  # mimi by default, the larger network
    tokens, whole = utterances[codec].tokens, utterances[codec].whole
    refused, wrong = 0, 0
    with LoadGenerator(utterances, [server.url], 4, Resume()) as load, Codec(codec, server.url) as client:
        # As long as the client sends in one request; it would cut a longer one into pieces.
        long = repeated(tokens, int(_LONG_S * client.info.frame_rate_hz))
        for _ in range(count):
            time.sleep(_SETTLE_S)
            with _little_memory(server, f"{codec}_vocoder"):
                try:
                    wrong += not _begins_with(client.decode(long), whole)
                except ServerRefusedError:
                    refused += 1
            wrong += not _begins_with(client.decode(tokens), whole)
    lost = load.result.lost
    how = f"{count} times a decoder had {_SPARE_BYTES >> 20} MB left: {refused} requests refused, {wrong} "
    how += f"decoded wrong then or after; {load.result.streams} streams beside it"
    return Row("all", "memory_lost", lost, "samples", "0", not (wrong or lost or load.result.errors), how)


def _begins_with(audio: NDArray[np.float32], whole: NDArray[np.float32]) -> bool:
    samples = whole.shape[-1]
    return audio.shape[-1] >= samples and bool(np.allclose(audio[..., :samples], whole, atol=1e-4))


@contextmanager
def _little_memory(server: TritonServer, model: str) -> Iterator[None]:
    """Limit the address space of a model's process to 64 MiB more than it has."""
    (process,) = [
        each
        for each in psutil.Process(server.pid).children(recursive=True)
        if any(f"/{model}/" in word for word in each.cmdline())
    ]
    before = resource.prlimit(process.pid, resource.RLIMIT_AS)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (process.memory_info().vms + _SPARE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_AS, before)


def disk_rows() -> list[Row]:
    """Build onto a disk that is too small; the build must say so and leave no model that looks complete.

    No rows where this user may not mount a file system in a namespace of its own.
    """
    if shutil.which(_OWN_MOUNTS[0]) is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        script = (
            f"mount -t tmpfs -o size={_DISK_BYTES} full {folder} && "
            f'"{Path(sys.executable).with_name("tritone-build")}" models nanocodec_mini '
            f'--checkpoint "{default_checkpoint("nanocodec_mini")}" --repository {folder}/models; '
            f"code=$?; ls {folder}/models/*/1/manifest.json 2> /dev/null; exit $code"
        )
        done = subprocess.run(
            [*_OWN_MOUNTS, "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.stderr.startswith(("unshare:", "mount:")):
        return []
    explained = "No space left" in done.stderr and "Traceback" not in done.stderr
    complete = done.stdout.count("manifest.json")
    message = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "nothing"
    ok = done.returncode != 0 and explained and complete == 0
    how = f"1 MB for a build, which says: {message.replace(folder, 'FOLDER')}"
    return [Row("nanocodec_mini", "disk_full", complete, "models", "0", ok, how)]


def _damage_row(server: TritonServer, codec: str) -> Row:
    """Flip one bit of a weight; the graph still loads, but the server must refuse to start."""
    served = 0
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        for model in server.repository.glob(f"{codec}_*"):
            shutil.copytree(model, repository / model.name)
        graph = repository / f"{codec}_vocoder" / "1" / "model.onnx"
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
        damaged = TritonServer(repository, [codec], ports=Ports.free())
        try:
            damaged.start()
        except ServerError as error:
            message = str(error).replace(folder, "FOLDER")
        else:
            served, message = 1, "served"
            damaged.stop()
    return Row(
        codec,
        "damage_served",
        served,
        "models",
        "0",
        not served,
        f"one bit of {len(content)} bytes: {message}",
    )


def clock_rows(repository: Path, utterances: Mapping[str, UtteranceSet]) -> list[Row]:
    """Set the wall clock forward an hour and back two, under live streams; no rows without libfaketime."""
    if not _LIBFAKETIME.exists():
        return []
    moved = 0
    with (
        tempfile.NamedTemporaryFile("w") as clock,
        _faked_clock(Path(clock.name)),
        TritonServer(repository, list(utterances), ports=Ports.free()) as server,
        LoadGenerator(utterances, [server.url], 4, Resume()) as load,
    ):
        for step_s in _STEPS_S:
            time.sleep(_SETTLE_S)
            moved += step_s
            Path(clock.name).write_text(f"{moved:+d}")
        time.sleep(_SETTLE_S)
    steps = ", ".join(f"{each:+d}" for each in _STEPS_S)
    return [lost_row("clock_lost", load, f"the clock set by {steps} s")]


@contextmanager
def _faked_clock(offset: Path) -> Iterator[None]:
    """Processes started inside have their wall clock shifted by the offset in a file, no other clock."""
    settings = {
        "LD_PRELOAD": str(_LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    offset.write_text("+0")
    with mock.patch.dict(os.environ, settings):
        yield
