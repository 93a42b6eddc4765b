"""JSON of many views in pieces, so that a registry of thousands does not hold the loop while it is written out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson

PIECE = 100
"""Views encoded in one go; measured: 40 µs each for a model with seven capabilities of three layers."""


async def packed(
    name: str, views: Sequence[object], more: Mapping[str, object] | None = None, *, piece: int = PIECE
) -> list[bytes]:
    """Return `{name: [views], **more}` as JSON in pieces, giving way after each."""
    pieces = [b"{" + orjson.dumps(name) + b":["]
    for start in range(0, len(views), piece):
        inner = orjson.dumps(views[start : start + piece])[1:-1]
        pieces.append(b"," + inner if start else inner)
        await asyncio.sleep(0)
    rest = orjson.dumps(dict(more))[1:-1] if more else b""
    pieces.append(b"]," + rest + b"}" if rest else b"]}")
    return pieces
