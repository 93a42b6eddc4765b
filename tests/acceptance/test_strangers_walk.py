"""A stranger's walk through README and docs/: every block that is not marked otherwise, in order, on one fresh home."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.live_simulator import simulator
from tests.docs.walk import Walk, blocks, pages

FACTS = {"facts": [{"fact": "a bicycle", "quote": "We chose the blue bicycle."}]}


def test_a_strangers_walk(tmp_path: Path) -> None:
    """The engine that README starts serves to the end; the pipelines get a model that finds a fact."""
    home = tmp_path / "home"
    home.mkdir()
    taken, failed = 0, list[str]()
    with simulator(tmp_path, {"reader": {"text": json.dumps(FACTS)}}) as url, Walk(home) as walk:
        for page in pages():
            if page.name == "pipelines.md":
                reader = {"id": "reader", "capabilities": ["json_schema"]}
                walk.upstream(
                    "reader", {"kind": "openai_compatible", "base_url": f"{url}/v1", "priority": 1, "models": [reader]}
                )
            for block in (block for block in blocks(page) if block.word != "skip"):
                taken += 1
                try:
                    walk.take(block)
                except AssertionError as wrong:
                    failed.append(str(wrong))
        assert failed == []
        assert taken > 20
        walk.leave()
        left = {path.name for path in home.iterdir() if not path.name.startswith(".")}
        assert left == {"routerconsole"}, "nothing is left lying about in a home"
