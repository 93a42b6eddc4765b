"""The request log: found by number, filtered with bound values, kept within its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerconsole.domain.query import parse_filter
from routerconsole.storage.log import LoggedBody, LoggedRequest, RequestLog
from routerconsole.storage.migrations import LOG

from .conftest import NOW, Open


def request(n: int, **changes: object) -> LoggedRequest:
    """One finished request."""
    values: dict[str, object] = {
        "id": f"req-{n}",
        "at": NOW + n,
        "status": "ok",
        "origin": "api",
        "chain": f"ollama✓ {n}ms",
        "row": b'{"n":%d}' % n,
        "detail": b'{"detail":%d}' % n,
        "provider": "ollama",
        "model": "llama3.1:8b",
    }
    return LoggedRequest(**(values | changes))  # type: ignore[arg-type]  # a test builder


async def opened(open_db: Open) -> RequestLog:
    """The log on a fresh file."""
    return RequestLog(await open_db(schema=LOG))


async def test_C1_48_one_row_per_request_found_by_its_id(open_db: Open) -> None:
    """A request written twice is one row; its detail is found by id, an unknown id gives None."""
    log = await opened(open_db)
    await log.append([request(1), request(2)])
    await log.append([request(2, row=b"again"), request(3)])
    assert [row for _, row in await log.page(10)] == [b'{"n":3}', b'{"n":2}', b'{"n":1}']
    assert await log.get("req-2") == b'{"detail":2}'
    assert await log.get("req-9") is None


async def test_pages_follow_each_other_without_gap_or_overlap(open_db: Open) -> None:
    """The last number of a page is the cursor of the next, also while new rows arrive."""
    log = await opened(open_db)
    await log.append([request(n) for n in range(1, 26)])
    seen: list[int] = []
    before = None
    while page := await log.page(10, before_seq=before):
        seen += [seq for seq, _ in page]
        before = seen[-1]
        await log.append([request(1000 + len(seen))])
    assert seen == list(range(25, 0, -1))


FILTERS: list[tuple[dict[str, object], list[int]]] = [
    ({"provider": "groq"}, [2]),
    ({"status": "failed"}, [3]),
    ({"failed_over": True}, [2]),
    ({"wanted": "GROQ✗429"}, [2]),
    ({"wanted": "req-3"}, [3]),
    ({"wanted": "100%"}, [4]),
    ({"wanted": "a_b"}, [4]),
    ({"wanted": "\\"}, [4]),
    ({"wanted": "%"}, [4]),
    ({"wanted": "llama", "status": "ok"}, [1]),
    ({"wanted": "-llama err"}, [3]),
    ({"wanted": "! -llama err"}, [4, 2, 1]),
    ({"wanted": "last:1d"}, [4, 3, 2, 1]),
    ({"wanted": '"\' OR 1=1 --"'}, []),
    ({"provider": "' OR ''='"}, []),
    ({"wanted": "\ud800"}, []),
    ({"wanted": "\x00"}, []),
    ({}, [4, 3, 2, 1]),
]


@pytest.mark.parametrize(("wanted", "found"), FILTERS)
async def test_D16_filters_match_text_as_it_is(open_db: Open, wanted: dict[str, object], found: list[int]) -> None:
    """Filters combine; wildcards, quotes and odd characters in them are only characters."""
    log = await opened(open_db)
    await log.append(
        [
            request(1),
            request(2, provider="groq", model="g", failed_over=True, chain="groq✗429 › groq✓ 5ms"),
            request(3, provider=None, model=None, status="failed", error_code="no_route", chain="no_route"),
            request(4, provider="x", model="100%a_b\\", chain="-"),
        ]
    )
    if "wanted" in wanted:
        wanted = {**wanted, "wanted": parse_filter(str(wanted["wanted"]))}
    assert [seq for seq, _ in await log.page(10, **wanted)] == found  # type: ignore[arg-type]  # from the table


async def test_a_page_goes_on_below_a_row(open_db: Open) -> None:
    """A cursor is a number or a row's id; below a row that is gone there is nothing."""
    log = await opened(open_db)
    await log.append([request(n) for n in range(1, 6)])
    assert [await log.cursor(before) for before in (None, "3", "req-4", "req-99")] == [None, 3, 4, 0]
    assert [seq for seq, _ in await log.page(2, before_seq=await log.cursor("req-4"))] == [3, 2]


