"""Serve codecs on Triton until interrupted; before that, try every model on a second of noise.

A model that cannot encode, decode or go on with a stream is named with the server's own message; then
the server is stopped and the exit status is 1.

Examples:
  make serve CODEC=nanocodec
  .venv/bin/tritone-serve nanocodec lfsc --grpc-port 9001 --max-streams 16
  .venv/bin/tritone-serve mimi --host 0.0.0.0 --tls-certificate server.pem --tls-key server.key
  .venv/bin/tritone-serve mimi --no-smoke     # ready a few seconds sooner, untried
  .venv/bin/tritone-serve nanocodec --device cuda   # on a GPU; docs/gpu.md says what that needs
  .venv/bin/tritone-serve --dry-run           # only show how the server would be run
"""

import argparse
import re
import shlex
import signal
import sys
import time
from pathlib import Path

from tritone_server.launcher import Ports, ServerError, ServerTls, Traces, TritonServer
from tritone_server.listening import Listening
from tritone_server.smoke import SmokeError, smoke
from tritone_server.supervisor import MOST_RESTARTS, Supervisor
from tritone_server.wheels import WheelError


def main() -> int:
    """Entry point; the server's exit status, or 1 with the reason why it does not serve."""
    options = _options()
    try:
        server = _server(options)
        if options.dry_run:
            print(shlex.join(server.command()[0]))
            return 0
        # A signal must raise: stopping the server within a handler would wait for a lock of its waiting.
        # A shell that starts us in the background has us ignore SIGINT, unless we say otherwise.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        return _serve(server, try_models=not options.no_smoke, most_restarts=options.most_restarts)
    except (ServerError, WheelError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1


def _server(options: argparse.Namespace) -> TritonServer:
    ports = Ports(options.http_port, options.grpc_port, options.metrics_port)
    codecs = options.codec or _built(options.repository)
    return TritonServer(
        options.repository,
        codecs,
        options.host,
        ports,
        device=options.device,
        max_streams=options.max_streams,
        grace_s=options.grace,
        tls=_tls(options),
        log_streams=options.log_streams,
        traces=None if options.trace_url is None else Traces(options.trace_url, options.trace_one_in),
    )


def _tls(options: argparse.Namespace) -> ServerTls | None:
    given = (options.tls_certificate, options.tls_key)
    if not any((*given, options.tls_client_ca)):
        if not Listening.at(options.host).ip.is_loopback and not options.insecure:
            raise ServerError(
                f"{options.host} can be reached by others, and nothing would be encrypted: give "
                "--tls-certificate and --tls-key, or --insecure where a proxy or a private network does it"
            )
        return None
    if not all(given):
        raise ServerError("--tls-certificate and --tls-key go together; one of them is missing")
    return ServerTls(*given, options.tls_client_ca)


def _serve(server: TritonServer, try_models: bool, most_restarts: int) -> int:
    try:
        server.start()
        if try_models and server.tls is None:
            _try_models(server)
        print(
            f"serving {', '.join(server.codecs)}: gRPC {server.url}, HTTP port {server.ports.http}, "
            f"metrics port {server.ports.metrics}"
        )
        if server.listening.grpc_only_on_ipv4:
            print("HTTP and metrics answer on IPv6 only, gRPC on IPv4, too")
        _tell_device(server)
        print(f"log: {server.log}; stop with Ctrl-C", flush=True)
        return Supervisor(server, lambda line: print(line, flush=True), most_restarts).run()
    except KeyboardInterrupt:
        print(f"stopping; live streams have {server.grace_s} s to end", flush=True)
        server.stop()
        return 0
    except SmokeError as error:
        server.stop()
        print(f"serve: {error} (log: {server.log})", file=sys.stderr)
        return 1


def _tell_device(server: TritonServer) -> None:
    """Once: every model has said the same in the log."""
    told = re.search(r"device \w+: [^\"]*", server.log.read_text(errors="replace"))
    if told is not None:
        print(told[0], flush=True)


def _try_models(server: TritonServer) -> None:
    begun = time.monotonic()
    print("trying every model (--no-smoke skips this)", flush=True)
    smoke(server.url, server.models(), lambda line: print(line, flush=True))
    print(f"all work; tried in {time.monotonic() - begun:.1f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codec", nargs="*", help="codecs to load (default: every one that is built)")
    parser.add_argument(
        "--repository", type=Path, default=Path("artifacts/model_repository"), help="%(default)s"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, IPv4 or IPv6 (%(default)s)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "rtx"),
        default="auto",
        help="where models run; the CPU, where there is no such GPU (%(default)s)",
    )
    parser.add_argument("--tls-certificate", type=Path, help="PEM of the gRPC port; it is then encrypted")
    parser.add_argument("--tls-key", type=Path, help="of that certificate")
    parser.add_argument("--tls-client-ca", type=Path, help="PEM of who vouches for clients; refuse others")
    parser.add_argument(
        "--insecure", action="store_true", help="serve others than this machine without encryption"
    )
    parser.add_argument("--grpc-port", type=int, default=8001, help="%(default)s")
    parser.add_argument("--http-port", type=int, default=8000, help="%(default)s")
    parser.add_argument("--metrics-port", type=int, default=8002, help="%(default)s")
    parser.add_argument(
        "--max-streams",
        type=_count,
        help="live streams per model, of which this machine keeps up with fewer than the models allow "
        "('make load' finds how many); more are refused at once",
    )
    parser.add_argument(
        "--grace",
        type=_count,
        default=10,
        help="seconds that live streams may go on after Ctrl-C or SIGTERM, while new ones are refused "
        "(%(default)s)",
    )
    parser.add_argument(
        "--log-streams", action="store_true", help="log every stream that begins and ends, not only faults"
    )
    parser.add_argument(
        "--trace-url",
        help="send traces there by OpenTelemetry's OTLP over HTTP, as http://host:4318/v1/traces",
    )
    parser.add_argument(
        "--trace-one-in",
        type=_count,
        default=1000,
        help="requests, of which one is traced; those within a client's trace all are (%(default)s)",
    )
    parser.add_argument("--no-smoke", action="store_true", help="serve without trying the models first")
    parser.add_argument(
        "--most-restarts",
        type=int,
        default=MOST_RESTARTS,
        help="restarts within five minutes, where the server or the process of a model ends or hangs; after "
        "them it stops with status 1. 0 leaves restarting to a service manager (%(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the server's command line only")
    return parser.parse_args()


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {text}")
    return int(text)


def _built(repository: Path) -> list[str]:
    found = sorted(folder.name.removesuffix("_decode") for folder in repository.glob("*_decode"))
    if not found:
        raise ServerError(f"no codec in {repository}; build one with 'make models'")
    return found


if __name__ == "__main__":
    sys.exit(main())
