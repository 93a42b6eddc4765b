"""Drills become simulator scripts: one per route, faults call by call, and every fault a script that loads."""

from __future__ import annotations

import pytest
from tests.evals.scripted import scenario, shipped

from routerconsole.evals.drill import MODEL, scripts
from routerconsole.evals.scenario import Scenario
from routerconsole.evals.scenario_files import read_scenarios
from routerconsole.simulator.behaviour import Answering, Behaviour, Wire


def drill(faults: str, more: str = "") -> Scenario:
    head = "version: 1\nsuite: t\nscenarios:\n  - id: d\n    title: D\n    kind: drill\n    turns: [{user: hi}]\n"
    return read_scenarios(f"{head}    faults: [{faults}]\n{more}    assert: [{{type: attempts}}]\n", "s.yaml")[0][0]


def first(faults: str) -> Behaviour:
    return scripts(drill(faults).said)[0].models[MODEL]


@pytest.mark.parametrize(
    ("faults", "served"),
    [
        ("{at: 1, status: 500, times: 3}", [500, 500, 500, 200, 200]),
        ("{at: 3, status: 429}", [200, 200, 429, 429, 429]),
        ("{status: 500, times: 1}, {at: 3, status: 503, times: 1}", [500, 200, 503, 200, 200]),
        ("{at: 2, status: 500, times: 2}", [200, 500, 500, 200, 200]),
    ],
)
def test_statuses_come_call_by_call(faults: str, served: list[int]) -> None:
    """`at` is the call it begins with, `times` how many get it, and healthy answers follow."""
    behaviour = first(faults)
    assert [behaviour.status(n) for n in range(1, 6)] == served


def test_the_other_route_is_healthy() -> None:
    """A fault is the first route's unless it names another."""
    one, two = scripts(drill("{route: 2, kind: hang}").said)
    assert one.models[MODEL].wire is Wire.NONE
    assert two.models[MODEL].wire is Wire.HANG


def test_every_other_fault_is_a_behaviour() -> None:
    """Each kind has its place in the simulator's vocabulary."""
    assert first("{kind: cut, after: 4}").cut_after == 4
    assert first("{kind: no_tool}").tools == "ignore"
    assert first("{kind: bad_json}").json == "prose"
    assert first("{kind: empty}").answer is Answering.BLANK
    assert first("{kind: error_in_200}").answer is Answering.ERROR
    assert first("{status: 429, retry_after: 30}").retry_after == 30.0


def test_refusing_and_flapping_are_windows() -> None:
    """A refusing route never listens; a flapping one is down first and up after."""
    (refusing,) = scripts(drill("{kind: refuse}").said)[0].refusing
    assert refusing.holds(0.0)
    assert refusing.holds(3600.0)
    (flapping,) = scripts(drill("{kind: flap, up: 200ms, down: 300ms}").said)[0].refusing
    assert [flapping.holds(t) for t in (0.0, 0.29, 0.31, 0.49, 0.51)] == [True, True, False, False, True]


@pytest.mark.parametrize("name", [name for name in shipped().ids if name.startswith("drill-")])
def test_every_shipped_drill_has_a_broken_and_a_healthy_route(name: str) -> None:
    """Two routes, and the second one could serve."""
    one, two = scripts(scenario(name).said)
    assert one != two
    assert two.models[MODEL] == Behaviour(tokens=24, usage="always")
    assert two.refusing == ()
