"""A number with its word in the form it takes: for every sentence people read."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return `1 request`, `2 requests`, `1,200 requests`; `many` is the plural that takes more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
