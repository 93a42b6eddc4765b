"""The breaker against its rules and against an independent model (routing.md §5)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.routing.breaker_model import Model

from routerconsole.domain.policy import CircuitPolicy
from routerconsole.routing.breaker import (
    LEASE_GRACE,
    TRANSITIONS,
    Breaker,
    CircuitEvent,
    CircuitState,
    End,
    IllegalTransition,
    Token,
)

POLICY = CircuitPolicy()
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Circuit:
    """A breaker with a fake clock and the shorthand the rules below are told in."""

    def __init__(self, policy: CircuitPolicy = POLICY, seed: int = 7) -> None:
        self.breaker = Breaker(policy)
        self.rng = random.Random(seed)
        self.now = 1000.0

    @property
    def state(self) -> CircuitState:
        return self.breaker.state

    def admit(self, seconds: float = 60.0) -> Token | None:
        return self.breaker.admit(self.now, self.now + seconds, self.rng)[0]

    def end(self, token: Token, how: End, spare: float | None = None) -> None:
        self.breaker.end(token, how, self.now, self.rng, spare=spare)

    def run(self, pattern: str, spare: float | None = None) -> None:
        """Send one request per letter: `f` fails, `s` succeeds."""
        for letter in pattern:
            token = self.admit()
            assert token is not None
            self.end(token, End.FAILED if letter == "f" else End.SUCCEEDED, spare)

    def elapse(self) -> None:
        self.now += self.breaker.remaining(self.now)


def half_open(policy: CircuitPolicy = POLICY) -> tuple[Circuit, Token]:
    """A circuit that has just gone half-open, and the probe that took it there."""
    circuit = Circuit(policy)
    circuit.run("fffff")
    circuit.elapse()
    probe = circuit.admit()
    assert probe is not None
    return circuit, probe


# --- closed ---


def test_B02_C4_23_a_success_zeroes_the_count() -> None:
    """Four failures, a success and four more leave the circuit closed."""
    circuit = Circuit()
    circuit.run("ffffsffff")
    assert circuit.state is CLOSED
    assert circuit.breaker.consecutive == 4


def test_B03_C4_20_five_failures_open_it_and_the_next_call_is_refused() -> None:
    """The fifth consecutive failure opens; the refusal names the time left."""
    circuit = Circuit()
    circuit.run("ffff")
    assert circuit.state is CLOSED
    circuit.run("f")
    assert circuit.state is OPEN
    assert circuit.admit() is None
    assert 24.0 <= circuit.breaker.remaining(circuit.now) <= 36.0


def test_B04_C0_17_one_failure_at_the_first_request_leaves_it_usable() -> None:
    """A lifetime error rate of 1.0 means nothing on one sample."""
    circuit = Circuit()
    circuit.run("f")
    assert circuit.state is CLOSED
    circuit.run("s")
    assert circuit.breaker.consecutive == 0


@pytest.mark.parametrize(("pattern", "state"), [("fsfsfsfsf", CLOSED), ("sfsfsfsfsf", OPEN)])
def test_B05_half_of_the_window_opens_only_from_ten_samples(pattern: str, state: CircuitState) -> None:
    """Five of nine stay closed, five of ten open, none of them consecutive."""
    circuit = Circuit()
    circuit.run(pattern)
    assert circuit.state is state


def test_B05_failures_older_than_the_window_do_not_count() -> None:
    """The rate is over the last sixty seconds only."""
    circuit = Circuit()
    circuit.run("sfsfsfsf")
    circuit.now += 62.0
    circuit.run("sf")
    assert circuit.state is CLOSED


def test_C4_19_the_threshold_is_the_configured_one() -> None:
    """With a threshold of two, one failure keeps it closed and two open it."""
    circuit = Circuit(replace(POLICY, failure_threshold=2))
    assert circuit.state is CLOSED
    circuit.run("f")
    assert circuit.state is CLOSED
    circuit.run("f")
    assert circuit.state is OPEN


def test_C4_24_abandoned_calls_count_for_nothing() -> None:
    """Twenty cancelled calls leave the circuit closed and the count at zero."""
    circuit = Circuit()
    for _ in range(20):
        token = circuit.admit()
        assert token is not None
        circuit.end(token, End.ABANDONED)
    assert circuit.state is CLOSED
    assert circuit.breaker.consecutive == 0


def test_C4_25_fifty_concurrent_successes_leave_it_closed() -> None:
    """All fifty are admitted and settle well."""
    circuit = Circuit()
    tokens = [circuit.admit() for _ in range(50)]
    assert all(token is not None for token in tokens)
    for token in tokens:
        assert token is not None
        circuit.end(token, End.SUCCEEDED)
    assert circuit.state is CLOSED


@pytest.mark.parametrize(("pattern", "headroom"), [("", 5), ("ff", 3), ("ffff", 1), ("sfsfsfsf", 2), ("fffff", 0)])
def test_headroom_is_the_number_of_failures_left(pattern: str, headroom: int) -> None:
    """Exactly that many further failures open it."""
    circuit = Circuit()
    circuit.run(pattern)
    assert circuit.breaker.headroom(circuit.now) == headroom
    if headroom:
        circuit.run("f" * (headroom - 1))
        assert circuit.state is CLOSED
        circuit.run("f")
        assert circuit.state is OPEN


# --- open ---


def test_open_periods_are_jittered_and_fixed_at_opening() -> None:
    """Lengths spread over ±20 %; a late failure does not move the end."""
    lengths = set()
    for seed in range(200):
        circuit = Circuit(seed=seed)
        late = circuit.admit()
        assert late is not None
        circuit.run("fffff")
        end = circuit.breaker.until
        lengths.add(round(end - circuit.now, 6))
        circuit.now += 5.0
        circuit.end(late, End.FAILED)
        assert circuit.breaker.until == end
    assert min(lengths) >= 24.0
    assert max(lengths) <= 36.0
    assert max(lengths) - min(lengths) > 8.0


def test_C0_15_an_elapsed_period_is_eligible_for_half_open() -> None:
    """recovery_timeout 0.1: after 0.2 s the admission that asks goes half-open and holds the lease."""
    circuit = Circuit(replace(POLICY, recovery_timeout=0.1))
    circuit.run("fffff")
    circuit.now += 0.2
    assert circuit.state is OPEN
    probe = circuit.admit()
    assert circuit.state is HALF_OPEN
    assert probe is not None
    assert probe.ticket


def test_B10_a_call_started_before_the_opening_changes_nothing() -> None:
    """Its success while open is a stale result."""
    circuit = Circuit()
    early = circuit.admit()
    assert early is not None
    circuit.run("fffff")
    circuit.end(early, End.SUCCEEDED)
    assert circuit.state is OPEN


def test_B11_C0_29_reset_closes_and_old_failures_are_ignored() -> None:
    """Twenty calls of the older epoch fail after the reset; the circuit is closed with a count of zero."""
    circuit = Circuit()
    flying = [circuit.admit() for _ in range(20)]
    circuit.run("fffff")
    circuit.breaker.reset(circuit.now)
    for token in flying:
        assert token is not None
        circuit.end(token, End.FAILED)
    assert circuit.state is CLOSED
    assert circuit.breaker.consecutive == 0


# --- half-open ---


def test_C0_19_only_one_of_many_reaches_a_half_open_route() -> None:
    """One probe is out, every other admission is refused."""
    circuit, _ = half_open()
    assert [circuit.admit() for _ in range(5)] == [None] * 5
    assert circuit.breaker.wait(circuit.now) == 0.0


def test_C0_16_C0_18_two_successes_close_it() -> None:
    """The first success leaves it half-open, the second closes it and clears the past."""
    circuit, probe = half_open()
    circuit.end(probe, End.SUCCEEDED)
    assert circuit.state is HALF_OPEN
    circuit.run("s")
    assert circuit.state is CLOSED
    assert circuit.breaker.consecutive == 0
    assert circuit.breaker.window.total == 0


def test_C4_22_a_failed_probe_reopens_for_twice_as_long() -> None:
    """30 s becomes 60 s, then 120 s, and never more than the cap."""
    circuit, probe = half_open()
    lengths = []
    for _ in range(6):
        circuit.end(probe, End.FAILED)
        assert circuit.state is OPEN
        lengths.append(circuit.breaker.remaining(circuit.now))
        circuit.elapse()
        again = circuit.admit()
        assert again is not None
        probe = again
    assert 48.0 <= lengths[0] <= 72.0
    assert 96.0 <= lengths[1] <= 144.0
    assert all(length <= POLICY.recovery_cap for length in lengths)
    assert lengths[-1] >= 0.8 * POLICY.recovery_cap


def test_k_is_remembered_by_a_flapping_circuit_and_forgotten_after_ten_minutes_closed() -> None:
    """U46's shape: each trip soon after closing lasts longer; a trip after 10 good minutes starts at 30 s again."""
    circuit, probe = half_open()
    circuit.end(probe, End.SUCCEEDED)
    circuit.run("s")
    circuit.run("fffff")
    assert circuit.breaker.remaining(circuit.now) >= 48.0
    circuit.elapse()
    circuit.run("ss")
    circuit.now += 600.0
    circuit.run("fffff")
    assert circuit.breaker.remaining(circuit.now) <= 36.0


