"""Every strategy of a pool shown through the public port: sequences and shares over real sockets, default settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, Reply, Stand

from routerconsole.control.registry_commands import UpdateModel
from routerconsole.domain.route import ModelKey
from routerconsole.routing.order import Quality
from routerconsole.simulator import Behaviour


def pool(strategy: str, *members: str, **more: Any) -> list[dict[str, Any]]:
    """One pool `p` of the models `m` of these providers."""
    return [{"id": "p", "strategy": strategy, "members": [f"{name}/m" for name in members], **more}]


def priced(**prices: float | None) -> dict[str, list[dict[str, Any]]]:
    """A model `m` per provider at so many USD per million tokens in (and none out); None: nobody knows."""
    return {
        name: [{"id": "m"} if price is None else {"id": "m", "usd_per_mtok_in": price, "usd_per_mtok_out": 0}]
        for name, price in prices.items()
    }


def limited(**limits: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """A model `m` per provider with these limits."""
    return {name: [{"id": "m", "limits": dict(each)}] for name, each in limits.items()}


def names(replies: Sequence[Reply]) -> str:
    """Who served, in order."""
    return " ".join(reply.served_by.removesuffix("/m") for reply in replies)


async def several(stand: Stand, count: int, **more: Any) -> list[Reply]:
    """So many requests to pool `p`, one after the other."""
    return [await stand.chat("p", **more) for _ in range(count)]


async def shown(stand: Stand, **more: Any) -> list[dict[str, Any]]:
    """The candidates `explain` tells of, in order."""
    body = {"model": "p", "messages": [{"role": "user", "content": "Hello"}], **more}
    candidates: list[dict[str, Any]] = (await stand.post("/api/v1/router/explain", body, admin=True)).json["candidates"]
    return candidates


async def test_C3_25_round_robin_alternates(make: MakeStand) -> None:
    """Six calls over a and b alternate, whatever the priorities say; explain takes nobody's turn."""
    stand = await make("a", "b", pools=pool("round_robin", "a", "b"))
    first = await several(stand, 3)
    assert (await shown(stand))[0]["provider"] == "b"
    assert (await shown(stand))[0]["provider"] == "b"
    assert names([*first, *await several(stand, 3)]) == "a b a b a b"


async def test_C3_25_round_robin_goes_on_without_a_member_that_cannot_be_asked(make: MakeStand) -> None:
    """The others share its turns evenly, and it joins again when it is back."""
    stand = await make("a", "b", "c", pools=pool("round_robin", "a", "b", "c"))
    await stand.post("/api/v1/router/providers/b/control", {"action": "disable"}, admin=True)
    assert names(await several(stand, 4)) == "a c a c"
    await stand.post("/api/v1/router/providers/b/control", {"action": "enable"}, admin=True)
    assert names(await several(stand, 4)) == "b a c b"


async def test_C3_26_cost_first_asks_the_cheapest_that_can_be_asked(make: MakeStand) -> None:
    """Cheapest first, unknown prices last; a cheaper one that is switched off is passed over."""
    stand = await make("a", "b", "c", models=priced(a=None, b=2, c=1), pools=pool("cost_first", "a", "b", "c"))
    assert [item["provider"] for item in await shown(stand)] == ["c", "b", "a"]
    assert names(await several(stand, 2)) == "c c"
    await stand.post("/api/v1/router/providers/c/control", {"action": "disable"}, admin=True)
    assert names(await several(stand, 2)) == "b b"


async def test_C3_27_stick_stays_where_it_went(make: MakeStand) -> None:
    """The same model after success; after a failure the next one, and the recovered one takes nothing back."""
    stand = await make("a", "b", pools=pool("stick_until_failure", "a", "b"))
    assert names(await several(stand, 3)) == "a a a"
    stand.sims["a"].set("m", Behaviour(statuses=(500, 200)))
    assert names(await several(stand, 1)) == "b"
    assert names(await several(stand, 3)) == "b b b"
    moved = {"pool": "p", "before": {"pointer": "a/m"}, "after": {"pointer": "b/m"}}
    await stand.until(lambda: moved in [event.data for event in stand.events("pool.changed")], "the pointer's event")
    assert stand.sims["a"].count("m") == 4
    stand.sims["b"].set("m", Behaviour(statuses=(503, 200)))
    assert names(await several(stand, 2)) == "a a"


