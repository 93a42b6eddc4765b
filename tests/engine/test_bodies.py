"""Bodies kept in memory."""

from __future__ import annotations

from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.engine.bodies import MAX_BODIES, MAX_BYTES, BodyStore


def body(number: int, size: int = 100) -> ChatRequest:
    return ChatRequest(f"r{number}", Endpoint.CHAT, {"messages": []}, size, None, False)


def kept(store: BodyStore, count: int) -> list[int]:
    return [n for n in range(count) if store.get(f"r{n}") is not None]


def test_C1_50_the_last_200_are_kept() -> None:
    """Count is bounded; the oldest go first."""
    store = BodyStore(enabled=True)
    for n in range(250):
        store.keep(body(n))
    assert kept(store, 250) == list(range(50, 250))
    assert MAX_BODIES == 200


def test_C1_50_never_more_than_32_megabytes() -> None:
    """Bytes are bounded too, and one body bigger than the store evicts nothing."""
    store = BodyStore(enabled=True)
    for n in range(10):
        store.keep(body(n, 5_000_000))
    assert kept(store, 10) == list(range(4, 10))
    store.keep(body(99, MAX_BYTES + 1))
    assert store.get("r99") is None
    assert kept(store, 10) == list(range(4, 10))


def test_bodies_off_keeps_none() -> None:
    """`log.bodies: off`."""
    store = BodyStore(enabled=False)
    store.keep(body(1))
    assert store.get("r1") is None


def test_replies_are_kept_only_where_they_are_logged() -> None:
    """`memory` keeps no answers; `summary` and `full` keep one byte more than the cap, to see that it was cut."""
    store = BodyStore(enabled=True)
    store.keep(body(1))
    store.keep_reply("r1", b"answer")
    assert store.reply("r1") == b""
    store = BodyStore(enabled=True, reply_bytes=4)
    store.keep(body(1))
    store.keep_reply("r1", b"abc")
    store.keep_reply("r1", b"defgh")
    store.keep_reply("unknown", b"x")
    assert store.reply("r1") == b"abcde"


def test_replies_count_towards_the_32_megabytes() -> None:
    """What is held of answers is memory as well."""
    store = BodyStore(enabled=True, reply_bytes=1_000_000)
    for n in range(50):
        store.keep(body(n))
        store.keep_reply(f"r{n}", b"x" * 1_000_000)
    assert sum(len(store.reply(f"r{n}")) for n in range(50)) <= MAX_BYTES
    assert store.reply("r49")


def test_the_same_id_twice_counts_once() -> None:
    """Keeping a request again replaces it."""
    store = BodyStore(enabled=True)
    for _ in range(10):
        store.keep(body(1, 10_000_000))
    store.keep(body(2, 10_000_000))
    assert kept(store, 3) == [1, 2]
