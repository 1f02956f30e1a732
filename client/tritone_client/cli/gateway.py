"""``tritone gateway``: its options, and how it starts."""

import argparse
import math
from pathlib import Path
from typing import Any

from tritone_client.errors import MissingExtraError
from tritone_client.gateway.settings import Limits, Settings
from tritone_client.served import served_codecs
from tritone_client.transport.addresses import Address

__all__ = ["add_parser", "run"]

_EXAMPLES = """\
examples:
  tritone gateway                                           beside a server at 127.0.0.1:8001
  tritone gateway --url triton.example:443 --tls --port 80
  tritone gateway --local artifacts/model_repository        without a server: the models run in this process
  tritone gateway --host 0.0.0.0 --api-key-file keys.txt --max-sockets 64 --max-sockets-per-key 8

then, elsewhere:
  open http://127.0.0.1:8080/ in a browser: a page plays a stream; /docs lists all there is
  curl http://127.0.0.1:8080/v1/codecs
  curl --data-binary @speech.flac -H 'Accept: application/x-npy' -o t.npy \\
       'http://127.0.0.1:8080/v1/encode?codec=mimi'
  curl --data-binary @t.npy -H 'Accept: audio/ogg' -o speech.opus 'http://127.0.0.1:8080/v1/decode?codec=mimi'
  a WebSocket to ws://127.0.0.1:8080/v1/stream?codec=mimi&format=pcm16 takes {"frames": [[...], ...]} and
  {"end": true}, and answers with audio

API keys are the lines of --api-key-file, or $TRITONE_GATEWAY_KEYS, separated by commas. TLS for browsers
is the task of a proxy in front; --tls is about the server behind.
"""

_AMOUNTS = (
    ("--max-body-mb", "body_bytes", 1e6, "largest body of a request, in MB (%(default)g)"),
    ("--max-message-kb", "message_bytes", 1e3, "largest message of a socket, in kB (%(default)g)"),
    ("--max-audio-s", "audio_s", 1.0, "longest whole file, in seconds (%(default)g)"),
    ("--lead-s", "lead_s", 1.0, "a stream so far ahead of real time waits (%(default)g s)"),
    ("--send-s", "send_s", 1.0, "a socket that reads nothing for so long ends (%(default)g s)"),
    ("--idle-s", "idle_s", 1.0, "a socket that sends nothing for so long ends (%(default)g s)"),
    ("--drain-s", "drain_s", 1.0, "live sockets have so long when it stops (%(default)g s)"),
)
"""Options that are amounts: the attribute of Limits, how many of its units make one of the option's, help."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "gateway",
        help="codecs over WebSocket and HTTP; needs the gateway extra",
        description="Serve codecs over WebSocket and HTTP, from a server or in this process.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine only)")
    add("--port", type=int, default=8080, help="port to listen on; 0 for any free one (%(default)s)")
    add("--api-key-file", type=Path, metavar="FILE", help="file with API keys, one a line")
    add("--max-sockets", type=int, default=Limits.sockets, help="most live sockets (%(default)s)")
    add("--max-sockets-per-key", type=int, help="most live sockets of one API key (default: all)")
    add(
        "--max-requests",
        type=int,
        default=Limits.requests,
        help="most whole files at a time (%(default)s)",
    )
    for option, limit, unit, text in _AMOUNTS:
        name, default = option.removeprefix("--").replace("-", "_").upper(), getattr(Limits, limit) / unit
        add(option, dest=limit, metavar=name, type=_finite, default=default, help=text)
    return parser


def _finite(text: str) -> float:
    """A number for argparse; NaN and infinity are none here."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"a number is needed, got {text!r}")
    return value


def run(options: argparse.Namespace, location: str | Path, access: dict[str, Any]) -> None:
    """Serve until interrupted or terminated.

    Raises:
        MissingExtraError: the gateway extra is not installed.
        SettingsError: an option, or the file of keys, is wrong.
        OSError: the address cannot be used, or the file cannot be read.
        AddressError: the server's address is none.
        RepositoryError: the folder holds no models.
    """
    try:
        from tritone_client.gateway import server
    except ImportError as error:
        raise MissingExtraError("the gateway", "gateway") from error
    _refuse_wrong(location)
    from tritone_client.gateway.access import api_keys

    per_key = options.max_sockets_per_key
    amounts = {limit: getattr(options, limit) * unit for _, limit, unit, _ in _AMOUNTS}
    limits = Limits(
        sockets=options.max_sockets,
        sockets_per_key=options.max_sockets if per_key is None else per_key,
        requests=options.max_requests,
        **{limit: round(amount) if limit.endswith("_bytes") else amount for limit, amount in amounts.items()},
    )
    keys = api_keys(options.api_key_file)
    settings = Settings(location, **access, device=options.device, keys=keys, limits=limits)
    server.run(settings, options.host, options.port)


def _refuse_wrong(location: str | Path) -> None:
    """A server may start later than the gateway; a folder must be there, and an address must be one."""
    if isinstance(location, Path):
        served_codecs(location)
    else:
        Address.of(location)
