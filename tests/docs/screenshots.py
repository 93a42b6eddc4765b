"""Draws docs/console-overview.svg from a scripted fleet: `python -m tests.docs.screenshots`. No network, no engine."""

from __future__ import annotations

import asyncio
import html
import os
import re
import time

from tests.console.scenes import fleet
from tests.console.stage import stage
from tests.docs.reference import ROOT

PICTURES = ROOT / "docs"
SIZE = (110, 24)
_REMOTE_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_TEXT = re.compile(r'<text (class="[^"]*-r\d+") x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)" ([^>]*)>([^<]*)</text>')


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


async def overview() -> str:
    """Return the first view as SVG, in the reader's own monospace font."""
    async with stage(fleet(), size=SIZE) as on:
        await on.sees("anthropic", "openai")
        svg = on.app.export_screenshot(title="routerconsole", simplify=True)
    return _REMOTE_FONT.sub("", _TEXT.sub(_placed, svg)).replace(
        "Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace"
    )


def main() -> None:
    """Write the picture."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    (PICTURES / "console-overview.svg").write_text(asyncio.run(overview()), encoding="utf-8")


if __name__ == "__main__":
    main()
