"""Why rows of the reports miss their targets, one sentence each, from reasons.yaml."""

from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import yaml

from scripts.common.report import Row

__all__ = ["UNKNOWN", "reason_of"]

UNKNOWN = "no reason is known yet"
_FILE = Path(__file__).with_name("reasons.yaml")


def reason_of(row: Row) -> str:
    """The sentence of the first entry whose patterns fit the row's codec and check."""
    for pattern, reason in _reasons().items():
        codec, _, check = pattern.partition(" ")
        if fnmatch(row.codec, codec) and fnmatch(row.check, check):
            return reason
    return UNKNOWN


@cache
def _reasons() -> Mapping[str, str]:
    """Sentences by "codec check", both with wildcards."""
    found: Mapping[str, str] = yaml.safe_load(_FILE.read_text())
    return found
