"""Answers with a 200 that are none, lack what was forced, or say more than we know."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, JSON_MODE, TOOL
from tests.support.kernel import kernel_holds

from routerconsole.simulator import Answering, Behaviour, Wire

SCHEMA = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "animal",
            "schema": {
                "type": "object",
                "properties": {"animal": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["animal", "count"],
                "additionalProperties": False,
            },
        },
    }
}
NAMED = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
BAD = [
    Answering.HTML, Answering.EMPTY, Answering.OBJECT, Answering.NO_CHOICES, Answering.NULL_CHOICES, Answering.NULL,
    Answering.LIST, Answering.PROSE, Answering.TRUNCATED, Answering.BAD_UTF8, Answering.NAN, Answering.DEEP,
    Answering.BIG_NUMBER, Answering.NUMBER,
]  # fmt: skip
WHOLE_ONLY = (Answering.NUMBER, Answering.BIG_NUMBER)


@pytest.mark.parametrize("stream", [False, True])
async def test_U31_U32_U34_U43_C1_20_a_200_that_is_no_answer_fails_over(make: MakeStand, stream: bool) -> None:
    """Login page, nothing, `{}`, `[]`, `null`, no choices, broken or hostile JSON: bad_200 at once, then B."""
    asked = [answering for answering in BAD if not (stream and answering in WHOLE_ONLY)]
    stand = await make(models={key: [answering.value for answering in asked] for key in "ab"})
    wrong = {}
    for answering in asked:
        stand.sims["a"].set(answering.value, Behaviour(answer=answering))
        stand.sims["b"].set(answering.value, Behaviour())
        reply = await stand.chat(answering.value, stream=stream)
        tried = await stand.tried(reply)
        if (reply.status, tried) != (200, [("a", "bad_200"), ("b", "ok")]):
            wrong[answering.value] = (reply.status, tried)
    assert wrong == {}
    assert stand.idle


async def test_U31_C0_22_a_page_alone_is_a_502_without_its_tags(make: MakeStand) -> None:
    """With nobody else the client gets a 502 that tells of a bad answer, not the page."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(answer=Answering.HTML))
    reply = await stand.chat()
    assert (reply.status, reply.attempts) == (502, 1)
    assert b"<html" not in reply.body
    assert b"<form" not in reply.body
    for _ in range(4):
        await stand.chat()
    assert (await stand.route("a")).circuit_state == "open"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", [Answering.BLANK, Answering.SPACES])
async def test_C1_20_a_blank_answer_fails_over(make: MakeStand, answer: Answering, stream: bool) -> None:
    """Content of nothing, or of white space only, with finish `stop`: blank, then B; nothing is counted."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(answer=answer))
    for _ in range(6):
        reply = await stand.chat(stream=stream)
        assert await stand.tried(reply) == [("a", "blank"), ("b", "ok")]
    assert (await stand.route("a")).circuit_state == "closed"


INNER = {
    "openai_server": "bad_200",
    "vllm_in_band": "bad_200",
    "anthropic_overloaded": "server",
    "openai_quota": "quota",
    "openai_rate": "rate",
    "anthropic_missing": "missing",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_S32_C1_20_an_error_inside_a_200_is_classed_by_its_code(make: MakeStand, stream: bool) -> None:
    """`200 {"error": …}`, whole or asked as a stream: its own code decides, else bad_200; B answers."""
    stand = await make(models={"a": list(INNER), "b": list(INNER)})
    seen = {}
    for error in INNER:
        stand.sims["a"].set(error, Behaviour(answer=Answering.ERROR, error=error))
        stand.sims["b"].set(error, Behaviour())
        reply = await stand.chat(error, stream=stream)
        assert (reply.status, reply.served_by) == (200, f"b/{error}")
        seen[error] = (await stand.first(reply)).class_
    assert seen == INNER


NO_HTTP = (
    Wire.NO_CONTENT, Wire.LONG_LENGTH, Wire.SHORT_LENGTH, Wire.TRUNCATED_CHUNKS, Wire.BAD_CHUNK,
    Wire.CONFLICTING_LENGTH, Wire.HUGE_HEADER, Wire.MANY_HEADERS, Wire.NOT_HTTP, Wire.BAD_STATUS,
)  # fmt: skip
INTERIM = (Wire.EARLY_HINTS, Wire.CONTINUE)


async def test_U39_U40_what_http_does_not_allow_is_a_bad_answer(make: MakeStand) -> None:
    """Broken lengths, chunks, status lines and head sizes fail over; interim responses are read past."""
    names = [wire.value for wire in (*NO_HTTP, *INTERIM)]
    stand = await make(models={"a": names, "b": names})
    seen = {}
    for wire in (*NO_HTTP, *INTERIM):
        stand.sims["a"].set(wire.value, Behaviour(wire=wire))
        stand.sims["b"].set(wire.value, Behaviour())
        reply = await stand.chat(wire.value)
        assert reply.status == 200
        seen[wire] = (await stand.first(reply)).class_
    assert seen == {**dict.fromkeys(NO_HTTP, "bad_200"), **dict.fromkeys(INTERIM, "ok")}


async def test_U42_C1_36_a_body_without_end_is_cut_at_32_mb(make: MakeStand) -> None:
    """500 MB of JSON: the upstream is cut, class bad_200, B answers."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(answer=Answering.HUGE))
    reply = await stand.chat()
    assert await stand.tried(reply) == [("a", "bad_200"), ("b", "ok")]
    await stand.sims["a"].wait_closed()
    assert stand.sims["a"].closes[-1].after_bytes < 45_000_000 + kernel_holds()