def test_flapping_every_two_seconds_for_five_minutes_moves_the_circuit_at_most_twelve_times() -> None:
    """U46 in memory: up and down by turns of 2 s, ten calls a second."""
    for seed in range(20):
        circuit, moves = Circuit(seed=seed), 0
        before = circuit.state
        for step in range(3000):
            circuit.now = 1000.0 + step / 10
            token = circuit.admit()
            if token is not None:
                circuit.end(token, End.SUCCEEDED if int(circuit.now / 2) % 2 else End.FAILED)
            # one call can do two moves (half-open and back): count both
            moves += 2 if token is not None and token.ticket and circuit.state is OPEN else circuit.state is not before
            before = circuit.state
        assert moves <= 12


def test_B07_an_abandoned_probe_gives_its_permit_back() -> None:
    """The next caller probes at once, and the circuit is still half-open."""
    circuit, probe = half_open()
    circuit.end(probe, End.ABANDONED)
    assert circuit.state is HALF_OPEN
    assert circuit.admit() is not None


def test_B08_a_hung_probe_is_replaced_exactly_once_and_its_late_result_ignored() -> None:
    """After deadline + 5 s one replacement goes out; the old probe's failure no longer counts."""
    circuit, hung = half_open()
    circuit.now += 60.0 + LEASE_GRACE - 0.001
    assert circuit.admit() is None
    circuit.now += 0.001
    replacement = circuit.admit()
    assert replacement is not None
    assert circuit.admit() is None
    circuit.end(hung, End.FAILED)
    assert circuit.state is HALF_OPEN
    circuit.end(replacement, End.SUCCEEDED)
    circuit.run("s")
    assert circuit.state is CLOSED


