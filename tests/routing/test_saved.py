"""What a restart keeps, on another monotonic clock and whatever the wall clock did (routing.md §5, B13)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.routing.boards import CONNECT, E500, OK, QUOTA, RATE, Bench, provider

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.domain.policy import CircuitPolicy
from routerconsole.domain.route import Route
from routerconsole.routing.board import RefusalKind

A = Route("a", None, "m")
WALL = 1_700_000_000.0


def restarted(
    old: Bench, *, down: float = 0.0, clock_steps: float = 0.0, with_models: tuple[str, ...] = ("m", "n")
) -> Bench:
    """A new process: other monotonic zero, state read back from JSON, `down` seconds later."""
    text = json.dumps(old.board.snapshot(old.now, WALL))
    fresh = Bench(provider("a", with_models))
    fresh.now = 7.0
    fresh.board.restore(json.loads(text), fresh.now, WALL + down + clock_steps)
    return fresh


def opened(seconds_ago: float = 5.0) -> Bench:
    """A circuit that opened a while ago."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, *[E500] * 5)
    bench.now += seconds_ago
    return bench


def test_B13_an_open_circuit_comes_back_open_for_the_time_it_had_left() -> None:
    """About 25 s left, down for 3 s: 3 s fewer, then a probe and two successes."""
    old = opened()
    had = old.board.circuit(A, old.now)[1]
    new = restarted(old, down=3.0)
    assert new.state(A) == "open"
    assert new.board.circuit(A, new.now)[1] == pytest.approx(had - 3.0)
    assert new.refusal(A) == RefusalKind.CIRCUIT
    new.wait_for_probe(A)
    new.send(A, OK, OK)
    assert new.state(A) == "closed"


@pytest.mark.parametrize("case", ["elapsed before", "elapsed while down", "half-open"])
def test_B13_elapsed_or_half_open_comes_back_half_open(case: str) -> None:
    """Never straight to closed; the lease of the old process is nobody's."""
    old = opened(100.0 if case != "elapsed while down" else 0.0)
    if case == "half-open":
        old.lease(A)
    new = restarted(old, down=100.0 if case == "elapsed while down" else 0.0)
    assert new.state(A) == "half_open"
    new.send(A, OK, OK)
    assert new.state(A) == "closed"


@pytest.mark.parametrize("steps", [-86_400.0, 86_400.0])
def test_a_wall_clock_step_never_lengthens_an_open_period_or_closes_it(steps: float) -> None:
    """A day back: what was left is left. A day on: due for its probe."""
    old = opened()
    had = old.board.circuit(A, old.now)[1]
    new = restarted(old, clock_steps=steps)
    assert new.state(A) in ("open", "half_open")
    assert new.board.circuit(A, new.now)[1] <= had


def test_the_length_of_the_next_period_is_remembered() -> None:
    """A probe that fails after the restart reopens for twice as long."""
    new = restarted(opened())
    new.wait_for_probe(A)
    new.send(A, E500)
    assert 48.0 <= new.board.circuit(A, new.now)[1] <= 72.0


def test_a_providers_circuit_is_kept_too() -> None:
    """Three refused connections, restart: still refused."""
    old = Bench(provider("a", ["m", "n"]))
    old.send(A, CONNECT, CONNECT, CONNECT)
    assert restarted(old).refusal(A) == RefusalKind.PROVIDER_CIRCUIT


def test_B15_admin_states_are_exact_except_draining() -> None:
    """disabled, isolated for the rest of its time, and an enable that outranks the configuration; draining ends."""
    old = Bench(provider("a", ["m", "n"]))
    old.board.disable("a", "m", old.now)
    old.board.isolate("a", "n", old.now, ttl=900)
    old.now += 100
    new = restarted(old, down=50.0)
    assert new.refusal(A) == RefusalKind.DISABLED
    refusal = new.board.refusal(Route("a", None, "n"), new.now)
    assert refusal is not None
    assert refusal.retry_in == pytest.approx(750.0)
    old.board.drain("a", None, old.now)
    old.board.enable("a", "m", old.now)
    assert restarted(old).refusal(A) is None


