"""Early stopping of capability probes: the bounds of evals.md §5, and the runner that keeps to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evals.test_runner import CATALOGUE, PLAIN, Stand, a_run

from routerconsole.evals.plan import next_call
from routerconsole.evals.probes import Turn, bound, turn
from routerconsole.evals.runner import Lanes, finished_cells
from routerconsole.evals.statistics import MOST_PROBES, Probe, sprt
from routerconsole.evals.types import Call, CallError, Reply, Run, ScenarioRef, Status, Target, ToolCall

(TOOLS,) = CATALOGUE.select(["tool-invocation"])
OUTCOMES = st.lists(st.booleans(), max_size=12)


@given(OUTCOMES)
def test_the_test_decides_once_and_at_the_latest_after_eight(outcomes: list[bool]) -> None:
    """Three straight passes verify, two straight failures refute; what was decided stays; 8 are the end."""
    said = [sprt(outcomes[:n]) for n in range(len(outcomes) + 1)]
    first = next((n for n, each in enumerate(said) if each is not Probe.OPEN), None)
    if first is not None:
        assert 2 <= first <= MOST_PROBES
        assert set(said[first:]) == {said[first]}
    else:
        assert len(outcomes) < MOST_PROBES
    if outcomes[:3] == [True] * 3:
        assert (first, said[3]) == (3, Probe.VERIFIED)
    if outcomes[:2] == [False] * 2:
        assert (first, said[2]) == (2, Probe.REFUTED)
    if said[-1] is Probe.FLAKY:
        assert first == MOST_PROBES


@given(st.lists(st.sampled_from([True, False, None]), max_size=MOST_PROBES))
def test_a_repeat_is_asked_only_while_those_before_it_leave_it_open(before: list[bool | None]) -> None:
    """Nothing after a decision, nothing while an earlier one goes on, and no eighth try at what nobody answers."""
    graded = [each for each in before if each is not None]
    said = turn(TOOLS, len(before), before)
    if sprt(graded) is not Probe.OPEN:
        assert said is Turn.NEVER
    elif not graded:
        assert said is (Turn.NOW if len(before) < TOOLS.repeats else Turn.NEVER)
    else:
        assert said is Turn.NOW
    assert turn(TOOLS, len(before) + 1, before) is (Turn.NEVER if said is Turn.NEVER else Turn.LATER)


def test_only_scenarios_with_a_capability_are_probes() -> None:
    """Others have the repeats they say, all at once; an asked-for number is the most a probe takes."""
    assert (bound(PLAIN, None), bound(PLAIN, 20)) == (PLAIN.repeats, 20)
    assert turn(PLAIN, 5, ()) is Turn.NOW
    assert (bound(TOOLS, None), bound(TOOLS, 2), bound(TOOLS, 50)) == (MOST_PROBES, 2, MOST_PROBES)


def probing(targets: tuple[str, ...] = ("a/x",)) -> Run:
    """A run of one probe with as many repeats as it takes."""
    run = replace(a_run(*targets), repeats=None)
    return replace(run, scenarios=(ScenarioRef(TOOLS.id, TOOLS.hash, capability="tools"),))


class Caller(Stand):
    """Calls the tool or does not, as the script says for each repeat in turn; None is an error."""

    def __init__(self, *script: bool | None) -> None:
        super().__init__()
        self.script = list(script)

    async def ask(self, target: Target, call: Call, _left: float | None) -> Reply:
        """Answer the next of the script."""
        said = self.script.pop(0)
        self.asked.append((target.id, call))
        if said is None:
            return Reply(call.label, call.body, error=CallError("server", status=503))
        calls = (ToolCall("record_observation", "{}"),) if said else ()
        return Reply(call.label, call.body, text="" if said else "prose", tool_calls=calls, finish_reason="stop")


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ([True] * 8, 3),
        ([False] * 8, 2),
        ([True, False] * 4, 8),
        ([False, True, False, False, True, True, True, True], 4),
        ([True, None, True, True, True], 4),
        ([None] * 8, 3),
    ],
    ids=["verified", "refuted", "flaky", "refuted-late", "an-error-is-no-answer", "nobody-answers"],
)
async def test_the_runner_stops_where_the_test_does(script: list[bool | None], asked: int) -> None:
    """However many lanes are free, no repeat is asked before those before it have ended."""
    stand = Caller(*script)
    assert await stand.runner(probing(), lanes=Lanes(4)).work([TOOLS])
    assert (len(stand.asked), len(stand.cells)) == (asked, asked)


async def test_each_column_is_decided_by_itself_and_lanes_are_not_idle_meanwhile() -> None:
    """Two columns at a time; one is refuted after two, the other verified after three."""
    stand = Stand()
    most = 0

    async def ask(target: Target, call: Call, left: float | None) -> Reply:
        nonlocal most
        await stand.ask(target, call, left)
        most = max(most, stand.most)
        calls = (ToolCall("record_observation", "{}"),) if target.id == "a/x" else ()
        return Reply(call.label, call.body, text="prose", tool_calls=calls, finish_reason="stop")

    await stand.runner(probing(("a/x", "b/x")), ask=ask, lanes=Lanes(4)).work([TOOLS])
    columns = [name for name, _ in stand.asked]
    assert (columns.count("a/x"), columns.count("b/x"), most) == (3, 2, 2)


async def test_a_resumed_probe_asks_its_errors_again_and_goes_on_from_there() -> None:
    """The error in the middle is completed, what was decided after it is not asked again."""
    first = Caller(True, None, True, True)
    await first.runner(probing()).work([TOOLS])
    again = Caller(True, True, True)
    await again.runner(probing()).work([TOOLS], done=finished_cells(first.cells))
    assert [cell.key.repeat for cell in again.cells] == [1]
    assert {cell.verdict.status for cell in again.cells} == {Status.FAIL}, "the value is wrong, the call is one"


@pytest.mark.parametrize(("window", "most"), [(None, 4096), (16384, 4096), (8192, 4096), (4096, 2048), (512, 256)])
def test_an_answer_is_allowed_half_the_window_at_most(window: int | None, most: int) -> None:
    """A scenario that lets a reasoning model say much can still be asked of a small window."""
    (reasoning,) = CATALOGUE.select(["reasoning"])
    call = next_call(reasoning, {"nonce": "a-1", "extra": "123"}, (), window=window)
    assert call is not None
    assert call.body["max_tokens"] == most
