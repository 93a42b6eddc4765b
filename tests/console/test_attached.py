"""The console attached to an engine that goes away and comes back elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.console.stage import stage
from tests.support.node import TOKENS, chain, running_node, simulated

from routerconsole.console.state import Link
from routerconsole.control.discovery import find_engine
from routerconsole.control.remote import RemoteControl
from routerconsole.simulator import Behaviour


async def test_an_attached_console_follows_the_engine_to_another_port(tmp_path: Path) -> None:
    """Gone, it says disconnected and that what is shown is old; started anew elsewhere, it is found by its record."""
    async with simulated(m1=Behaviour()) as sim:
        config = chain(sim, "m1")
        find = partial(find_engine, tmp_path / "state", TOKENS)
        async with running_node(config, tmp_path) as first:
            control = RemoteControl(first.url, first.secret, find=find)
            async with stage(control, size=(200, 40)) as on:
                await on.sees("● 1/1 up", "LIVE", first.url)
                await first.node.stop()
                await on.sees("disconnected", "What is shown is old", "routerconsole serve")
                async with running_node(config, tmp_path) as second:
                    assert second.url != first.url
                    await on.sees("LIVE", second.url)
                    assert on.desk.state.link is Link.LIVE
                    assert on.desk.state.restarts == 1
                    await on.loses("disconnected")
        await control.aclose()