def test_B08_a_replacement_that_hangs_too_reopens() -> None:
    """Two probes swallowed in a row are a failure, not a wedge."""
    circuit, _ = half_open()
    for _ in range(2):
        circuit.now += 60.0 + LEASE_GRACE
        circuit.admit()
    assert circuit.state is OPEN
    circuit.elapse()
    circuit.run("ss")
    assert circuit.state is CLOSED


def test_more_successes_than_concurrent_probes_can_still_close_it() -> None:
    """half_open_max_calls above half_open_concurrency does not wedge it half-open."""
    circuit, probe = half_open(replace(POLICY, half_open_max_calls=5))
    circuit.end(probe, End.SUCCEEDED)
    circuit.run("ssss")
    assert circuit.state is CLOSED


def test_concurrency_is_the_number_of_leases() -> None:
    """With three permits three probes go out and the fourth waits."""
    circuit, _ = half_open(replace(POLICY, half_open_concurrency=3))
    assert circuit.admit() is not None
    assert circuit.admit() is not None
    assert circuit.admit() is None


def test_a_streams_lease_resolves_at_commit_and_its_later_cut_still_counts() -> None:
    """Two commits close the circuit; a cut of the second then is one failure of the new epoch."""
    circuit, first = half_open()
    first, _ = circuit.breaker.commit(first, circuit.now)
    second = circuit.admit()
    assert second is not None
    second, _ = circuit.breaker.commit(second, circuit.now)
    assert circuit.state is CLOSED
    circuit.end(second, End.FAILED)
    assert circuit.breaker.consecutive == 1
    circuit.end(first, End.FAILED)  # committed in half-open: an older epoch by now
    assert circuit.breaker.consecutive == 1


def test_a_committed_stream_counts_its_success_once() -> None:
    """Commit and clean end of one stream are one success towards closing."""
    circuit, probe = half_open()
    probe, _ = circuit.breaker.commit(probe, circuit.now)
    circuit.end(probe, End.SUCCEEDED)
    assert circuit.state is HALF_OPEN