async def view(stand: Stand, name: str = "p") -> dict[str, Any]:
    """A pool as the control plane shows it."""
    pools = (await stand.get("/api/v1/pools")).json["pools"]
    found: dict[str, Any] = next(each for each in pools if each["id"] == name)
    return found


async def switch(stand: Stand, provider: str, action: str) -> None:
    """Give an operator's command to a provider."""
    path = f"/api/v1/router/providers/{provider}/control"
    assert (await stand.post(path, {"action": action}, admin=True)).status == 200


async def test_C3_12_a_pool_shows_who_can_be_asked_and_where_it_points(make: MakeStand) -> None:
    """One of two members out: routable 1 of 2, the pointer at the other, and the reason; automatic pools too."""
    stand = await make("a", "b", pools=pool("stick_until_failure", "a", "b", description="Two of them."))
    await switch(stand, "b", "disable")
    shown = await view(stand)
    assert (shown["routable"], shown["total"], shown["pointer"]) == (1, 2, "a/m")
    assert (shown["strategy"], shown["automatic"], shown["description"]) == (
        "stick_until_failure", False, "Two of them.",
    )  # fmt: skip
    assert [(each["provider"], each["admissible"], each["position"]) for each in shown["members"]] == [
        ("a", True, 1), ("b", False, 2),
    ]  # fmt: skip
    assert shown["members"][1]["reason"] == "admin_disabled"
    automatic = await view(stand, "auto")
    assert (automatic["automatic"], automatic["routable"], automatic["pointer"]) == (True, 1, "a/m")


async def test_rotate_moves_the_pointer_and_is_audited(make: MakeStand) -> None:
    """The next request goes to the next member and stays there, over a restart too; one pool.changed tells of it."""
    stand = await make("a", "b", pools=pool("stick_until_failure", "a", "b"))
    assert names(await several(stand, 1)) == "a"
    receipt = (await stand.post("/api/v1/pools/P/rotate", {}, admin=True)).json
    assert (receipt["before"], receipt["after"]) == ({"pointer": "a/m"}, {"pointer": "b/m"})
    assert receipt["persisted"] is True
    assert (await view(stand))["pointer"] == "b/m"
    assert names(await several(stand, 2)) == "b b"
    assert [event.data["pool"] for event in stand.events("pool.changed")][-1:] == ["p"]
    newest = (await stand.get("/api/v1/audit")).json["audit"][0]
    assert (newest["command"], newest["target"]) == ("rotate_pool", "p")
    await stand.restart()
    assert names(await several(stand, 1)) == "b"


async def test_rotate_refuses_to_strand_a_pool_or_to_move_what_does_not_point(make: MakeStand) -> None:
    """One member, nobody else who can be asked, or a strategy without a pointer: 409 that says which; unknown: 404."""
    pools = [
        *pool("stick_until_failure", "a", "b"),
        {"id": "lone", "strategy": "stick_until_failure", "members": ["a/m"]},
        {"id": "cheap", "strategy": "cost_first", "members": ["a/m", "b/m"]},
    ]
    stand = await make("a", "b", pools=pools)
    for name, said in (("lone", "1 member"), ("cheap", "stick_until_failure")):
        refused = await stand.post(f"/api/v1/pools/{name}/rotate", {}, admin=True)
        assert refused.status == 409
        assert said in refused.error["message"]
    await switch(stand, "b", "disable")
    refused = await stand.post("/api/v1/pools/p/rotate", {}, admin=True)
    assert refused.status == 409
    assert "b/m: admin_disabled" in refused.error["message"]
    assert (await stand.post("/api/v1/pools/nope/rotate", {}, admin=True)).status == 404
    assert names(await several(stand, 1)) == "a"


