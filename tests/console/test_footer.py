"""The bottom line: which keys stay in sight when there is no room for all of them."""

from __future__ import annotations

import pytest

from routerconsole.console.actions import Bindings, Context
from routerconsole.console.keymap import FOCUSES
from routerconsole.console.render.bars import bottom_line
from routerconsole.console.render.cells import line_width
from routerconsole.console.state import ConsoleState, LastResult


def footer(contexts: tuple[Context, ...], width: int, result: str = "") -> str:
    """Return the bottom line of a focused pane."""
    bindings, state = Bindings(), ConsoleState()
    if result:
        state.last = LastResult(result, ok=True)
    hints = [*bindings.hints(contexts), ("1-6", "views"), *bindings.hints((Context.GLOBAL,))]
    line = bottom_line(state, hints, width)
    assert line_width(line) == width
    return "".join(text for text, _ in line)


@pytest.mark.parametrize("contexts", FOCUSES, ids="-".join)
@pytest.mark.parametrize("result", ["", "#12 set capability: 40 changed " * 9])
def test_views_and_help_stay_in_sight_at_80_columns(contexts: tuple[Context, ...], result: str) -> None:
    """Wherever the focus is and whatever the last action came to, help last; the pane's first key is there too."""
    shown = footer(contexts, 80, result)
    assert "1-6 views" in shown
    assert " ? help " in shown
    key, word = Bindings().hints(contexts)[0]
    assert shown.startswith(f" {key} {word} ")


def test_what_does_not_fit_goes_from_the_end() -> None:
    """Of the pane's own keys the first ones stay; with next to no room only the help does."""
    registry = (Context.REGISTRY, Context.MARKS, Context.LIST)
    assert " i edit  t tags  a apply  u unstage  d on/off  D remove  1-6 views  ? help " in footer(registry, 80)
    assert footer(registry, 10).strip() == "? help"
    assert "q quit" in footer(registry, 200)


def test_a_result_gives_the_keys_their_room_back() -> None:
    """What an action came to has most of the line for ten seconds, then a third of it."""
    bindings, state = Bindings(), ConsoleState()
    contexts = (Context.REQUESTS, Context.LIST)
    hints = [*bindings.hints(contexts), ("1-6", "views"), *bindings.hints((Context.GLOBAL,))]
    state.last, state.clock = (
        LastResult("#3 drain provider groq: " + "status healthy → draining " * 4, True, 100.0),
        105.0,
    )
    fresh = "".join(text for text, _ in bottom_line(state, hints, 80))
    state.clock = 110.0
    old = "".join(text for text, _ in bottom_line(state, hints, 80))
    assert "/ filter" not in fresh
    assert "/ filter" in old
    assert "#3 drain provider" in old
