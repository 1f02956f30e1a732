"""Serve codecs on Triton until interrupted.

Before it serves, tritone-serve sends each model a test request with one second of noise. If a model cannot
encode, decode or continue a stream, tritone-serve prints that model's name and the server's error message,
stops the server, and exits with status 1. Models are built by: tritone-build models NAME

Examples:
  tritone-serve nanocodec
  tritone-serve nanocodec lfsc --grpc-port 9001 --max-streams 16
  tritone-serve mimi --host 0.0.0.0 --tls-certificate server.pem --tls-key server.key
  tritone-serve mimi --no-smoke             # ready a few seconds sooner, without test requests
  tritone-serve mimi --device cuda          # on an NVIDIA GPU; built with: tritone-build models --target cuda
  tritone-serve --dry-run                   # print the server's command line and exit
"""

import argparse
import re
import shlex
import signal
import sys
import time
from pathlib import Path

from tritone_runtime.executors.device import DEVICES
from tritone_server.launcher import Ports, ServerError, ServerTls, Traces, TritonServer
from tritone_server.settings.listen_address import ListenAddress
from tritone_server.smoke import SmokeError, smoke
from tritone_server.supervisor import MOST_RESTARTS, Supervisor
from tritone_server.wheels import WheelError

_REPOSITORY, _ON_GPU = Path("artifacts/model_repository"), Path("artifacts/cuda_repository")


def main() -> int:
    """Entry point; returns the server's exit status, or 1 after it has printed why it cannot serve."""
    options = _parser().parse_args()
    try:
        server = _server(options)
        if options.dry_run:
            print(shlex.join(server.command()[0]))
            return 0
        # The handler must raise: if it stopped the server itself, it would wait for a lock that the
        # interrupted wait() holds. Shells start background commands with SIGINT ignored; this undoes that.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        return _serve(server, try_models=not options.no_smoke, most_restarts=options.most_restarts)
    except (ServerError, WheelError) as error:
        print(f"tritone-serve: {error}", file=sys.stderr)
        return 1


def _server(options: argparse.Namespace) -> TritonServer:
    ports = Ports(options.http_port, options.grpc_port, options.metrics_port)
    repository = options.repository or (_ON_GPU if options.device == "cuda" else _REPOSITORY)
    codecs = options.codec or _built(repository)
    return TritonServer(
        repository,
        codecs,
        options.host,
        ports,
        device=options.device,
        max_streams=options.max_streams,
        instances=options.instances,
        grace_s=options.grace,
        tls=_tls(options),
        log_streams=options.log_streams,
        traces=None if options.trace_url is None else Traces(options.trace_url, options.trace_one_in),
        also=[_other_model(folder) for folder in options.also],
    )


def _other_model(folder: Path) -> Path:
    if not (folder / "config.pbtxt").is_file():
        raise ServerError(f"--also {folder}: no model is there; name a folder that has a config.pbtxt")
    return folder


