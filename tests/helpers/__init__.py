"""Helpers for tests of several packages."""

import scripts

__all__: list[str] = []
assert scripts, "importing it keeps caches in the clone"
