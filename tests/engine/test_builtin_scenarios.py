"""Every built-in scenario over real sockets through one engine: an upstream that passes, three that must not."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.engine.scenario_upstream import WINDOW, Body, Says, embedded, good, text_of, upstream, whole
from tests.evals.scripted import call, calling, error, reply, shipped, streamed, vectors
from tests.support.node import RunningNode, running_node

from routerconsole.control.eval_commands import StartEval
from routerconsole.domain.events import EventType
from routerconsole.evals.grade import grade
from routerconsole.evals.types import CellKey, Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")


def says(text: str, **more: object) -> Says:
    return lambda body: reply(text, **more)


def calls(name: str, **arguments: str) -> Says:
    return lambda body: calling(call(name, **arguments))


def echo(body: Body) -> Reply:
    """The oldest trap: what was said comes back, with the schema's or the picture's words in it."""
    return reply(text_of(body["messages"][-1]), reasoning="hm")


def after(first: Says, then: Says) -> Says:
    """One answer to the first question of a conversation, another one afterwards."""
    return lambda body: (first if len(body["messages"]) == 1 else then)(body)


def when(word: str, said: Says) -> Says:
    """Good, but where the last message has this word in it."""
    return lambda body: said(body) if word in text_of(body["messages"][-1]) else good(body)


def keeping(share: slice) -> Says:
    """A server that silently keeps a part of what is too long for it, and its last lines."""

    def said(body: Body) -> Reply:
        text = text_of(body["messages"][-1])
        kept = text[int(len(text) * (share.start or 0)) : int(len(text) * (share.stop or 1))]
        return good({**body, "messages": [{"role": "user", "content": kept + text[-160:]}]})

    return said


def stream_of(**facts: object) -> Says:
    return lambda body: streamed(**facts)  # type: ignore[arg-type] # the fields of the stream, spelt by the tests


def half(body: Body) -> Reply:
    """Base64 that is another vector than the numbers."""
    if body["encoding_format"] == "base64":
        return vectors([1.0] * 8, [0.5, 1.0] * 4, coded=True)
    return embedded(body)


BAD: dict[str, list[tuple[str, Says]]] = {
    "plain-chat": [
        ("fail(not_ready)", says("I'm already here")),
        ("fail(not_ready)", says("Sure! I am READY to help.")),
        ("fail(not_ready)", says("NOT READY")),
    ],
    "json-extraction": [
        ("fail(schema)", says('{"animal": "", "count": "3"}')),
        ("fail(wrong_count)", says('{"animal": "fox", "count": 1}')),
        ("fail(schema)", says('{"animal": "fox", "count": 3, "sure": true}')),
        ("fail(schema)", says('```json\n{"animal": "fox", "count": 3}\n```')),
    ],
    "tool-invocation": [
        ("fail(wrong_value)", calls("record_observation", value="an observation")),
        ("fail(no_call)", calls("another_tool", value="x")),
        ("fail(no_call)", says("I recorded it.")),
    ],
    "multi-turn": [
        ("fail(wrong_word)", says("STORED")),
        ("fail(wrong_word)", after(says("STORED"), says("aurora-7777"))),
        ("fail(not_acknowledged)", after(says("NOT STORED"), good)),
    ],
    "compaction-recovery": [
        ("fail(not_compacted)", when("Compact the", echo)),
        ("fail(facts_lost)", when("Compact the", says("They talked of the weather."))),
        ("fail(facts_lost)", when("List these", says("I do not know."))),
    ],
    "streaming": [
        ("fail(stream)", stream_of(deltas=1)),
        ("fail(stream)", stream_of(text="hÃ¶her, one, two")),
        ("error(cut)", stream_of(finishes=0, done=False)),
        ("fail(stream)", stream_of(text="\ufffd, one, two")),
    ],
    "vision": [
        ("fail(blind_control), fail(wrong_colour)", says("red")),
        ("fail(wrong_colour)", echo),
        ("fail(wrong_colour)", says("What a lovely picture!")),
    ],
    "json-mode": [
        ("fail(no_json)", says("Here is what you want.")),
        ("fail(wrong_value)", says('{"code": "aurora-7777"}')),
        ("fail(no_json)", echo),
    ],
    "json-truncated": [
        ("fail(cut_without_saying)", says('{"planets": [{"na')),
        ("fail(not_truncated)", says('{"planets": []}')),
        ("fail(cut_without_saying)", says("Mercury, Venus")),
    ],
    "reasoning": [
        ("fail(no_reasoning)", lambda body: reply(good(body).text)),
        ("fail(leaked)", lambda body: reply(f"<think>hm</think>{good(body).text}", reasoning="hm")),
        ("fail(wrong_answer)", says("12", reasoning="A dozen.")),
        ("fail(wrong_answer)", echo),
    ],
    "latency": [
        ("error(server)", lambda body: error("server", status=500)),
        ("error(server)", when("(question 7)", lambda body: error("server", status=500))),
        ("rate_limited", lambda body: error("rate", status=429)),
    ],
    "long-context": [
        ("fail(needle_lost)", keeping(slice(0.3, None))),
        ("fail(needle_lost)", keeping(slice(None, 0.7))),
        ("fail(needle_lost)", says("The code is aurora-7777.")),
        ("error(server)", lambda body: error("server", status=500)),
    ],
    "embeddings": [
        ("fail(embedding)", half),
        ("fail(embedding)", lambda body: vectors([1.0, 2.0], [1.0, 2.0], coded=body["encoding_format"] == "base64")),
        ("fail(embedding)", lambda body: vectors([1.0] * 8, [0.5] * 4, coded=body["encoding_format"] == "base64")),
    ],
    "tools-named": [
        ("fail(wrong_call)", calls("store_label", label="a label")),
        ("fail(no_call)", says("Stored.")),
        ("fail(wrong_call)", lambda body: calling(*good(body).tool_calls, *good(body).tool_calls)),
    ],
    "tools-none": [
        ("fail(called)", calls("get_weather", city="Oslo")),
        ("fail(wrong_answer)", says("Very well.")),
        ("fail(called)", lambda body: calling(call("get_weather", city=good(body).text))),
    ],
    "tools-irrelevant": [
        ("fail(called)", calls("get_weather", city="Oslo")),
        ("fail(wrong_answer)", says("There is no tool for that.")),
        ("fail(called)", lambda body: calling(call("get_weather", city=good(body).text))),
    ],
    "tools-parallel": [
        ("fail(not_parallel)", lambda body: calling(good(body).tool_calls[0])),
        ("fail(wrong_calls)", lambda body: calling(*[good(body).tool_calls[0]] * 2)),
        ("fail(not_parallel)", echo),
    ],
    "tools-roundtrip": [
        ("fail(result_ignored)", after(good, says("I could not find it."))),
        ("fail(wrong_call)", after(calls("get_access_code", city="Atlantis"), good)),
        ("fail(no_call)", says("The code is 1234.")),
    ],
}
DRILLS = tuple(name for name in shipped().ids if name.startswith("drill-"))
HOSTILE = "\x1b[31mEVIL\x1b[0m | `x` \u202egnp.exe\n# head\x9b2J <script>alert(1)</script> ]]> \x00"
ODD: dict[str, tuple[str, Says]] = {
    "flood": ("error(flood)", says("ab " * 3_500_000)),
    "terminal": ("fail(not_ready)", says(HOSTILE)),
    "pi|pe`tick": ("fail(not_ready)", says(HOSTILE[::-1])),
    "latin": ("error(bad_200)", lambda body: whole(b'{"choices": [{"message": {"content": "h\xf6her"}}]}')),
    "limited": ("rate_limited", lambda body: error("rate", status=429)),
    "declining": ("refused", says("I'm sorry, but I can't help with that.")),
    "cut": ("truncated", says("Well, first", finish_reason="length")),
    "filtered": ("refused", says("", finish_reason="content_filter")),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it all: verdicts by scenario and model, the run of each scenario, the engine."""

    verdicts: dict[tuple[str, str], str]
    runs: dict[str, str]
    node: RunningNode
    reports: Path