def test_C3_34_the_cycle_is_repeatable() -> None:
    """closed → open → half-open → open → half-open → closed, twice."""
    circuit = Circuit()
    for _ in range(2):
        circuit.run("fffff")
        assert circuit.breaker.remaining(circuit.now) > 0
        circuit.elapse()
        circuit.run("f")
        assert circuit.state is OPEN
        assert circuit.breaker.remaining(circuit.now) > 0
        circuit.elapse()
        circuit.run("ss")
        assert circuit.state is CLOSED


# --- from outside the traffic ---


def test_nudge_lets_it_be_probed_early_but_never_closes_it() -> None:
    """Reachability moves open to half-open; closing still needs two real successes."""
    circuit = Circuit()
    circuit.run("fffff")
    circuit.breaker.nudge(circuit.now)
    assert circuit.state is HALF_OPEN
    circuit.breaker.nudge(circuit.now)
    assert circuit.state is HALF_OPEN
    circuit.run("ss")
    assert circuit.state is CLOSED


def test_U46_a_flapping_upstream_is_nudged_once_in_ten_minutes() -> None:
    """A circuit that opens again soon after a nudge waits out its period, however reachable its upstream looks."""
    circuit = Circuit()
    circuit.run("fffff")
    assert circuit.breaker.nudge(circuit.now) is not None
    circuit.run("ssfffff")
    assert circuit.state is OPEN
    assert circuit.breaker.nudge(circuit.now + 599) is None
    assert circuit.breaker.nudge(circuit.now + 600) is not None


@pytest.mark.parametrize(("left", "state"), [(25.0, OPEN), (0.0, HALF_OPEN), (-3.0, HALF_OPEN)])
def test_B13_restore_is_never_straight_to_closed(left: float, state: CircuitState) -> None:
    """Open for what it had left, else half-open."""
    circuit = Circuit()
    circuit.breaker.restore(left=left, exponent=2, now=circuit.now)
    assert circuit.state is state
    assert circuit.breaker.remaining(circuit.now) == max(left, 0.0)
    circuit.elapse()
    circuit.run("ss")
    assert circuit.state is CLOSED


def test_an_illegal_event_raises_and_changes_nothing() -> None:
    """Every pair outside the table is refused with state and generation as they were."""
    for state in CircuitState:
        for event in CircuitEvent:
            if (state, event) in TRANSITIONS:
                continue
            breaker = Breaker(POLICY)
            breaker.state = state
            with pytest.raises(IllegalTransition):
                breaker._step(event)
            assert (breaker.state, breaker.generation) == (state, 0)


def test_spare_holds_back_a_soft_trip_only_while_some_succeed() -> None:
    """B32's rule: 60 % failing stays closed, 95 % opens."""
    circuit = Circuit()
    circuit.run("sffsf" * 20, spare=0.1)
    assert circuit.state is CLOSED
    circuit = Circuit()
    with pytest.raises(AssertionError):
        circuit.run(("s" + "f" * 19) * 5, spare=0.1)
    assert circuit.state is OPEN


# --- against the reference model ---


class Pair:
    """A breaker and its model, driven by the same events and compared after each."""

    def __init__(self, policy: CircuitPolicy, seed: int) -> None:
        self.policy, self.circuit, self.model = policy, Circuit(policy, seed), Model(policy)
        self.flying: dict[Token, int] = {}
        self.serial = 0
        self.opened_at = 0.0

    def advance(self, seconds: float) -> None:
        self.circuit.now += seconds

    def admit(self, patience: float) -> None:
        circuit, now = self.circuit, self.circuit.now
        wanted = self.model.admit(now, circuit.breaker.until)
        token = circuit.admit(patience)
        assert (token is not None) == (wanted in ("yes", "probe"))
        if token is not None:
            assert bool(token.ticket) == (wanted == "probe")
            if token.ticket:
                self.model.lease(token, now + patience + 5.0)
            self.serial += 1
            # tokens of one closed epoch are equal values: tell them apart by how many are out
            self.flying[token] = self.flying.get(token, 0) + 1
        self.check()

    def end(self, index: int, how: End) -> None:
        token = list(self.flying)[index % len(self.flying)]
        self.flying[token] -= 1
        if not self.flying[token]:
            del self.flying[token]
        self.circuit.end(token, how)
        self.model.end(token, epoch=token.generation, probe=bool(token.ticket), how=str(how), now=self.circuit.now)
        self.check()

    def reset(self) -> None:
        self.circuit.breaker.reset(self.circuit.now)
        self.model.reset()
        self.check()

    def check(self) -> None:
        breaker, model, now = self.circuit.breaker, self.model, self.circuit.now
        assert breaker.state == model.state
        assert breaker.generation == model.epoch
        assert breaker.leases(now) <= self.policy.half_open_concurrency
        if breaker.state is CLOSED:
            assert breaker.consecutive == model.streak
        if breaker.state is OPEN:
            assert breaker.exponent == min(model.k, 32)  # the cap is reached long before
            length = min(self.policy.recovery_timeout * 2 ** (model.k - 1), self.policy.recovery_cap)
            assert breaker.remaining(now) <= min(1.2 * length, self.policy.recovery_cap) + 1e-6  # float sums

    def recovers(self) -> None:
        """From here a healthy upstream with traffic is closed within cap + 2 probes, hung probes aside."""
        circuit = self.circuit
        # What hangs at this moment expires once and its replacement is ours, so it settles well.
        latest = max((expires for expires, _ in self.model.probes.values()), default=circuit.now)
        circuit.now = max(circuit.now, latest)
        limit = circuit.now + self.policy.recovery_cap
        probes = 0
        while circuit.state is not CLOSED:
            token = circuit.admit()
            if token is None:
                circuit.now += max(circuit.breaker.remaining(circuit.now), 0.001)
                assert circuit.now <= limit + 0.01
                continue
            circuit.end(token, End.SUCCEEDED)
            probes += 1
            assert probes <= self.policy.half_open_max_calls


