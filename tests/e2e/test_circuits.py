"""Circuits, gates, bulkheads and restarts as clients and operators see them."""

from __future__ import annotations

import asyncio
import shutil
from statistics import median

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Reply, Stand

from routerconsole.control.commands import Disable, Drain, Enable, ForceClose, Isolate, Probe, ResetCircuit, Target
from routerconsole.simulator import Behaviour, Wire

DOWN = Behaviour(statuses=(500,))
QUICK = {"circuit": {"recovery_timeout": "600ms", "recovery_cap": "1200ms"}}


async def trip(stand: Stand, requests: int = 5) -> None:
    """Let A fail so often."""
    stand.sims["a"].set("m", DOWN)
    for _ in range(requests):
        assert (await stand.chat()).served_by == "b/m"
    assert (await stand.route("a")).circuit_state == "open"


async def elapsed(stand: Stand, name: str = "a") -> None:
    """Wait until the open time of a route's circuit is over."""
    async with asyncio.timeout(60):
        while (await stand.route(name)).circuit_open_for_s is not None:
            await asyncio.sleep(0.005)


async def test_B03_C0_23_five_failures_open_and_the_next_goes_elsewhere(make: MakeStand) -> None:
    """Five in a row: one event, the sixth request does not reach A and says why in its trace."""
    stand = await make()
    await trip(stand)
    assert len(stand.events("circuit.opened")) == 1
    event = stand.events("circuit.opened")[0]
    assert (event.data["provider"], event.data["model"], event.data["before"]) == ("a", "m", "closed")
    reply = await stand.chat()
    assert (reply.served_by, reply.attempts, stand.sims["a"].count("m")) == ("b/m", 1, 5)
    skipped = next(item for item in (await stand.detail(reply)).candidates if item.provider == "a")
    assert skipped.decision == "skipped"
    assert any("circuit_open" in reason and " s" in reason for reason in skipped.reasons)
    route = await stand.route("a")
    assert route.circuit_open_for_s is not None
    assert 20 < route.circuit_open_for_s <= 36


async def test_B03_four_failures_and_a_success_leave_it_closed(make: MakeStand) -> None:
    """The count is of consecutive failures."""
    stand = await make("a")
    for statuses in ((500,), (200,), (500,)):
        stand.sims["a"].set("m", Behaviour(statuses=statuses))
        for _ in range(4 if statuses != (200,) else 1):
            await stand.chat(headers={"x-router-no-fallback": "1"})
    assert (await stand.route("a")).circuit_state == "closed"


async def test_B06_C0_19_one_probe_for_a_thousand_callers(make: MakeStand) -> None:
    """The open time ends under 1,000 simultaneous requests: exactly one reaches A, the others are B's at once."""
    many = {"max_concurrency": 2000}
    stand = await make(routing=QUICK, providers={"a": many, "b": many})
    await trip(stand)
    before = stand.sims["a"].count("m")
    stand.sims["a"].set("m", Behaviour(wire=Wire.HANG))
    await elapsed(stand)
    tasks = [asyncio.create_task(stand.chat()) for _ in range(1000)]
    await stand.until(lambda: sum(task.done() for task in tasks) == 999, "999 answers")
    assert stand.sims["a"].count("m") - before == 1
    probe = next(task for task in tasks if not task.done())
    served = [task.result() for task in tasks if task is not probe]
    assert {(reply.status, reply.served_by) for reply in served} == {(200, "b/m")}
    probe.cancel()
    await stand.until(lambda: stand.idle)
    starts = [(await stand.first(reply)).started_ms for reply in served]
    assert sorted(starts)[int(len(starts) * 0.95)] < 500, "they do not wait for the probe"
    assert stand.idle


async def test_C0_19_five_callers_in_half_open(make: MakeStand) -> None:
    """Half-open lets one of five through; the rest go elsewhere."""
    stand = await make(routing=QUICK, providers={"b": {"max_concurrency": 10}})
    await trip(stand)
    stand.sims["a"].set("m", Behaviour(latency=1.0))
    await elapsed(stand)
    replies = await stand.many(5)
    assert sorted(reply.served_by for reply in replies) == ["a/m", *["b/m"] * 4]
    assert (await stand.route("a")).circuit_state == "half_open"


