"""Kill clients in the middle of their streams; the server must get their places and memory back."""

import subprocess
import sys
from collections.abc import Mapping

from scripts.common.memory import idle_mb
from scripts.common.report import Row
from scripts.faults.load_generator import UtteranceSet, seconds_until_idle
from tritone_client import Codec
from tritone_server.launcher import TritonServer

__all__ = ["clients_rows"]

_STREAMS, _GRACE_S, _MAX_GROWTH_MB = 20, 2.0, 20.0
_CLIENT = """
import sys, time
import numpy as np
from tritone_client import Codec
codec, url, streams = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = Codec(codec, url)
opened = [client.decode_stream() for _ in range(streams)]
frame = np.zeros((client.info.num_codebooks, 1), np.int64)
for stream in opened:
    stream.push(frame)
print("live", flush=True)
while True:
    time.sleep(0.5)
    for stream in opened:
        stream.push(frame)
"""


def clients_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Kill a client process with its twenty streams, until ``count`` streams have been killed.

    The server must end them within the idle limit and two seconds.
    """
    codec = next(iter(utterances))
    with Codec(codec, server.url) as client:
        client.decode(utterances[codec].tokens)
        info = client.stream_info
        assert info is not None, "a codec with live streams"
    _kill_client(codec, server.url)  # the first one fills caches
    seconds_until_idle(server, 3 * info.idle_limit_ms / 1000)
    before, slowest = idle_mb(server.pid), 0.0
    for _ in range(0, count, _STREAMS):
        _kill_client(codec, server.url)
        slowest = max(slowest, seconds_until_idle(server, 3 * info.idle_limit_ms / 1000))
    grown, limit = idle_mb(server.pid) - before, info.idle_limit_ms / 1000 + _GRACE_S
    how = f"{count} streams, {_STREAMS} at a time, killed with their process"
    return [
        Row(
            codec, "clients_forgotten", slowest, "s", f"<= {limit:g}", slowest <= limit, f"{how}; the slowest"
        ),
        Row(codec, "clients_memory", grown, "MB", f"<= {_MAX_GROWTH_MB:g}", grown <= _MAX_GROWTH_MB, how),
    ]


def _kill_client(codec: str, url: str) -> None:
    command = [sys.executable, "-c", _CLIENT, codec, url, str(_STREAMS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "piped"
        assert process.stdout.readline().strip() == "live", "the streams have started"
        process.kill()
