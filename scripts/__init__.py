"""Commands that build, measure and check; one folder per job.

What they download and unpack stays in the clone's own cache.
"""

import os
from pathlib import Path

os.environ.setdefault("TRITONE_CACHE", str(Path(__file__).resolve().parents[1] / ".cache"))
