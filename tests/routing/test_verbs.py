"""Operator verbs: what they change, what they leave, and that they hit exactly what was named."""

from __future__ import annotations

import pytest
from tests.routing.boards import AUTH, CONNECT, E500, OK, RATE, Bench, kinds, provider

from routerconsole.domain.events import EventType
from routerconsole.domain.route import Route
from routerconsole.routing.board import RefusalKind, UnknownTarget
from routerconsole.routing.verbs import Changed

A = Route("a", None, "m")
B = Route("b", None, "m")


def test_C0_29_disable_and_enable() -> None:
    """disable → enabled false, status disabled; enable → enabled true; both are told."""
    bench = Bench()
    done = bench.board.disable("a", None, bench.now)
    assert (done.before["enabled"], done.after["enabled"], done.after["status"]) == (True, False, "disabled")
    assert EventType.PROVIDER_DISABLED in kinds(done.facts)
    assert bench.refusal(A) == RefusalKind.DISABLED
    done = bench.board.enable("a", None, bench.now)
    assert done.after["enabled"] is True
    assert EventType.PROVIDER_ENABLED in kinds(done.facts)
    assert bench.refusal(A) is None


@pytest.mark.parametrize("model", [None, "m"], ids=["provider", "route"])
def test_C0_29_reset_after_ten_failures(model: str | None) -> None:
    """Open with ten failures → closed, healthy, count zero, and told; on the provider it takes its routes along."""
    bench = Bench()
    flying = [bench.lease(A) for _ in range(10)]
    for lease in flying:
        bench.settle(lease, E500)
    assert bench.state(A) == "open"
    done = bench.board.reset("a", model, bench.now)
    assert (done.after["circuit_state"], done.after["status"], done.after["consecutive_failures"]) == (
        "closed",
        "healthy",
        0,
    )
    assert EventType.CIRCUIT_RESET in kinds(done.facts)
    assert bench.state(A) == "closed"
    assert bench.health(A) == "healthy"
    assert bench.refusal(A) is None


def test_C0_24_a_disabled_provider_is_skipped() -> None:
    """Provider 1 disabled: its route is refused with that reason, provider 2's is not."""
    bench = Bench(provider("a"), provider("b"))
    bench.board.disable("a", None, bench.now)
    assert bench.refusal(A) == "admin_disabled"
    assert bench.refusal(B) is None


def test_drain_takes_no_new_requests_and_stays_enabled() -> None:
    """What is in flight ends normally."""
    bench = Bench()
    lease = bench.lease(A)
    done = bench.board.drain("a", None, bench.now)
    assert (done.after["enabled"], done.after["status"]) == (True, "draining")
    assert bench.refusal(A) == RefusalKind.DRAINING
    bench.settle(lease, OK)
    assert bench.board.stats(A).successful == 1


def test_isolate_ends_by_itself_and_never_enables_what_was_disabled() -> None:
    """After the TTL a disabled route is disabled, an enabled one serves, and readers are told."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.board.isolate("a", "m", bench.now, ttl=900)
    assert bench.refusal(A) == RefusalKind.ISOLATED
    refusal = bench.board.refusal(A, bench.now)
    assert refusal is not None
    assert refusal.text == "admin_isolated 900 s"
    bench.board.disable("a", "n", bench.now)
    bench.board.isolate("a", "n", bench.now, ttl=900)
    bench.now += 900
    assert bench.refusal(A) is None  # before any tick
    assert EventType.HEALTH_CHANGED in kinds(bench.wait(0.25))
    assert bench.refusal(Route("a", None, "n")) == RefusalKind.DISABLED


def test_enable_ends_an_isolation() -> None:
    """By hand, before its time."""
    bench = Bench()
    bench.board.isolate("a", None, bench.now, ttl=900)
    bench.board.enable("a", None, bench.now)
    assert bench.refusal(A) is None


@pytest.mark.parametrize("model", [None, "m"], ids=["provider", "route"])
def test_force_close_admits_whatever_the_breakers_say_for_its_ttl(model: str | None) -> None:
    """Open circuits of route and provider are overruled, results of the forced calls move nothing, then it ends."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    assert bench.board._routes[A].owner.breaker.trip(bench.now, bench.board._rng) is not None
    bench.board.force_close("a", model, bench.now, ttl=10)
    assert bench.refusal(A) is None
    bench.send(A, OK, E500, OK)
    assert bench.state(A) == bench.state("a") == "open"
    bench.wait(10.0)
    assert bench.refusal(A) == RefusalKind.PROVIDER_CIRCUIT


