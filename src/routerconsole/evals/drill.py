"""Drills: from the faults of a scenario to one simulator script per route, in the order of the drill's pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from routerconsole.simulator.behaviour import Answering, Behaviour, Wire
from routerconsole.simulator.script import Script, Window

from .scenario import FaultSection, ScenarioSection

MODEL: Final = "drill"
"""The id of the one model every simulated route serves."""
_FOR_EVER: Final = 86_400.0
_OK: Final = 200


def scripts(said: ScenarioSection) -> tuple[Script, ...]:
    """Return the script of each route's simulator, the pool's first route first."""
    return tuple(
        _script([fault for fault in said.faults if fault.route == route]) for route in range(1, said.routes + 1)
    )


def _script(faults: Sequence[FaultSection]) -> Script:
    behaviour = Behaviour(tokens=24, usage="always")
    refusing: tuple[Window, ...] = ()
    for fault in faults:
        if fault.kind == "refuse":
            refusing += (Window(start=0.0, end=_FOR_EVER),)
        elif fault.kind == "flap":
            refusing += (Window(start=0.0, end=fault.down, every=fault.up + fault.down),)
        else:
            behaviour = _with(behaviour, fault)
    return Script(models={MODEL: behaviour}, refusing=refusing)


def _with(behaviour: Behaviour, fault: FaultSection) -> Behaviour:
    """The behaviour with one more fault."""
    if fault.status is not None:
        statuses = _statuses(behaviour.statuses, fault, fault.status)
        retry_after = behaviour.retry_after if fault.retry_after is None else fault.retry_after
        return replace(behaviour, statuses=statuses, retry_after=retry_after)
    if fault.kind == "hang":
        return replace(behaviour, wire=Wire.HANG)
    if fault.kind == "cut":
        return replace(behaviour, cut_after=fault.after)
    if fault.kind == "no_tool":
        return replace(behaviour, tools="ignore")
    if fault.kind == "bad_json":
        return replace(behaviour, json="prose")
    return replace(behaviour, answer=Answering.BLANK if fault.kind == "empty" else Answering.ERROR)


def _statuses(before: tuple[int | str, ...], fault: FaultSection, status: int) -> tuple[int | str, ...]:
    """The statuses call by call; the last one goes on for ever, so a fault that ends is followed by a 200."""
    healthy = [_OK] * max(0, fault.at - 1 - len(before))
    first = [*before[: fault.at - 1], *healthy]
    return (*first, *([status] * (fault.times or 1)), *([] if fault.times is None else [_OK]))
