"""Certificates for a trial of TLS: an authority, a server and a client that it vouches for.

For anything but a trial use the certificates of your organization, or of your cluster's issuer.

Examples:
  .venv/bin/python -m scripts.common.certificates certificates
  .venv/bin/python -m scripts.common.certificates certificates --name codec.example.org --days 7
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

__all__ = ["main", "write_certificates"]

_NAMES, _DAYS = ("localhost", "127.0.0.1"), 30


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for ca.pem; .pem and .key of server and client")
    parser.add_argument("--name", action="append", help=f"of the server (default: {', '.join(_NAMES)})")
    parser.add_argument("--days", type=int, default=_DAYS, help="that they are good for (%(default)s)")
    options = parser.parse_args()
    write_certificates(options.folder, options.name or _NAMES, options.days)
    print(f"written to {options.folder}; keep the keys to yourself")
    return 0


def write_certificates(folder: Path, names: Sequence[str] = _NAMES, days: int = _DAYS) -> None:
    """Write them; negative days give certificates that have expired."""
    now = datetime.now(UTC)
    until, since = now + timedelta(days=days), min(now, now + timedelta(days=days - 1))
    authority = trustme.CA()
    server = authority.issue_cert(*names, not_before=since, not_after=until)
    client = authority.issue_cert("client", not_before=since, not_after=until)
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, made in (("server", server), ("client", client)):
        key = folder / f"{name}.key"
        made.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        (folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))


if __name__ == "__main__":
    sys.exit(main())
