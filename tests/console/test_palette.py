"""Palette, command line, and undo, on a running console."""

from __future__ import annotations

from tests.console.fake_control import FakeControl, provider
from tests.console.stage import stage

from routerconsole.console.picker import Entry, Picker
from routerconsole.console.sending import Proposal
from routerconsole.control.registry_commands import SetCapability, Undo


def fleet() -> FakeControl:
    """Two providers."""
    return FakeControl(provider("groq"), provider("ollama"))


async def test_the_palette_finds_an_action_and_an_object_by_a_part_of_its_name() -> None:
    """ctrl+p, a few letters, Enter: the view opens; the same way a provider is selected."""
    async with stage(fleet()) as on:
        await on.press("ctrl+p")
        await on.sees("Palette")
        await on.press(*"live log", "enter")
        await on.until(lambda: on.desk.view.mode == "requests", "the requests view")
        await on.press("ctrl+p", *"ollama", "enter")
        await on.until(lambda: on.desk.view.mode == "overview", "back in the overview")
        assert on.desk.overview.providers.current_key == "ollama"


async def test_the_palette_narrows_says_so_when_nothing_matches_and_escape_leaves() -> None:
    """A count, an explanation, and a way out."""
    async with stage(fleet()) as on:
        await on.press("ctrl+p", *"zzzz")
        await on.sees("0 of", "no action or object of this name")
        await on.press("escape")
        await on.loses("Palette")


async def test_the_command_line_completes_and_obeys() -> None:
    """`:req<Tab>` is the request view, `overview groq` goes to a provider, nonsense is answered in words."""
    async with stage(fleet()) as on:
        await on.press("colon", *"req", "tab", "enter")
        await on.until(lambda: on.desk.view.mode == "requests", "the requests view")
        await on.press("colon", *"overview ollama", "enter")
        await on.until(lambda: on.desk.overview.providers.current_key == "ollama", "the provider")
        await on.press("colon", *"nonsense", "enter")
        await on.sees("no command 'nonsense' here")


async def test_undo_takes_the_last_registry_change_back_and_only_what_was_made_here() -> None:
    """z after a change sends its audit number; without one it says that there is nothing."""
    async with stage(fleet()) as on:
        await on.press("z")
        await on.sees("nothing made here can be undone")
        change = SetCapability("groq", "groq-large", "tools", "no")
        on.desk.propose(Proposal(change, "groq/groq-large", asks=False))
        await on.until(lambda: on.control.audit_rows, "the change")
        await on.press("z")
        await on.until(lambda: on.control.commands[-1] == Undo(1), "the undo")


async def test_a_read_only_console_has_no_undo() -> None:
    """Keys that change things mean nothing there."""
    async with stage(fleet(), read_only=True) as on:
        assert on.desk.bindings.keys("undo") == ()


def test_a_picker_puts_what_begins_with_the_text_first_and_keeps_its_cursor_in_range() -> None:
    """All words must occur, in text or note."""
    chosen: list[str] = []
    names = ("alpha beta", "beta", "gamma")
    picker = Picker("Pick", [Entry(name, lambda name=name: chosen.append(name)) for name in names])  # type: ignore[misc]  # a default argument binds the name
    for key in ("down", "down", "down", "b", "e"):
        picker.key(key, key if len(key) == 1 else None)
    assert [entry.text for entry in picker.matches] == ["beta", "alpha beta"]
    assert picker.key("enter", None)
    assert chosen == ["beta"]