@pytest.mark.parametrize("stream", [False, True])
async def test_U35_unknown_fields_and_values_pass_unchanged(make: MakeStand, stream: bool) -> None:
    """What we have never heard of reaches the client as it was sent."""
    extra = {"x_new": {"deep": [1, None, "ü\u2028"]}, "service_tier": "galactic"}
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(extra=extra, finish_reason="out_of_ideas"))
    reply = await stand.chat(stream=stream)
    assert reply.status == 200
    for document in reply.chunks if stream else [reply.json]:
        assert {key: document[key] for key in extra} == extra
    last = (reply.chunks[-1] if stream else reply.json)["choices"][0]
    assert last["finish_reason"] == "out_of_ideas"
    assert (await stand.detail(reply)).finish_reason == "out_of_ideas"


async def test_U35_unknown_request_fields_reach_the_upstream(make: MakeStand) -> None:
    """The same the other way: sampling fields and unknown ones are forwarded, also null and zero."""
    stand = await make("a")
    sent = {"temperature": 0, "max_tokens": 7, "seed": None, "x_new": {"a": [1]}, "logit_bias": {"5": -1}}
    await stand.chat(**sent)
    got = orjson.loads(stand.sims["a"].received[-1].body)
    assert {key: got[key] for key in sent} == sent


@pytest.mark.parametrize("served_as", ["other-model-2026-01-01"])
async def test_U55_an_answer_under_another_name_is_logged_with_both(make: MakeStand, served_as: str) -> None:
    """The model id in the answer differs from the one asked: the client sees it, the trace has both."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(served_as=served_as))
    for reply in (await stand.chat(), await stand.stream()):
        assert (reply.chunks[0] if reply.body.startswith(b"data") else reply.json)["model"] == served_as
        assert reply.served_by == "a/m"
        detail = await stand.detail(reply)
        assert detail.row.model == "m"
        assert (detail.attempts_detail[0].model, detail.attempts_detail[0].served_as) == ("m", served_as)


LACKING: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "ignored": (Behaviour(tools="ignore"), FORCED),
    "ignored-named": (Behaviour(tools="ignore"), NAMED),
    "wrong-name": (Behaviour(tools="wrong_name"), NAMED),
    "prose": (Behaviour(json="prose"), JSON_MODE),
    "fenced": (Behaviour(json="fenced"), JSON_MODE),
    "prose-schema": (Behaviour(json="prose"), SCHEMA),
}
LACKING_AT_THE_END: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "bad-arguments": (Behaviour(tools="bad_arguments"), FORCED),
    "truncated": (Behaviour(json="truncated"), JSON_MODE),
    "wrong-schema": (Behaviour(json="wrong_schema"), SCHEMA),
}


@pytest.mark.parametrize("stream", [False, True])
async def test_U36_U37_C1_20_what_was_forced_and_not_delivered_fails_over(make: MakeStand, stream: bool) -> None:
    """A forced tool ignored or another called, JSON asked and prose given: undelivered, then B, no count."""
    stand = await make(models={"a": list(LACKING), "b": list(LACKING)})
    for name, (behaviour, asked) in LACKING.items():
        stand.sims["a"].set(name, behaviour)
        stand.sims["b"].set(name, Behaviour())
        reply = await stand.chat(name, stream=stream, **asked)
        assert (reply.status, await stand.tried(reply)) == (200, [("a", "undelivered"), ("b", "ok")]), name
        assert "x-router-undelivered" not in reply.headers
        assert (await stand.route("a", name)).circuit_state == "closed"


async def test_U36_U37_what_only_the_end_shows_fails_over_when_whole(make: MakeStand) -> None:
    """Arguments or JSON that do not parse, or do not fit the schema: undelivered when whole, flagged in a stream."""
    stand = await make(models={"a": list(LACKING_AT_THE_END), "b": list(LACKING_AT_THE_END)})
    for name, (behaviour, asked) in LACKING_AT_THE_END.items():
        stand.sims["a"].set(name, behaviour)
        stand.sims["b"].set(name, Behaviour())
        reply = await stand.chat(name, **asked)
        assert (reply.status, await stand.tried(reply)) == (200, [("a", "undelivered"), ("b", "ok")]), name
        streamed = await stand.stream(name, **asked)
        assert streamed.finished
        assert (await stand.detail(streamed)).row.flags, name


async def test_C1_18_a_tool_left_to_choice_never_fails_over(make: MakeStand) -> None:
    """tool_choice auto, none or absent and prose: that is the answer."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(tools="ignore"))
    for choice in ({"tool_choice": "auto"}, {"tool_choice": "none"}, {}):
        for stream in (False, True):
            reply = await stand.chat(tools=[TOOL], stream=stream, **choice)
            assert (reply.status, await stand.tried(reply)) == (200, [("a", "ok")])
    assert stand.sims["b"].count("m") == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_C1_19_nobody_delivered(make: MakeStand, stream: bool) -> None:
    """All ignore a forced tool: 502 capability_not_delivered with the roll-call, and no success is recorded."""
    stand = await make()
    for sim in stand.sims.values():
        sim.set("m", Behaviour(tools="ignore"))
    reply = await stand.chat(stream=stream, **FORCED)
    assert (reply.status, reply.error["code"]) == (502, "capability_not_delivered")
    assert "tools" in reply.error["message"]
    assert [(item["provider"], item["class"]) for item in reply.error["routerconsole"]["attempts"]] == [
        ("a", "undelivered"), ("b", "undelivered"),
    ]  # fmt: skip
    for name in ("a", "b"):
        route = await stand.route(name)
        assert (route.successful, route.circuit_state) == (0, "closed")
    assert stand.idle


