"""Commands that measure, check, train and demonstrate; one folder per job.

What they download and unpack goes to the clone's own ``.cache``.
"""

import os
from pathlib import Path

os.environ.setdefault("TRITONE_CACHE", str(Path(__file__).resolve().parents[1] / ".cache"))
