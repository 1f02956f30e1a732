"""``python -m tritone_build`` is ``tritone-build``, where that command is not on the path."""

import sys

from tritone_build.cli import main

if __name__ == "__main__":
    sys.exit(main())