def test_an_operators_enable_survives_a_config_that_says_disabled() -> None:
    """Restored before or after, the operator's word stands."""
    old = Bench(provider("a", enabled=False))
    old.board.enable("a", None, old.now)
    records = old.board.snapshot(old.now, WALL)
    new = Bench(provider("a", enabled=False))
    new.board.restore(records, new.now, WALL)
    assert new.refusal(A) is None


@pytest.mark.parametrize(
    ("ending", "age", "down", "kept"),
    [
        (replace(RATE, retry_after=600.0), 50.0, 5.0, True),
        (replace(RATE, retry_after=600.0), 50.0, 11.0, False),
        (replace(RATE, retry_after=600.0), 61.0, 0.0, False),
        (replace(QUOTA, retry_after=600.0), 61.0, 100.0, True),
        (replace(QUOTA, retry_after=100.0), 61.0, 60.0, False),
    ],
)
def test_quota_gates_survive_rate_gates_over_a_minute_old_do_not(
    ending: Failure, age: float, down: float, kept: bool
) -> None:
    """And what survives ends when it would have ended."""
    old = Bench(provider("a", ["m", "n"]))
    old.send(A, ending)
    old.now += age
    had = old.board.gate_remaining(A, old.now)
    new = restarted(old, down=down)
    assert (new.refusal(A) == RefusalKind.GATE) is kept
    assert new.board.gate_remaining(A, new.now) == (pytest.approx(had - down) if kept else 0.0)


def test_learned_gaps_survive_with_their_expiry() -> None:
    """Learned an hour ago, down for an hour: 22 hours left, evidence and all."""
    old = Bench(provider("a", ["m", "n"]))
    old.send(A, Failure(OutcomeClass.CAPABILITY, "no tools", 400, refused=(Word.TOOLS,)))
    old.now += 3600
    new = restarted(old, down=3600.0)
    gap = new.board.gaps(A, new.now)[Word.TOOLS]
    assert gap.evidence == "no tools"
    assert gap.expires - new.now == pytest.approx(79_200.0)
    assert new.now - gap.at == pytest.approx(7200.0)


def test_a_fresh_board_has_nothing_to_save_and_unknown_records_are_passed_over() -> None:
    """Records of routes that are gone restore nothing and raise nothing."""
    assert Bench(provider("a")).board.snapshot(0.0, WALL) == []
    new = restarted(opened(), with_models=("other",))
    assert new.board.snapshot(new.now, WALL) == []


def test_dirty_gives_each_change_once_and_replaces_what_was_stored() -> None:
    """Opening, closing, gates, admin and gaps make a record; traffic that changes nothing makes none."""
    bench = Bench(provider("a", ["m", "n"]))
    store: dict[tuple[object, ...], dict[str, object]] = {}

    def save() -> int:
        records = bench.board.dirty(bench.now, WALL)
        for record in records:
            store[record["scope"], record["provider"], record["account"], record["model"]] = record
        return len(records)

    bench.send(A, OK, E500, OK)
    assert save() == 0
    bench.send(A, *[E500] * 5)
    assert save() == 1
    assert save() == 0
    bench.wait_for_probe(A)
    bench.send(A, OK, OK)
    assert save() == 1
    bench.send(A, QUOTA)
    assert save() == 1
    bench.wait(4000.0)
    assert save() == 1
    bench.board.disable("a", "m", bench.now)
    bench.board.enable("a", "m", bench.now)
    assert save() == 1
    new = Bench(provider("a", ["m", "n"]))
    new.board.restore(store.values(), new.now, WALL)
    assert new.refusal(A) is None
    assert new.state(A) == "closed"


def test_a_shorter_cap_holds_for_what_comes_back() -> None:
    """Configured down to 10 s in between: no longer than that."""
    records = opened(0.0).board.snapshot(1000.0, WALL)
    new = Bench(provider("a", circuit=CircuitPolicy(recovery_timeout=5.0, recovery_cap=10.0)))
    new.board.restore(records, new.now, WALL)
    assert new.board.circuit(A, new.now)[1] == 10.0
