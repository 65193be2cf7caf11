"""``python -m fairprog`` is the command line of :mod:`fairprog.cli`."""

import sys

from fairprog.cli import main

if __name__ == "__main__":
    sys.exit(main())
