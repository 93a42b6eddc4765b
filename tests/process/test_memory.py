"""What hostile streams and slow readers cost in resident memory, as the kernel counts it, peaks included."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from tests.process.measure import growth, processor_s
from tests.process.raw_upstream import RawUpstream, Script, chunk, event, raw_upstream
from tests.process.router import Bench, Router, until
from tests.process.test_crowds import asked
from tests.support.kernel import kernel_holds

BEFORE = (event(chunk({"role": "assistant", "content": ""})), event(chunk({"content": "first "})))
AFTER = (event(chunk({"content": "last"})), event(chunk({}, "stop")), event(b"[DONE]"))
FLOOD = b"x" * 65_536


def padded(size: int) -> bytes:
    """A content chunk of about so many bytes."""
    return chunk({"content": "x" * size})


def in_lines(size: int, line: int) -> Iterable[bytes]:
    """One event of so many bytes in data lines of JSON white space, each under the limit of a line."""
    return [b"data: " + b" " * line + b"\n" for _ in range(size // line)]


def endless() -> Iterator[bytes]:
    """One gigabyte without a newline."""
    yield b"data: "
    for _ in range((1 << 30) // len(FLOOD)):
        yield FLOOD


STREAMS: dict[str, Script] = {
    "plain": lambda: [*BEFORE, *AFTER],
    "line-900k": lambda: [*BEFORE, event(padded(900_000)), *AFTER],
    "line-2m": lambda: [*BEFORE, event(padded(2_000_000)), *AFTER],
    "event-5m": lambda: [*BEFORE, *in_lines(5_000_000, 500_000), event(chunk({"content": "big"})), *AFTER],
    "endless": lambda: [*BEFORE, *endless()],
    "endless-at-once": endless,
}


def config(upstream: RawUpstream, *names: str) -> str:
    """Every stream is a model of one provider."""
    models = ", ".join(f"{{id: {name}}}" for name in names)
    return (
        f'version: 1\nproviders:\n  - {{name: a, kind: openai_compatible, base_url: "{upstream.url}", '
        f"max_concurrency: 64, health: {{enabled: false}}, models: [{models}]}}\n"
    )


def streamed(router: Router, model: str) -> tuple[int, bytes]:
    """One stream read to its end."""
    link, reply = router.stream(model=model)
    with closing(link):
        return reply.status, reply.read()


@pytest.mark.parametrize("model", [name for name in STREAMS if name != "plain"])
def test_S18_long_lines_and_events_cost_eight_megabytes_at_most(bench: Bench, model: str) -> None:
    """900 KB pass; 2 MB in a line, 5 MB in an event and 1 GB without a newline are cut; the peak rises ≤ 8 MB."""
    with raw_upstream(STREAMS) as upstream:
        router = bench.start(config(upstream, *STREAMS)).ready()
        assert streamed(router, "plain")[1].endswith(b"data: [DONE]\n\n")
        with growth(router) as grown:
            status, body = streamed(router, model)
        print(model, status, f"{grown.mb:+.1f} MB", len(body))
        assert grown.mb <= 8
        if model == "line-900k":
            assert (status, body.endswith(b"data: [DONE]\n\n"), len(body) > 900_000) == (200, True, True)
        elif model == "endless-at-once":
            assert status == 502
        else:
            assert status == 200
            assert b"first " in body
            assert b"stream_incomplete" in body
            assert b"[DONE]" not in body
        assert upstream.sent[model] < 20_000_000 + kernel_holds()
        assert streamed(router, "plain")[0] == 200


FAST = 1_000_000
"""Events of the fast upstream, over 160 MB: more than the buffers on the way may hold of one connection."""


def flood() -> Iterator[bytes]:
    """More than any buffer on the way holds, as fast as it is taken."""
    yield from BEFORE
    word = event(chunk({"content": "word "})) * 100
    for _ in range(FAST // 100):
        yield word
    yield from AFTER


def trickled(bench: Bench, *, readers: int, seconds: int) -> None:
    """S35: one byte a second each: 256 KB a reader at most, the upstream waits, others cost what they did."""
    with raw_upstream({"flood": flood, "plain": STREAMS["plain"]}) as upstream, ExitStack() as held:
        router = bench.start(config(upstream, "flood", "plain")).ready()
        before = quickest(router)
        with growth(router) as grown:
            socks = [held.enter_context(slow_reader(router)) for _ in range(readers)]
            until(lambda: router.status()["in_flight"] == readers, "all are being served")
            sent = -1
            while sent != upstream.sent["flood"]:  # everything on the way fills, kernels' buffers included
                sent = upstream.sent["flood"]
                time.sleep(0.3)
            for _ in range(seconds):
                time.sleep(1.0)  # the pace that is tested
                for sock in socks:
                    assert sock.recv(1), "a slow reader is still a reader"
            during = quickest(router)
        print(f"{readers} readers {grown.mb:+.1f} MB, upstream {upstream.sent['flood']}, {during:.4f} s, {before:.4f}")
        assert router.status()["in_flight"] == readers
        assert grown.mb <= 3 + readers * 0.6, "what waits on both sides of us, and what a request itself costs"
        most = 2 * kernel_holds() + 600_000
        assert upstream.sent["flood"] <= readers * most, "it waits, it is not read into us"
        assert most < sum(map(len, flood())), "a flood is longer than what may be on the way"
        assert during <= 2 * before + 0.005
        for sock in socks:
            sock.close()
        until(lambda: router.status()["in_flight"] == 0, "they left")


@contextmanager
def slow_reader(router: Router) -> Iterator[socket.socket]:
    """A client that has asked for the flood and holds no more than a few KB of it."""
    with closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", router.port))
        sock.sendall(asked(router, stream=True, model="flood"))
        yield sock


def quickest(router: Router) -> float:
    """Seconds of the router's processor that another client's stream takes: of five times twenty the least."""
    took = []
    for _ in range(5):
        began = processor_s(router)
        for _ in range(20):
            status, body = streamed(router, "plain")
            assert (status, body[-14:]) == (200, b"data: [DONE]\n\n")
        took.append((processor_s(router) - began) / 20)
    return min(took)


def test_S35_twenty_slow_readers_take_no_memory_and_slow_nobody(bench: Bench) -> None:
    """A second at one byte a second (half a minute in tests/acceptance)."""
    trickled(bench, readers=20, seconds=1)