async def test_C3_14_a_pool_nobody_of_which_can_be_asked(make: MakeStand) -> None:
    """By its id it answers; unknown 404; with all routes away 503 and exactly one pool.exhausted."""
    stand = await make("a", "b", pools=pool("round_robin", "a", "b"))
    assert (await stand.chat("p")).status == 200
    assert (await stand.chat("nope")).status == 404
    await switch(stand, "a", "disable")
    await switch(stand, "b", "drain")
    refused = await stand.chat("p")
    assert (refused.status, refused.error["code"]) == (503, "no_routable_candidate")
    assert [event.data["pool"] for event in stand.events("pool.exhausted")] == ["p"]
    assert (await stand.chat("a/m")).status == 503
    assert len(stand.events("pool.exhausted")) == 1, "a model is no pool"


def shares(replies: Sequence[Reply]) -> dict[str, float]:
    """The share of each provider, in percent."""
    served = Counter(names(replies).split())
    return {name: 100 * count / len(replies) for name, count in served.items()}


async def test_latency_first_asks_the_fastest(make: MakeStand) -> None:
    """After one look at each the fast one serves; whole answers by their total, streams by their first token."""
    stand = await make("a", "b", pools=pool("latency_first", "a", "b"))
    stand.sims["a"].set("m", Behaviour(latency=0.12, ttft=0.0))
    stand.sims["b"].set("m", Behaviour(latency=0.0, ttft=0.2))
    for name in "ab":
        await stand.chat(f"{name}/m")
        await stand.stream(f"{name}/m")
    assert names(await several(stand, 5)) == "b b b b b"
    assert [(await stand.stream("p")).served_by for _ in range(3)] == ["a/m"] * 3
    reasons = [item["reasons"] for item in await shown(stand)]
    assert reasons[0][0].startswith("latency ")


async def test_latency_first_puts_who_fails_behind(make: MakeStand) -> None:
    """The faster one starts to fail: each failure costs ten-fold, and the slower one serves."""
    stand = await make("a", "b", pools=pool("latency_first", "a", "b"))
    stand.sims["a"].set("m", Behaviour(latency=0.1, statuses=(200, 500, 500, 500, 200)))
    stand.sims["b"].set("m", Behaviour(latency=0.2))
    for name in "aba":
        await stand.chat(f"{name}/m")
    assert names(await several(stand, 3)) == "b b b"


async def test_C3_31_sessions_keep_their_route(make: MakeStand) -> None:
    """Each session has one, spread over all; when it fails the session moves once and stays, the others do not."""
    stand = await make("a", "b", "c", pools=pool("session_sticky", "a", "b", "c"))
    sessions = [{"x-router-session": f"chat-{n}"} for n in range(24)]

    async def homes() -> list[str]:
        return [(await stand.chat("p", headers=session)).served_by for session in sessions]

    first = await homes()
    assert set(first) == {"a/m", "b/m", "c/m"}
    assert await homes() == first
    await switch(stand, "a", "disable")
    moved = await homes()
    assert all((now != was) is (was == "a/m") for now, was in zip(moved, first, strict=True))
    await switch(stand, "a", "enable")
    assert await homes() == moved
    assert names(await several(stand, 2)) == "a a", "without a session the pool goes by priority"


async def test_C3_31_a_strict_session_is_refused_when_its_route_is_away(make: MakeStand) -> None:
    """503 that names what it is bound to, other sessions are served; the hash is the same after a restart."""
    stand = await make("a", "b", pools=pool("session_sticky", "a", "b", session_mode="strict"))
    homes = {n: (await stand.chat("p", headers={"x-router-session": f"s{n}"})).served_by for n in range(16)}
    assert set(homes.values()) == {"a/m", "b/m"}
    await stand.restart()
    await switch(stand, "a", "disable")
    for n, home in homes.items():
        reply = await stand.chat("p", headers={"x-router-session": f"s{n}"})
        if home == "b/m":
            assert reply.served_by == home
        else:
            assert (reply.status, reply.error["code"]) == (503, "no_routable_candidate")
            assert "session_mode: strict" in reply.error["message"]
    assert stand.events("pool.exhausted") == [], "the pool's others were there"
    assert stand.sims["a"].count("m") == sum(home == "a/m" for home in homes.values())


