"""A picture of one colour as a PNG data URI, made at run time: nothing to ship, nothing to look up."""

from __future__ import annotations

import base64
import struct
import zlib

from .fill import COLOURS

SIDE = 64
"""Pixels; a picture of one pixel is refused or enlarged away by some servers."""


def png(colour: tuple[int, int, int], *, side: int = SIDE) -> bytes:
    """Return a PNG of `side` × `side` pixels in one RGB colour."""
    row = b"\x00" + bytes(colour) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(row * side)), _chunk(b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(name: str) -> str:
    """Return the picture of a named colour as a data URI. Raises KeyError for a colour nobody knows."""
    return "data:image/png;base64," + base64.b64encode(png(COLOURS[name])).decode("ascii")
