"""The eleven strategies as pure functions: sequences, shares over seeded draws, and what holds for any input."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.routing.cascades import CHAT, TOOLS, Stage, model, pool, provider, rate, server

from routerconsole.domain.capability import Source
from routerconsole.domain.outcome import Success
from routerconsole.domain.pool import PriceTier, SessionMode, Strategy
from routerconsole.domain.registry import Limits, Provider
from routerconsole.domain.route import ModelKey, Route
from routerconsole.routing.order import (
    Quality,
    by_headroom,
    by_latency,
    by_price,
    by_quality,
    by_tier,
    by_turn,
    ranks,
    rendezvous,
    ring,
    two_choices,
    unit_price,
    weighted,
)

DRAWS = 10_000


def route(name: str) -> Route:
    """Some route."""
    return Route(name, None, "m")


def routes(count: int) -> list[Route]:
    """So many routes."""
    return [route(f"p{n}") for n in range(count)]


def shares(weights: list[float]) -> list[float]:
    """How often each is drawn first, in percent."""
    rng = random.Random(7)
    firsts = Counter(weighted(weights, rng).index(0) for _ in range(DRAWS))
    return [100 * firsts[at] / DRAWS for at in range(len(weights))]


# --- what holds for all of them ---


@given(st.lists(st.floats(allow_nan=False), max_size=40))
def test_ranks_are_a_permutation_and_stable(keys: list[float]) -> None:
    """Each place is given once; the lower key is in front, and of equals the one listed first."""
    places = ranks(keys)
    assert sorted(places) == list(range(len(keys)))
    order = sorted(range(len(keys)), key=places.__getitem__)
    assert order == sorted(range(len(keys)), key=lambda at: (keys[at], at))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers())
def test_random_strategies_are_seeded_permutations(values: list[float], seed: int) -> None:
    """The same seed gives the same order, and everybody has a place in it."""
    for draw in (weighted, lambda each, rng: two_choices(each, [True] * len(each), rng)):
        first, again = (draw(values, random.Random(seed)) for _ in range(2))
        assert first == again
        assert sorted(first) == list(range(len(values)))


# --- one by one ---


@given(st.integers(1, 20), st.data())
def test_C3_27_a_ring_begins_at_the_pointer_and_goes_round(count: int, data: st.DataObject) -> None:
    """From the pointer on as listed, then from the start."""
    first = data.draw(st.integers(0, count - 1))
    order = sorted(range(count), key=ring(count, first).__getitem__)
    assert order == [*range(first, count), *range(first)]


@given(st.integers(1, 8), st.lists(st.sets(st.integers(0, 7)), max_size=60))
def test_C3_25_turns_are_even_among_those_that_can_be_asked(count: int, away: list[set[int]]) -> None:
    """Whoever was asked longest ago of those admissible goes next; while nobody is away all alternate."""
    known, turns = [ModelKey(each.provider, each.model) for each in routes(count)], dict[ModelKey, int]()
    for number, out in enumerate(away, 1):
        places = by_turn(known, turns)
        able = [at for at in sorted(range(count), key=places.__getitem__) if at not in out]
        if able:
            assert turns.get(known[able[0]], 0) == min(turns.get(known[at], 0) for at in able)
            turns[known[able[0]]] = number
    sequence = []
    for number in range(2 * count):
        first = by_turn(known, turns).index(0)
        turns[known[first]] = 1000 + number
        sequence.append(first)
    assert sequence[:count] == sequence[count:]
    assert set(sequence) == set(range(count))


def test_C3_26_cheapest_first_unknown_last() -> None:
    """Zero is a price, unknown is none; equals keep their order."""
    assert by_price([None, 3.0, 0.0, 3.0, None]) == [3, 1, 0, 2, 4]


@pytest.mark.parametrize(
    ("changes", "price"),
    [
        ({"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}, 3.0),
        ({"usd_per_mtok_in": 1.0}, None),
        ({}, None),
        ({"free": True}, 0.0),
        ({"usd_per_mtok_in": 0.0, "usd_per_mtok_out": 0.0}, 0.0),
    ],
)
def test_C3_26_a_price_is_known_only_whole(changes: dict[str, float], price: float | None) -> None:
    """In and out together; half a price is unknown, said to be free is 0."""
    assert unit_price(model("p", **changes), provider("p")) == price


def test_C3_26_an_unpriced_local_model_is_no_free_one() -> None:
    """Unknown is not zero, at home either."""
    assert unit_price(model("p"), provider("p", local=True)) is None
    assert unit_price(model("p"), provider("p", free=True)) == 0.0


def test_latency_first_takes_the_median_for_the_unknown_and_makes_failures_dear() -> None:
    """Of 100, unknown and 300 the unknown stands at 200; a failure costs ten-fold."""
    assert by_latency([300.0, None, 100.0], [1.0, 1.0, 1.0]) == [2, 1, 0]
    assert by_latency([100.0, None, 300.0, 500.0], [1.0] * 4) == [0, 1, 2, 3]
    assert by_latency([100.0, 300.0], [10.0, 1.0]) == [1, 0]
    assert by_latency([None, None], [1.0, 1.0]) == [0, 1]
    assert by_latency([None, None], [1.9, 1.0]) == [1, 0]


@given(st.binary(min_size=16, max_size=16), st.integers(2, 12), st.data())
def test_C3_31_rendezvous_moves_only_the_sessions_of_who_left(session: bytes, count: int, data: st.DataObject) -> None:
    """Taking any other route away leaves a session where it is; taking its own sends it to its second."""
    known = routes(count)
    order = sorted(range(count), key=rendezvous(session, known).__getitem__)
    gone = data.draw(st.integers(0, count - 1))
    left = [each for at, each in enumerate(known) if at != gone]
    first = left[rendezvous(session, left).index(0)]
    assert first == known[order[0] if order[0] != gone else order[1]]


def test_C3_31_rendezvous_spreads_sessions_evenly() -> None:
    """Four routes get a quarter each, ±3 % of 10,000."""
    firsts = Counter(rendezvous(n.to_bytes(16, "big"), routes(4)).index(0) for n in range(DRAWS))
    assert all(abs(count / DRAWS - 0.25) < 0.03 for count in firsts.values())


def test_C3_29_leaves_at_80_percent_for_most_headroom() -> None:
    """At 79 % it stays, at 80 and 84 % it goes to the one with most left; with none current that one leads."""
    assert by_headroom([0.79, 0.1, 0.5], 0) == [0, 1, 2]
    assert by_headroom([0.80, 0.5, 0.1], 0) == [2, 1, 0]
    assert by_headroom([0.84, 0.5, 0.1], 0) == [2, 1, 0]
    assert by_headroom([0.84, 0.9, 0.95], 0) == [0, 1, 2]
    assert by_headroom([0.3, 0.2], None) == [1, 0]


def test_C3_30_shares_follow_the_weights() -> None:
    """Relative 0.80/0.70/0.40 → 42/37/21 %, absolute 700/400/120 → 57/33/10 %, ±3 % over 10,000 seeded draws."""
    assert shares([0.80, 0.70, 0.40]) == pytest.approx([42, 37, 21], abs=3)
    assert shares([700, 400, 120]) == pytest.approx([57, 33, 10], abs=3)


def test_C1_43_C3_30_who_is_used_up_is_drawn_last_and_still_there() -> None:
    """Weight 0 never leads while another has any, and keeps a place."""
    rng = random.Random(1)
    for _ in range(200):
        assert weighted([0.0, 0.01, 1.0], rng)[0] == 2
    assert sorted(weighted([0.0, 0.0], rng)) == [0, 1]


def test_load_balanced_takes_the_cheaper_of_two() -> None:
    """Of three the dearest is never first, the cheapest is in two of three draws; one alone is always first."""
    rng = random.Random(3)
    firsts = Counter(two_choices([5.0, 1.0, 3.0], [True] * 3, rng).index(0) for _ in range(DRAWS))
    assert firsts[0] == 0
    assert firsts[1] / DRAWS == pytest.approx(2 / 3, abs=0.03)
    assert two_choices([5.0, 1.0, 3.0], [True, False, False], rng).index(0) == 1, "alone there is nothing to draw"


def test_load_balanced_draws_only_among_those_that_can_be_asked() -> None:
    """Who cannot be asked never takes a draw; equal costs are shared evenly."""
    rng = random.Random(3)
    firsts = Counter(two_choices([1.0, 2.0, 2.0], [False, True, True], rng).index(0) for _ in range(DRAWS))
    assert firsts[0] == 0
    assert firsts[1] / DRAWS == pytest.approx(0.5, abs=0.03)


@given(st.lists(st.tuples(st.sampled_from(PriceTier), st.none() | st.floats(0, 100)), max_size=20))
def test_C1_46_tiers_never_go_back_and_paid_goes_by_price(given_: list[tuple[PriceTier, float | None]]) -> None:
    """Free, local, paid; inside paid cheapest first with the unknown last; free and local keep their order."""
    tiers, prices = [tier for tier, _ in given_], [price for _, price in given_]
    order = sorted(range(len(given_)), key=by_tier(tiers, prices).__getitem__)
    assert [tiers[at] for at in order] == sorted(tiers)
    paid = [prices[at] for at in order if tiers[at] is PriceTier.PAID]
    assert paid == sorted(paid, key=lambda price: (price is None, price or 0.0))
    others = [at for at in order if tiers[at] is not PriceTier.PAID]
    assert others == sorted(others, key=lambda at: (tiers[at], at))


def test_quality_first_goes_by_reward_then_pass_k_unknown_is_median() -> None:
    """Known bests lead, the unknown stands in the middle, and with no scores at all everybody ties."""
    scores = [Quality(0.2), Quality(), Quality(0.9, 0.5), Quality(0.9, 0.8), Quality(0.4)]
    order = sorted(range(5), key=by_quality(scores).__getitem__)
    assert order == [3, 2, 1, 4, 0]
    assert by_quality([Quality(), Quality()]) == [0, 1]


# --- in their place: the sort key of a decision ---


def stage(strategy: Strategy, *providers: Provider, **more: object) -> Stage:
    """A pool `p` of all models of these providers, in order."""
    members = [f"{each.name}/{item.upstream_id}" for each in providers for item in each.models]
    return Stage(*providers, pools=[pool("p", *members, strategy=strategy, **more)])


def order_of(bench: Stage, needs: object = CHAT, **more: str) -> list[str]:
    """The providers as they would be asked."""
    decision = bench.decide(needs, name="p", **more)  # type: ignore[arg-type] # a Needs
    return [item.route.provider for item in decision.ranked]


def served(bench: Stage, count: int = 1, **more: object) -> str:
    """Who served so many requests, one after the other."""
    told = [bench.send(name="p", **more) for _ in range(count)]  # type: ignore[arg-type] # what send takes
    return " ".join(each.served.provider if each.served else "-" for each in told)


def test_C1_46_C1_16_a_waterfalls_gate_works_inside_each_tier() -> None:
    """Known-incapable ones drop out of each tier; within a tier capable before unknown, and no tier before its turn."""
    free = provider("free", model("free", "a", "-tools"), model("free", "b"), model("free", "c", "tools"), free=True)
    paid = provider("paid", model("paid", "d", "tools"), model("paid", "e", "-tools"))
    bench = stage(Strategy.WATERFALL, paid, free)
    ranked = bench.decide(TOOLS, name="p").ranked
    assert [item.route.model for item in ranked] == ["c", "b", "d"]
    assert [item.candidate.sort_key[0] for item in ranked] == [PriceTier.FREE, PriceTier.FREE, PriceTier.PAID]
    assert [item.candidate.sort_key for item in ranked] == sorted(item.candidate.sort_key for item in ranked)


def test_C1_46_an_exhausted_free_model_goes_behind_a_viable_weaker_one_and_stays() -> None:
    """Its limit used up it stands last of its tier, in front of what costs."""
    free = provider("free", model("free", "strong", limits=Limits(rpm=1)), model("free", "weak"), free=True)
    local = provider("local", model("local", "home"), local=True)
    paid = provider(
        "paid",
        model("paid", "dear", usd_per_mtok_in=5.0, usd_per_mtok_out=5.0),
        model("paid", "cheap", usd_per_mtok_in=1.0, usd_per_mtok_out=1.0),
    )
    bench = stage(Strategy.WATERFALL, paid, local, free)
    assert [item.route.model for item in bench.decide(name="p").ranked] == ["strong", "weak", "home", "cheap", "dear"]
    bench.send(name="p")
    after = bench.decide(name="p").ranked
    assert [item.route.model for item in after] == ["weak", "strong", "home", "cheap", "dear"]
    assert "limits used up: rpm 1/1" in after[1].candidate.reasons


def test_a_strategys_index_comes_last_in_the_key() -> None:
    """Cheapest or not: the capable go before the unknown, and the degraded and the gated behind."""
    dear = model("dear", "m", "tools", usd_per_mtok_in=9.0, usd_per_mtok_out=9.0)
    cheap = model("cheap", "m", usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
    bench = stage(Strategy.COST_FIRST, provider("cheap", cheap), provider("dear", dear))
    assert order_of(bench) == ["cheap", "dear"]
    assert order_of(bench, TOOLS) == ["dear", "cheap"]
    bench.send({"cheap": rate(30.0)}, name="p")
    assert order_of(bench) == ["dear", "cheap"]


@pytest.mark.parametrize("strategy", [each for each in Strategy if each is not Strategy.WATERFALL])
def test_every_strategy_keeps_the_keys_shape(strategy: Strategy) -> None:
    """Nine numbers, sorted, whoever orders; a plan changes nothing that the next one sees."""
    bench = stage(strategy, *(provider(name, priority=n) for n, name in enumerate("abc")))
    first, again = (bench.decide(name="p", session="s", peek=True).candidates for _ in range(2))
    keys = [item.sort_key for item in first]
    assert all(len(key) == 9 for key in keys)
    assert keys == sorted(keys)
    assert [item.route for item in first] == [item.route for item in again]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_no_strategy_hides_a_route(strategy: Strategy) -> None:
    """All fail: every member of the pool was asked, once, whoever ordered them."""
    bench = stage(strategy, *(provider(name, priority=n) for n, name in enumerate("abc")))
    told = bench.send({name: server(500) for name in "abc"}, name="p")
    assert sorted(set(told.names)) == ["a", "b", "c"]
    assert len(set(told.names[:3])) == 3


@pytest.mark.parametrize("strategy", list(Strategy))
def test_no_strategy_asks_who_cannot_be_asked(strategy: Strategy) -> None:
    """With two of three circuits open the third serves, at the first try."""
    bench = stage(strategy, *(provider(name, priority=n) for n, name in enumerate("abc")))
    for name in "ab":
        bench.open(name)
    assert [bench.send(name="p").names for _ in range(4)] == [["c"]] * 4


def test_C3_29_rate_limit_aware_switches_and_stays_there() -> None:
    """It leaves at 80 % of its own limit, for most headroom, and does not come back when its own window frees."""
    limits = {"a": Limits(rpm=5), "b": Limits(rpm=10), "c": Limits(rpm=100)}
    made = [provider(name, model(name, limits=each), priority=n) for n, (name, each) in enumerate(limits.items())]
    bench = stage(Strategy.RATE_LIMIT_AWARE, *made)
    bench.send(name="b/m")
    assert served(bench, 6) == "a a a a c c"
    bench.now += 120
    assert served(bench, 2) == "c c"


def test_latency_first_asks_the_fastest_and_forgets_with_time() -> None:
    """Measured times order the routes; ten minutes later nothing is known and the pool's own order holds."""
    bench = stage(Strategy.LATENCY_FIRST, provider("a", priority=1), provider("b", priority=2))
    for name, ms in (("a", 400.0), ("b", 100.0)):
        bench.send({name: Success(total_ms=ms)}, name=f"{name}/m")
    assert order_of(bench) == ["b", "a"]
    bench.send({"b": server(500)}, name="b/m")
    assert order_of(bench) == ["a", "b"], "a failure costs ten-fold: (100 + 1000) / 2"
    bench.now += 601
    assert order_of(bench) == ["a", "b"]


