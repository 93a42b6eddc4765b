"""Signs of life during a call, to clients that ask for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from routerconsole.mcp import server


class Session:
    """Takes progress like the SDK's session, and ends the waiting after three."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str | None]] = []

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Keep it."""
        self.told.append((progress, message))
        if len(self.told) == 3:
            raise asyncio.CancelledError


async def test_a_waiting_call_reports_progress_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol's rule: each report is above the one before."""
    monkeypatch.setattr(server, "BEAT_S", 0.001)
    session = Session()
    with suppress(asyncio.CancelledError):
        await server._beat(session)  # type: ignore[arg-type]  # as much of a session as is used
    assert [progress for progress, _ in session.told] == pytest.approx([0.001, 0.002, 0.003])
    assert all(message for _, message in session.told)
