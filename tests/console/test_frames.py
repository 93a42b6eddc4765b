"""`console.max_fps`: how often a console looks at the engine and draws what it says."""

from __future__ import annotations

import argparse
import asyncio

import pytest
from tests.console.fake_control import FakeControl, provider
from tests.console.stage import stage

from routerconsole.cli.console import console_options
from routerconsole.config.models import ConsoleSettings
from routerconsole.console.options import ConsoleOptions


@pytest.mark.parametrize(
    ("max_fps", "slow", "interval", "gap"),
    [
        (10, False, 0.25, 0.1),
        (60, False, 0.25, 1 / 60),
        (2, False, 0.5, 0.5),
        (10, True, 1.0, 0.1),
        (1, True, 1.0, 1.0),
    ],
)
def test_looks_are_at_most_as_many_as_frames(max_fps: int, slow: bool, interval: float, gap: float) -> None:
    """Four looks a second, one on a slow line, fewer where fewer frames are allowed; a hurry waits for a frame."""
    options = ConsoleOptions(max_fps=max_fps, slow=slow)
    assert (options.interval, options.least_gap) == (interval, gap)


def test_the_setting_reaches_the_console() -> None:
    """`console: {max_fps: 3}` is what the console runs with; without a configuration it is 10."""
    flags = argparse.Namespace(read_only=False, ascii=False, slow=False)
    assert console_options(flags, ConsoleSettings(max_fps=3), title="x", owns_engine=True).max_fps == 3
    assert console_options(flags, None, title="x", owns_engine=True).max_fps == 10


async def test_however_often_a_look_is_wanted_frames_stay_apart() -> None:
    """Asked all the time, the engine is looked at no sooner than the next frame may be drawn."""
    loop = asyncio.get_running_loop()
    async with stage(FakeControl(provider("groq")), max_fps=5) as on:
        await on.looked()
        began, seen = loop.time(), on.control.looks
        await on.until(lambda: on.control.looks >= seen + 3, "three looks")  # `until` asks for one at every turn
        assert loop.time() - began >= 2 * 0.2
