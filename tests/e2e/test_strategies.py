"""Every strategy of a pool shown through the public port: sequences and shares over real sockets, default settings."""

from __future__ import annotations

from collections import Counter
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