def models() -> dict[str, Says]:
    found: dict[str, Says] = {"good": good} | {name: said for name, (_, said) in ODD.items()}
    return found | {f"{name}-{n}": said for name, cases in BAD.items() for n, (_, said) in enumerate(cases)}


def config(url: str) -> str:
    rows = [{"id": name, "context_window": WINDOW} for name in models()]
    provider = {"name": "s", "kind": "openai_compatible", "base_url": url, "models": rows,
                "discovery": {"enabled": False}}  # fmt: skip
    return json.dumps({"version": 1, "providers": [provider]})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tried(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tried]:
    """One engine, one upstream, a run for each scenario, all at once."""
    home = tmp_path_factory.mktemp("scenarios")
    async with upstream(models()) as url, running_node(config(url), home) as node:
        runs = {}
        for name, cases in BAD.items():
            targets = ("s/good", *(f"s/{name}-{n}" for n in range(len(cases))))
            runs[name] = await begun(node, targets, name, repeats=2 if name == "vision" else 1)
        runs["drills"] = await begun(node, ("auto",), *DRILLS)
        runs["odd"] = await begun(node, tuple(f"s/{name}" for name in ODD), "plain-chat")
        await ended(node, set(runs.values()))
        verdicts = {}
        for name, run in runs.items():
            if name == "drills":
                continue
            report = await node.control.eval_run(run)
            assert report is not None
            for column in report["targets"]:
                (square,) = column["scenarios"]
                said = square["summary"].rpartition("passed, ")[2].partition(" x2")[0]
                verdicts[name, column["id"].removeprefix("s/")] = "pass" if square["status"] == "pass" else said
        yield Tried(verdicts, runs, node, home / "state" / "reports")