async def test_C3_29_rate_limit_aware_leaves_at_80_percent(make: MakeStand) -> None:
    """Four of five requests a minute, then the one with most room, and there it stays."""
    models = limited(a={"rpm": 5}, b={"rpm": 100}, c={"rpm": 10})
    stand = await make("a", "b", "c", models=models, pools=pool("rate_limit_aware", "a", "b", "c"))
    await stand.chat("b/m")
    await stand.chat("c/m")
    assert names(await several(stand, 7)) == "a a a a b b b"
    assert (await view(stand))["pointer"] == "b/m"
    words = {item["provider"]: item["reasons"][0] for item in await shown(stand)}
    assert words == {"a": "20 % of its limits left", "b": "96 % of its limits left", "c": "90 % of its limits left"}


async def test_limits_tokens_count_as_reported(make: MakeStand) -> None:
    """Before the answer an estimate is held, after it what the upstream said, and nothing for what it refused."""
    models = limited(a={"tpm": 1000})
    stand = await make("a", "b", models=models, pools=pool("priority", "a", "b"))
    reply = await stand.chat("p", max_tokens=900)
    usage = reply.json["usage"]["total_tokens"]
    meter = stand.node.service.means.meter
    (route,) = stand.node.service.registry.routes(ModelKey("a", "m"))
    assert meter.used(route, stand.node.service.clock.monotonic())[:2] == (1, usage)
    stand.sims["a"].set("m", Behaviour(statuses=(400,)))
    assert (await stand.chat("a/m")).status == 400
    assert meter.used(route, stand.node.service.clock.monotonic())[:2] == (2, usage)
    assert (await stand.chat("p", max_tokens=990)).served_by == "b/m", "its estimate does not fit what is left"


async def test_C1_43_limits_put_a_used_up_route_behind_and_say_so(make: MakeStand) -> None:
    """By priority too: it stays eligible, explain and the pool show the numbers, alone it is asked all the same."""
    stand = await make("a", "b", models=limited(a={"rpm": 2, "rpd": 50}), pools=pool("priority", "a", "b"))
    assert names(await several(stand, 3)) == "a a b"
    last = (await shown(stand))[-1]
    assert (last["provider"], last["decision"], last["reasons"]) == ("a", "demoted", ["limits used up: rpm 2/2"])
    member = (await view(stand))["members"][-1]
    assert (member["provider"], member["admissible"], member["reason"]) == ("a", True, "limits used up: rpm 2/2")
    assert (await stand.chat("a/m")).status == 200
    await switch(stand, "b", "disable")
    assert names(await several(stand, 1)) == "a"


async def test_limits_a_days_counts_survive_a_restart(make: MakeStand) -> None:
    """On the same UTC day the used-up route is still behind after the restart; a minute's counts are forgotten."""
    stand = await make("a", "b", models=limited(a={"rpd": 2, "rpm": 2}), pools=pool("priority", "a", "b"))
    assert names(await several(stand, 3)) == "a a b"
    await stand.restart()
    assert names(await several(stand, 1)) == "b"
    assert (await shown(stand))[-1]["reasons"] == ["limits used up: rpd 2/2"]


async def test_load_balanced_spreads_and_avoids_the_slow(make: MakeStand) -> None:
    """Equals share the traffic; the one that became slow gets little, under load by how much is under way."""
    roomy = {name: {"max_concurrency": 64} for name in "ab"}
    stand = await make("a", "b", providers=roomy, pools=pool("load_balanced", "a", "b"))
    for sim in stand.sims.values():
        sim.set("m", Behaviour(latency=0.1))
    even = shares([reply for _ in range(8) for reply in await stand.many(8, model="p")])
    assert 15 < even["a"] < 85
    stand.sims["a"].set("m", Behaviour(latency=1.2))
    await stand.many(4, model="p")
    await stand.chat("a/m")
    uneven = shares([reply for _ in range(10) for reply in await stand.many(4, model="p")])
    assert uneven["b"] > 70


