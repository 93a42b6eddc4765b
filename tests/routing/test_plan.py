"""The decision before anything is sent: who is in, who is out and why, in which order (routing.md §2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tests.routing.cascades import (
    CHAT,
    EMBED,
    NO_TOOLS,
    OK,
    OVERSIZE,
    TOOLS,
    VISION,
    Stage,
    fleet,
    model,
    pool,
    provider,
    rate,
    server,
)  # fmt: skip

from routerconsole.domain.capability import NODE_OF, Source, Word
from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.policy import CapabilityPolicy, RoutingPolicy
from routerconsole.domain.registry import Account, AccountStrategy
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Decision

NEVER = replace(CHAT, estimate_tokens=5000)


def stage(*caps: str, policy: CapabilityPolicy = CapabilityPolicy.GATE, source: Source = Source.CONFIG) -> Stage:
    """One provider per entry, tried in this order, its model with these capabilities."""
    made = [provider(f"p{n}", model(f"p{n}", "m", each, source=source), priority=n) for n, each in enumerate(caps)]
    return Stage(*made, policy=RoutingPolicy(capability_policy=policy))


def order(bench: Stage, needs: object = CHAT) -> list[str]:
    """The providers in the order they would be asked."""
    return [item.route.provider for item in bench.decide(needs).ranked]  # type: ignore[arg-type] # a Needs


def test_C0_06_C1_10_capable_then_unknown_then_incapable() -> None:
    """[incapable, unknown, capable] is asked as capable, unknown, incapable; of equals the order stays."""
    assert order(stage("-tools", "", "tools", source=Source.GUESS), TOOLS) == ["p2", "p1", "p0"]
    assert order(stage("", "", ""), TOOLS) == ["p0", "p1", "p2"]


def test_C1_11_known_incapable_is_dropped_unknown_kept() -> None:
    """The dropped one stays in the shown list, with its reason."""
    decision = stage("-tools", "", "tools").decide(TOOLS)
    assert [item.route.provider for item in decision.ranked] == ["p2", "p1"]
    shown = decision.candidates[-1]
    assert (shown.decision, shown.reasons) == (Decision.DROPPED, ["tools: no (config)"])


def test_C1_11_C1_15_no_need_is_identity() -> None:
    """A request that needs nothing keeps every candidate where it was."""
    assert order(stage("-tools", "", "-vision tools")) == ["p0", "p1", "p2"]


def test_C1_11_a_pool_of_guessed_incapables_is_left_intact() -> None:
    """A guess drops nobody, so they are all tried."""
    assert order(stage("-tools", "-tools", source=Source.CATALOGUE), TOOLS) == ["p0", "p1"]


def test_C1_16_free_and_paid_needing_tools() -> None:
    """[free-capable, free-incapable, paid-capable, paid-incapable] leaves the capable, in order."""
    assert order(stage("tools", "-tools", "tools", "-tools"), TOOLS) == ["p0", "p2"]


def test_a_pools_own_policy_beats_the_general_one() -> None:
    """`strict` on the pool keeps known yes only."""
    one = provider("a", model("a", "x", "tools"), model("a", "y"))
    bench = Stage(one, pools=[pool("safe", "a/x", "a/y", capability_policy=CapabilityPolicy.STRICT)])
    assert [item.route.model for item in bench.decide(TOOLS, name="safe").ranked] == ["x"]
    assert [item.route.model for item in bench.decide(TOOLS).ranked] == ["x", "y"]


@pytest.mark.parametrize("name", [None, "p0/m", "p0__m", "m"])
@pytest.mark.parametrize(("needs", "word"), [(TOOLS, "tools"), (VISION, "vision")])
def test_R14_every_route_known_no_is_422_with_each_reason(name: str | None, needs: object, word: str) -> None:
    """The missing capability and every route's reason; a pinned model goes the same way."""
    error = stage("-tools -vision").decide(needs, name=name).error  # type: ignore[arg-type] # a Needs
    assert error is not None
    assert (error.status, error.code) == (422, ErrorCode.CAPABILITY_UNAVAILABLE)
    assert f"({word})" in error.message
    assert f"p0/m: {word}: no (config)" in error.message