def test_latency_first_compares_like_with_like() -> None:
    """A stream goes by time to first token, a whole answer by its total; each knows only its own kind."""
    bench = stage(Strategy.LATENCY_FIRST, provider("a", priority=1), provider("b", priority=2))
    bench.send({"a": Success(total_ms=5000.0, ttft_ms=50.0)}, name="a/m")
    bench.send({"b": Success(total_ms=900.0, ttft_ms=300.0)}, name="b/m")
    bench.send({"a": Success(total_ms=3000.0)}, name="a/m")
    bench.send({"b": Success(total_ms=700.0)}, name="b/m")
    assert [item.route.provider for item in bench.decide(name="p", stream=True).ranked] == ["a", "b"]
    assert [item.route.provider for item in bench.decide(name="p").ranked] == ["b", "a"]


def test_load_balanced_avoids_the_slow_and_the_busy() -> None:
    """Of two the cheaper always wins: the slow one gets nothing unless the other is busy."""
    bench = stage(Strategy.LOAD_BALANCED, provider("a", priority=1), provider("b", priority=2))
    assert set(served(bench, 40).split()) == {"a", "b"}, "with nothing known both get their share"
    for name, ms in (("a", 100.0), ("b", 400.0)):
        bench.now += 100
        bench.send({name: Success(total_ms=ms)}, name=f"{name}/m")
        bench.send({name: Success(total_ms=ms)}, name=f"{name}/m")
    bench.send({"a": Success(total_ms=100.0)}, name="a/m")
    assert {order_of(bench)[0] for _ in range(20)} == {"a"}
    leases = [bench.board.admit(route("a"), bench.now, deadline=bench.now + 60) for _ in range(4)]
    assert {order_of(bench)[0] for _ in range(20)} == {"b"}, "100 ms × 5 in flight against 400 ms"
    assert len(leases) == 4