async def test_C0_17_one_failure_is_forgiven(make: MakeStand) -> None:
    """Default configuration, one failing request, then a healthy upstream: the next request is sent and succeeds."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(statuses=(500, 500, 500, 200)))
    assert (await stand.chat(headers={"x-router-no-fallback": "1"})).status == 500
    stand.sims["a"].set("m", Behaviour())
    assert (await stand.chat()).status == 200
    assert (await stand.route("a")).circuit_state == "closed"


@pytest.mark.parametrize("stream", [False, True])
async def test_C0_18_ten_failures_a_pause_two_successes(make: MakeStand, stream: bool) -> None:
    """Through the public port alone: opened, probed when its time has come, closed after two successes."""
    stand = await make("a", routing=QUICK)
    stand.sims["a"].set("m", DOWN)
    for _ in range(10):
        assert (await stand.chat()).status in (500, 503)
    assert (await stand.route("a")).circuit_state == "open"
    stand.sims["a"].set("m", Behaviour())
    await elapsed(stand)
    assert (await stand.chat(stream=stream)).status == 200
    assert (await stand.route("a")).circuit_state == "half_open"
    assert (await stand.chat(stream=stream)).status == 200
    route = await stand.route("a")
    assert (route.circuit_state, route.status) == ("closed", "healthy")
    moves = [event.type.removeprefix("circuit.") for event in stand.events() if event.type.startswith("circuit.")]
    assert moves[-2:] == ["half_open", "closed"]


@pytest.mark.parametrize(("statuses", "state"), [((429,), "half_open"), ((400,), "half_open"), ((500,), "open")])
async def test_B09_what_a_probe_may_answer(make: MakeStand, statuses: tuple[int, ...], state: str) -> None:
    """429 and 400 are neutral and give the lease back, a 500 opens it again for longer."""
    stand = await make(routing=QUICK)
    await trip(stand)
    stand.sims["a"].set("m", Behaviour(statuses=statuses))
    await elapsed(stand)
    await stand.chat()
    assert (await stand.route("a")).circuit_state == state
    assert stand.idle


async def test_B07_a_probe_whose_client_left(make: MakeStand) -> None:
    """The lease comes back and the next caller probes."""
    stand = await make(routing=QUICK)
    await trip(stand)
    stand.sims["a"].set("m", Behaviour(wire=Wire.HANG))
    await elapsed(stand)
    before = stand.sims["a"].count("m")
    probing = asyncio.create_task(stand.chat())
    await stand.sims["a"].wait_received(before + 1, model="m")
    probing.cancel()
    await stand.until(lambda: stand.idle)
    stand.sims["a"].set("m", Behaviour())
    assert (await stand.chat()).served_by == "a/m"


async def test_B13_a_restart_keeps_a_circuit_open_for_its_time(make: MakeStand) -> None:
    """Stopped and started on one state directory: open for what was left, not asked meanwhile, then probed."""
    stand = await make(routing={"circuit": {"recovery_timeout": "5s"}})
    await trip(stand)
    left = (await stand.route("a")).circuit_open_for_s
    assert left is not None
    await stand.restart()
    route = await stand.route("a")
    assert route.circuit_state == "open"
    assert route.circuit_open_for_s is not None
    assert left - 4.5 <= route.circuit_open_for_s <= left
    before = stand.sims["a"].count("m")
    assert (await stand.chat()).served_by == "b/m"
    assert stand.sims["a"].count("m") == before
    stand.sims["a"].set("m", Behaviour())
    await elapsed(stand)
    assert (await stand.chat()).served_by == "a/m"


async def test_B15_what_was_acknowledged_is_on_the_disk(make: MakeStand) -> None:
    """The files as they are right after the OK of `disable`: an engine started on them has it disabled."""
    stand = await make()
    receipt = await stand.node.control.do(Disable(Target("a")))
    assert receipt.persisted
    copy = stand.state.with_name("as-killed")
    shutil.copytree(stand.state, copy)
    revived = Stand(stand.text, copy, stand.sims)
    await revived.start()
    try:
        provider = await revived.provider("a")
        assert (provider.enabled, provider.status) == (False, "disabled")
        assert (await revived.chat()).served_by == "b/m"
        audit = await revived.node.control.audit()
        assert [(row.command, row.target) for row in audit] == [("disable_provider", "a")]
    finally:
        await revived.stop()


async def test_B19_a_total_outage_is_not_multiplied(make: MakeStand) -> None:
    """Everything down at 100 requests/s for 2 s: a handful of attempts in all, quick errors, a true Retry-After."""
    stand = await make()
    for sim in stand.sims.values():
        sim.set("m", DOWN)
    replies: list[Reply] = []
    tasks, together = [], 0
    for _ in range(200):
        tasks.append(asyncio.create_task(stand.chat()))
        together = max(together, sum(not task.done() for task in tasks))
        await asyncio.sleep(0.01)
    replies = await asyncio.gather(*tasks)
    assert not any(reply.status == 200 for reply in replies)
    for sim in stand.sims.values():
        assert sim.count("m") <= 5 + together  # five, and what was under way when the fifth came back
    refused = [reply for reply in replies if reply.error["code"] == "no_routable_candidate"]
    assert len(refused) >= 200 - 2 * (5 + together)
    assert {reply.status for reply in refused} == {503}
    assert {reply.attempts for reply in refused} == {0}
    opened = [(await stand.route(name)).circuit_open_for_s for name in stand.sims]
    soonest = min(seconds for seconds in opened if seconds is not None)
    assert abs(int(refused[-1].headers["retry-after"]) - soonest) <= 2
    totals = [(await stand.detail(reply)).row.total_ms or 0.0 for reply in refused]
    assert median(totals) < 5


async def test_B19_an_outage_of_refused_connections(make: MakeStand) -> None:
    """The same where nothing listens: three attempts a provider, then nobody is bothered."""
    stand = await make()
    for sim in stand.sims.values():
        await sim.pause_listening()
    replies = [await stand.chat() for _ in range(20)]
    assert [reply.attempts for reply in replies] == [2, 2, 2, *[0] * 17]
    assert {reply.status for reply in replies[3:]} == {503}
    assert all(int(reply.headers["retry-after"]) in range(20, 38) for reply in replies[3:])


async def test_B25_a_good_listing_closes_no_circuit(make: MakeStand) -> None:
    """/models answers and chat is a 500: checked by hand over and over, the circuit stays open."""
    stand = await make()
    await trip(stand)
    for _ in range(3):
        receipt = await stand.node.control.do(Probe(("a",)))
        assert receipt.after["healthy_count"] == 1
        assert (await stand.route("a")).circuit_state == "open"
    assert (await stand.chat()).served_by == "b/m"
    assert stand.sims["a"].count("m") == 5


async def test_B33_C0_24_the_last_one_disabled(make: MakeStand) -> None:
    """A disabled provider is passed over; with none left: 503 no_routable_candidate that says so, and a Retry-After."""
    stand = await make()
    await stand.node.control.do(Disable(Target("a")))
    assert (await stand.chat()).served_by == "b/m"
    assert stand.sims["a"].count("m") == 0
    await stand.node.control.do(Disable(Target("b")))
    reply = await stand.chat()
    assert (reply.status, reply.error["code"]) == (503, "no_routable_candidate")
    assert "retry-after" in reply.headers
    reasons = {item["provider"]: item["reason"] for item in reply.error["routerconsole"]["skipped"]}
    assert set(reasons) == {"a", "b"}
    assert all("disabled" in reason for reason in reasons.values())
    await stand.node.control.do(Enable(Target("a")))
    assert (await stand.chat()).served_by == "a/m"


@pytest.mark.parametrize("command", [Drain, Isolate])
async def test_C0_24_drained_and_isolated_take_no_new_requests(
    make: MakeStand, command: type[Drain] | type[Isolate]
) -> None:
    """What runs there finishes; what comes goes elsewhere; enable ends it."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(latency=0.2))
    running = asyncio.create_task(stand.chat())
    await stand.sims["a"].wait_received(1, model="m")
    await stand.node.control.do(command(Target("a")))
    assert (await stand.chat()).served_by == "b/m"
    assert (await running).served_by == "a/m"
    await stand.node.control.do(Enable(Target("a")))
    assert (await stand.chat()).served_by == "a/m"