def test_B01_a_hundred_thousand_random_events_agree_with_the_model() -> None:
    """State, epoch, count and open length match an independent model at every step of 10 runs of 10^4 events."""
    visits = dict.fromkeys(CircuitState, 0)
    for seed in range(10):
        policy = POLICY if seed % 2 == 0 else replace(POLICY, half_open_concurrency=2, half_open_max_calls=3)
        dice, pair = random.Random(seed), Pair(policy, seed)
        mood = 0.5
        for step in range(10_000):
            if step % 200 == 0:
                mood = dice.choice((0.02, 0.3, 0.95))
            what = dice.random()
            if what < 0.2:
                # often straight to the end of an open period, or too little of the walk would be half-open
                pair.advance(dice.choice((0.01, 1.0, 7.0, 40.0, pair.circuit.breaker.remaining(pair.circuit.now))))
            elif what < 0.201:
                pair.reset()
            elif what < 0.6 or not pair.flying:
                pair.admit(dice.choice((1.0, 20.0)))
            else:
                how = End.FAILED if dice.random() < mood else dice.choice((End.SUCCEEDED, End.SUCCEEDED, End.ABANDONED))
                pair.end(dice.randrange(64), how)
            visits[pair.circuit.state] += 1
        pair.recovers()
    assert min(visits.values()) > 2000, visits


class BreakerMachine(RuleBasedStateMachine):
    """Hypothesis looks for the shortest sequence that breaks an invariant of §5."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(POLICY, 3)

    @rule(patience=st.sampled_from([1.0, 30.0]))
    def ask(self, patience: float) -> None:
        self.pair.admit(patience)

    @precondition(lambda self: self.pair.flying)
    @rule(index=st.integers(0, 20), how=st.sampled_from(End))
    def finish(self, index: int, how: End) -> None:
        self.pair.end(index, how)

    @rule()
    def storm(self) -> None:
        for _ in range(5):
            self.pair.admit(10.0)
            if self.pair.flying:
                self.pair.end(-1, End.FAILED)

    @rule(seconds=st.sampled_from([0.5, 10.0, 36.0, 300.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.pair.advance(seconds)

    @rule()
    def reset(self) -> None:
        self.pair.reset()

    @invariant()
    def never_admits_while_open_before_its_time(self) -> None:
        breaker, now = self.pair.circuit.breaker, self.pair.circuit.now
        if breaker.state is OPEN and now < breaker.until:
            assert breaker.wait(now) == breaker.until - now

    @invariant()
    def a_stale_token_changes_nothing(self) -> None:
        circuit = self.pair.circuit
        before = (circuit.state, circuit.breaker.generation, circuit.breaker.consecutive, circuit.breaker.until)
        for how in End:
            circuit.end(Token(circuit.breaker.generation - 1, 0), how)
        assert before == (circuit.state, circuit.breaker.generation, circuit.breaker.consecutive, circuit.breaker.until)

    def teardown(self) -> None:
        self.pair.recovers()


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
