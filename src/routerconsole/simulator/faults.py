"""From a reply's status, headers and body to the steps on the wire, with everything that can go wrong there."""

from __future__ import annotations

from collections.abc import Iterator

from routerconsole.simulator.behaviour import Answering, Behaviour, Wire
from routerconsole.simulator.bodies import HTML, JSON, LOGIN_PAGE
from routerconsole.simulator.http import End, Step, Wait, chunk, head

_PIECE = b"x" * 65_536
_DEPTH = 100_000
_NAN_BODY = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":NaN}}'  # noqa: E501 - one body

Headers = list[tuple[str, str]]

# Faults of a reply with a length; a stream asked for under them is answered whole.
WHOLE_ONLY = frozenset(
    {
        Wire.BODY_HANG, Wire.LONG_LENGTH, Wire.SHORT_LENGTH, Wire.DOUBLE_LENGTH, Wire.CONFLICTING_LENGTH,
        Wire.BAD_CHUNK, Wire.TRUNCATED_CHUNKS, Wire.EXTRA_BYTES, Wire.NO_CONTENT, Wire.PARTIAL, Wire.GZIP_LIE,
    }
)  # fmt: skip

HOSTILE: Headers = [
    ("set-cookie", "session=stolen; Path=/"),
    ("location", "http://169.254.169.254/latest/meta-data/"),
    ("content-security-policy", "default-src 'none'"),
    ("x-router-provider", "forged"),
    ("www-authenticate", "Basic realm=upstream"),
    ("x-ratelimit-remaining-requests", "41"),
    ("openai-processing-ms", "12"),
    ("x-request-id", "req_upstream_1"),
]

# Bodies that only look like success, for every dialect.
ODD_BODIES: dict[Answering, tuple[str, bytes]] = {
    Answering.EMPTY: (JSON, b""),
    Answering.OBJECT: (JSON, b"{}"),
    Answering.NULL: (JSON, b"null"),
    Answering.LIST: (JSON, b"[]"),
    Answering.NO_CHOICES: (JSON, b'{"id":"x","object":"chat.completion","choices":[]}'),
    Answering.NULL_CHOICES: (JSON, b'{"id":"x","object":"chat.completion","choices":null}'),
    Answering.HTML: (HTML, LOGIN_PAGE),
    Answering.PROSE: ("text/plain", b"The answer is forty-two."),
    Answering.NAN: (JSON, _NAN_BODY),
}