def test_capacity_weighted_goes_by_what_is_left() -> None:
    """With 0.9 and 0.1 left the first is drawn nine times in ten."""
    made = [provider(name, model(name, limits=Limits(rpm=1000)), priority=n) for n, name in enumerate("ab")]
    bench = stage(Strategy.CAPACITY_WEIGHTED, *made)
    for name, used in (("a", 100), ("b", 900)):
        for _ in range(used):
            bench.meter.sent(route(name), 0, bench.now, 0.0)
    firsts = Counter(order_of(bench)[0] for _ in range(2000))
    assert firsts["a"] / 2000 == pytest.approx(0.9, abs=0.03)


def test_quality_first_asks_the_best_of_the_pools_node() -> None:
    """The scores come through a port, by the pool's node; without any the pool's own order holds."""
    asked: list[str | None] = []
    bench = stage(Strategy.QUALITY_FIRST, provider("a", priority=1), provider("b", priority=2))
    assert order_of(bench) == ["a", "b"]

    def scores(node: str | None) -> dict[object, Quality]:
        asked.append(node)
        return {model("b").key: Quality(0.9), model("a").key: Quality(0.1)}

    bench.means = replace(bench.means, quality=scores)
    assert order_of(bench) == ["b", "a"]
    assert asked == [None]