def _tls(options: argparse.Namespace) -> ServerTls | None:
    given = (options.tls_certificate, options.tls_key)
    if not any((*given, options.tls_client_ca)):
        if not ListenAddress.at(options.host).ip.is_loopback and not options.insecure:
            raise ServerError(
                f"other machines can reach {options.host}, and the connection would not be encrypted: give "
                "--tls-certificate and --tls-key, or --insecure if a proxy or a private network encrypts it"
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
        _print_addresses(server)
        _print_device(server)
        print(f"log: {server.log}; stop with Ctrl-C", flush=True)
        return Supervisor(server, _print_line, most_restarts).run()
    except KeyboardInterrupt:
        print(f"stopping; live streams have {server.grace_s} s to end", flush=True)
        server.stop()
        return 0
    except SmokeError as error:
        server.stop()
        print(f"tritone-serve: {error} (log: {server.log})", file=sys.stderr)
        return 1


def _print_addresses(server: TritonServer) -> None:
    print(
        f"serving {', '.join(server.codecs)}: gRPC {server.url}, HTTP port {server.ports.http}, "
        f"metrics port {server.ports.metrics}"
    )
    if server.listening.grpc_only_on_ipv4:
        print("HTTP and metrics listen on IPv6 only; gRPC listens on IPv4 as well")


def _print_device(server: TritonServer) -> None:
    """Print the device once, although every model writes it to the log."""
    found = re.search(r"device \w+: [^\"]*", server.log.read_text(errors="replace"))
    if found is not None:
        print(found[0], flush=True)


def _print_line(line: str) -> None:
    print(line, flush=True)


def _try_models(server: TritonServer) -> None:
    begun = time.monotonic()
    print("sending test requests to every model (--no-smoke skips them)", flush=True)
    smoke(server.url, server.models(), _print_line)
    print(f"every model works; the test requests took {time.monotonic() - begun:.1f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tritone-serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codec", nargs="*", help="codecs to serve (default: all that are built)")
    parser.add_argument(
        "--repository",
        type=Path,
        help=f"folder of built models (default: {_REPOSITORY}, with --device cuda {_ON_GPU})",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="device that runs the models; auto is the one that they were built for (%(default)s)",
    )
    parser.add_argument(
        "--also",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="another model to serve beside the codecs, for instance one that calls them; repeatable",
    )
    _add_network(parser)
    _add_streams(parser)
    _add_traces(parser)
    parser.add_argument("--no-smoke", action="store_true", help="do not send test requests before serving")
    parser.add_argument(
        "--most-restarts",
        type=int,
        default=MOST_RESTARTS,
        help="most restarts within five minutes after the server or a model's process has ended or hangs; "
        "at the next fault tritone-serve stops with status 1. With 0 it never restarts, which leaves that "
        "to a service manager (%(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the server's command line and exit")
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 or IPv6 address to listen on (%(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8001, help="gRPC port (%(default)s)")
    parser.add_argument(
        "--http-port", type=int, default=8000, help="HTTP port; it answers health checks only (%(default)s)"
    )
    parser.add_argument(
        "--metrics-port", type=int, default=8002, help="port of the Prometheus metrics (%(default)s)"
    )
    parser.add_argument(
        "--tls-certificate", type=Path, help="PEM file with the server's certificate; encrypts the gRPC port"
    )
    parser.add_argument("--tls-key", type=Path, help="PEM file with the private key of that certificate")
    parser.add_argument(
        "--tls-client-ca",
        type=Path,
        help="PEM file with the authority that signs client certificates; clients without one are rejected",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen for other machines without encryption"
    )


def _add_streams(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-streams",
        type=_count,
        help="most live streams per model, if this machine keeps up with fewer than the model's own limit; "
        "further streams are rejected",
    )
    parser.add_argument(
        "--instances",
        type=_count,
        default=1,
        metavar="N",
        help="processes for each model of live streams, which share its limit of streams and the cores; more "
        "than one if many streams of a small codec keep one process busy (%(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=_count,
        default=10,
        help="seconds that live streams may continue after Ctrl-C or SIGTERM; new streams are rejected "
        "meanwhile (%(default)s)",
    )
    parser.add_argument(
        "--log-streams", action="store_true", help="log the start and end of every stream, not only faults"
    )


def _add_traces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trace-url",
        help="OpenTelemetry collector that receives traces by OTLP over HTTP, as http://host:4318/v1/traces",
    )
    parser.add_argument(
        "--trace-one-in",
        type=_count,
        default=1000,
        metavar="N",
        help="trace one request in N; requests that belong to a client's trace are always traced "
        "(%(default)s)",
    )


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {text}")
    return int(text)


def _built(repository: Path) -> list[str]:
    found = sorted(folder.name.removesuffix("_decode") for folder in repository.glob("*_decode"))
    if not found:
        raise ServerError(
            f"{repository} holds no built codec; build one with 'tritone-build models NAME' "
            "(in a clone: 'make models CODEC=NAME'), or name another folder with --repository"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