def odd_body(answering: Answering, normal: bytes) -> tuple[str, bytes]:
    """The content type and body of a 200 that is no answer; `normal` is what a healthy reply would be."""
    known = ODD_BODIES.get(answering)
    if known is not None:
        return known
    if answering is Answering.TRUNCATED:
        return JSON, normal[: len(normal) // 2]
    if answering is Answering.BAD_UTF8:
        return JSON, normal.replace(b'"model":"', b'"model":"\xff\xfe\xc3\x28', 1)
    if answering is Answering.BIG_NUMBER:
        return JSON, normal[:-1] + b',"big":' + b"9" * 1_000_000 + b"}"
    if answering is Answering.DEEP:
        return JSON, b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH
    return JSON, normal


def huge(total: int, headers: Headers) -> Iterator[Step]:
    """Valid JSON of so many bytes, made while it is sent."""
    lead, tail = b'{"choices":[],"padding":"', b'"}'
    yield head(200, [("content-type", JSON), ("content-length", str(len(lead) + total + len(tail))), *headers])
    yield lead
    left = total
    while left > 0:
        yield _PIECE[:left]
        left -= len(_PIECE)
    yield tail


def whole_steps(status: int, content_type: str, body: bytes, headers: Headers, wire: Wire) -> Iterator[Step]:
    """The steps of a whole reply over a wire with this fault."""
    if wire is Wire.NO_CONTENT:
        yield head(204, headers)
        return
    if wire is Wire.PARTIAL:
        status, body = 206, body[: len(body) // 2]
        headers = [*headers, ("content-range", f"bytes 0-{len(body) - 1}/{2 * len(body)}")]
    length = _lengths(wire, len(body))
    chunked = wire in {Wire.TRUNCATED_CHUNKS, Wire.BAD_CHUNK}
    size = [("transfer-encoding", "chunked")] if chunked else [("content-length", str(n)) for n in length]
    if wire is Wire.GZIP_LIE:
        headers = [*headers, ("content-encoding", "gzip")]
    top = head(status, [("content-type", content_type), *size, *headers])
    if wire is Wire.TRUNCATED_CHUNKS:
        yield top + chunk(body[: max(1, len(body) // 2)])
        yield End.CLOSE
    elif wire is Wire.BAD_CHUNK:
        yield top + b"zz\r\n" + body + b"\r\n"
        yield End.CLOSE
    else:
        yield from _unchunked(top, body, wire)


def _unchunked(top: bytes, body: bytes, wire: Wire) -> Iterator[Step]:
    """The steps of a reply with a length, however wrong it is."""
    if wire is Wire.BODY_HANG:
        yield top
        yield Wait(None)
    yield top + body if len(body) < len(_PIECE) else top
    if len(body) >= len(_PIECE):
        yield body
    if wire is Wire.EXTRA_BYTES:
        yield head(200, [("content-type", JSON), ("content-length", "2")]) + b"{}"
    if wire in {Wire.LONG_LENGTH, Wire.SHORT_LENGTH, Wire.CONFLICTING_LENGTH}:
        yield End.CLOSE


def _lengths(wire: Wire, size: int) -> list[int]:
    """The content-length headers."""
    if wire is Wire.LONG_LENGTH:
        return [size + 100]
    if wire is Wire.SHORT_LENGTH:
        return [max(1, size // 2)]
    if wire is Wire.DOUBLE_LENGTH:
        return [size, size]
    if wire is Wire.CONFLICTING_LENGTH:
        return [size, size + 7]
    return [size]


def wire_headers(wire: Wire) -> Headers:
    """The headers a fault adds."""
    if wire is Wire.HUGE_HEADER:
        return [("x-huge", "h" * 65_536)]
    if wire is Wire.LONG_HEADER:
        return [("x-long", "h" * 10_240)]
    if wire is Wire.MANY_HEADERS:
        return [(f"x-many-{i}", "v") for i in range(1_000)]
    if wire is Wire.COOKIES:
        return HOSTILE
    if wire is Wire.INJECTION:
        return [
            ("x-request-id", "a\rset-cookie: b=c"),
            ("x-ratelimit-limit-requests", "1\nx-evil: yes"),
            ("x-esc", "\x1b[2J"),
        ]
    return []


def instead(wire: Wire) -> Iterator[Step] | None:
    """The steps of a fault that leaves nothing of the reply, or None where there is a reply."""
    table: dict[Wire, tuple[Step, ...]] = {
        Wire.HANG: (Wait(None),),
        Wire.RESET: (End.RESET,),
        Wire.CLOSE: (End.CLOSE,),
        Wire.STALE: (End.CLOSE,),
        Wire.STALE_RESET: (End.RESET,),
        Wire.NOT_HTTP: (b"220 mail.example.test ESMTP ready\r\n", End.CLOSE),
        Wire.BAD_STATUS: (b"HTTP/1.1 two hundred OK\r\ncontent-length: 0\r\n\r\n", End.CLOSE),
        Wire.MID_HEADERS: (b"HTTP/1.1 200 OK\r\ncontent-type: applica", End.CLOSE),
        Wire.HEADERS_HANG: (b"HTTP/1.1 200 OK\r\ncontent-type: applica", Wait(None)),
    }
    steps = table.get(wire)
    return None if steps is None else iter(steps)


def before(wire: Wire) -> bytes:
    """What goes out in front of the reply."""
    if wire is Wire.EARLY_HINTS:
        return b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    return b"HTTP/1.1 100 Continue\r\n\r\n" if wire is Wire.CONTINUE else b""


def sliced(steps: Iterator[Step], size: int, delay: float) -> Iterator[Step]:
    """The same bytes in pieces of this size, with a delay in seconds between them."""
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        for start in range(0, len(step), size):
            yield step[start : start + size]
            yield Wait(delay)


def delayed(seconds: float, steps: Iterator[Step]) -> Iterator[Step]:
    """The steps after a wait."""
    yield Wait(seconds)
    yield from steps


def plain(behaviour: Behaviour) -> bool:
    """Whether nothing is wrong with this behaviour's wire."""
    return behaviour.wire is Wire.NONE and behaviour.slice_bytes is None