async def begun(node: RunningNode, targets: tuple[str, ...], *scenarios: str, repeats: int = 1) -> str:
    receipt = await node.control.do(StartEval(targets, scenarios, repeats=repeats, seed=5))
    return str(receipt.after["run"])


async def ended(node: RunningNode, runs: set[str]) -> None:
    cursor = 0
    async with asyncio.timeout(60):
        while runs:
            page = await node.control.events(cursor)
            runs -= {str(each.data["run"]) for each in page.events if each.type is EventType.EVAL_FINISHED}
            cursor = page.next
            if runs:
                await node.control.wait_events(cursor)


async def test_C4_31_every_scenario_but_the_drills_is_here() -> None:
    """One that passes and three that do not for each; the drills have their own table and run below."""
    assert set(BAD) == set(shipped().ids) - set(DRILLS)
    assert len(DRILLS) == 10
    assert min(map(len, BAD.values())) >= 3


@pytest.mark.parametrize("name", list(BAD))
async def test_C4_29_C4_31_a_good_upstream_passes_and_each_trap_catches(tried: Tried, name: str) -> None:
    """The good model knows nothing but what it was sent; each bad one ends with the word it has earned."""
    assert tried.verdicts[name, "good"] == "pass"
    found = [tried.verdicts[name, f"{name}-{n}"] for n in range(len(BAD[name]))]
    assert found == [label for label, _ in BAD[name]]


async def test_C4_31_a_blind_model_that_always_says_red_is_refuted(tried: Tried) -> None:
    """Two failures refute the capability; the one that looks is not refuted."""
    report = await tried.node.control.eval_run(tried.runs["vision"])
    assert report is not None
    refuted = {each["model"] for each in report["measured"] if each["finding"] == "refuted"}
    assert "vision-0" in refuted
    assert "good" not in refuted


@pytest.mark.parametrize("name", list(ODD))
async def test_E05_what_is_no_answer_is_no_wrong_answer(tried: Tried, name: str) -> None:
    """Limits, lost bytes, a flood, cut and declined answers have their own words; only graded cells are in k/n."""
    assert tried.verdicts["odd", name] == ODD[name][0]


async def test_nothing_a_model_says_reaches_a_report_raw(tried: Tried) -> None:
    """No control, no direction mark, no markup of its own in Markdown, HTML, JUnit and SVG; the flood is shortened."""
    report = await tried.node.control.eval_run(tried.runs["odd"])
    assert report is not None
    assert len(json.dumps(report)) < 60_000
    paths = list(tried.reports.glob(f"{tried.runs['odd']}.*"))
    assert len(paths) == 5
    for path in paths:
        text = path.read_text("utf-8")
        assert len(text) < 60_000, path
        raw = {hex(ord(char)) for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"}
        assert raw == set(), path
        if path.suffix in (".html", ".svg", ".xml"):
            assert "<script" not in text, path
    lines = (tried.reports / f"{tried.runs['odd']}.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| plain-chat")]
    assert {row.replace("\\|", "").count("|") for row in rows[1:]} == {11}
    assert not any(line.startswith("# head") for line in lines)


async def test_the_router_passes_its_ten_drills(tried: Tried) -> None:
    """The real engine in front of simulated routes, one of them broken."""
    report = await tried.node.control.eval_run(tried.runs["drills"])
    assert report is not None
    assert {each["scenario_id"]: each["summary"] for each in report["targets"][0]["scenarios"]} == dict.fromkeys(
        DRILLS, "1/1 passed"
    )


@pytest.mark.parametrize("name", [name for name in DRILLS if name not in ("drill-hang", "drill-flapping")])
async def test_a_drill_fails_where_nobody_is_left_to_serve_it(tried: Tried, name: str) -> None:
    """The same fault on both routes; of the two left out one takes its whole timeout and the other one recovers."""
    (said,) = shipped().select([name])
    faults = [fault.model_copy(update={"route": 2, "times": None}) for fault in said.said.faults]
    broken = replace(said, said=said.said.model_copy(update={"faults": [*said.said.faults, *faults]}))
    drill = tried.node.service.drill
    assert drill is not None
    verdict = grade(broken, await drill(broken, CellKey(name, "auto", 0))).verdict
    # a stream that is cut after its first words ends the same, whoever stands behind
    assert verdict.label() == ("pass" if name == "drill-cut" else "fail(not_served)")