async def test_B11_a_reset_outlives_late_failures(make: MakeStand) -> None:
    """Reset while requests of before are still out: their failures belong to the past."""
    stand = await make("a", providers={"a": {"max_concurrency": 50}}, routing={"max_attempts": 1})
    stand.sims["a"].set("m", Behaviour(statuses=(500,), latency=0.3))
    late = [asyncio.create_task(stand.chat()) for _ in range(20)]
    await stand.sims["a"].wait_received(20, model="m")
    stand.sims["a"].set("m", DOWN)
    for _ in range(5):
        await stand.chat()
    assert (await stand.route("a")).circuit_state == "open"
    await stand.node.control.do(ResetCircuit(Target("a", "m")))
    assert {reply.status for reply in await asyncio.gather(*late)} == {500}
    assert (await stand.route("a")).circuit_state == "closed"


async def test_B35_only_the_exact_name_is_reset(make: MakeStand) -> None:
    """Resetting `m` leaves `mm`, `m:b` and `x/m` as they are."""
    names = ("m", "mm", "m:b", "x/m")
    well = [f"well{n}" for n in range(5)]  # enough that four open routes do not take the provider with them
    routing = {"max_attempts": 1, "circuit": {"failure_threshold": 2}}
    stand = await make("a", models={"a": [*names, *well]}, routing=routing)
    for name in well:
        stand.sims["a"].set(name, Behaviour())
        assert (await stand.chat(f"a/{name}")).status == 200
    for name in names:
        stand.sims["a"].set(name, DOWN)
        for _ in range(2):
            await stand.chat(f"a/{name}")
        assert (await stand.route("a", name)).circuit_state == "open"
    await stand.node.control.do(ResetCircuit(Target("a", "m")))
    states = {name: (await stand.route("a", name)).circuit_state for name in names}
    assert states == {"m": "closed", "mm": "open", "m:b": "open", "x/m": "open"}


