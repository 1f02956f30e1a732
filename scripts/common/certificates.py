"""Write certificates to try TLS with: of an authority, and of a server and a client signed by it.

In production, use certificates of your organization or of your cluster's issuer instead.

Examples:
  .venv/bin/python -m scripts.common.certificates certificates
  .venv/bin/python -m scripts.common.certificates certificates --name codec.example.org --days 7
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from scripts.common.cli import argument_parser

__all__ = ["main", "write_certificates"]

_NAMES, _DAYS = ("localhost", "127.0.0.1"), 30


def main() -> int:
    """Entry point."""
    parser = argument_parser("scripts.common.certificates", __doc__)
    parser.add_argument(
        "folder",
        type=Path,
        help="where to write ca.pem, server.pem, server.key, client.pem and client.key",
    )
    parser.add_argument(
        "--name",
        action="append",
        help=f"host name or address of the server; may be repeated (default: {', '.join(_NAMES)})",
    )
    parser.add_argument("--days", type=int, default=_DAYS, help="days until they expire (%(default)s)")
    options = parser.parse_args()
    write_certificates(options.folder, options.name or _NAMES, options.days)
    print(f"written to {options.folder}; keep the .key files secret")
    return 0


def write_certificates(folder: Path, names: Sequence[str] = _NAMES, days: int = _DAYS) -> None:
    """Write the certificates; with a negative number of days they have already expired."""
    now = datetime.now(UTC)
    until, since = now + timedelta(days=days), min(now, now + timedelta(days=days - 1))
    authority = trustme.CA()
    server = authority.issue_cert(*names, not_before=since, not_after=until)
    client = authority.issue_cert("client", not_before=since, not_after=until)
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, issued in (("server", server), ("client", client)):
        key = folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        (folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


if __name__ == "__main__":
    sys.exit(main())
