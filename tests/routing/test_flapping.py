"""U46 in the pure core, on the row's own scale: two seconds up, two down, for five minutes, default thresholds."""

from __future__ import annotations

import pytest
from tests.routing.boards import CONNECT, CUT, E500, E503, OK, Bench, provider

from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import Failure
from routerconsole.domain.route import Route
from routerconsole.routing.board import Lease

A, B = Route("a", None, "m"), Route("b", None, "m")
MOVES = {EventType.CIRCUIT_OPENED, EventType.CIRCUIT_HALF_OPEN, EventType.CIRCUIT_CLOSED}


@pytest.mark.parametrize("always_reachable", [False, True])
@pytest.mark.parametrize(("rate", "seed"), [(3, 1), (10, 2)])
@pytest.mark.parametrize("down", [E503, E500, CONNECT, CUT], ids=lambda failure: failure.detail)
def test_U46_five_minutes_of_flapping_move_the_circuits_twelve_times_at_most(
    down: Failure, rate: int, seed: int, always_reachable: bool
) -> None:
    """Whatever *down* is, with reachability checks every 30 s meanwhile; A serves when it is up and admitted."""
    bench = Bench(provider("a"), provider("b"), seed=seed)
    served = 0
    for tick in range(300 * rate):
        bench.now = 1000.0 + tick / rate
        up = tick / rate % 4.0 < 2.0
        if tick % (30 * rate) == 11 * rate and (up or always_reachable):
            bench.facts += bench.board.probe_result("a", True, bench.now)
        bench.facts += bench.board.tick(bench.now)
        got = bench.admit(A)
        if isinstance(got, Lease):
            bench.settle(got, OK if up else down)
            served += up
        bench.send(B, OK)
    moves = [fact for fact in bench.facts if fact.type in MOVES]
    assert 1 <= len(moves) <= 12, [(fact.type, fact.data) for fact in moves]
    assert served > rate
