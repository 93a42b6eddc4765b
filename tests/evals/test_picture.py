"""The picture is a PNG that decodes to one colour."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from routerconsole.evals.fill import COLOURS
from routerconsole.evals.picture import data_uri


@pytest.mark.parametrize("name", list(COLOURS))
def test_the_picture_is_64_by_64_pixels_of_its_colour(name: str) -> None:
    """Signature, checksums, size and every pixel, decoded by hand."""
    head, _, coded = data_uri(name).partition(",")
    assert head == "data:image/png;base64"
    raw = base64.b64decode(coded, validate=True)
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]
        assert struct.unpack(">I", raw[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        at += 12 + size
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (64, 64, 8, 2)
    assert zlib.decompress(chunks[b"IDAT"]) == (b"\x00" + bytes(COLOURS[name]) * 64) * 64
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]


def test_no_two_colours_are_near_each_other() -> None:
    """A model that sees tells any two apart."""
    values = list(COLOURS.values())
    apart = [sum(abs(x - y) for x, y in zip(a, b, strict=True)) for i, a in enumerate(values) for b in values[:i]]
    assert len(values) == 6
    assert min(apart) > 150
