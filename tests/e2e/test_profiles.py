"""Profiles at the public port: who answers, what is never called, and what the trace says (cases.md C4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, TOOL, Reply, Stand

from routerconsole.simulator import Behaviour

SMALL, BIG = "gemma4-local", "frontier"
VIDEO = {"type": "video_url", "video_url": {"url": "https://media.example/v.mp4"}}


async def pair(
    make: MakeStand, *, small: Mapping[str, Any] | None = None, big: Mapping[str, Any] | None = None,
    profiles: Sequence[Mapping[str, Any]] | None = None, **more: Any,
) -> Stand:  # fmt: skip
    """A small local profile that falls back to a large one, each on a provider of its own."""
    models = {
        "local": [{"id": "gemma", "capabilities": ["text", "-tools", "-vision"], **(small or {})}],
        "cloud": [{"id": "big", "capabilities": ["text", "tools", "vision", "video", "json_schema"], **(big or {})}],
    }
    made = profiles or [
        {"id": SMALL, "provider": "local", "model": "gemma", "default": True, "fallback_profiles": [BIG]},
        {"id": BIG, "provider": "cloud", "model": "big"},
    ]
    stand = await make("local", "cloud", models=models, profiles=made, **more)
    stand.sims["local"].set("gemma", Behaviour())
    stand.sims["cloud"].set("big", Behaviour())
    return stand


async def because(stand: Stand, reply: Reply) -> str:
    """Why a request went where it went."""
    return "\n".join((await stand.get(f"/api/v1/requests/{reply.id}")).json["because"])


def prompt(tokens: int) -> list[dict[str, str]]:
    """A message of about so many tokens."""
    return [{"role": "user", "content": "word " * (tokens * 4 // 5)}]


async def test_C4_02_tools_a_profile_lacks_go_to_its_fallback(make: MakeStand) -> None:
    """The explanation starts "Falling back from 'gemma4-local'"; a plain request stays."""
    stand = await pair(make)
    assert (await stand.chat(SMALL)).served_by == "local/gemma"
    reply = await stand.chat(SMALL, tools=[TOOL])
    assert reply.served_by == "cloud/big"
    assert (await because(stand, reply)).startswith(f"Falling back from '{SMALL}' to '{BIG}' because tool calling")
    body = {"model": SMALL, "messages": prompt(5), "tools": [TOOL]}
    assert (await stand.post("/api/v1/router/complete", body)).json["is_fallback_model"] is True
    assert (await stand.post("/api/v1/router/complete", {**body, "tools": []})).json["is_fallback_model"] is False
    traced = await stand.chat(SMALL, tools=[TOOL], headers={"x-router-trace": "1"})
    told = traced.json["routerconsole"]["resolved"]
    assert (told["kind"], told["id"]) == ("profile", SMALL)
    assert told["because"][0].startswith(f"Falling back from '{SMALL}'")
    detail = (await stand.get(f"/api/v1/requests/{reply.id}")).json
    assert [(item["model"], item["decision"]) for item in detail["candidates"]] == [
        ("big", "eligible"), ("gemma", "dropped"),
    ]  # fmt: skip


@pytest.mark.parametrize("model", [None, SMALL])
async def test_C4_04_C4_05_a_video_needs_vision_and_video(make: MakeStand, model: str | None) -> None:
    """The profile that supports both answers, whether the other was named or is the default."""
    stand = await pair(make, small={"capabilities": ["text", "vision", "-video"]})
    reply = await stand.chat(model, messages=[{"role": "user", "content": [VIDEO]}])
    assert reply.served_by == "cloud/big"
    assert "video input was required" in await because(stand, reply)
    row = (await stand.get(f"/api/v1/requests/{reply.id}")).json
    assert {"vision", "video"} <= set(row["needed"])
    assert stand.sims["local"].count("gemma") == 0


async def test_C4_06_C4_07_what_must_fit_and_what_is_only_reserved(make: MakeStand) -> None:
    """130 000 + 8 000 on 131 072 falls back; 2 000 + 12 000 with max output 8 192 stays."""
    stand = await pair(make, small={"context_window": 131_072, "max_output_tokens": 8_192})
    reply = await stand.chat(SMALL, messages=prompt(130_000), max_tokens=8_000)
    assert reply.served_by == "cloud/big"
    assert "context 131072 < " in await because(stand, reply)
    assert (await stand.chat(SMALL, messages=prompt(2_000), max_tokens=12_000)).served_by == "local/gemma"


async def test_C4_08_C4_12_a_broken_profile_is_named_and_breaks_nothing_else(make: MakeStand) -> None:
    """Its provider has no key: fallbacks answer, the default stays available, the list tells what is wrong."""
    stand = await pair(
        make, providers={"local": {"api_key": "env:NOBODY_SET_THIS"}},
        profiles=[
            {"id": "broken", "provider": "local", "model": "gemma", "fallback_profiles": ["fine"]},
            {"id": "fine", "provider": "cloud", "model": "big", "default": True},
        ],
    )  # fmt: skip
    reply = await stand.chat("broken")
    assert reply.served_by == "cloud/big"
    said = await because(stand, reply)
    assert said == "Falling back from 'broken' to 'fine' because missing_secret: NOBODY_SET_THIS"
    assert (await stand.chat(None)).served_by == "cloud/big"
    assert stand.sims["local"].count("gemma") == 0
    listed = {each.id: each for each in await stand.node.control.profiles()}
    assert (listed["fine"].available, listed["broken"].available) == (True, False)
    assert "NOBODY_SET_THIS" in listed["broken"].problem


async def test_C4_13_a_prompt_too_long_for_the_session_runs_on_the_larger_profile(make: MakeStand) -> None:
    """About 200 000 tokens: the answer's trace names profile and model."""
    stand = await pair(make, small={"context_window": 8_192}, big={"context_window": 1_000_000})
    reply = await stand.chat(SMALL, messages=prompt(200_000), headers={"x-router-trace": "1"})
    told = reply.json["routerconsole"]
    assert (told["provider"], told["model"]) == ("cloud", "big")
    assert f"to '{BIG}' because context 8192 < " in told["resolved"]["because"][0]


