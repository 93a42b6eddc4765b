"""Themes: YAML files validated colour by colour, turned into one style per role; refuses a theme it cannot draw.

A colour is `#rrggbb` or an ANSI name (`ansi_default`, `ansi_red`, `ansi_bright_red`, ...).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from routerconsole.console.render.cells import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable

DEFAULT: Final = "routerconsole-dark"
COLOURLESS: Final = "ansi-dark"
"""The theme `NO_COLOR` selects, drawn without its colours."""
MIN_CONTRAST: Final = 4.5
"""WCAG 2 AA for normal text."""
MAX_FILE: Final = 16 * 1024
COLOURS: Final = (
    "background", "text", "dim", "ok", "warn", "bad", "info", "title",
    "bar_text", "bar_background", "cursor_text", "cursor_background", "idle_cursor_text", "idle_cursor_background",
)  # fmt: skip
PAIRS: Final = (
    *((name, "background") for name in ("text", "dim", "ok", "warn", "bad", "info", "title")),
    ("bar_text", "bar_background"),
    ("cursor_text", "cursor_background"),
    ("idle_cursor_text", "idle_cursor_background"),
)
"""What is drawn on what, and therefore must stand out from it."""

_ANSI_WORDS: Final = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
# xterm's default palette: a terminal may have another, but a theme that fails here fails on most of them.
_ANSI_RGB: Final = {
    **dict(
        zip(
            _ANSI_WORDS,
            ("#000000", "#cd0000", "#00cd00", "#cdcd00", "#0000ee", "#cd00cd", "#00cdcd", "#e5e5e5"),
            strict=True,
        )
    ),
    **dict(
        zip(
            (f"bright_{word}" for word in _ANSI_WORDS),
            ("#7f7f7f", "#ff0000", "#00ff00", "#ffff00", "#5c5cff", "#ff00ff", "#00ffff", "#ffffff"),
            strict=True,
        )
    ),
}  # fmt: skip
_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}")


class ThemeError(ValueError):
    """A theme file cannot be used; the message names file, key and what would be right."""


@dataclass(frozen=True, slots=True)
class ConsoleTheme:
    """A validated theme: every colour of `COLOURS` is present and drawable."""

    name: str
    dark: bool
    colours: Mapping[str, str]

    @property
    def ansi(self) -> bool:
        """Whether the terminal's own palette is used."""
        return self.colours["background"].startswith("ansi_")

    def contrast(self, front: str, back: str) -> float:
        """Return the WCAG contrast ratio (1–21) of two of its colours."""
        first, second = (_luminance(self._rgb(name)) for name in (front, back))
        return (max(first, second) + 0.05) / (min(first, second) + 0.05)

    def _rgb(self, name: str) -> str:
        colour = self.colours[name]
        if colour == "ansi_default":
            light_side = name.endswith("background") != self.dark
            return "#ffffff" if light_side else "#000000"
        return _ANSI_RGB[colour.removeprefix("ansi_")] if colour.startswith("ansi_") else colour

    def textual(self) -> Theme:
        """Return it as a Textual theme, for the few stock parts (screen background, tooltips)."""
        colours = self.colours
        return Theme(
            name=self.name,
            dark=self.dark,
            ansi=self.ansi,
            primary=colours["title"],
            secondary=colours["info"],
            accent=colours["title"],
            warning=colours["warn"],
            error=colours["bad"],
            success=colours["ok"],
            foreground=colours["text"],
            background=colours["background"],
            surface=colours["background"],
            panel=colours["background"],
            boost=colours["background"],
            variables=BUILTIN_THEMES["ansi-dark" if self.dark else "ansi-light"].variables if self.ansi else {},
        )

    def palette(self, *, colour: bool = True) -> Palette:
        """Return one style per role; without colour only weight, underline and reverse are left to tell them apart."""
        return Palette({role: _style(self, role, colour=colour) for role in Role})


class Palette:
    """Styles by role, and the style a run takes on the cursor line."""

    __slots__ = ("_styles",)

    def __init__(self, styles: Mapping[Role, Style]) -> None:
        self._styles = styles

    def style(self, role: Role) -> Style:
        """Return the style of a role."""
        return self._styles[role]


_WEIGHT: Final[Mapping[Role, Style]] = {
    Role.TITLE: Style(bold=True),
    Role.BAD: Style(bold=True),
    Role.CURSOR: Style(bold=True),
}
_COLOURLESS: Final[Mapping[Role, Style]] = {
    Role.TITLE: Style(bold=True),
    Role.BAD: Style(bold=True),
    Role.WARN: Style(underline=True),
    Role.BAR: Style(reverse=True),
    Role.CURSOR: Style(reverse=True, bold=True),
    Role.IDLE_CURSOR: Style(underline=True),
}


