"""What tests in several rooms use."""

import scripts

__all__: list[str] = []
assert scripts, "importing it keeps caches in the clone"
