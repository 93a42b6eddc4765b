"""Streams that are whole, cut, reset, garbled or stalled, many at once: the client must never be told a lie about them.

A stream is truthful when it brings the whole text, a finish reason and [DONE], or a true beginning of the text and then
one `stream_incomplete` event. Anything else is a silent truncation, or duplicated or merged text.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from http import HTTPStatus
from pathlib import Path

import aiohttp
from bench.failing import QUIET, engine_with
from bench.report import Figure, Report
from tests.acceptance.live import Json
from tests.acceptance.live_simulator import simulator

STREAMS, AT_ONCE = 10_000, 64
TEXT = " ".join(f"word{n}" for n in range(60))
BEHAVIOURS: Json = {
    "whole": {"text": TEXT},
    "late-done": {"text": TEXT, "done": False},
    "cut-fin": {"text": TEXT, "cut_after": 7, "cut": "fin"},
    "cut-clean": {"text": TEXT, "cut_after": 23, "cut": "clean"},
    "cut-reset": {"text": TEXT, "cut_after": 11, "cut": "reset"},
    "cut-chunk": {"text": TEXT, "cut_after": 3, "cut": "mid_chunk"},
    "error": {"text": TEXT, "error_after": 5},
    "garbled": {"text": TEXT, "garble": 9},
    "sliced": {"text": TEXT, "slice_bytes": 17, "slice_delay": 0.0},
}
MENDED = {"whole", "late-done", "sliced"}  # these must arrive whole; the others cannot


def judge(model: str, events: list[str]) -> str:
    """`truthful`, or what is wrong with a stream's `data:` payloads."""
    text, finish, done, error = "", "", False, ""
    for event in events:
        if done or error:
            return "went on after its end"
        if event == "[DONE]":
            done = True
            continue
        row = json.loads(event)
        error = row["error"]["code"] if "error" in row else ""
        for choice in row.get("choices", []):
            text += choice["delta"].get("content") or ""
            finish = choice.get("finish_reason") or finish
    if not TEXT.startswith(text):
        return "wrong text"
    if model in MENDED:
        return "truthful" if (text, finish, done) == (TEXT, "stop", True) else "not whole"
    return "truthful" if error == "stream_incomplete" and not finish else "silent truncation"


async def _stream(session: aiohttp.ClientSession, model: str) -> str:
    """The verdict on one stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "go"}], "stream": True}
    try:
        async with session.post("/v1/chat/completions", json=body) as reply:
            if reply.status != HTTPStatus.OK:
                return f"status {reply.status}"
            lines = [line async for line in reply.content]
        return judge(model, [row.removeprefix(b"data:").strip().decode() for row in lines if row.startswith(b"data:")])
    except (aiohttp.ClientError, ValueError) as broken:  # the connection, or an event that is no JSON
        return type(broken).__name__


async def tally(url: str, token: str, count: int) -> Counter[str]:
    """So many streams over all the behaviours; how often each verdict was given."""
    verdicts: Counter[str] = Counter()
    names = list(BEHAVIOURS)
    models = [names[n % len(names)] for n in range(count)]
    headers = {"authorization": f"Bearer {token}"}

    async def worker() -> None:
        while models:
            model = models.pop()
            verdict = await _stream(session, model)
            verdicts[verdict if verdict == "truthful" else f"{model}: {verdict}"] += 1

    async with aiohttp.ClientSession(url, headers=headers) as session, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    return verdicts


def streams(report: Report, home: Path) -> None:
    """Count the streams that were not told truthfully; circuits are kept closed so that every one is really tried."""
    never: Json = {"failure_threshold": 10_000, "min_samples": 100_000}
    with simulator(home, BEHAVIOURS) as url:
        models = [{"id": name} for name in BEHAVIOURS]
        sim = {**QUIET, "name": "sim", "base_url": url, "max_concurrency": 2 * AT_ONCE, "models": models}
        with engine_with(home, "integrity", {"routing": {"circuit": never}, "providers": [sim]}) as engine:
            verdicts = asyncio.run(tally(engine.url, engine.token("client"), STREAMS))
    wrong = {verdict: count for verdict, count in verdicts.items() if verdict != "truthful"}
    note = f"{STREAMS:,} streams, {AT_ONCE} at once; {wrong or 'all truthful'}"
    report.add(Figure("streams told untruthfully", sum(wrong.values()), 0, 0, note=note))
