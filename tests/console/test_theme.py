"""Themes: shipped ones are readable, wrong ones are refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage

from routerconsole.console.options import ConsoleOptions
from routerconsole.console.render.cells import Role
from routerconsole.console.terminal import wants_ascii
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


def test_every_role_is_drawn_in_a_pair_whose_contrast_is_tested() -> None:
    """No role's colours escape the contrast rule."""
    themes, _ = load_themes(Path("/nonexistent"))
    drawn = {(f"{role}_text", f"{role}_background") for role in ("bar", "cursor", "idle_cursor")}
    drawn |= {(role.value, "background") for role in Role if role not in {Role.BAR, Role.CURSOR, Role.IDLE_CURSOR}}
    assert drawn == set(PAIRS)
    for theme in themes.values():
        for role in Role:
            style = theme.palette().style(role)
            assert style.color is not None
            assert style.bgcolor is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_T16_a_cursor_line_and_a_bad_state_differ_from_text_by_more_than_hue(name: str) -> None:
    """Cursor lines have a ground of their own, bad states weight: readable without telling colours apart."""
    palette = load_themes(Path("/nonexistent"))[0][name].palette()
    grounds = {palette.style(role).bgcolor for role in (Role.TEXT, Role.CURSOR, Role.IDLE_CURSOR)}
    assert len(grounds) == 3
    assert palette.style(Role.BAD).bold
    assert not palette.style(Role.TEXT).bold


def test_all_wrong_colours_of_a_file_are_named_at_once() -> None:
    """One look at the message is enough to mend the file."""
    text = GOOD.replace("ok: '#000000'", "ok: lime").replace("bad: '#000000'", "bad: 12")
    with pytest.raises(ThemeError) as caught:
        parse_theme(text, "t.yaml")
    assert "colours.ok: 'lime' is not a colour" in str(caught.value)
    assert "colours.bad: 12 is not a colour" in str(caught.value)


def test_a_theme_that_unfolds_without_end_is_refused_at_once() -> None:
    """Nested aliases are named by their kind, never written out."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
    )
    text = bomb + "name: *m\ndark: true\ncolours: {}\n"
    with pytest.raises(ThemeError, match="exactly the keys"):
        parse_theme(text, "t.yaml")
    inside = GOOD.replace("name: mine", "name: &n [x, [x]]").replace("ok: '#000000'", "ok: *n")
    with pytest.raises(ThemeError, match="a list"):
        parse_theme(inside, "t.yaml")


def test_what_is_no_file_and_what_cannot_be_read_costs_nothing(tmp_path: Path) -> None:
    """A pipe, a folder and a huge file in the theme folder neither hang nor hide the others."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "huge.yaml").write_text("x" * 1_000_000)
    (tmp_path / "mine.yaml").write_text(GOOD)
    themes, problems = load_themes(tmp_path)
    assert "mine" in themes
    assert [problem.partition(":")[0] for problem in problems] == ["huge.yaml"]


# -- live ----------------------------------------------------------------------------------------------------------


async def test_a_users_theme_is_drawn_anew_when_its_file_changes(tmp_path: Path) -> None:
    """Hot reload: the colour of the file is the colour of the screen, without a restart."""
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD.replace("text: '#000000'", "text: '#aabbcc'"))
    async with stage(fleet(), theme="mine", theme_folder=tmp_path) as on:
        assert _text_colour(on) == "#aabbcc"
        file.write_text(GOOD.replace("text: '#000000'", "text: '#123456' "))
        await on.until(lambda: _text_colour(on) == "#123456", "the new colour")


async def test_a_theme_file_that_breaks_is_told_and_the_screen_stays(tmp_path: Path) -> None:
    """What was drawn goes on; file and key are named in the bottom line; mending it is noticed, too."""
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    async with stage(fleet(), theme="mine", theme_folder=tmp_path, size=(160, 40)) as on:
        file.write_text(GOOD.replace("ok: '#000000'", "ok: nonsense"))
        await on.sees("mine.yaml: colours.ok: 'nonsense' is not a colour")
        assert _text_colour(on) == "#000000"
        file.unlink()
        file.write_text(GOOD.replace("text: '#000000'", "text: '#00ff00'"))
        await on.until(lambda: _text_colour(on) == "#00ff00", "the mended file")


async def test_a_new_theme_file_can_be_chosen_at_once(tmp_path: Path) -> None:
    """T lists the themes there are, those that came while the console runs included."""
    async with stage(fleet(), theme_folder=tmp_path) as on:
        (tmp_path / "mine.yaml").write_text(GOOD.replace("text: '#000000'", "text: '#abcdef'"))
        await on.until(lambda: "mine" in on.app.theme_names(), "the new theme")
        await on.press("T", *"mine")
        await on.sees("▶ Theme")
        await on.press("enter")
        await on.sees("theme mine")
        assert _text_colour(on) == "#abcdef"


@pytest.mark.parametrize("name", SHIPPED)
async def test_every_shipped_theme_can_be_chosen_live(name: str) -> None:
    """The picker switches between true-colour and the terminal's own palette, both ways."""
    async with stage(fleet()) as on:
        for wanted in (name, "routerconsole-dark"):
            await on.press("T", *(key.replace("-", "minus") for key in wanted), "enter")
            await on.sees(f"theme {wanted}")
            assert on.app.theme == wanted


async def test_T16_no_colour_has_no_theme_to_choose() -> None:
    """NO_COLOR says so instead of pretending, and the screen has no colour at all."""
    async with stage(fleet(), no_color=True) as on:
        await on.press("T", "enter")
        await on.sees("NO_COLOR is set")
        styles = [segment.style for strip in on.app.screen._compositor.render_strips() for segment in strip]
        drawn = {colour for style in styles if style is not None for colour in (style.color, style.bgcolor)}
        assert {colour for colour in drawn if colour is not None and not colour.is_default} == set()


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({"TERM": "linux", "LANG": "C.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "C"}, True),
        ({"TERM": "xterm", "LANG": "POSIX"}, True),
        ({"TERM": "xterm", "LC_ALL": "de_DE.ISO-8859-1", "LANG": "C.UTF-8"}, True),
        ({"TERM": "xterm", "LC_CTYPE": "C", "LANG": "en_US.UTF-8"}, True),
        ({"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}, False),
        ({"TERM": "tmux", "LC_ALL": "", "LANG": "C.utf8"}, False),
    ],
)
def test_T16_where_glyphs_would_be_garbled_ascii_is_drawn(
    env: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Linux text console and locales that are not UTF-8 get ASCII, in the order the C library looks them up."""
    for name in ("TERM", "LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert wants_ascii() is wanted


def test_slow_is_one_look_a_second() -> None:
    """`--slow` asks and draws at 1 Hz instead of 4."""
    assert (ConsoleOptions(slow=True).interval, ConsoleOptions().interval) == (1.0, 0.25)


def _text_colour(on: Stage) -> str:
    color = on.app.palette().style(Role.TEXT).color
    assert color is not None
    return color.get_truecolor().hex
