"""Draws docs/console-*.svg from scripted fleets: `python -m tests.docs.screenshots`. No network, no engine.

The pictures are also goldens: tests/docs/test_screenshots.py draws them again and compares.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.console.eval_scene import evaluated, page, tell
from tests.console.stage import stage
from tests.console.whole import whole
from tests.docs.reference import ROOT

PICTURES = ROOT / "docs"
_REMOTE_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_TEXT = re.compile(r'<text (class="[^"]*-r\d+") x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)" ([^>]*)>([^<]*)</text>')


@dataclass(frozen=True, slots=True)
class Picture:
    """One screen: the keys that lead there, what it has to show, its size, and the console's options."""

    name: str
    keys: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    size: tuple[int, int] = (120, 32)
    options: dict[str, Any] = field(default_factory=dict)
    evals: bool = False


SCREENS = (
    Picture("overview", (), ("anthropic", "openai"), (110, 30)),
    Picture("health", ("2", "G"), ("spare",)),
    Picture("capabilities", ("3",), ("tool-calling",), (120, 44)),
    Picture("registry", ("4",), ("groq",)),
    Picture("requests", ("5",), ("Why",)),
    Picture("evals", ("6",), (), evals=True),
    Picture("waterfall", ("5", "E", "plus", "enter"), ("retry-after 20s",), (110, 30)),
    Picture("question", ("d",), ("y yes, do it",), (110, 30)),
    Picture("palette", ("ctrl+p",), ("Palette",), (110, 30)),
    Picture("help", ("question_mark",), ("Keys",), (110, 30)),
    Picture("light", ("5",), ("Why",), options={"theme": "routerconsole-light"}),
    Picture("high-contrast", (), ("openai",), (80, 24), options={"theme": "high-contrast"}),
    Picture("ascii", (), ("openai",), (80, 24), options={"ascii": True, "no_color": True}),
)


def path_of(picture: Picture) -> Any:
    """Return where a picture is kept."""
    return PICTURES / f"console-{picture.name}.svg"


def _placed(match: re.Match[str]) -> str:
    """Return a run of text as one element per word group, so that a reader's font cannot shift columns."""
    style, x, y, length, clip, escaped = match.groups()
    text = html.unescape(escaped).replace("\xa0", " ")
    cell = float(length) / len(text)
    return "".join(
        f'<text {style} x="{float(x) + group.start() * cell:g}" {y} textLength="{len(group[0]) * cell:g}" {clip}>'
        f"{html.escape(group[0])}</text>"
        for group in re.finditer(r"\S+(?: \S+)*", text)
    )


async def draw(picture: Picture) -> str:
    """Return a screen as SVG, in the reader's own monospace font."""
    async with stage(whole(), size=picture.size, **picture.options) as on:
        if picture.evals:
            tell(on, page())
        await on.press(*picture.keys)
        await on.looked()
        if picture.evals:
            await evaluated(on, page())
        await on.sees(*picture.shows)
        svg = on.app.export_screenshot(title="routerconsole", simplify=True)
    return _REMOTE_FONT.sub("", _TEXT.sub(_placed, svg)).replace(
        "Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace"
    )


def main() -> None:
    """Write the pictures."""
    os.environ["TZ"] = "UTC"
    os.environ.pop("NO_COLOR", None)
    time.tzset()
    for picture in SCREENS:
        path_of(picture).write_text(asyncio.run(draw(picture)), encoding="utf-8")


if __name__ == "__main__":
    main()
