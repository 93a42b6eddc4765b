"""What a view switch costs: no style sheet parsed, no styles applied again, no boxes drawn behind what fills them."""

from __future__ import annotations

import pytest
from tests.console.scenes import fleet
from tests.console.stage import stage
from textual.color import Color
from textual.containers import Horizontal, Vertical


async def test_the_style_sheet_is_parsed_for_another_theme_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """First visits and later ones do without; a new theme is parsed, and every view has its background."""
    async with stage(fleet()) as on:
        parsed: list[str] = []
        parse = on.app.stylesheet.reparse

        def counted() -> None:
            parsed.append(on.desk.view.mode)
            parse()

        monkeypatch.setattr(on.app.stylesheet, "reparse", counted)
        await on.press(*"234561")
        assert parsed == []
        assert on.desk.use_theme("routerconsole-light") == ""
        await on.until(lambda: parsed, "the sheet parsed anew")
        wanted = Color.parse(on.app.current_theme.background)
        for key in "123456":
            await on.press(key)
            await on.until(lambda: on.app.screen.styles.background == wanted, f"the new background in view {key}")
        assert set(parsed) == {"overview"}


async def test_boxes_are_not_drawn() -> None:
    """They are filled by what they hold; every cell of the screen is drawn all the same."""
    async with stage(fleet(), size=(200, 60)) as on:
        for key in "123456":
            await on.press(key)
            compositor = on.app.screen._compositor
            drawn = len(list(compositor._get_renders()))
            boxes = [each for each in compositor.visible_widgets if isinstance(each, (Horizontal, Vertical))]
            assert boxes
            assert drawn == len(compositor.visible_widgets) - len(boxes)
            assert {strip.cell_length for strip in compositor.render_strips()} == {200}