async def test_load_balanced_keeps_away_from_who_fails(make: MakeStand) -> None:
    """A failure makes a route ten times as dear, fading over seconds; the other takes over at once."""
    stand = await make("a", "b", pools=pool("load_balanced", "a", "b"))
    for sim in stand.sims.values():
        sim.set("m", Behaviour(latency=0.1))
    for name in "abab":
        await stand.chat(f"{name}/m")
    stand.sims["a"].set("m", Behaviour(latency=0.1, statuses=(500, 200)))
    await stand.chat("a/m")
    assert shares(await several(stand, 10)) == {"b": 100}


async def test_C3_30_capacity_weighted_goes_by_what_is_left(make: MakeStand) -> None:
    """Of 900 and 100 left of 1,000 the first gets nine in ten; the dice are seeded, and explain does not throw them."""
    models = limited(a={"rpm": 100_000}, b={"rpm": 100_000})
    stand = await make("a", "b", models=models, pools=pool("capacity_weighted", "a", "b"))
    service = stand.node.service
    for name, used in (("a", 10_000), ("b", 90_000)):
        (route,) = service.registry.routes(ModelKey(name, "m"))
        for _ in range(used):
            service.means.meter.sent(route, 0, service.clock.monotonic(), service.clock.wall())
    ahead = (await shown(stand))[0]["provider"]
    assert [(await shown(stand))[0]["provider"] for _ in range(5)] == [ahead] * 5
    replies = await several(stand, 300)
    assert replies[0].served_by == f"{ahead}/m"
    assert abs(shares(replies)["a"] - 90) < 6


async def test_C1_46_C1_16_waterfall_goes_free_local_paid(make: MakeStand) -> None:
    """Free first, then at home, then paid with the cheapest first, whatever the priorities; each tier is gated."""
    flat = {"usd_per_mtok_out": 0}
    models = {
        "dear": [{"id": "m", "usd_per_mtok_in": 5, **flat}],
        "cheap": [{"id": "m", "usd_per_mtok_in": 1, **flat}],
        "home": ["m"],
        "gift": [{"id": "m", "capabilities": ["-tools"], "limits": {"rpm": 2}}],
    }
    away = {name: {"local": False} for name in ("dear", "cheap", "gift")}
    away["gift"]["free"] = True
    members = ("dear", "cheap", "home", "gift")
    stand = await make(*members, models=models, providers=away, pools=pool("waterfall", *members))
    assert [item["provider"] for item in await shown(stand)] == ["gift", "home", "cheap", "dear"]
    assert names([await stand.chat("p", **FORCED)]) == "home", "the free one cannot call tools"
    assert names(await several(stand, 2)) == "gift gift"
    await switch(stand, "gift", "disable")
    assert names(await several(stand, 1)) == "home"
    await switch(stand, "home", "disable")
    assert names(await several(stand, 1)) == "cheap"
    await switch(stand, "cheap", "disable")
    assert names(await several(stand, 1)) == "dear"


async def test_quality_first_asks_the_best_scored(make: MakeStand) -> None:
    """Without scores all tie and the pool's own order holds; with them the best mean reward leads."""
    stand = await make("a", "b", pools=pool("quality_first", "a", "b"))
    assert names(await several(stand, 2)) == "a a"
    service = stand.node.service
    scores = {ModelKey("a", "m"): Quality(reward=0.2), ModelKey("b", "m"): Quality(reward=0.7)}
    service.chat.means = replace(service.chat.means, quality=lambda _: scores)
    assert names(await several(stand, 2)) == "b b"


async def test_priority_is_the_default_and_deterministic(make: MakeStand) -> None:
    """Provider priority, then as listed; a chain of one provider's models goes in the order written."""
    models = {"a": ["one", "two", "three"], "b": ["m"]}
    chain = [{"id": "p", "members": ["b/m", "a/three", "a/one", "a/two"]}]
    stand = await make("a", "b", models=models, pools=chain)
    for name in ("one", "two", "three"):
        stand.sims["a"].set(name, Behaviour())
    assert [f"{item['provider']}/{item['model']}" for item in await shown(stand)] == [
        "a/three", "a/one", "a/two", "b/m",
    ]  # fmt: skip
    assert {reply.served_by for reply in await several(stand, 5)} == {"a/three"}


