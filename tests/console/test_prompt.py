"""The line that is typed into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.console.prompt import MAX_TEXT, Prompt


def typed(prompt: Prompt, *keys: str) -> bool:
    """Press keys; single characters are typed. Return whether the prompt is over."""
    return any(prompt.key(key, key if len(key) == 1 else None) for key in keys)


def test_enter_hands_the_text_over_and_escape_does_not() -> None:
    """What was typed is accepted once, or never."""
    heard: list[str] = []
    assert typed(Prompt(":", heard.append), *"abc", "enter")
    assert typed(Prompt(":", heard.append), *"xyz", "escape")
    assert heard == ["abc"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("left", "left", "X"), "ab Xcd"),
        (("home", "delete"), "b cd"),
        (("ctrl+w",), "ab"),
        (("ctrl+u",), ""),
        (("backspace", "backspace", "backspace"), "ab"),
        (("home", "ctrl+e", "!"), "ab cd!"),
    ],
)
def test_editing_keys_do_what_they_do_in_a_shell(keys: tuple[str, ...], text: str) -> None:
    """Moving, deleting a character, a word and everything before the cursor."""
    prompt = Prompt(":", lambda _: None, text="ab cd")
    typed(prompt, *keys)
    assert prompt.text == text


def test_a_text_with_a_problem_is_not_accepted_and_says_why() -> None:
    """Enter waits until the text is right."""
    heard: list[str] = []
    prompt = Prompt("priority ", heard.append, problem=lambda text: "" if text.isdigit() else "a number is wanted")
    assert not typed(prompt, "x", "enter")
    assert "a number is wanted" in prompt.shown()
    assert typed(prompt, "backspace", "7", "enter")
    assert heard == ["7"]


def test_tab_offers_each_completion_in_turn_and_up_recalls() -> None:
    """The first Tab fixes what is offered; history is recalled from the newest."""
    prompt = Prompt(":", lambda _: None, complete=lambda text: [n for n in ("overview", "open") if n.startswith(text)])
    typed(prompt, "o", "tab")
    assert prompt.text == "overview"
    typed(prompt, "tab")
    assert prompt.text == "open"
    again = Prompt(":", lambda _: None, history=["one", "two"])
    typed(again, "up", "up", "down")
    assert again.text == "two"


@given(
    st.lists(st.sampled_from(["left", "right", "home", "end", "backspace", "delete", "ctrl+w", "tab", "up", "a", "é"]))
)
def test_the_cursor_never_leaves_the_text(keys: list[str]) -> None:
    """Whatever is pressed."""
    prompt = Prompt(":", lambda _: None, text="some text", history=["x"])
    typed(prompt, *keys)
    assert 0 <= prompt.at <= len(prompt.text)


def test_a_paste_is_one_line_and_capped() -> None:
    """Line breaks and escapes become spaces."""
    prompt = Prompt(":", lambda _: None)
    prompt.paste("a\nb\x1b[31m" + "x" * 2 * MAX_TEXT)
    assert prompt.text.startswith("a b [31m")
    assert len(prompt.text) == MAX_TEXT