# --- sessions ---


def test_C3_31_a_strict_session_fails_rather_than_moves() -> None:
    """Its route is down: an error that says why the others were not asked, while other sessions are served."""
    bench = stage(
        Strategy.SESSION_STICKY, *(provider(name, priority=n) for n, name in enumerate("ab")),
        session_mode=SessionMode.STRICT,
    )  # fmt: skip
    sessions = [f"s{n}" for n in range(20)]
    homes = {each: served(bench, session=each) for each in sessions}
    assert set(homes.values()) == {"a", "b"}
    bench.open("a")
    for each, home in homes.items():
        assert served(bench, session=each) == ("b" if home == "b" else "-")
    bound = next(each for each, home in homes.items() if home == "a")
    told = bench.send(name="p", session=bound)
    assert (told.error.status, told.error.code) == (503, "no_routable_candidate")
    assert "bound to another route" in told.error.message
    assert served(bench) == "b", "without a session the pool goes by priority and around the open circuit"


def test_C3_31_affinity_stands_before_context_and_behind_capability() -> None:
    """A session goes where it was although another's window is known; not where a needed capability is missing."""
    made = [
        provider("a", model("a", "m", "tools", context_window=100_000), priority=1),
        provider("b", model("b", "m", "-tools", source=Source.GUESS), priority=2),
    ]
    bench = stage(Strategy.SESSION_STICKY, *made)
    there = next(each for each in (f"s{n}" for n in range(50)) if order_of(bench, session=each)[0] == "b")
    assert served(bench, session=there) == "b"
    assert order_of(bench, TOOLS, session=there) == ["a", "b"]
    assert bench.send(needs=TOOLS, name="p", session=there).names == ["a"]
    assert served(bench, session=there) == "b", "the exception moved nothing"


def test_load_balanced_wastes_no_draw_on_who_stands_behind() -> None:
    """With a third that may lack the capability the two that have it still share evenly."""
    made = [provider(name, model(name, "m", caps)) for name, caps in (("a", "tools"), ("b", "tools"), ("c", ""))]
    bench = stage(Strategy.LOAD_BALANCED, *made)
    firsts = Counter(order_of(bench, TOOLS)[0] for _ in range(1000))
    assert firsts["c"] == 0
    assert firsts["a"] / 1000 == pytest.approx(0.5, abs=0.05)
