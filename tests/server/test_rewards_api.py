"""Rewards over the public port: scores and history, who judges, chats sampled, evaluations judged, judges tried."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.engine.scenario_upstream import Body, Says, upstream
from tests.evals.scripted import reply
from tests.server.raw import Wire, admin
from tests.support.node import RunningNode, running_node

from routerconsole.control.eval_commands import ScenarioFile, StartEval
from routerconsole.control.port import RequestQuery
from routerconsole.control.registry_commands import SetModelActive
from routerconsole.domain.events import EventType
from routerconsole.evals.judge_pairs import shipped_pairs
from routerconsole.evals.types import CallError, Reply

GOOD, BAD = reply('{"verdict": "good"}'), reply("<think>good?</think> BAD")
CANARY = "sk-canary-0123456789abcdef"


def prompt(body: Body) -> str:
    """What a judge was asked."""
    return str(body["messages"][0]["content"])


def mixed() -> Says:
    """A judge that says good twice, then bad."""
    turns = iter([GOOD, GOOD, BAD])
    return lambda _: next(turns)


def halting() -> Says:
    """A judge that answers once, then fails."""
    turns = iter([GOOD])
    return lambda _: next(turns, Reply("", {}, error=CallError("upstream", 500, "internal", "broken")))


def knowing(body: Body) -> Reply:
    """A judge that knows the shipped pairs."""
    chosen = {pair.chosen for pair in shipped_pairs()}
    first = re.search(r"<first-(\w+)>\n(.*)\n</first-\1>", prompt(body), re.DOTALL)
    assert first is not None
    return reply('{"better": "first"}' if first[2] in chosen else '{"better": "second"}')


def longer(body: Body) -> Reply:
    """A judge that prefers whatever is longer, in whichever place."""
    shown = dict(re.findall(r"<(first|second)-\w+>\n(.*?)\n</", prompt(body), re.DOTALL))
    return reply('{"better": "first"}' if len(shown["first"]) > len(shown["second"]) else "second")


class Fleet:
    """Scripted judges and models, and what they were sent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Body]] = []
        self.models: dict[str, Says] = {
            "good": lambda _: GOOD,
            "bad": lambda _: BAD,
            "unsure": lambda _: reply("NOT GOOD"),
            "mixed": mixed(),
            "halting": halting(),
            "knows": knowing,
            "longer": longer,
            "biased": lambda _: reply('{"better": "first"}'),
            "chat": lambda _: reply("READY"),
        }

    def says(self) -> dict[str, Says]:
        """The models, each noting what it is asked."""
        return {name: self._noting(name, says) for name, says in self.models.items()}

    def _noting(self, name: str, says: Says) -> Says:
        def noted(body: Body) -> Reply | bytes:
            self.asked.append((name, body))
            return says(body)

        return noted

    def config(self, url: str, *, reward: str = "", roles: str = "", extra: str = "") -> str:
        """One provider with all of them; `roles` are models with a role."""
        names = ", ".join(f"{{id: {name}}}" for name in self.models)
        return (
            f'version: 1\nproviders:\n  - {{name: p, kind: openai_compatible, base_url: "{url}", api_key: {CANARY}, '
            f"discovery: {{enabled: false}}, models: [{names}{roles}]}}\n{reward}\n{extra}"
        )


@pytest.fixture
async def fleet() -> Fleet:
    """A new one."""
    return Fleet()


@pytest.fixture
async def node(fleet: Fleet, tmp_path: Path) -> AsyncIterator[RunningNode]:
    """An engine whose judge is named in the configuration."""
    async with (
        upstream(fleet.says()) as url,
        running_node(fleet.config(url, reward="reward: {enabled: true, model: p/good}"), tmp_path) as running,
    ):
        yield running


async def scored(node: RunningNode, **more: object) -> Any:
    """What POST reward/score answers."""
    answer = await admin(node.port, "POST", "reward/score", {"task": "Say READY.", "output": "READY", **more})
    assert answer.status == 200, answer.body
    return answer.json


