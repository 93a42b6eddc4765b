"""One cell of a run in full and reports as files, over real HTTP and through the remote port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from tests.server.raw import admin
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.control.eval_commands import StartEval
from routerconsole.control.eval_views import EvalCellDetail
from routerconsole.control.wire import revive
from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour

TARGETS = ("a/good", "auto")


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[tuple[RunningNode, str]]:
    """An engine with a run of two scenarios on two targets behind it, and its id."""
    async with (
        simulated(good=Behaviour(text="READY", usage="always")) as upstream,
        running_node(chain(upstream, "good"), tmp_path) as node,
    ):
        receipt = await node.control.do(StartEval(TARGETS, ("plain-chat", "streaming"), repeats=1), actor="test")
        cursor = 0
        while True:
            page = await node.control.events(cursor)
            if any(event.type is EventType.EVAL_FINISHED for event in page.events):
                break
            cursor = page.next
            await node.control.wait_events(cursor)
        yield node, str(receipt.after["run"])


async def test_a_cell_is_told_with_its_calls_frames_and_the_way_they_took(told: tuple[RunningNode, str]) -> None:
    """What was asked, what came back as it came, which route served, and the request that is in the log."""
    node, run = told
    reply = await admin(node.port, "GET", f"evals/{run}/cell?scenario=plain-chat&target=a%2Fgood")
    assert reply.status == 200, reply.body
    cell = revive(EvalCellDetail, reply.json)
    (repeat,) = cell.repeats
    (call,) = repeat.calls
    assert (repeat.verdict, call.text, call.served_by, call.drill) == ("pass", "READY", "a/good", False)
    assert "READY" in call.frames[0]
    assert '"messages"' in call.asked
    assert [hop.route for hop in call.hops] == ["a/good"]
    assert await node.control.request(call.request) is not None
    assert repeat.checks[0].passed is True
    streamed = await node.control.eval_cell(run, "streaming", "auto")
    assert streamed is not None
    frames = streamed.repeats[0].calls[0].frames
    assert frames[0].startswith("{")
    assert frames[-1] == "[DONE]"
    assert len(frames) <= 6


async def test_a_report_comes_in_every_form_and_what_there_is_not_is_404(told: tuple[RunningNode, str]) -> None:
    """The text of each file; an unknown form is a usage error, an unknown run is not found."""
    node, run = told
    starts = {"json": "{", "md": "# Model Evaluation Report", "html": "<!doctype", "svg": "<svg", "xml": "<?xml"}
    for form, start in starts.items():
        reply = await admin(node.port, "GET", f"evals/{run}/report?form={form}")
        assert reply.json["text"].casefold().startswith(start.casefold()), form
    assert orjson.loads((await node.control.eval_report(run, "json")) or "")["run_id"] == run
    assert (await admin(node.port, "GET", f"evals/{run}/report?form=doc")).status == 400
    for what in ("report?form=md", "cell?scenario=plain-chat&target=auto"):
        assert (await admin(node.port, "GET", f"evals/meval_000000000000/{what}")).status == 404
    nobody = await admin(node.port, "GET", f"evals/{run}/cell?scenario=plain-chat&target=nobody")
    assert (nobody.status, "no cell" in nobody.json["error"]["message"]) == (404, True)


async def test_the_page_of_runs_names_what_is_offered_and_is_the_same_when_read_again(
    told: tuple[RunningNode, str],
) -> None:
    """Runs that are over are made once; what was measured stands beside their cells."""
    node, run = told
    first, again = await node.control.eval_page(), await node.control.eval_page()
    assert first.runs[0] is again.runs[0]
    assert first.runs[0].id == run
    assert first.runs[0].measured == ()  # one repeat decides nothing
