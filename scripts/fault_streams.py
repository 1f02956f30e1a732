"""Live streams that are checked sample by sample while faults are injected."""

import asyncio
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from listeners import listened
from load_inputs import repeated, tokens_of
from report import Row
from stream_metrics import live_streams, page
from tritone_build.fidelity import snr_db
from tritone_client import Codec, Resume, Resumption
from tritone_client.aio import AsyncCodec
from tritonserver import TritonServer

__all__ = ["Checked", "Crowd", "Spoken", "forgotten_s", "lost_row", "spoken_by", "unharmed_row"]

_LEAST_DB = 120.0
_FRAMES = 120


@dataclass(frozen=True)
class Spoken:
    """Tokens [K, T] and the sound that they are as a whole."""

    tokens: NDArray[np.int64]
    whole: NDArray[np.float32]


@dataclass
class Checked:
    """What all streams together were given; ``wrong`` counts the samples of streams that differ.

    ``worst_db`` is how near the one that differs most comes to its whole. ``resumed`` is how often one of
    them lost its server, whatever came of it.
    """

    streams: int = 0
    expected: int = 0
    delivered: int = 0
    wrong: int = 0
    worst_db: float = inf
    resumed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Samples that a listener lost, heard twice, or heard wrong."""
        return self.expected - self.delivered + self.wrong

    def add(self, whole: NDArray[np.float32], audio: NDArray[np.float32], error: str | None) -> None:
        """One stream that has ended."""
        self.streams += 1
        self.expected += len(whole)
        self.delivered += len(audio)
        if error is not None:
            self.errors.append(error)
            return
        near_db = snr_db(whole, audio) if len(audio) == len(whole) else -inf
        self.worst_db = min(self.worst_db, near_db)
        self.wrong += len(whole) if near_db < _LEAST_DB else 0


def spoken_by(codec: str, url: str) -> Spoken:
    """The beginning of the repository's sample, over and over where it is short."""
    with Codec(codec, url) as client:
        tokens = repeated(tokens_of(client), _FRAMES)
        return Spoken(tokens, client.decode(tokens))


class Crowd:
    """So many streams at real-time pace, one after another in each place, until it is left.

    Args:
        spoken: what each codec says.
        urls: of the servers.
        places: streams at the same time; codecs take turns.
        resume: how they outlive a server.
        checked: where to go on counting, if not from nothing.
    """

    def __init__(
        self,
        spoken: Mapping[str, Spoken],
        urls: Sequence[str],
        places: int,
        resume: Resume,
        checked: Checked | None = None,
    ):
        self._spoken, self._urls, self._places = spoken, urls, places
        self._resume = Resume(**(vars(resume) | {"told": self._told}))
        self.checked, self.resumptions = checked or Checked(), list[Resumption]()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._speak()), daemon=True)

    def _told(self, resumption: Resumption) -> None:
        self.resumptions.append(resumption)
        self.checked.resumed += 1

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """No new streams; those that live end by themselves."""
        self._ends.set()
        self._thread.join()

    async def _speak(self) -> None:
        names = list(itertools.islice(itertools.cycle(self._spoken), self._places))
        async with asyncio.TaskGroup() as group:
            for place, name in enumerate(names):
                group.create_task(self._place(name, place))

    async def _place(self, name: str, place: int) -> None:
        async with AsyncCodec(name, self._urls, resume=self._resume) as codec:
            await asyncio.sleep(place / self._places)
            while not self._ends.is_set():
                spoken = self._spoken[name]
                heard = await listened(codec, spoken.tokens, keep=True)
                self.checked.add(spoken.whole, heard.sound, heard.failure)


def lost_row(check: str, crowd: Crowd, how: str) -> Row:
    """What the listeners of a crowd lost or heard wrong, and how long streams took to go on."""
    checked, taken = crowd.checked, [each.seconds for each in crowd.resumptions]
    p50, p95 = np.percentile(taken, [50, 95]) if taken else (0.0, 0.0)
    how += (
        f"; {checked.streams} streams, {checked.expected} samples expected, {checked.delivered} delivered; "
    )
    how += f"the worst {checked.worst_db:.1f} dB from its whole; "
    how += f"{len(taken)} resumptions, p50 {p50:.2f}, p95 {p95:.2f} s; {len(checked.errors)} streams failed"
    how += f": {checked.errors[0]}" if checked.errors else ""
    return Row(
        "all", check, checked.lost, "samples", "0", not (checked.lost or checked.errors), how, at=float(p95)
    )


def unharmed_row(check: str, checked: Checked) -> Row:
    """Of good streams that went on beside an attack."""
    how = f"{checked.streams} good streams beside it, {checked.expected} samples; {checked.resumed} resumed, "
    how += f"{len(checked.errors)} failed" + (f": {checked.errors[0]}" if checked.errors else "")
    ok = checked.streams > 0 and not (checked.lost or checked.errors or checked.resumed)
    return Row("all", check, checked.lost, "samples", "0", ok, how)


def forgotten_s(server: TritonServer, within_s: float) -> float:
    """Until no stream is live, or the server has ended; the limit and more where some stay."""
    begun = time.monotonic()
    while server.running and live_streams(page(server.metrics_url)) and time.monotonic() - begun < within_s:
        time.sleep(0.1)
    return time.monotonic() - begun