def test_R14_a_mixed_lack_names_everything_missing() -> None:
    """One route lacks one thing, the other another: both are named, with both reasons."""
    bench = stage("-tools vision", "tools -vision")
    error = bench.decide(replace(TOOLS, needed=(Word.TOOLS, Word.VISION))).error
    assert error is not None
    assert error.status == 422
    assert "(tools, vision)" in error.message
    assert "p0/m: tools: no (config)" in error.message
    assert "p1/m: vision: no (config)" in error.message


def test_strict_requirements_unmet_name_every_item_and_reason() -> None:
    """`x-router-require: tools,vision`: unknown is not yes, a guess is."""
    required = replace(CHAT, required=(NODE_OF[Word.TOOLS], NODE_OF[Word.VISION]))
    error = stage("tools", "-tools").decide(required).error
    assert error is not None
    assert (error.status, error.code) == (422, ErrorCode.CAPABILITY_UNAVAILABLE)
    assert "(vision, tools)" in error.message
    assert "p0/m: requires vision: unknown" in error.message
    assert "p1/m: requires tools: no (config), requires vision: unknown" in error.message
    assert order(stage("", "tools vision", source=Source.GUESS), required) == ["p1"]


def test_C1_13_a_learned_gap_drops_that_route_next_time() -> None:
    """The refusal of one request is the gate's reason in the next."""
    bench = Stage(*fleet("a", "b"))
    assert bench.send({"a": NO_TOOLS}, TOOLS).names == ["a", "b"]
    assert bench.send({}, TOOLS).names == ["b"]
    assert bench.send({}, CHAT).names == ["a"]
    lone = bench.decide(TOOLS, name="a/m").error
    assert lone is not None
    assert lone.status == 422
    assert "tools: no (gap)" in lone.message


def test_the_wrong_kind_of_endpoint_is_dropped_and_said() -> None:
    """A pool of chat models asked to embed: 422 naming each, nothing sent."""
    error = stage("text", "tools").decide(EMBED).error
    assert error is not None
    assert (error.status, error.code) == (422, ErrorCode.CAPABILITY_UNAVAILABLE)
    assert "p0/m: does not serve embeddings" in error.message
    assert "p1/m" in error.message


def test_a_model_is_asked_only_in_the_ways_it_delivers() -> None:
    """`delivery` without stream takes whole answers only, without sync streams only; batch is neither."""
    ways = (("sync",), ("stream",), ("batch",), ("sync", "stream"))
    made = [provider(f"p{n}", model(f"p{n}", "m", delivery=way), priority=n) for n, way in enumerate(ways)]
    streamed = replace(CHAT, needed=(Word.STREAMING,))
    assert order(Stage(*made)) == ["p0", "p3"]
    assert order(Stage(*made), streamed) == ["p1", "p3"]
    error = Stage(*made[:1]).decide(streamed).error
    assert error is not None
    assert "p0/m: delivery: sync, not stream" in error.message


