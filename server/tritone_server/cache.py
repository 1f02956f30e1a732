"""The folder where downloaded and unpacked files are kept between runs."""

import os
from pathlib import Path

__all__ = ["CACHE", "VARIABLE"]

VARIABLE = "TRITONE_CACHE"


def _folder() -> Path:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "tritone")


CACHE = _folder()
"""``$TRITONE_CACHE``, else ``$XDG_CACHE_HOME/tritone``, else ``~/.cache/tritone``."""
