"""A stranger's walk through README and docs/: every block that is not marked otherwise, in order, on one fresh home.

A page is read after those before it: README's configuration and the engine it starts serve to the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.acceptance.live_simulator import simulator
from tests.docs.walk import Walk, blocks, pages

FACTS = {"facts": [{"fact": "a bicycle", "quote": "We chose the blue bicycle."}]}
READ = [page for page in pages() if [block for block in blocks(page) if block.word != "skip"]]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """One home and one clone for all pages."""
    with Walk(tmp_path_factory.mktemp("home")) as begun:
        yield begun


@pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
def test_a_page_is_as_it_says(walk: Walk, page: Path, tmp_path: Path) -> None:
    """Each block does what the page says; for the pipelines there is a model that finds a fact."""
    with simulator(tmp_path, {"reader": {"text": json.dumps(FACTS)}}) as url:
        if page.name == "pipelines.md":
            model = {"id": "reader", "capabilities": ["json_schema"]}
            walk.upstream(
                "reader", {"kind": "openai_compatible", "base_url": f"{url}/v1", "priority": 1, "models": [model]}
            )
        failed = []
        for block in (block for block in blocks(page) if block.word != "skip"):
            try:
                walk.take(block)
            except AssertionError as wrong:
                failed.append(str(wrong))
        assert failed == []


async def test_the_printed_registration_starts_the_tools(walk: Walk) -> None:
    """An MCP client given what `--print-config` prints has the page's tool, and its answer with the page's note."""
    printed = walk.shell("routerconsole --config config.yaml mcp --print-config").stdout
    row = json.loads(printed)["mcpServers"]["routerconsole"]
    server = StdioServerParameters(command=row["command"], args=row["args"], env={"HOME": str(walk.home)})
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        assert "ask_coding_model" in [tool.name for tool in (await session.list_tools()).tools]
        answer = await session.call_tool("ask_coding_model", {"code": "pass", "question": "What does it do?"})
        assert not answer.is_error
        assert "[served by practice/sim-ok: ollama-local✗" in str(answer.content[-1])


def test_it_ends_well_and_leaves_nothing_lying_about(walk: Walk) -> None:
    """The engine stops with 0; the home holds the clone and what belongs into hidden folders."""
    walk.leave()
    assert [path.name for path in walk.home.iterdir() if not path.name.startswith(".")] == [walk.clone.name]