def test_C1_30_an_empty_pool_is_503_and_names_the_key_to_fill() -> None:
    """With Retry-After, as every 503."""
    error = Stage(provider("a", model("a", "m", in_pools=False))).decide().error
    assert error is not None
    assert (error.status, error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert error.retry_after is not None
    assert "pools[].members" in error.message


def test_R19_too_long_for_every_known_window_is_400_without_an_attempt() -> None:
    """All candidates are considered first: the largest window is named, and every route's."""
    small = [provider(f"p{n}", model(f"p{n}", "m", context_window=1000 * (n + 1)), priority=n) for n in range(3)]
    plan = Stage(*small).decide(NEVER)
    assert [item.decision for item in plan.candidates] == [Decision.SKIPPED] * 3
    error = plan.error
    assert error is not None
    assert (error.status, error.code, error.param) == (400, ErrorCode.CONTEXT_LENGTH_EXCEEDED, "messages")
    assert "5000 tokens" in error.message
    assert "3000" in error.message
    assert "p0/m: context 1000" in error.message


def test_C4_18_R19_an_unknown_window_is_tried_after_those_that_fit() -> None:
    """Unknown is neutral: fits, unknown, too small."""
    windows = {"tiny": 100, "unknown": None, "zero": 0, "large": 100_000}
    bench = Stage(*(provider(name, model(name, "m", context_window=size)) for name, size in windows.items()))
    decision = bench.decide(NEVER)
    assert [item.route.provider for item in decision.ranked] == ["large", "unknown", "zero", "tiny"]
    assert decision.candidates[-1].decision is Decision.DEMOTED
    assert decision.candidates[-1].reasons == ["context 100 < 5000 tokens"]
    exact = Stage(provider("a", model("a", "m", context_window=NEVER.estimate_tokens))).decide(NEVER)
    assert exact.candidates[0].decision is Decision.ELIGIBLE


def test_C0_24_C0_05_out_of_service_is_skipped_with_its_reason_not_hidden() -> None:
    """Disabled by configuration, disabled model, unusable provider, unusable account: shown, in words."""
    bench = Stage(
        provider("off", enabled=False),
        provider("gone", model("gone", "m", enabled=False)),
        provider("keyless", unavailable="missing_secret: TEST_API_KEY"),
        provider("half", accounts=["x"], unavailable=None),
        provider("good"),
    )
    shown = {item.route.provider: (item.decision, item.reasons) for item in bench.decide().candidates}
    assert shown["off"] == (Decision.SKIPPED, ["admin_disabled"])
    assert shown["gone"] == (Decision.SKIPPED, ["admin_disabled"])
    assert shown["keyless"] == (Decision.SKIPPED, ["missing_secret: TEST_API_KEY"])
    assert shown["good"] == (Decision.ELIGIBLE, [])


def test_C0_23_an_open_circuit_is_skipped_with_the_seconds_left() -> None:
    """Live numbers in the reason."""
    bench = Stage(*fleet("a", "b"))
    bench.open("a")
    shown = next(item for item in bench.decide().candidates if item.route.provider == "a")
    assert shown.decision is Decision.SKIPPED
    assert shown.reasons[-1].startswith("circuit_open ")
    assert shown.reasons[-1].endswith(" s")


def test_C1_42_a_gated_route_is_ordered_last() -> None:
    """Rate, with the seconds left."""
    bench = Stage(*fleet("a", "b"))
    assert bench.send({"a": rate(30)}).names == ["a", "b"]
    decision = bench.decide()
    assert [item.route.provider for item in decision.ranked] == ["b", "a"]
    assert decision.candidates[1].reasons[0].startswith("rate_limited 3")


def test_C1_45_a_body_as_large_as_a_refused_one_goes_behind() -> None:
    """Demoted, not dropped; one byte smaller is unaffected."""
    bench = Stage(*fleet("a", "b"))
    assert bench.send({"a": OVERSIZE}, replace(CHAT, size=5000)).names == ["a", "b"]
    assert order(bench, replace(CHAT, size=5000)) == ["b", "a"]
    assert order(bench, replace(CHAT, size=4999)) == ["a", "b"]


def test_a_route_under_half_success_goes_behind() -> None:
    """Over at least five outcomes."""
    bench = Stage(*fleet("a", "b"))
    for script in (OK, OK, server(500), server(500), server(500)):
        bench.send({"a": script})
    decision = bench.decide()
    assert [item.route.provider for item in decision.ranked] == ["b", "a"]
    assert decision.candidates[1].reasons == ["degraded: under 50 % success"]


def test_preferred_tags_outrank_the_order_but_not_capability() -> None:
    """More matched tags first, inside one capability class."""
    bench = Stage(
        provider("a", model("a", "m", "tools"), priority=1),
        provider("b", model("b", "m", "tools", tags=("fast", "eu")), priority=2),
        provider("c", model("c", "m", tags=("fast", "eu", "x")), priority=3),
    )
    assert order(bench, replace(TOOLS, tags=("eu", "x"))) == ["b", "a", "c"]


def test_the_sort_key_is_the_documented_tuple() -> None:
    """capability, -tags, session, context, size, degraded, headroom, gated, index: shown as it is sorted."""
    decision = stage("", "tools").decide(replace(TOOLS, tags=("x",)))
    assert [item.sort_key for item in decision.candidates] == [(0, 0, 0, 1, 0, 0, 0, 0, 2), (1, 0, 0, 1, 0, 0, 0, 0, 1)]
    assert all(type(part) is int for item in decision.candidates for part in item.sort_key)


def test_explain_changes_nothing_and_equals_the_next_requests_trace() -> None:
    """Asked any number of times, with rotating accounts too."""
    bench = Stage(provider("a", accounts=["x", "y", "z"]), provider("b"))
    for _ in range(7):
        seen = [bench.decide() for _ in range(3)]
        told = bench.send()
        assert all(each.candidates == told.plan.candidates for each in seen)


def rotation(bench: Stage, requests: int, name: str) -> list[str | None]:
    """The account that served each of some requests."""
    return [told.served.account for _ in range(requests) if (told := bench.send(name=name)).served is not None]


def test_accounts_take_turns_one_by_one() -> None:
    """Round robin in configured order."""
    assert rotation(Stage(provider("a", accounts=["x", "y", "z"])), 6, "a/m") == ["x", "y", "z", "x", "y", "z"]


def test_traffic_elsewhere_does_not_disturb_the_turns() -> None:
    """Two providers asked alternately: each one's accounts share evenly (a global counter would starve half)."""
    bench = Stage(provider("a", accounts=["x", "y"]), provider("b", accounts=["x", "y"]))
    seen = Counter((name, *rotation(bench, 1, name)) for _ in range(10) for name in ("a/m", "b/m"))
    assert set(seen.values()) == {5}


def test_a_gated_accounts_share_is_spread_evenly() -> None:
    """The others go on taking turns."""
    bench = Stage(provider("a", accounts=["x", "y", "z"]))
    bench.send({"a/m#x": rate(300)}, name="a/m")
    assert Counter(rotation(bench, 10, "a/m")) == {"y": 5, "z": 5}


def test_a_failing_account_does_not_lead_every_request() -> None:
    """After a failover inside a provider the turn still passes on."""
    bench = Stage(provider("a", accounts=["x", "y"]))
    firsts = [bench.send({"a/m#x": rate(0)}, name="a/m").calls[0].ranked.route.account for _ in range(6)]
    assert firsts == ["x", "y"] * 3


def test_priority_accounts_keep_their_order() -> None:
    """The second is asked only when the first cannot be."""
    bench = Stage(provider("a", accounts=["x", "y"], account_strategy=AccountStrategy.PRIORITY))
    assert rotation(bench, 3, "a/m") == ["x"] * 3
    assert bench.send({"a/m#x": rate(300)}, name="a/m").labels == ["a/m#x", "a/m#y"]
    assert rotation(bench, 2, "a/m") == ["y"] * 2


def test_C0_05_an_account_without_its_key_is_skipped_the_other_serves() -> None:
    """The reason names what is missing."""
    keys = (Account("x", unavailable="missing_secret: KEY_X"), Account("y"))
    bench = Stage(replace(provider("a"), accounts=keys))
    told = bench.send(name="a/m")
    assert told.served == Route("a", "y", "m")
    assert ("a/m#x", Decision.SKIPPED) in told.decisions


def test_C1_12_variants_are_models_of_their_own() -> None:
    """A gap or a no on `x:free` says nothing of `x`."""
    bench = Stage(provider("a", model("a", "x", "tools"), model("a", "x:free", "-tools reasoning")))
    assert [item.route.model for item in bench.decide(TOOLS).ranked] == ["x"]


def test_C4_16_a_route_the_gate_drops_is_never_called() -> None:
    """Even if all others fail."""
    bench = stage("-tools", "tools", "tools")
    told = bench.send({"p1": server(500), "p2": server(500)}, TOOLS)
    assert "p0" not in told.names
    assert "p0/m: tools: no (config)" in told.error.message
