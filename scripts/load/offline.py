"""Whole utterances of mixed lengths in a closed loop, with one and with two instances of the network."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from scripts.common.report import Row
from scripts.common.speech_inputs import repeated, tokens_of, write_requests
from scripts.load.perf_analyzer import ClosedLoop, measure
from tritone_client import Codec
from tritone_server.launcher import serving

__all__ = ["offline_rows"]

_CONCURRENCY = (1, 4)
_REQUESTS, _SHORTEST, _LONGEST, _QUICK_LONGEST, _SEED = 64, 10, 100, 40, 0


def offline_rows(repository: Path, codec: str, seconds: float, quick: bool = False) -> list[Row]:
    """Throughput in seconds of audio per second, and latency, by the number of concurrent requests.

    Args:
        repository: of the models.
        codec: name of the codec.
        seconds: measured for each row.
        quick: only one request at a time, of short utterances, and one instance.
    """
    if quick:
        return _rows(repository, codec, seconds, _CONCURRENCY[:1], _QUICK_LONGEST)
    rows = _rows(repository, codec, seconds, _CONCURRENCY, _LONGEST)
    with tempfile.TemporaryDirectory() as scratch:
        two = Path(scratch, "models")
        _copy_with_instances(repository, codec, two, 2)
        rows += _rows(two, codec, seconds, _CONCURRENCY[-1:], _LONGEST, "_two_instances")
    return rows


def _rows(
    repository: Path, codec: str, seconds: float, concurrency: tuple[int, ...], longest: int, suffix: str = ""
) -> list[Row]:
    lengths = np.random.default_rng(_SEED).integers(_SHORTEST, longest + 1, _REQUESTS).tolist()
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(repository, [codec]) as server,
        Codec(codec, server.url) as client,
    ):
        inputs, tokens = Path(scratch, "inputs.json"), tokens_of(client)
        write_requests(inputs, repeated(tokens, longest), lengths)
        mean_s = float(np.mean(lengths)) / client.info.frame_rate_hz
        for count in concurrency:
            result = measure(ClosedLoop(server.url, f"{codec}_decode", inputs, count, seconds))
            p50, p99 = (result.percentile_ms(percent) for percent in (50, 99))
            how = f"{count} at once, {_SHORTEST} to {longest} frames; p50 {p50:.0f}, p99 {p99:.0f} ms; "
            how += f"{len(result.latencies_ms)} requests; " + "; ".join(result.errors)
            throughput = result.achieved_hz * mean_s
            ok = not result.errors
            rows.append(
                Row(
                    codec,
                    f"offline{suffix}",
                    throughput,
                    "s of sound/s",
                    "none",
                    ok,
                    how.strip("; "),
                    at=count,
                )
            )
    return rows


def _copy_with_instances(repository: Path, codec: str, target: Path, count: int) -> None:
    """Link the models of a codec into ``target``, with ``count`` instances of the vocoder."""
    for folder in repository.glob(f"{codec}_*"):
        shutil.copytree(folder, target / folder.name, copy_function=_link_or_copy)
    config = target / f"{codec}_vocoder" / "config.pbtxt"
    text = config.read_text()
    config.unlink()
    config.write_text(text.replace("count: 1", f"count: {count}"))


def _link_or_copy(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)
