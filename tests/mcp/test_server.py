"""The MCP server as programs meet it: the SDK's own client on `routerconsole mcp`, real sockets behind it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from tests.mcp.conftest import CODING, DEADLINE_S, HOSTILE, MAX_TOKENS, asked, client, running, texts

from routerconsole.control.port import RequestQuery


async def test_C2_01_C2_02_C2_03_C2_04_C2_05_C2_07_a_client_lists_and_calls_the_tools(tmp_path: Path) -> None:
    """One server on a running engine: tools, answers, failover, truncation, errors, deadline, cancel, in this order.

    C2-01 one tool per exposed pool with its description, and the server's own · C2-02 the template reaches the
    upstream as the user's message with `mcp.max_tokens` · C2-03 every name of /v1/models in its order with health ·
    C2-04 what an upstream refuses is a tool error and the server goes on · C2-05 a hung upstream is a tool error in
    time, a cancelled call closes the upstream's connection · C2-07 a cut answer says so
    """
    async with running(tmp_path) as stand:
        state = ["--state-dir", str(stand.state)]
        with (tmp_path / "stderr").open("w+") as errlog:
            async with client(tmp_path, *state, errlog=errlog) as session:
                # C2-01
                tools = {tool.name: tool for tool in (await session.list_tools()).tools}
                own = ["list_models", "explain_route"]
                pools = ["ask_coding_model", "ask_essay", "ask_hung", "ask_slow", "ask_broken"]
                assert list(tools) == [*pools, *own]
                assert tools["ask_coding_model"].description == CODING
                assert tools["ask_coding_model"].input_schema["required"] == ["code", "question"]
                assert tools["ask_essay"].input_schema["required"] == ["prompt"]

                # C2-02; what stands in an argument is no template, and arrives as it was
                given = {"code": HOSTILE, "question": "why?"}
                answer = await session.call_tool("ask_coding_model", given)
                sent = asked(stand.sims["a"])
                assert sent["messages"] == [{"role": "user", "content": f"Code:\n{HOSTILE}\n\nQuestion: why?"}]
                assert sent["max_tokens"] == MAX_TOKENS
                assert not answer.is_error
                text, note = texts(answer)
                assert text == "It is 42."
                assert "served by a/m" in note
                assert "truncated" not in note
                (row,) = (await stand.node.control.requests(RequestQuery(limit=1))).requests
                assert (row.origin, row.resolved, row.status) == ("mcp", "coding", "ok")

                # failover, named
                await stand.sims["a"].pause_listening(drop=True)
                text, note = texts(await session.call_tool("ask_coding_model", given))
                assert text == "It is 42."
                assert "served by b/m: a✗" in note
                assert "› b✓" in note
                await stand.sims["a"].resume_listening()

                # C2-07
                _, note = texts(await session.call_tool("ask_essay", {"prompt": "a long one"}))
                assert f"truncated: the answer was cut off after {MAX_TOKENS} tokens" in note

                # C2-04; nothing of it ends the server
                refused = await session.call_tool("ask_broken", {"prompt": "x"})
                assert refused.is_error
                assert "a/broken server 500; b/broken server 500" in texts(refused)[0]
                assert refused.structured_content["error"]["code"] == "all_candidates_failed"
                for wrong in ({}, {"prompt": 3}, {"prompt": "x", "more": "y"}, {"prompt": " "}):
                    bad = await session.call_tool("ask_essay", wrong)
                    assert bad.is_error, wrong
                    assert texts(bad)[0].startswith("invalid_arguments: ask_essay"), wrong
                huge = await session.call_tool("ask_essay", {"prompt": "x" * 1_100_000})
                assert texts(huge)[0].startswith("payload_too_large: ")
                with pytest.raises(MCPError, match="Unknown tool: nobody"):
                    await session.call_tool("nobody", {})

                # C2-05
                began = time.monotonic()
                hung = await session.call_tool("ask_hung", {"prompt": "x"})
                assert DEADLINE_S / 2 < time.monotonic() - began < 5 * DEADLINE_S
                assert hung.is_error
                assert texts(hung)[0].startswith("deadline_exceeded: ")

                stand.sims["a"].reset()
                call = asyncio.get_running_loop().create_task(session.call_tool("ask_slow", {"prompt": "x"}))
                await stand.sims["a"].wait_received(model="slow")
                call.cancel()
                await stand.sims["a"].wait_closed(1)
                newest = await stand.newest()
                assert (newest.row.origin, newest.row.status) == ("mcp", "cancelled")

                # many at once: a local model takes two, the others wait their turn
                each = [session.call_tool("ask_coding_model", given) for _ in range(50)]
                assert {texts(answer)[0] for answer in await asyncio.gather(*each)} == {"It is 42."}

                # C2-03
                listed = await session.call_tool("list_models", {})
                models = [card["id"] for card in (await stand.get("/v1/models")).json["data"]]
                told = {item["id"]: item["health"] for item in listed.structured_content["models"]}
                assert list(told) == models
                assert [line.partition(":")[0] for line in texts(listed)[0].splitlines()] == models
                assert (told["b__m"], told["essay"]) == ("healthy", "1 of 1 routable")

                before = stand.sims["a"].total + stand.sims["b"].total
                strange: tuple[dict[str, object], ...] = (
                    {"needs": "tools"}, {"needs": [1]}, {"prompt": 0}, {"model": False}, {"mode": "x"},
                )  # fmt: skip
                for arguments in strange:
                    bad = await session.call_tool("explain_route", arguments)
                    assert texts(bad)[0].startswith("invalid_arguments: explain_route"), arguments
                explained = await session.call_tool("explain_route", {"model": "ask_coding_model", "needs": ["vision"]})
                assert "resolved: pool coding" in texts(explained)[0]
                assert "needed: vision" in texts(explained)[0]
                assert {item["provider"] for item in explained.structured_content["candidates"]} == {"a", "b"}
                assert stand.sims["a"].total + stand.sims["b"].total == before, "nothing is sent"
            errlog.seek(0)
            assert errlog.read() == "", "nothing to say on stderr"