async def test_C3_12_gates_and_learned_gaps_show_as_reasons(make: MakeStand) -> None:
    """In an automatic pool: one refused tools and was learned to lack them, one waits for its rate limit."""
    tools = {name: [{"id": "m", "capabilities": ["tools"]}] for name in "abc"}
    stand = await make("a", "b", "c", models=tools)
    stand.sims["a"].set("m", Behaviour(refuse={"tools": "openrouter_no_tools"}))
    stand.sims["b"].set("m", Behaviour(statuses=(429,), retry_after=50))
    assert (await stand.chat("tools", **FORCED)).served_by == "c/m"
    shown = await view(stand, "tools")
    assert (shown["automatic"], shown["node"], shown["routable"], shown["total"]) == (
        True, "interaction.tool-calling", 2, 3,
    )  # fmt: skip
    members = {each["provider"]: each for each in shown["members"]}
    assert (members["a"]["admissible"], members["a"]["reason"]) == (True, "learned gap: interaction.tool-calling")
    assert members["b"]["admissible"] is False
    assert members["b"]["reason"].startswith("rate_limited ")
    assert (members["c"]["admissible"], members["c"]["reason"]) == (True, "")


async def test_a_limit_that_is_set_later_finds_its_count(make: MakeStand) -> None:
    """Three requests were served before an operator set two a minute: the next one goes elsewhere at once."""
    stand = await make("a", "b", pools=pool("priority", "a", "b"))
    assert names(await several(stand, 3)) == "a a a"
    await stand.node.control.do(UpdateModel("a", "m", {"limits": {"rpm": 2}}))
    assert names(await several(stand, 1)) == "b"
    await stand.node.control.do(UpdateModel("a", "m", {"limits": {"rpm": 10, "tpd": 5}}))
    assert (await shown(stand))[-1]["reasons"][0].startswith("limits used up: tpd ")


@pytest.mark.parametrize(
    ("kept", "members"),
    [
        ({}, "a/plain b/seeing c/seeing"),
        ({"providers": ["B", "c"]}, "b/seeing c/seeing"),
        ({"exclude_providers": ["c"]}, "a/plain b/seeing"),
        ({"tags": ["quick", "mine"]}, "c/seeing"),
        ({"free": True}, "c/seeing"),
        ({"free": False}, "a/plain b/seeing"),
        ({"local": True}, "a/plain"),
        ({"local": False}, "b/seeing c/seeing"),
    ],
)
async def test_pools_members_come_from_list_and_node_through_the_filter(
    make: MakeStand, kept: dict[str, Any], members: str
) -> None:
    """Those listed and those of the node or below it, whoever the filter keeps; the one without the node is out."""
    models = {
        "a": [{"id": "plain", "tags": ["quick"]}, {"id": "m", "capabilities": ["-vision"]}],
        "b": [{"id": "seeing", "capabilities": ["vision"], "tags": ["quick"]}],
        "c": [{"id": "seeing", "capabilities": ["ocr"], "tags": ["mine", "quick"]}],
    }
    away = {"b": {"local": False}, "c": {"local": False, "free": True}}
    hybrid = [{"id": "p", "node": "understanding.vision-understanding", "members": ["a/plain"], "filter": kept}]
    stand = await make("a", "b", "c", models=models, providers=away, pools=hybrid)
    found = await view(stand)
    assert " ".join(f"{each['provider']}/{each['model']}" for each in found["members"]) == members


async def test_C3_25_C1_43_a_burst_is_shared_to_the_request(make: MakeStand) -> None:
    """Forty at once: turns are even, and a limit of ten a minute is not overrun by what is still under way."""
    roomy = {name: {"max_concurrency": 64} for name in "ab"}
    pools = [*pool("round_robin", "a", "b"), {"id": "q", "members": ["a/m", "b/m"]}]
    stand = await make("a", "b", models=limited(a={"rpm": 30}, b={}), providers=roomy, pools=pools)
    for sim in stand.sims.values():
        sim.set("m", Behaviour(latency=0.05))
    assert shares(await stand.many(40, model="p")) == {"a": 50, "b": 50}
    assert shares(await stand.many(40, model="q")) == {"a": 25, "b": 75}
