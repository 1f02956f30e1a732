"""Serve codecs on Triton until interrupted.

Examples:
  make serve CODEC=nanocodec
  .venv/bin/python scripts/serve.py nanocodec lfsc --grpc-port 9001 --host 0.0.0.0
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from tritonserver import Ports, ServerError, TritonServer
from wheels import WheelError


def main() -> int:
    """Entry point; the server's exit status, or 1 with the reason it could not start."""
    options = _options()
    ports = Ports(options.http_port, options.grpc_port, options.metrics_port)
    try:
        codecs = options.codec or _built(options.repository)
        server = TritonServer(options.repository, codecs, options.host, ports)
        if options.dry_run:
            print(" ".join(server.command()[0]))
            return 0
        server.start()
    except (ServerError, WheelError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    print(
        f"serving {', '.join(codecs)}: gRPC {server.url}, HTTP port {ports.http}, "
        f"metrics port {ports.metrics}"
    )
    print(f"log: {server.log}; stop with Ctrl-C", flush=True)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return server.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codec", nargs="*", help="codecs to load (default: every one that is built)")
    parser.add_argument(
        "--repository", type=Path, default=Path("artifacts/model_repository"), help="%(default)s"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8001, help="%(default)s")
    parser.add_argument("--http-port", type=int, default=8000, help="%(default)s")
    parser.add_argument("--metrics-port", type=int, default=8002, help="%(default)s")
    parser.add_argument("--dry-run", action="store_true", help="print the server's command line only")
    return parser.parse_args()


def _built(repository: Path) -> list[str]:
    found = sorted(folder.name.removesuffix("_decode") for folder in repository.glob("*_decode"))
    if not found:
        raise ServerError(f"no codec in {repository}; build one with 'make models'")
    return found


if __name__ == "__main__":
    sys.exit(main())