async def test_B37_a_full_bulkhead_passes_on_at_once(make: MakeStand) -> None:
    """One more than `max_concurrency`: the next candidate within 5 ms, else 429 or 503; no health effect."""
    stand = await make(providers={"a": {"max_concurrency": 4}, "b": {"max_concurrency": 4}})
    for sim in stand.sims.values():
        sim.set("m", Behaviour(wire=Wire.HANG))
    held = [asyncio.create_task(stand.chat()) for _ in range(4)]
    await stand.sims["a"].wait_received(4, model="m")
    stand.sims["b"].set("m", Behaviour())
    fifth = await stand.chat()
    assert (fifth.served_by, fifth.attempts) == ("b/m", 1)
    assert (await stand.first(fifth)).started_ms < 50  # 5 ms, and what a busy machine adds; nothing was waited for
    lone = await stand.chat("a/m")
    assert lone.status in (429, 503)
    assert "retry-after" in lone.headers
    assert "4 of 4" in lone.error["routerconsole"]["skipped"][0]["reason"]
    assert (await stand.provider("a")).status in ("healthy", "unknown")
    for task in held:
        task.cancel()
    await stand.until(lambda: stand.idle)
    stand.sims["a"].set("m", Behaviour())
    assert (await stand.chat()).served_by == "a/m"


async def test_B22_six_attempts_of_eight(make: MakeStand) -> None:
    """max_attempts 6, eight candidates that all fail: six are asked."""
    stand = await make(*"abcdefgh")
    for sim in stand.sims.values():
        sim.set("m", DOWN)
    reply = await stand.chat()
    assert (reply.status, reply.attempts) == (500, 6)
    assert [sim.count("m") for sim in stand.sims.values()] == [1] * 6 + [0, 0]


async def test_B23_an_attempt_leaves_time_for_the_next(make: MakeStand) -> None:
    """Deadline 500 ms, A hangs: cut at 60 %, B has the rest, and A is not blamed for a wait we cut short."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(wire=Wire.HANG))
    cut = []
    for _ in range(6):
        reply = await stand.chat(headers={"x-router-timeout-ms": "500"})
        assert reply.served_by == "b/m"
        cut.append((await stand.detail(reply)).attempts_detail[1].started_ms)
    assert min(cut) >= 290
    assert sorted(cut)[2] <= 400
    assert (await stand.route("a")).circuit_state == "closed"
    assert (await stand.provider("a")).circuit_state == "closed"


async def test_B32_a_last_one_standing_keeps_its_place(make: MakeStand) -> None:
    """A pool of one at 60 % errors stays admitted and shows DEGRADED; at 100 % it opens."""
    stand = await make("a", routing={"max_attempts": 1})
    stand.sims["a"].set("m", Behaviour(statuses=(500, 500, 500, 200, 200), repeat="cycle"))
    for _ in range(30):
        await stand.chat()
    route = await stand.route("a")
    assert (route.circuit_state, route.status, stand.sims["a"].count("m")) == ("closed", "degraded", 30)


async def test_force_close_admits_whatever_the_circuit_says(make: MakeStand) -> None:
    """An operator may insist for a while."""
    stand = await make()
    await trip(stand)
    stand.sims["a"].set("m", Behaviour())
    await stand.node.control.do(ForceClose(Target("a", "m"), ttl_s=60.0))
    assert (await stand.chat("a/m")).served_by == "a/m"
