"""Entry point of the `routerconsole` command; everything else is imported once it is known what is asked."""

from __future__ import annotations

import gc
import sys

COLLECT_AFTER = 50_000
"""New objects before the garbage collector looks: at Python's 700 it takes a sixth of the time of importing."""


def main() -> int:
    """Run the command line and return the exit code of interface.md §3."""
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    from routerconsole.cli.entry import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
