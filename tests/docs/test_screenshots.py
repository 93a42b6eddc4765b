"""The pictures in docs/ are what the console draws now; `make screenshots` draws them again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.console.conftest import utc
from tests.docs.screenshots import PICTURES, SCREENS, Picture, draw, path_of

__all__ = ["utc"]


@pytest.mark.parametrize("picture", SCREENS, ids=lambda picture: picture.name)
async def test_the_picture_is_what_the_console_draws(picture: Picture) -> None:
    """Glyph for glyph and colour for colour; look at the new picture before you keep it."""
    assert await draw(picture) == path_of(picture).read_text(encoding="utf-8")


def pictures() -> Iterator[str]:
    """Return the names of the stored pictures."""
    yield from (path.name for path in PICTURES.glob("console-*.svg"))


def test_there_is_a_picture_of_every_view_and_none_of_nothing() -> None:
    """Each view has one, and no file is left over from a picture that is no longer drawn."""
    assert set(pictures()) == {path_of(picture).name for picture in SCREENS}
    assert {"overview", "health", "capabilities", "registry", "requests", "evals"} <= {each.name for each in SCREENS}


@pytest.mark.parametrize("name", sorted(pictures()))
def test_a_picture_loads_nothing_from_elsewhere(name: str) -> None:
    """It is one file: no remote font, image or script."""
    picture = (PICTURES / name).read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import|<script|<image|href=", picture)