def _style(theme: ConsoleTheme, role: Role, *, colour: bool) -> Style:
    if not colour:
        return _COLOURLESS.get(role, Style())
    paired = {Role.BAR: "bar", Role.CURSOR: "cursor", Role.IDLE_CURSOR: "idle_cursor"}
    front = f"{paired[role]}_text" if role in paired else role.value
    back = f"{paired[role]}_background" if role in paired else "background"
    drawn = Style(color=_rich(theme.colours[front]), bgcolor=_rich(theme.colours[back]))
    return drawn + _WEIGHT.get(role, Style())


def _rich(colour: str) -> str:
    return colour.removeprefix("ansi_") if colour.startswith("ansi_") else colour


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _colour_problem(value: object) -> str:
    """Return what is wrong with a colour, empty where nothing is."""
    if isinstance(value, str):
        if _HEX.fullmatch(value) or value == "ansi_default":
            return ""
        if value.startswith("ansi_") and value.removeprefix("ansi_") in _ANSI_RGB:
            return ""
    return f"{_shown(value)} is not a colour; write '#rrggbb' or an ansi_* name"


def _shown(value: object) -> str:
    """Return a wrong value as it is written, a nested one (which may unfold without end) by its kind only."""
    return repr(value)[:60] if value is None or isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def parse_theme(text: str, where: str) -> ConsoleTheme:
    """Return the theme a YAML text describes; raise ThemeError naming the first thing wrong with it."""
    if len(text) > MAX_FILE:
        raise ThemeError(f"{where}: larger than {MAX_FILE} bytes")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ThemeError(f"{where}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict) or set(document) != {"name", "dark", "colours"}:
        raise ThemeError(f"{where}: a theme has exactly the keys name, dark and colours")
    name, dark, colours = document["name"], document["dark"], document["colours"]
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ThemeError(f"{where}: name: {_shown(name)} must be lower case letters, digits, '.', '_' or '-'")
    if not isinstance(dark, bool):
        raise ThemeError(f"{where}: dark: {_shown(dark)} must be true or false")
    if not isinstance(colours, dict):
        raise ThemeError(f"{where}: colours: must map each of {', '.join(COLOURS)}")
    if missing := [key for key in COLOURS if key not in colours]:
        raise ThemeError(f"{where}: colours: {', '.join(missing)} missing")
    if unknown := [str(key) for key in colours if key not in COLOURS]:
        raise ThemeError(f"{where}: colours: {', '.join(unknown)[:200]} unknown; known are {', '.join(COLOURS)}")
    if wrong := [f"colours.{key}: {text}" for key in COLOURS if (text := _colour_problem(colours[key]))]:
        raise ThemeError(f"{where}: {'; '.join(wrong)}")
    checked: dict[str, str] = {key: colours[key] for key in COLOURS}
    if len({value.startswith("ansi_") for value in checked.values()}) > 1:
        raise ThemeError(f"{where}: colours: either all ansi_* names or all '#rrggbb', not a mixture")
    return ConsoleTheme(name, dark, checked)


def _shipped() -> Traversable | Path:
    """Return the folder of shipped themes: inside the wheel, or at the top of a source checkout."""
    packaged = resources.files("routerconsole").joinpath("_data", "themes")
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "themes"


def user_folder() -> Path:
    """Return where a user's own themes live."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "routerconsole" / "themes"


def _entries(place: Traversable | Path) -> Sequence[Traversable | Path]:
    """Return a folder's entries by name, none where it is not there or cannot be read."""
    try:
        return sorted(place.iterdir(), key=lambda item: item.name)
    except OSError:
        return ()


def load_themes(extra: Path | None = None) -> tuple[dict[str, ConsoleTheme], list[str]]:
    """Return all themes by name and what was wrong with the ones left out; a user's theme replaces a shipped one."""
    found: dict[str, ConsoleTheme] = {}
    problems: list[str] = []
    folder = extra if extra is not None else user_folder()
    for place in (_shipped(), folder):
        for entry in _entries(place):
            if not entry.name.endswith(".yaml") or not entry.is_file():
                continue
            try:
                with entry.open(encoding="utf-8") as file:
                    theme = parse_theme(file.read(MAX_FILE + 1), entry.name)
            except ThemeError as error:
                problems.append(str(error))
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{entry.name}: {error}")
            else:
                found[theme.name] = theme
    return found, problems