async def history(node: RunningNode, query: str = "") -> Any:
    """What GET reward/history answers."""
    answer = await admin(node.port, "GET", f"reward/history{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_C0_43_C0_45_C0_46_outputs_are_scored_and_remembered(node: RunningNode, fleet: Fleet) -> None:
    """(good − bad) / valid by the judge that is named or configured; history newest first, by agent."""
    assert (await history(node))["scores"] == []
    told = await scored(node, agent="writer", model="p/chat")
    shape = {name: told[name] for name in ("score", "positive", "negative", "valid", "total", "judge")}
    assert shape == {"score": 1.0, "positive": 3, "negative": 0, "valid": 3, "total": 3, "judge": "p/good"}
    assert (await scored(node, agent="coder", judge="p/bad"))["score"] == -1.0
    third = await scored(node, agent="coder", judge="mixed")
    assert (third["score"], third["positive"], third["negative"]) == (pytest.approx(0.333, abs=0.01), 2, 1)
    for judge, reason in (("p/unsure", "fewer than a majority"), ("p/halting", "broken")):
        none = await scored(node, judge=judge)
        assert (none["score"], none["positive"] <= 1, none["negative"], reason in none["reason"]) == (
            None,
            True,
            0,
            True,
        )
    page = await history(node)
    assert [(row["agent"], row["judge"]) for row in page["scores"]] == [
        ("coder", "p/mixed"), ("coder", "p/bad"), ("writer", "p/good"),
    ]  # fmt: skip
    (row,) = (await history(node, "?agent=writer"))["scores"]
    assert (row["task"], row["score"], row["model"], row["votes"]) == ("Say READY.", 1.0, "p/chat", ["good"] * 3)
    assert page["models"] == [{"name": "p/chat", "mean": 1.0, "n": 1}]
    assert (await admin(node.port, "GET", "models/p%2Fchat")).json["reward"]["mean"] == 1.0
    rows = (await node.control.requests(RequestQuery(limit=100))).requests
    assert {each.origin for each in rows} == {"eval"}
    assert all(
        route.circuit_state == "closed" for each in (await node.control.status()).providers for route in each.routes
    )
    assert any(each.type is EventType.REWARD_SCORED for each in (await node.control.events(0)).events)
    assert (await node.control.audit())[0].command == "score_output"


async def test_a_judge_is_shown_no_secret_and_a_bad_request_is_told(node: RunningNode, fleet: Fleet) -> None:
    """Known keys are taken out of what judges see and of what is kept; an unknown judge or key is 400."""
    await scored(node, task=f"Use {CANARY}.", output=f"I used {CANARY}.")
    assert all(CANARY not in prompt(body) for _, body in fleet.asked)
    assert CANARY not in orjson.dumps(await history(node)).decode()
    for body in (
        {"task": "t"}, {"task": "", "output": "o"}, {"task": "t", "output": 1}, {"task": "t", "output": "o", "x": 1},
        {"task": "t", "output": "o", "judge": "p/nobody"},
    ):  # fmt: skip
        assert (await admin(node.port, "POST", "reward/score", body)).status == 400, body


async def test_C0_40_C0_42_C0_44_who_judges(fleet: Fleet, tmp_path: Path) -> None:
    """Off or without a judge nobody is asked, and the remedy is told; an empty name leaves it to the role."""
    role = ", {id: ranker, role: reward}"
    fleet.models["ranker"] = lambda _: BAD
    async with upstream(fleet.says()) as url:
        del fleet.models["ranker"]
        for number, (reward, roles, judge, reason) in enumerate(
            (
                ("reward: {model: p/good}", role, None, "reward.enabled"),
                ("reward: {enabled: true}", "", None, "reward.model"),
                ('reward: {enabled: true, model: ""}', role, "p/ranker", ""),
            )
        ):
            config = fleet.config(url, reward=reward, roles=roles)
            async with running_node(config, tmp_path / str(number)) as node:
                told = await scored(node)
                assert (told["judge"], told["score"]) == (judge, None if judge is None else -1.0)
                assert reason in told["reason"]
                if judge is None:
                    assert fleet.asked == []
                    assert reason in (await history(node))["problem"]
                    continue
                await node.control.do(SetModelActive("p", "ranker", active=False))
                assert "role `reward`" in (await scored(node))["reason"]


async def chatted(node: RunningNode, *, stream: bool = False, agent: str = "live") -> None:
    """One live chat, read to its end."""
    body = {"model": "p/chat", "stream": stream, "messages": [{"role": "user", "content": f"Hello, {CANARY}"}]}
    async with node.client() as http:
        answer = await http.post("/v1/chat/completions", json=body, headers={"x-router-agent": agent})
        assert answer.status_code == 200


async def sampling(node: RunningNode, **until: int) -> Any:
    """The page once its sampling counts are as told."""
    async with asyncio.timeout(60):
        while True:
            page = await history(node)
            if until.items() <= page["sampling"].items():
                return page
            await node.control.wait_events((await node.control.events(-1)).next)


async def test_sampled_chats_are_scored_beside_their_requests(fleet: Fleet, tmp_path: Path) -> None:
    """Whole and streamed ones, never what judges and evaluations ask; no text reaches the disk, no request waits."""
    config = "reward: {enabled: true, model: p/good, sample: 1.0}"
    async with upstream(fleet.says()) as url, running_node(fleet.config(url, reward=config), tmp_path) as node:
        await chatted(node)
        await chatted(node, stream=True)
        page = await sampling(node, scored=2, waiting=0)
        assert [(row["agent"], row["model"], row["task"], row["source"]) for row in page["scores"]] == [
            ("live", "p/chat", "", "sample")
        ] * 2
        assert len({row["request_id"] for row in page["scores"]}) == 2
        judged = [prompt(body) for name, body in fleet.asked if name == "good"]
        assert all("READY" in text and "Hello" in text and CANARY not in text for text in judged)
        await scored(node)
        assert (await history(node))["sampling"]["scored"] == 2


SCENARIOS = """
version: 1
suite: judged
defaults: {repeats: 1}
scenarios:
  - id: asked
    title: Judged
    turns: [{user: "Say READY."}]
    assert: [{type: judge, rubric: "is it READY", min: 0.5}, {type: reward_vote}]
  - id: wrong
    title: Wrong whatever a judge says
    turns: [{user: "Say NO."}]
    assert: [{type: contains, value: "NO"}, {type: judge}]
"""


async def judged(node: RunningNode) -> dict[str, str]:
    """The summaries of a run of the judged scenarios."""
    run = await ended(
        node, StartEval(("p/chat",), ("asked", "wrong"), scenario_files=(ScenarioFile("judged.yaml", SCENARIOS),))
    )
    report = await node.control.eval_run(run)
    assert report is not None
    return {each["scenario_id"]: each["summary"] or each["error"] for each in report["targets"][0]["scenarios"]}


async def test_assertions_are_judged_and_an_untrusted_judge_gates_nothing(node: RunningNode, fleet: Fleet) -> None:
    """Votes grade a cell; a deterministic failure asks no judge; a judge that failed its trial cannot tell."""
    found = await judged(node)
    assert found == {"asked": "1/1 passed", "wrong": "0/1 passed, fail(contains)"}
    votes = [prompt(body) for name, body in fleet.asked if name == "good"]
    assert len(votes) == 6
    assert sum("is it READY" in text for text in votes) == 3
    failed = await admin(node.port, "POST", "evals/judge-check", {"judge": "p/good"})
    assert (failed.json["trusted"], failed.json["answered"], failed.json["right"]) == (False, 20, 0)
    assert "judge_untrusted" in (await judged(node))["asked"]
    passed = await admin(node.port, "POST", "evals/judge-check", {"judge": "knows"})
    assert (passed.json["judge"], passed.json["trusted"], passed.json["right"]) == ("p/knows", True, 20)
    down = await admin(node.port, "POST", "evals/judge-check", {"judge": "p/halting"})
    assert (down.status, "too few" in down.message) == (503, True)
    assert {each["judge"]: each["trusted"] for each in (await history(node))["checks"]} == {
        "p/good": False,
        "p/knows": True,
    }


COLUMNS = """
version: 1
suite: columns
defaults: {repeats: 3}
scenarios:
  - {id: one, title: One, turns: [{user: "Say one."}], assert: [{type: not_equals, value: x}]}
  - {id: two, title: Two, turns: [{user: "Say two."}], assert: [{type: not_equals, value: x}]}
  - {id: ready, title: Three, turns: [{user: "Say READY."}], assert: [{type: equals, value: READY}]}
"""


async def test_columns_are_judged_pairwise_in_both_orders(node: RunningNode) -> None:
    """Only order-stable wins count, what the graders decided is left to them, and a judge that failed names nobody."""
    run = await ended(node, StartEval(("p/chat", "p/unsure"), scenario_files=(ScenarioFile("c.yaml", COLUMNS),),
                                      scenarios=("one", "two", "ready")))  # fmt: skip
    both = {"a": "p/chat", "b": "p/unsure"}
    told = (await admin(node.port, "POST", f"evals/{run}/prefer", {**both, "judge": "longer"})).json
    assert (told["winner"], told["verdict"], told["judge"]) == ("p/unsure", "p/unsure is preferred", "p/longer")
    assert (told["a_wins"], told["b_wins"], told["unstable"], told["left_out"]) == (0, 6, 0, 3)
    assert [(each["scenario_id"], each["b"]) for each in told["scenarios"]] == [("one", 3), ("two", 3)]
    biased = (await admin(node.port, "POST", f"evals/{run}/prefer", {**both, "judge": "p/biased"})).json
    assert (biased["winner"], biased["a_wins"], biased["b_wins"], biased["unstable"]) == (None, 0, 0, 6)
    assert (await admin(node.port, "POST", "evals/judge-check", {"judge": "p/longer"})).json["trusted"] is False
    untrusted = (await admin(node.port, "POST", f"evals/{run}/prefer", {**both, "judge": "p/longer"})).json
    assert (untrusted["winner"], untrusted["b_wins"]) == (None, 6)
    refused = {
        f"{run}/prefer": ({"a": "p/chat", "b": "p/chat", "judge": "longer"}, 400),
        f"{run}/prefer ": ({"a": "p/chat", "b": "p/none", "judge": "longer"}, 400),
        f"{run}/prefer  ": ({**both, "judge": "p/halting"}, 503),
        "meval_000000000000/prefer": ({**both, "judge": "longer"}, 404),
    }
    for path, (body, status) in refused.items():
        assert (await admin(node.port, "POST", f"evals/{path.strip()}", body)).status == status, body


async def ended(node: RunningNode, command: StartEval) -> str:
    """The id of a run that has come to its end."""
    run, cursor = str((await node.control.do(command)).after["run"]), 0
    while True:
        page = await node.control.events(cursor)
        if any(each.type is EventType.EVAL_FINISHED and each.data["run"] == run for each in page.events):
            return run
        cursor = page.next
        await node.control.wait_events(cursor)


async def test_scores_outlive_a_restart_and_order_quality_first(fleet: Fleet, tmp_path: Path) -> None:
    """The better scored member of a pool is asked first, before and after."""
    pool = "pools: [{id: best, members: [p/chat, p/unsure], strategy: quality_first}]"
    async with upstream(fleet.says()) as url:
        config = fleet.config(url, reward="reward: {enabled: true, model: p/good}", extra=pool)
        async with running_node(config, tmp_path) as node:
            assert await first_of(node) == "chat"
            await scored(node, model="p/unsure")
            await scored(node, model="p/chat", judge="p/bad")
            assert await first_of(node) == "unsure"
        async with running_node(config, tmp_path) as node:
            assert await first_of(node) == "unsure"
            assert [each["name"] for each in (await history(node))["models"]] == ["p/unsure", "p/chat"]


async def first_of(node: RunningNode) -> str:
    """Who the pool would ask first."""
    body = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}
    answer = await admin(node.port, "POST", "router/explain", body)
    return str(answer.json["candidates"][0]["model"])


async def test_who_leaves_ends_the_calls_on_judges(fleet: Fleet, tmp_path: Path) -> None:
    """A client that hangs up while its output is judged leaves nothing running and nothing scored."""
    from tests.support.node import chain, simulated

    from routerconsole.simulator import Behaviour

    async with (
        simulated(slow=Behaviour(latency=3600.0)) as upstream_,
        running_node(chain(upstream_, "slow", extra="reward: {enabled: true, model: a/slow}\n"), tmp_path) as node,
    ):
        body = orjson.dumps({"task": "t", "output": "o"})
        async with await Wire.open(node.port) as wire:
            head = (
                f"POST /api/v1/reward/score HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {node.admin_token}\r\n"
            )
            await wire.send(
                f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            )
            await upstream_.wait_received(2)
        await upstream_.wait_closed(2)
        assert (await history(node))["scores"] == []
