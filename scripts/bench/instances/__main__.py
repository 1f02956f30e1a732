"""How many requests of live streams a server answers, by the number of a model's processes.

The model passes its data through, so nearly all time is that of Triton, of our backend and of the clients.
The clients are processes of their own. Each sends one request after the other on each of its gRPC streams,
from messages that were encoded beforehand. Server and clients share the machine's cores, so on a small
machine the clients limit the figure: the processor time says what a request costs each side.

Results: a table and reports/instances.json.

Example:
  .venv/bin/python -m scripts.bench.instances
"""

import sys

from rich.console import Console

from scripts.bench.instances.load import instance_rows
from scripts.common.cli import argument_parser
from scripts.common.report import progress, write_report


def main() -> int:
    """Entry point."""
    parser = argument_parser("scripts.bench.instances", __doc__)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 4], help="processes of the model")
    parser.add_argument("--clients", type=int, default=2, help="client processes (%(default)s)")
    parser.add_argument("--streams", type=int, default=16, help="streams of each client (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of three repeats (%(default)s)")
    options, console = parser.parse_args(), Console()
    rows = []
    for count in options.instances:
        with progress(console, f"processes of the model: {count}"):
            rows += instance_rows(count, options.clients, options.streams, options.seconds)
    write_report("instances", rows, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