async def test_D16_odd_values_are_stored(open_db: Open) -> None:
    """NUL, surrogates and 10 MB in any column are stored; the row comes back byte for byte."""
    log = await opened(open_db)
    odd = "a\x00\ud800'\"😀"
    big = b"z" * 10_000_000
    item = request(1, id=odd, status=odd, origin=odd, chain=odd, provider=odd, model=odd, error_code=odd, row=big)
    await log.append([item])
    assert await log.page(1, provider=odd) == [(1, big)]
    assert await log.get(odd) == b'{"detail":1}'


async def test_D18_rows_are_ordered_by_number_when_the_clock_goes_back(open_db: Open) -> None:
    """A clock set back a day changes no order, and retention by age takes only what is old by its own time."""
    log = await opened(open_db)
    times = [NOW, NOW + 1, NOW - 86_400, NOW - 86_399]
    await log.append([request(n, at=at) for n, at in enumerate(times)])
    assert [seq for seq, _ in await log.page(10)] == [4, 3, 2, 1]
    assert await log.prune(max_age_s=7 * 86_400, max_mb=200, wall=NOW - 86_398) == 0
    assert len(await log.page(10)) == 4
    assert await log.prune(max_age_s=3600, max_mb=200, wall=NOW + 2) == 2
    assert [seq for seq, _ in await log.page(10)] == [2, 1]


async def test_numbers_are_never_given_twice(open_db: Open) -> None:
    """After retention emptied the log, numbers go on where they were: an old cursor stays true."""
    log = await opened(open_db)
    await log.append([request(1), request(2)])
    while await log.prune(max_age_s=0, max_mb=200, wall=NOW + 1e6):
        pass
    await log.append([request(3)])
    assert [seq for seq, _ in await log.page(10)] == [3]


async def test_D13_retention_by_size_keeps_the_newest_in_short_slices(open_db: Open, place: Path) -> None:
    """Pruned to 2 MB from about 20, the file shrinks to the limit and 10 % and the newest rows are the ones kept."""
    log = await opened(open_db)
    for start in range(0, 5000, 500):
        await log.append([request(n, detail=b"d" * 3000, row=b"r" * 600) for n in range(start, start + 500)])
    slices = []
    while gone := await log.prune(max_age_s=1e9, max_mb=2, wall=NOW):
        slices.append(gone)
    assert max(slices) <= 100
    while await log.db.read(lambda c: c.execute("PRAGMA freelist_count").fetchone()) != (0,):
        await log.prune(max_age_s=1e9, max_mb=2, wall=NOW)
    kept = [seq for seq, _ in await log.page(10_000)]
    assert kept == list(range(5000, 5000 - len(kept), -1))
    assert len(kept) > 300
    await log.db.aclose()
    assert (place / "log.db").stat().st_size <= 2_200_000


async def test_C1_50_bodies_are_kept_only_when_given_and_go_with_their_row(open_db: Open, place: Path) -> None:
    """A request without a body leaves none; a capped one says how much was cut; retention takes both."""
    log = await opened(open_db)
    body = LoggedBody(b'{"prompt":"canary"}', b"answer", 17)
    await log.append([request(1), request(2, body=body)])
    assert await log.body("req-1") is None
    assert await log.body("req-2") == body
    while await log.prune(max_age_s=0, max_mb=200, wall=NOW + 1e6):
        pass
    assert await log.body("req-2") is None
    assert await log.db.read(lambda c: c.execute("SELECT count(*) FROM bodies").fetchone()) == (0,)


async def test_D13_retention_of_many_rows_holds_the_writer_for_a_moment_only(open_db: Open, place: Path) -> None:
    """A hundred thousand rows down to a quarter (a million in tests/acceptance): in small slices, each soon done."""
    log = await opened(open_db)
    await log.append([request(1, detail=b"d" * 400, row=b"r" * 100)])
    await log.db.write(
        lambda conn: conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            " INSERT INTO requests (id, at, status, origin, failed_over, chain, row, detail)"
            " SELECT 'req-' || i, at + i, status, origin, 0, chain, row, detail FROM n, requests WHERE seq = 1"
        )
    )
    slices = []
    while gone := await log.prune(max_age_s=1e9, max_mb=20, wall=NOW):
        slices.append(gone)
    assert len(slices) > 500
    assert max(slices) <= 100_000 // 500
    kept = [seq for seq, _ in await log.page(100_000)]
    assert kept == list(range(100_000, 100_000 - len(kept), -1)), "the newest are kept"
    while await log.db.read(lambda c: c.execute("PRAGMA freelist_count").fetchone()) != (0,):
        await log.prune(max_age_s=1e9, max_mb=20, wall=NOW)
    await log.db.aclose()
    assert (place / "log.db").stat().st_size <= 22_000_000
