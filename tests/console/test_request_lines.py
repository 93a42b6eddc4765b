"""The texts of a log row."""

from __future__ import annotations

import pytest
from tests.console.fake_control import request

from routerconsole.console.render.requests import needs


@pytest.mark.parametrize(
    ("needed", "forced", "stream", "shown"),
    [
        (("tools", "streaming"), ("tools",), True, "tools!,stream"),
        (("streaming", "tools", "system"), (), True, "tools,stream"),
        (("system",), (), False, "text"),
        (("system",), ("system",), False, "system!"),
        (("streaming",), (), False, "stream"),
        (("json_schema", "reasoning"), ("json_schema",), False, "schema!,reason"),
        ((), ("json",), False, "json!"),
        ((), (), False, "text"),
        (("embeddings",), (), False, "embed"),
        (("a\x1b[31m",), (), False, "a\\x1b[31m"),
    ],
)
def test_the_need_column_is_short(needed: tuple[str, ...], forced: tuple[str, ...], stream: bool, shown: str) -> None:
    """Each word once and short, forced ones marked, what every route can do left out, `stream` last."""
    assert needs(request(1, needed=needed, forced=forced, stream=stream)) == shown
