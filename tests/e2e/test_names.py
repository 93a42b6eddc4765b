"""What `model` means at the public port: pools, virtual models, capabilities, agents, and what is listed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import TOOL, Reply, Stand

from routerconsole.control.commands import Disable, Target
from routerconsole.control.registry_commands import AssignAgent, UnassignAgent
from routerconsole.simulator import Behaviour

MODELS: dict[str, list[dict[str, Any]]] = {
    "home": [{"id": "small", "capabilities": ["text", "tools"], "tier": "exploratory"}],
    "gift": [{"id": "tooled", "capabilities": ["text", "tools", "json"]}, {"id": "plain", "capabilities": ["text"]}],
    "shop": [
        {"id": "big", "capabilities": ["text", "tools", "ocr"], "tier": "deep"},
        {"id": "hidden", "capabilities": ["text", "tools"], "in_pools": False},
        {"id": "embed", "capabilities": ["embeddings"]},
    ],
}
PROVIDERS = {"home": {"local": True}, "gift": {"local": False, "free": True}, "shop": {"local": False}}


async def town(make: MakeStand, **more: Any) -> Stand:
    """Three providers: one local, one free, one that is neither, with models of every sort."""
    stand = await make("home", "gift", "shop", models=MODELS, providers=PROVIDERS, **more)
    for name, models in MODELS.items():
        for model in models:
            stand.sims[name].set(model["id"], Behaviour())
    return stand


async def listed(stand: Stand) -> list[str]:
    """The ids of GET /v1/models."""
    return [card["id"] for card in (await stand.get("/v1/models")).json["data"]]


async def explained(stand: Stand, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """The decision for a body, nothing sent."""
    asked = {"messages": [{"role": "user", "content": "x"}], **body}
    reply = await stand.post("/api/v1/router/explain", asked, headers=headers, admin=True)
    assert reply.status == 200, reply.body
    return reply.json


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("router/tools", "home/small"),
        ("router/tools/free", "gift/tooled"),
        ("router/tools/local", "home/small"),
        ("llmproxy__tools__free", "gift/tooled"),
        ("llmproxy/json", "gift/tooled"),
        ("router__deep", "shop/big"),
        ("Router/Free", "gift/tooled"),
        ("router/exploratory", "home/small"),
        ("ocr", "shop/big"),
        ("understanding.vision-understanding", "shop/big"),
        ("function-call-generation", None),
    ],
)
async def test_C1_51_C1_52_C3_03_names_that_exist_by_themselves(make: MakeStand, name: str, served: str | None) -> None:
    """Virtual models in every spelling, capability paths and leaf names answer; an empty one is 503 with the key."""
    stand = await town(make)
    reply = await stand.chat(name, tools=[TOOL])
    if served is None:
        assert (reply.status, reply.error["code"]) == (503, "no_routable_candidate")
        assert "`providers[].models[].capabilities`" in reply.error["message"]
        assert reply.headers["retry-after"]
    else:
        assert (reply.status, reply.served_by) == (200, served)


@pytest.mark.parametrize(
    ("name", "key"),
    [("router/audio", "capabilities"), ("router/deep/free", "free: true"), ("router/deep/local", "local: true")],
)
async def test_C1_51_R27_an_empty_virtual_model_names_the_key_to_fill(make: MakeStand, name: str, key: str) -> None:
    """503, nothing sent, one pool.exhausted event; streamed alike."""
    stand = await town(make)
    for reply in (await stand.chat(name), await stand.stream(name)):
        assert (reply.status, reply.error["code"], reply.attempts) == (503, "no_routable_candidate", 0)
        assert key in reply.error["message"]
    events = stand.events("pool.exhausted")
    assert [event.data["pool"] for event in events] == [name, name]
    asked = [stand.sims[name].count(model["id"]) for name, models in MODELS.items() for model in models]
    assert not any(asked)


async def test_C1_51_hidden_models_are_in_no_pool_and_have_their_name(make: MakeStand) -> None:
    """`in_pools: false`: directly addressable, listed, and never chosen for anybody."""
    stand = await town(make)
    assert (await stand.chat("shop/hidden")).served_by == (await stand.chat("hidden")).served_by == "shop/hidden"
    for name in ("auto", "tools", "router/tools", "router/standard"):
        told = await explained(stand, model=name)
        assert "hidden" not in [item["model"] for item in told["candidates"]], name


async def test_C1_52_C1_58_what_is_listed_answers_and_is_shown_one_by_one(make: MakeStand) -> None:
    """Models, pools, profiles and virtual models with members; each listed id is found, with its capabilities."""
    stand = await town(
        make, pools=[{"id": "coding", "members": ["shop/big"]}, {"id": "empty", "node": "audio"}],
        profiles=[{"id": "gpt-4o-mini", "provider": "gift", "model": "tooled"}],
    )  # fmt: skip
    ids = await listed(stand)
    assert len(ids) == len(set(ids))
    assert {
        "home__small", "gift__plain", "shop__hidden", "auto", "tools", "coding", "gpt-4o-mini", "router/tools",
        "router/tools/free", "router/deep", "router/free", "router/local", "router/embeddings",
    } <= set(ids)  # fmt: skip
    assert {"empty", "router/audio", "router/deep/free", "default"}.isdisjoint(ids)
    for name in ids:
        one = await stand.get(f"/v1/models/{name}")
        assert (one.status, one.json["id"]) == (200, name)
        assert set(one.json) == {"id", "object", "created", "owned_by", "capabilities"}
    assert (await stand.get("/v1/models/shop__big")).json["capabilities"]["tools"] == "yes"
    assert (await stand.get("/v1/models/GPT-4o-mini")).json["capabilities"]["json"] == "yes"
    assert (await stand.get("/v1/models/llmproxy__tools__free")).json["id"] == "router/tools/free"
    for name in ("nobody", "empty", "router/audio", "router/nonsense"):
        assert (await stand.get(f"/v1/models/{name}")).status == 404


async def test_C1_58_what_is_disabled_is_not_listed(make: MakeStand) -> None:
    """A provider disabled by hand takes its models, and the virtual models that only it filled, off the list."""
    stand = await town(make)
    await stand.node.control.do(Disable(Target("shop")))
    ids = await listed(stand)
    assert {"shop__big", "router/deep", "router/embeddings"}.isdisjoint(ids)
    assert {"home__small", "router/tools"} <= set(ids)
    assert (await stand.get("/v1/models/shop__big")).status == 404


async def test_C1_58_a_pinned_unknown_model_is_4xx_with_suggestions(make: MakeStand) -> None:
    """Typos of every kind of name; a name in another case is none."""
    stand = await town(
        make, pools=[{"id": "coding", "members": ["shop/big"]}],
        profiles=[{"id": "house", "provider": "gift", "model": "tooled"}], agents={"researcher": "coding"},
    )  # fmt: skip
    typos = {
        "shop/bigg": "shop/big", "codign": "coding", "hause": "house", "resaercher": "researcher",
        "router/tolls": "router/tools",
    }  # fmt: skip
    for typo, meant in typos.items():
        reply = await stand.chat(typo)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
        assert meant in reply.error["message"]
    for name in ("CODING", "House", "SHOP/big", "Shop__big"):
        assert (await stand.chat(name)).status == 200, name


async def test_C3_14_a_pool_answers_by_its_id_and_an_unknown_one_is_404(make: MakeStand) -> None:
    """Members named by `provider/model`; who none of whose routes can be asked is 503 with one pool.exhausted event."""
    stand = await town(make, pools=[{"id": "coding", "members": ["shop/big", "gift/tooled"]}])
    assert (await stand.chat("coding")).served_by == "gift/tooled"
    assert (await stand.chat("no-such-pool")).status == 404
    for name in ("gift", "shop"):
        await stand.node.control.do(Disable(Target(name)))
    reply = await stand.chat("coding")
    assert (reply.status, reply.error["code"]) == (503, "no_routable_candidate")
    assert len(stand.events("pool.exhausted")) == 1


async def test_the_capability_of_a_model_gates_endpoints(make: MakeStand) -> None:
    """`auto` embeds with what embeds and chats with what chats; a model of the other kind is 422 that says so."""
    stand = await town(make)
    embedded = await stand.post("/v1/embeddings", {"input": "x"})
    assert embedded.served_by == "shop/embed"
    assert (await stand.post("/v1/embeddings", {"model": "embeddings", "input": "x"})).served_by == "shop/embed"
    for reply in (
        await stand.post("/v1/embeddings", {"model": "shop/big", "input": "x"}),
        await stand.chat("shop/embed"),
        await stand.post("/v1/completions", {"model": "shop/embed", "prompt": "x"}),
        await stand.post("/v1/embeddings", {"model": "router/tools", "input": "x"}),
    ):
        assert (reply.status, reply.error["code"], reply.attempts) == (422, "capability_unavailable", 0)
        assert "does not serve" in reply.error["message"]
    told = await explained(stand, model="auto")
    assert [item["decision"] for item in told["candidates"] if item["model"] == "embed"] == ["dropped"]


# --- agents

AGENTS = {"researcher": "gift/tooled", "lost": "shop/big"}


async def because(stand: Stand, reply: Reply) -> list[str]:
    """Why a request went where it went, as its trace tells."""
    found: list[str] = (await stand.get(f"/api/v1/requests/{reply.id}")).json["because"]
    return found


async def test_C0_39_agents_go_where_they_are_assigned_then_to_their_own_default(make: MakeStand) -> None:
    """The level that won is in the trace, in explain and in the x-router-trace body; the model named wins over all."""
    stand = await town(make, agents=AGENTS)
    headers = {"x-router-agent": "researcher", "x-router-trace": "1"}
    own = await stand.chat(None, headers=headers)
    assert own.served_by == "gift/tooled"
    assert "own default of 'researcher' → gift/tooled" in await because(stand, own)
    await stand.node.control.do(AssignAgent("researcher", "shop/big"))
    assigned = await stand.chat("auto", headers=headers)
    assert assigned.served_by == "shop/big"
    said = await because(stand, assigned)
    assert said == ["assignment of 'researcher' → shop/big"]
    assert assigned.json["routerconsole"]["resolved"] == {"kind": "agent", "id": "shop/big", "because": said}
    assert (await explained(stand, headers))["resolved"]["because"] == said
    assert (await stand.chat("home/small", headers=headers)).served_by == "home/small"
    assert (await stand.chat("researcher")).served_by == "shop/big"
    await stand.node.control.do(UnassignAgent("researcher"))
    assert (await stand.chat(None, headers=headers)).served_by == "gift/tooled"
    stranger = await stand.chat(None, headers={"x-router-agent": "stranger"})
    assert stranger.served_by == "home/small"
    assert (await because(stand, stranger))[-1] == "global default → auto"


async def test_C0_39_an_assignment_that_cannot_be_used_is_skipped_with_the_reason(make: MakeStand) -> None:
    """Its provider is disabled: the agent's own default answers, and the trace says why."""
    stand = await town(make, agents=AGENTS)
    await stand.node.control.do(AssignAgent("researcher", "shop/big"))
    await stand.node.control.do(Disable(Target("shop")))
    reply = await stand.chat(None, headers={"x-router-agent": "researcher"})
    assert reply.served_by == "gift/tooled"
    assert (await because(stand, reply))[0] == (
        "assignment of 'researcher' → shop/big skipped: the provider 'shop' is disabled"
    )
    lost = await stand.chat(None, headers={"x-router-agent": "lost"})
    assert lost.served_by == "home/small"
    assert "own default of 'lost' → shop/big skipped: the provider 'shop' is disabled" in await because(stand, lost)
