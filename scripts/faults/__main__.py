"""Kill, restart and cut off real servers under live streams, and count what their listeners lose.

Three servers, each behind a proxy; eight streams at real-time pace, of nanocodec_mini and mimi, each checked
against the whole when it ends. Each row is one kind of fault, injected so many times.

kill      SIGKILL of a server and its models, which is started again
rolling   all servers in turn asked to stop and started again, as for an upgrade
reset     every TCP connection to a server broken
stall     a server that takes 5 s to answer; streams wait 2 s before they try another
gone      all servers killed, and started after 10 s
for_good  all servers killed for longer than the streams' deadline: one typed error, in time
paused    the process of a model, a server or all servers stopped for 0.5, 1.1 and 3 s, whole inputs beside
haproxy   HAProxy in front of the servers killed and started again
overload  twice as many streams as places: live ones are in time, the others refused within 100 ms
machine   no memory left, a full disk, a damaged file, the clock set
clients   200 clients killed in the middle of their streams: places and memory come back
fuzz      10,000 malformed requests to one server, at its gRPC and HTTP ports: each is answered
attacks   strangers without certificates, huge messages, 10,000 idle connections, guessed ids of streams

Results: a table and reports/faults.json.

Examples:
  make faults
  .venv/bin/python -m scripts.faults --quick
  .venv/bin/python -m scripts.faults --only kill --kills 5
  .venv/bin/python -m scripts.faults --only fuzz attacks --requests 2000
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from scripts.common.prepare import REPOSITORY, PrepareError, build_models, default_checkpoint
from scripts.common.report import Row, in_part, step, write_parts
from scripts.faults.attacks.access import attacks_rows
from scripts.faults.cluster import Cluster, cluster
from scripts.faults.fuzz import fuzz_rows
from scripts.faults.haproxy import haproxy_rows
from scripts.faults.host_faults import machine_rows
from scripts.faults.killed_clients import clients_rows
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, lost_row, utterances_of
from scripts.faults.pauses import pause_rows
from scripts.load.overload import overload_rows
from tritone_client import Resume, TritoneError
from tritone_server.launcher import ServerError, TritonServer, serving

__all__ = ["FAULTS", "main", "measured"]

_CODECS = ("nanocodec_mini", "mimi")
_SERVERS, _PLACES, _SEED = 3, 8, 0
_SETTLE_S, _STALL_S, _GONE_S, _OVERLOAD_S = 2.0, 5.0, 10.0, 20.0
_RESUME, _QUICKLY = Resume(deadline_s=60), Resume(deadline_s=60, answer_s=2.0)
_FOR_GOOD = Resume(deadline_s=4)
Inject = Callable[[Cluster, int], None]


def main() -> int:
    """Entry point; 1 when a stream lost anything."""
    options, console = _options(), Console()
    name = "faults-quick" if options.quick else "faults"
    try:
        build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
        well = write_parts(name, measured(REPOSITORY, options.codec, _counts(options), console), console)
    except (ServerError, PrepareError, TritoneError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    return 0 if well else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = [*FAULTS, "paused", *_ALONE]
    parser.add_argument("--codec", nargs="+", default=_CODECS, help="with models for streams (%(default)s)")
    parser.add_argument("--only", choices=kinds, nargs="+", default=kinds, help="default: all")
    parser.add_argument("--kills", type=int, default=50, help="%(default)s")
    parser.add_argument("--pauses", type=int, default=100, help="%(default)s")
    parser.add_argument("--requests", type=int, default=10_000, help="malformed ones (%(default)s)")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones (%(default)s)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="three kills, nine pauses, 500 requests, and each other fault once",
    )
    return parser.parse_args()


def _counts(options: argparse.Namespace) -> dict[str, int]:
    times = {"kill": options.kills, "reset": 10, "stall": 3, "rolling": 2, "clients": 200}
    times |= {"paused": options.pauses, "haproxy": 5, "overload": 8, "machine": 3}
    times |= {"fuzz": options.requests, "attacks": options.connections}
    if options.quick:
        times = {"kill": 3, "paused": 9, "clients": 40, "overload": 4, "fuzz": 500, "attacks": 500}
    return {kind: times.get(kind, 1) for kind in options.only}


def measured(
    repository: Path, codecs: list[str], counts: Mapping[str, int], console: Console
) -> Iterator[list[Row]]:
    """The rows of each kind of fault that has a count."""
    injected = {kind: count for kind, count in counts.items() if kind not in _ALONE}
    if injected:
        yield from _injected(repository, codecs, injected, console)
    for kind in [kind for kind in counts if kind in _ALONE]:
        with serving(repository, codecs) as server, step(console, f"{kind}, {counts[kind]} times"):
            spoken = {codec: utterances_of(codec, server.url) for codec in codecs}
            rows = in_part(kind, _ALONE[kind](server, spoken, counts[kind]))
        yield rows


def _injected(
    repository: Path, codecs: list[str], counts: Mapping[str, int], console: Console
) -> Iterator[list[Row]]:
    with cluster(repository, codecs, _SERVERS) as servers:
        spoken = {codec: utterances_of(codec, servers.urls[0]) for codec in codecs}
        for kind, count in counts.items():
            with step(console, f"{kind}, {count} times"):
                rows = in_part(kind, _cluster_rows(kind, count, servers, spoken))
            yield rows


def _cluster_rows(kind: str, count: int, servers: Cluster, spoken: Mapping[str, UtteranceSet]) -> list[Row]:
    for number in range(_SERVERS):
        if not servers.running(number):
            servers.restart(number)
    if kind == "paused":
        return pause_rows(servers, spoken, count)
    inject, resume = FAULTS[kind]
    with LoadGenerator(spoken, servers.urls, _PLACES, resume) as crowd:
        time.sleep(_SETTLE_S)
        for number in range(count):
            inject(servers, number)
            time.sleep(_SETTLE_S)
    return [_row(kind, count, crowd, resume)]


def _row(kind: str, count: int, crowd: LoadGenerator, resume: Resume) -> Row:
    row = lost_row(f"{kind}_lost", crowd, f"{count} times")
    return _for_good_row(crowd, resume, row.how) if kind == "for_good" else row


def _for_good_row(crowd: LoadGenerator, resume: Resume, how: str) -> Row:
    """Every stream must have ended, with the one error and in time."""
    errors = crowd.checked.errors
    typed = [error for error in errors if error.startswith("NoServerLeftError")]
    ok = len(errors) == len(typed) >= _PLACES
    how = f"{len(typed)} of {len(errors)} are NoServerLeftError, deadline {resume.deadline_s:g} s; {how}"
    return Row("all", "for_good_errors", len(errors), "streams", "all typed", ok, how)


def _kill(servers: Cluster, number: int) -> None:
    which = int(np.random.default_rng(_SEED + number).integers(_SERVERS))
    servers.kill(which)
    time.sleep(_SETTLE_S)
    servers.restart(which)


def _rolling(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.restart(which)
        time.sleep(_SETTLE_S)


def _reset(servers: Cluster, number: int) -> None:
    servers.proxies[number % _SERVERS].reset()


def _stall(servers: Cluster, number: int) -> None:
    proxy = servers.proxies[number % _SERVERS]
    proxy.stall()
    time.sleep(_STALL_S)
    proxy.flow()


def _gone(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.kill(which)
    time.sleep(_GONE_S)
    for which in range(_SERVERS):
        servers.restart(which)


def _for_good(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.kill(which)
    time.sleep(2 * _FOR_GOOD.deadline_s)


def _overload_rows(server: TritonServer, spoken: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """So many places, for the first codec."""
    return overload_rows(server.repository, next(iter(spoken)), count, _OVERLOAD_S)


FAULTS: Mapping[str, tuple[Inject, Resume]] = {
    "kill": (_kill, _RESUME),
    "rolling": (_rolling, _RESUME),
    "reset": (_reset, _RESUME),
    "stall": (_stall, _QUICKLY),
    "gone": (_gone, _RESUME),
    "for_good": (_for_good, _FOR_GOOD),
}
"""What is done to the servers, and how streams are told to outlive it."""

_ALONE: Mapping[str, Callable[[TritonServer, Mapping[str, UtteranceSet], int], list[Row]]] = {
    "haproxy": haproxy_rows,
    "overload": _overload_rows,
    "machine": machine_rows,
    "clients": clients_rows,
    "fuzz": fuzz_rows,
    "attacks": attacks_rows,
}
"""What is done to one server, by its clients or its machine."""


if __name__ == "__main__":
    sys.exit(main())
