"""What was changed together is taken back together."""

from __future__ import annotations

from tests.console.scenes import fleet
from tests.console.stage import stage

from routerconsole.console.sending import Proposal
from routerconsole.control.registry_commands import SetCapability, Undo


def yes(model: str) -> Proposal:
    """Return a change of one model."""
    return Proposal(SetCapability("groq", model, "tools", "yes"), model)


async def test_z_takes_all_of_one_change_of_many_back_the_last_first() -> None:
    """Several models changed at once are one act: one `z` undoes them, the next `z` what came before."""
    async with stage(fleet()) as on:
        on.desk.send_all([yes("first")])
        await on.sees("#1")
        on.desk.send_all([yes("a"), yes("b"), yes("c")])
        await on.sees("3 changed (z undoes it)")
        await on.press("z")
        await on.sees("undo: 3 changed")
        assert on.control.commands[-3:] == [Undo(4), Undo(3), Undo(2)]
        await on.press("z")
        await on.until(lambda: on.control.commands[-1] == Undo(1), "the one before")
        await on.until(lambda: not on.desk._sender._applied, "nothing left")
        await on.press("z")
        await on.sees("nothing made here can be undone")
