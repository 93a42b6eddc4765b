"""Every strategy of a pool shown through the public port: sequences and shares over real sockets, default settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Reply, Stand

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
