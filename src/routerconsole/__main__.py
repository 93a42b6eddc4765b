"""Entry point of the `routerconsole` command; everything else is imported once it is known what is asked."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return the exit code of interface.md §3."""
    from routerconsole.cli.entry import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