async def test_C4_16_a_profile_that_fails_the_gate_is_never_called(make: MakeStand) -> None:
    """Even if its fallbacks fail: the request fails with them."""
    stand = await pair(make)
    stand.sims["cloud"].set("big", Behaviour(statuses=(500,)))
    reply = await stand.chat(SMALL, **FORCED)
    assert reply.status >= 500
    assert {provider for provider, _ in await stand.tried(reply)} == {"cloud"}
    assert stand.sims["local"].count("gemma") == 0


async def test_C4_17_streaming_falls_over_to_the_next_of_the_chain(make: MakeStand) -> None:
    """The first candidate is down: the second streams."""
    stand = await pair(make)
    stand.sims["local"].set("gemma", Behaviour(statuses=(503,)))
    reply = await stand.stream(SMALL)
    assert (reply.status, reply.served_by, reply.finished) == (200, "cloud/big", True)
    assert [provider for provider, _ in await stand.tried(reply)] == ["local", "cloud"]


async def test_C4_18_an_unknown_window_is_eligible(make: MakeStand) -> None:
    """The profile that was named is asked first; in a pool the known fit comes before it."""
    stand = await pair(
        make, big={"context_window": 1_000_000}, pools=[{"id": "both", "members": ["local/gemma", "cloud/big"]}]
    )
    assert (await stand.chat(SMALL, messages=prompt(50_000))).served_by == "local/gemma"
    assert (await stand.chat("both", messages=prompt(50_000))).served_by == "cloud/big"


async def test_requirements_nobody_meets_are_422_naming_each_with_numbers(make: MakeStand) -> None:
    """Nothing is sent; explain says the same with 200."""
    asked = {"tools": True, "reasoning": True, "min_context_tokens": 100_000, "min_output_tokens": 4_096}
    strict = {"id": "strict", "provider": "local", "model": "gemma", "requirements": asked, "fallback_models": ["big"]}
    stand = await pair(make, small={"context_window": 8_192, "max_output_tokens": 1_024}, profiles=[strict])
    reply = await stand.chat("strict")
    assert (reply.status, reply.error["code"], reply.attempts) == (422, "capability_unavailable", 0)
    for said in ("tools", "reasoning: unknown", "min_context_tokens 100000: context_window is 8192",
                 "min_output_tokens 4096: max_output_tokens is 1024"):  # fmt: skip
        assert said in reply.error["message"]
    assert len(reply.error["routerconsole"]["skipped"]) == 2
    explained = await stand.post(
        "/api/v1/router/explain", {"model": "strict", "messages": prompt(1)}, admin=True
    )  # fmt: skip
    assert (explained.status, explained.json["error"]["code"]) == (200, "capability_unavailable")
    assert [item["decision"] for item in explained.json["candidates"]] == ["dropped", "dropped"]


async def test_preferred_tags_outrank_the_default_flag(make: MakeStand) -> None:
    """Only where no model is named."""
    stand = await pair(
        make,
        profiles=[
            {"id": "house", "provider": "local", "model": "gemma", "default": True, "tags": ["private"]},
            {"id": "fast", "provider": "cloud", "model": "big", "tags": ["quick"]},
        ],
    )
    quick = {"x-router-tags": "quick"}
    assert (await stand.chat(None)).served_by == "local/gemma"
    assert (await stand.chat(None, headers=quick)).served_by == "cloud/big"
    assert (await stand.chat(None, headers={"x-router-tags": "private,nowhere"})).served_by == "local/gemma"
    assert (await stand.chat("house", headers=quick)).served_by == "local/gemma"


async def test_C4_01_without_profiles_the_implicit_default_is_auto(make: MakeStand) -> None:
    """Listed with both flags; requests without a model, for `default` and for `auto` go the same way."""
    stand = await make("a", "b")
    (only,) = await stand.node.control.profiles()
    assert (only.id, only.provider, only.model, only.default, only.implicit) == ("default", "a", "m", True, True)
    for name in (None, "default", "auto"):
        assert (await stand.chat(name)).served_by == "a/m"
    stand.sims["a"].set("m", Behaviour(statuses=(500,)))
    assert (await stand.chat("default")).served_by == "b/m"


async def test_C4_27_the_doctor_names_the_variable_of_a_key_that_is_refused_or_missing(make: MakeStand) -> None:
    """A 401 names where the key comes from, an unset variable itself; nothing the upstream said is repeated."""
    stand = await make(
        "a", "b", "c", env={"A_KEY": "sk-wrong-0815-0815"},
        providers={"a": {"api_key": "env:A_KEY"}, "b": {"api_key": "env:B_KEY"}},
    )  # fmt: skip
    stand.sims["a"].set("m", Behaviour(statuses=(401,)))
    assert (await stand.chat(None)).served_by == "c/m"
    for scope in ("models", "profiles"):
        found = {each.subject: each for each in await stand.node.control.doctor(scope)}  # type: ignore[arg-type] # both
        assert {each.level for each in found.values()} == {"WARN"}
        assert "env:A_KEY" in found["provider a"].message
        assert "B_KEY" in found["provider b"].message
        assert "0815" not in str(found)
        assert "provider c" not in found