@pytest.mark.parametrize("stream", [False, True])
async def test_C1_19_a_lone_route_s_answer_is_returned_and_marked(make: MakeStand, stream: bool) -> None:
    """One candidate: its body comes back with x-router-undelivered."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(tools="ignore", text="No tool for you."))
    reply = await stand.chat(stream=stream, **FORCED)
    assert (reply.status, reply.headers["x-router-undelivered"]) == (200, "tools")
    assert (reply.text if stream else reply.content) == "No tool for you."
    assert (await stand.route("a")).successful == 0
    assert stand.idle


@pytest.mark.parametrize("stream", [False, True])
async def test_C1_19_return_last_is_a_choice_of_the_operator(make: MakeStand, stream: bool) -> None:
    """on_undelivered: return_last gives the last body of several, marked."""
    stand = await make(routing={"on_undelivered": "return_last"})
    for name, sim in stand.sims.items():
        sim.set("m", Behaviour(tools="ignore", text=f"said {name}"))
    reply = await stand.chat(stream=stream, **FORCED)
    assert (reply.status, reply.headers["x-router-undelivered"], reply.attempts) == (200, "tools", 2)
    assert (reply.text if stream else reply.content) == "said b"
    assert reply.served_by == "b/m"


async def test_C1_13_C1_32_three_strikes_and_proofs_become_learned_gaps(make: MakeStand) -> None:
    """A refusal proves a gap at once, three undelivered answers do; the route is passed over for that need alone."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(refuse={"tools": "openrouter_no_tools"}))
    assert await stand.tried(await stand.chat(tools=[TOOL])) == [("a", "capability"), ("b", "ok")]
    assert await stand.tried(await stand.chat(tools=[TOOL])) == [("b", "ok")]
    assert await stand.tried(await stand.chat()) == [("a", "ok")]
    stand.sims["a"].set("m", Behaviour(json="prose"))
    for _ in range(3):
        assert (await stand.tried(await stand.chat(**JSON_MODE)))[0] == ("a", "undelivered")
    assert await stand.tried(await stand.chat(**JSON_MODE)) == [("b", "ok")]
    assert sorted((await stand.route("a")).gaps) == ["json", "tools"]


async def test_C1_13_every_route_refused_for_a_capability(make: MakeStand) -> None:
    """All refuse for lack of tools: 422 capability_unavailable naming it, and the next time nobody is asked."""
    stand = await make()
    for sim in stand.sims.values():
        sim.set("m", Behaviour(refuse={"tools": "openrouter_no_tools"}))
    for attempts in (2, 0):
        reply = await stand.chat(tools=[TOOL])
        assert (reply.status, reply.error["code"], reply.attempts) == (422, "capability_unavailable", attempts)
        assert "tools" in reply.error["message"]


async def test_U36_S39_a_long_thought_before_a_forced_call(make: MakeStand) -> None:
    """Reasoning beyond the hold-back bound is passed on: the call after it is a delivery, its lack is flagged."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(reasoning=100))
    called = await stand.stream(**FORCED)
    assert (called.finished, await stand.tried(called)) == (True, [("a", "ok")])
    assert (await stand.detail(called)).row.flags == ()
    stand.sims["a"].set("m", Behaviour(reasoning=100, tools="ignore"))
    ignored = await stand.stream(**FORCED)
    assert (ignored.finished, ignored.attempts) == (True, 1)
    assert (await stand.detail(ignored)).row.flags == ("undelivered",)
