"""Whatever text the engine hands over, in whichever field: no painter puts it into a line as it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import pytest
from tests.console.fake_control import FakeControl
from tests.console.stage import stage
from tests.console.whole import whole

from routerconsole.console.render.cells import Line
from routerconsole.console.widgets.canvas import Canvas
from routerconsole.domain.visible import visible

BAD = "\x1b]52;c;aGk=\x07\x9b31m[red]x[/]\u202e\n\r\tz"
OURS = frozenset({"status", "circuit_state", "admin", "at", "started_at", "value", "source", "cursor", "next", "id"})
"""Fields whose words or numbers decide what is drawn; everything else gets the hostile end."""
READS = (
    "status", "metrics", "requests", "request", "failures", "audit", "registry", "registry_model", "pools",
    "capabilities", "profiles", "assignments", "explain", "impact", "eval_page", "do",
)  # fmt: skip
KEYS = (
    "tab", "enter", "escape", "x", "escape", "j", "enter", "escape", "M", "escape", "at", "escape", "ctrl+p", "escape",
    "colon", "escape", "d", "escape", "C", "escape", "i", "escape", "escape", "p", "escape", "R", "escape", "w",
    "escape", "b", "escape", "L", "escape", "plus", "underscore",
)  # fmt: skip
"""Opens whatever a view can open, and closes it again."""


def hostile(value: Any, name: str = "") -> Any:
    """Return a read model with the hostile end on every text of it."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return value if name in OURS or not value else value + BAD
    if isinstance(value, (tuple, list, frozenset)):
        return type(value)(hostile(each, name) for each in value)
    if isinstance(value, dict):
        return {key: hostile(each, str(key)) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: hostile(getattr(value, each.name), each.name) for each in fields(value)})
    return value


def poisoned(control: FakeControl) -> FakeControl:
    """Let every read of a scripted engine answer with hostile text."""

    def over(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(*given: Any, **named: Any) -> Any:
            plain = [each.replace(BAD, "") if isinstance(each, str) else each for each in given]
            return hostile(await read(*plain, **named))

        return answer

    for name in READS:
        setattr(control, name, over(getattr(control, name)))
    return control


@pytest.mark.parametrize("view", "123456")
async def test_T04_T05_no_field_of_any_view_reaches_a_line_raw(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines that are drawn are what `visible` makes of them already, and the hostile text is among them."""
    raw: set[str] = set()
    shown: list[str] = []
    paint = Canvas._ask

    def ask(self: Canvas, width: int, height: int) -> list[Line]:
        lines = paint(self, width, height)
        texts = [text for line in lines for text, _ in line]
        raw.update(text for text in texts if visible(text, 10_000) != text)
        shown.extend(text for text in texts if "\\x1b" in text)
        assert self.failure is None
        return lines

    monkeypatch.setattr(Canvas, "_ask", ask)
    async with stage(poisoned(whole()), size=(200, 60)) as on:
        await on.until(lambda: on.desk.state.loaded, "the log")
        on.desk.key(view, view)
        await on.until(lambda: shown, "hostile text, made visible")
        for key in KEYS:
            on.desk.key(key, key if len(key) == 1 else None)
            await on.pilot.pause()
        assert raw == set()
