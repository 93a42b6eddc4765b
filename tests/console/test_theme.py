"""Themes: shipped ones are readable, wrong ones are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerconsole.console.render.cells import Role
from routerconsole.console.theme import COLOURS, MIN_CONTRAST, PAIRS, ThemeError, load_themes, parse_theme

SHIPPED = ("routerconsole-dark", "routerconsole-light", "high-contrast", "ansi-dark", "ansi-light")
GOOD = "name: mine\ndark: true\ncolours: {" + ", ".join(f"{name}: '#000000'" for name in COLOURS) + "}\n"


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_shipped_themes_have_enough_contrast(name: str, front: str, back: str) -> None:
    """Every text stands out from what it is drawn on by at least 4.5:1."""
    themes, problems = load_themes(Path("/nonexistent"))
    assert problems == []
    assert themes[name].contrast(front, back) >= MIN_CONTRAST


def test_high_contrast_is_higher() -> None:
    """The high-contrast theme keeps 7:1 everywhere."""
    theme = load_themes(Path("/nonexistent"))[0]["high-contrast"]
    assert min(theme.contrast(front, back) for front, back in PAIRS) >= 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("#000000", "#zzzzzz", 1), "colours.background: '#zzzzzz' is not a colour"),
        (GOOD.replace("'#000000'", "red", 1), "'red' is not a colour"),
        (GOOD.replace("'#000000'", "ansi_puce", 1), "'ansi_puce' is not a colour"),
        (GOOD.replace("'#000000'", "ansi_red", 1), "not a mixture"),
        (GOOD.replace("text: '#000000', ", "", 1), "text missing"),
        (GOOD.replace("{", "{glow: '#000000', ", 1), "glow unknown"),
        (GOOD.replace("dark: true", "dark: maybe"), "must be true or false"),
        (GOOD.replace("mine", "Mine!"), "name: 'Mine!'"),
        ("[1, 2", "not YAML"),
        ("- 1", "exactly the keys"),
        ("name: x" + " " * 20_000, "larger than"),
    ],
)
def test_wrong_themes_are_refused_colour_by_colour(text: str, says: str) -> None:
    """A theme that cannot be drawn names the file, the key and what would be right."""
    with pytest.raises(ThemeError, match=r"t\.yaml") as caught:
        parse_theme(text, "t.yaml")
    assert says in str(caught.value)


def test_user_themes_join_and_bad_ones_are_reported(tmp_path: Path) -> None:
    """A user's theme is found by name; a broken file beside it is reported and costs nothing."""
    (tmp_path / "mine.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    themes, problems = load_themes(tmp_path)
    assert "mine" in themes
    assert len(problems) == 1
    assert set(SHIPPED) <= set(themes)


@pytest.mark.parametrize("name", SHIPPED)
def test_T16_without_colour_states_still_differ(name: str) -> None:
    """NO_COLOR leaves weight, underline and reverse, and not one colour."""
    palette = load_themes(Path("/nonexistent"))[0][name].palette(colour=False)
    styles = [palette.style(role) for role in Role]
    assert all(style.color is None and style.bgcolor is None for style in styles)
    assert palette.style(Role.CURSOR).reverse
    assert palette.style(Role.BAD) != palette.style(Role.TEXT)