@pytest.mark.parametrize("model", [None, "m"], ids=["provider", "route"])
def test_enable_ends_a_forced_circuit(model: str | None) -> None:
    """By hand, before its time: what the breaker says counts again."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    bench.board.force_close("a", model, bench.now, ttl=900)
    assert bench.refusal(A) is None
    done = bench.board.enable("a", model, bench.now)
    assert (done.before["admin"], done.after["admin"]) == ("forced_closed", "auto")
    assert bench.refusal(A) == RefusalKind.CIRCUIT


def test_force_close_still_lets_an_elapsed_circuit_recover() -> None:
    """Forced calls take the probe when one is due."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    bench.board.force_close("a", "m", bench.now, ttl=900)
    bench.wait_for_probe(A)
    bench.send(A, OK, OK)
    assert bench.state(A) == "closed"


def test_reset_clears_gates_only_when_asked() -> None:
    """And tells that they ended."""
    bench = Bench()
    bench.send(A, RATE)
    bench.board.reset("a", "m", bench.now)
    assert bench.refusal(A) == RefusalKind.GATE
    done = bench.board.reset("a", "m", bench.now, gates=True)
    assert EventType.GATE_ENDED in kinds(done.facts)
    assert bench.refusal(A) is None


def test_reset_of_a_route_frees_it_from_its_keys_fault() -> None:
    """The operator who resets a route wants it tried."""
    bench = Bench()
    bench.send(A, AUTH)
    bench.board.reset("a", "m", bench.now)
    assert bench.refusal(A) is None


def test_reset_of_a_route_leaves_the_providers_circuit() -> None:
    """What three refused connections opened is the provider's to reset."""
    bench = Bench()
    bench.send(A, CONNECT, CONNECT, CONNECT)
    bench.board.reset("a", "m", bench.now)
    assert bench.refusal(A) == RefusalKind.PROVIDER_CIRCUIT
    bench.board.reset("a", None, bench.now)
    assert bench.refusal(A) is None


NAMES = ["m", "mm", "m:1", "m.1", "m/m", "M", ""]


@pytest.mark.parametrize("name", NAMES)
def test_B35_only_the_exact_id_is_touched(name: str) -> None:
    """Resetting or disabling one of `m`, `mm`, `m:1`, … at `a` leaves all the others, there and at `ab`, `a:b`."""
    owners = ["a", "ab", "a:b", "a.b"]
    bench = Bench(*[provider(owner, NAMES) for owner in owners])
    routes = [Route(owner, None, model) for owner in owners for model in NAMES]
    for route in routes:
        for _ in range(5):
            if bench.refusal(route) is None:  # the provider's circuit joins in on the way
                bench.send(route, E500)
    before = {route: bench.state(route) for route in routes}
    assert before[Route("a", None, "m")] == "open"
    bench.board._routes[Route("a", None, name)].breaker.reset(bench.now)  # known start: closed …
    bench.board._routes[Route("a", None, name)].breaker.trip(bench.now, bench.board._rng)  # … and open again
    bench.board.reset("a", name, bench.now)
    after = {route: bench.state(route) for route in routes}
    assert {route for route in routes if before[route] != after[route]} <= {Route("a", None, name)}
    assert after[Route("a", None, name)] == "closed"
    bench.board.disable("a", name, bench.now)
    assert [route for route in routes if not bench.board.enabled(route)] == [Route("a", None, name)]


def test_C0_30_unknown_names_are_refused() -> None:
    """No provider, no model: UnknownTarget, and nothing changed."""
    bench = Bench()
    for name, model in [("A", None), ("a:m", None), ("a", "m:latest"), ("x", "m")]:
        with pytest.raises(UnknownTarget):
            bench.board.disable(name, model, bench.now)
    assert bench.board.snapshot(bench.now, 0.0) == []


def test_a_route_verb_covers_every_account() -> None:
    """`provider/model` means all its keys; the answer lists them."""
    bench = Bench(provider("a", ["m", "n"], accounts={"x": "1", "y": "2"}))
    done = bench.board.disable("a", "m", bench.now)
    assert [each["account"] for each in done.after["routes"]] == ["x", "y"]
    assert [each["enabled"] for each in done.after["routes"]] == [False, False]
    assert bench.refusal(Route("a", "y", "m")) == RefusalKind.DISABLED
    assert bench.refusal(Route("a", "y", "n")) is None


@pytest.mark.parametrize("model", [None, "m"], ids=["provider", "route"])
def test_a_dry_run_shows_the_change_and_makes_none(model: str | None) -> None:
    """Every verb: same before and after as the real one, no fact, nothing dirty, nothing moved."""
    for verb in ("enable", "disable", "drain", "isolate", "force_close", "reset"):
        more = {"ttl": 60.0} if verb in ("isolate", "force_close") else {"gates": True} if verb == "reset" else {}
        bench = Bench()
        bench.send(A, *[E500] * 5)
        bench.board.dirty(bench.now, 0.0)
        call = getattr(bench.board, verb)
        shown: Changed = call("a", model, bench.now, dry_run=True, **more)
        assert shown.facts == ()
        assert bench.board.dirty(bench.now, 0.0) == []
        assert bench.state(A) == "open"
        real: Changed = call("a", model, bench.now, **more)
        assert (shown.before, shown.after) == (real.before, real.after)
