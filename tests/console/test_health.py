"""Health: the table of providers and routes, one of them in full, the chart, and every action on both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.console.fake_control import NOW, FakeControl, provider, route, status
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage
from tests.support.effort import calls

from routerconsole.console.latency import MAX_SUBJECTS, LatencyRecord
from routerconsole.console.render import chart
from routerconsole.console.verbs import command_for, explained, problem_of, subject_of
from routerconsole.control.commands import (
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.port import ControlError
from routerconsole.control.views import AuditRow, LimitUse, ProviderMetrics, ProviderStatus, RouteMetrics
from routerconsole.domain.events import EventType

SIZES = [(80, 24), (120, 40), (200, 60)]
SEEN = NOW.timestamp()


def figures(entry: ProviderStatus, **changes: Any) -> ProviderMetrics:
    """Return the metrics of a provider: 420 ms and 1.9 s, with a limit of 60 requests a minute on every route."""
    common: dict[str, Any] = {
        "total_requests": 120,
        "successful": 118,
        "failed": 2,
        "error_rate": 0.016,
        "avg_latency_ms": 600.0,
        "p50_ms": 420.0,
        "p95_ms": 1900.0,
        "ttft_p50_ms": 310.0,
        "tokens_per_s": 71.5,
        "failures_by_class": {"server": 9, "rate": 3},
        **changes,
    }
    limits = {"rpm": LimitUse(48, 60), "tpd": LimitUse(100, 100)}
    routes = tuple(
        RouteMetrics(model=each.model, account=each.account, limits=limits, **common) for each in entry.routes
    )
    return ProviderMetrics(name=entry.name, routes=routes, **common)


def measured(control: FakeControl) -> FakeControl:
    """Give every provider metrics."""
    control.measured = tuple(figures(entry) for entry in control.now.providers)
    return control


def happened(control: FakeControl) -> None:
    """Publish what openai went through in the last minutes."""
    where = {"provider": "openai", "account": None, "model": "gpt-x"}
    owner = {"provider": "openai", "account": None, "model": None}
    publish = control.publish
    fine = {"healthy": True, "latency_ms": 41.0, "depth": "auth", "detail": "listed 3 models"}
    down = {"healthy": False, "latency_ms": None, "depth": "reach", "detail": "connection refused"}
    publish(EventType.PROBE_FINISHED, SEEN - 70, provider="openai", **fine)
    publish(EventType.HEALTH_CHANGED, SEEN - 60, **owner, before="healthy", after="degraded")
    publish(EventType.GATE_STARTED, SEEN - 50, **where, reason="rate", ends_in_s=20.0)
    publish(EventType.CIRCUIT_OPENED, SEEN - 11, **where, before="closed", reason="503", open_for_s=25.0)
    publish(EventType.HEALTH_CHANGED, SEEN - 11, **owner, before="degraded", after="open")
    publish(EventType.CAPABILITY_GAP_LEARNED, SEEN - 9, **where, capability="tools", evidence="none came")
    publish(EventType.PROBE_FINISHED, SEEN - 4, provider="openai", **down)


def pair() -> FakeControl:
    """Return two providers that share a model, one of them with two accounts, and a third model of their own each."""
    groq = provider("groq", in_flight=2, rps=4.1, models=("shared", "solo"))
    keys = (route("spare", "shared", account="key1"), route("spare", "shared", account="key2"), route("spare", "other"))
    spare = provider("spare", priority=20, in_flight=0, models=("shared", "other"), routes=keys)
    return measured(FakeControl(groq, spare))


async def select(on: Stage, key: str) -> None:
    """Open Health on one provider or route."""
    on.desk.show("health", key)
    await on.until(lambda: on.desk.health.table.current_key == key, f"{key} selected")
    on.app.redraw()
    await on.pilot.pause()


# -- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("form", ["dark", "ascii"])
@pytest.mark.parametrize("scene", ["health", "health-detail"])
async def test_snapshot(scene: str, form: str, size: tuple[int, int], snapshot: Callable[[str, str], None]) -> None:
    """Table and detail look as they were approved at each size, with glyphs and in ASCII."""
    control = measured(fleet())
    async with stage(control, size=size, ascii=form == "ascii") as on:
        happened(control)
        await on.press("2")
        await on.until(lambda: on.desk.state.snapshots.metrics, "metrics")
        if scene == "health-detail":
            await select(on, "openai")
            await on.press("enter")
            await on.sees("Failures by class", "server")
        await on.looked()
        snapshot(f"{scene}-{size[0]}x{size[1]}-{form}", on.text())
        if form == "ascii":
            assert on.text().isascii()


async def test_table_has_provider_and_route_with_every_figure() -> None:
    """A provider's row with its routes below: state word with glyph, circuit, gate countdown, headroom, load, speed."""
    async with stage(measured(fleet()), size=(200, 60)) as on:
        await on.press("2")
        await on.sees("anthropic", "claude-x", "p95")
        await on.until(lambda: on.desk.state.snapshots.metrics, "metrics")
        await on.looked()
        rows = [line[:127] for line in on.lines()]
        owner = next(line for line in rows if "▾ openai" in line)
        for part in ("✗ open", "OPEN 14s", "41%", "5 consecutive failu"):
            assert part in owner
        of_route = next(line for line in rows if "│ gpt-x" in line)
        for part in ("✗ open", "OPEN 14s", " 0 ", "120", "41%", "420ms", "1.90s", " 40 ", "503 upstream"):
            assert part in of_route
        assert "rate 12s" in next(line for line in rows if "anthropic" in line)


async def test_detail_tells_timeline_failures_gates_probes_limits_gaps_and_last_error() -> None:
    """The detail has everything that is known of one provider."""
    control = measured(fleet())
    async with stage(control, size=(200, 70)) as on:
        await on.press("2")
        happened(control)
        await select(on, "openai")
        await on.sees(
            "gpt-x: breaker OPEN for 25s: 503",
            "gpt-x: rate gate for 20s",
            "degraded → open",
            "learned that it lacks tools",
            "✗ failed reach",
            "connection refused",
            "✓ ok auth 41ms",
            "48 of 60 80%",
            "100 of 100 100% used up",
            "503 upstream connect error",
        )
        assert any("server" in line and " 9   75%" in line for line in on.lines())


async def test_detail_of_a_route_shows_only_its_own_and_its_providers_past() -> None:
    """A transition of a sibling is not told on a route's page."""
    control = pair()
    async with stage(control, size=(200, 60)) as on:
        await on.press("2")
        for model in ("shared", "solo"):
            control.publish(
                EventType.CIRCUIT_OPENED, SEEN, provider="groq", account=None, model=model, reason=f"why-{model}"
            )
        await select(on, "groq/solo")
        await on.sees("Route groq/solo", "why-solo")
        assert "why-shared" not in on.text()


async def test_states_of_the_last_minutes_are_drawn_where_they_were_seen() -> None:
    """The strip has a cross where the provider was open and nothing where nobody watched."""
    control = measured(fleet())
    async with stage(control, size=(200, 60)) as on:
        await on.press("2")
        on.desk.state.chronicle.begin(SEEN - 100)
        happened(control)
        await select(on, "openai")
        await on.sees("breaker OPEN for 25s")
        strip = next(line for line in on.lines() if "│ state" in line).partition("│ state")[2]
        assert strip.rstrip().endswith("✗✗✗")
        assert strip.count("◐") in {9, 10}
        assert strip.count("─") in {7, 8, 9}
        assert strip.startswith(" " * 30)


async def test_changes_by_operators_from_before_the_console_are_in_the_past() -> None:
    """What the action log has of the subject is told with who did it, and only once."""
    control = pair()
    control.audit_rows.append(
        AuditRow(
            7, "2026-03-01T11:59:00Z", "api", "drain_provider", "groq", {"status": "healthy"}, {"status": "draining"}
        )
    )
    async with stage(control, size=(200, 60)) as on:
        await on.press("2")
        await on.sees("⚑ api: drain provider: status healthy → draining")
        control.publish(EventType.AUDIT, SEEN, id=7, actor="api", command="drain_provider", target="groq")
        await on.until(lambda: on.desk.state.chronicle.moments("groq"), "the event")
        await on.looked()
        assert on.text().count("⚑ api") == 1


async def test_routes_fold_and_unfold_and_the_cursor_stays_on_its_record() -> None:
    """`h` hides a provider's routes and goes to it, `l` shows them again, `.` does it for all."""
    async with stage(pair(), size=(120, 40)) as on:
        await on.press("2")
        await on.sees("│ shared", "│ other")
        await select(on, "spare/other")
        await on.press("h")
        assert on.desk.health.table.current_key == "spare"
        await on.loses("│ other")
        await on.sees("│ shared")
        await on.press("l")
        await on.sees("│ other")
        await on.press("full_stop")
        await on.loses("│ shared")
        await on.press("full_stop")
        await on.sees("│ shared", "│ other")


async def test_routes_are_folded_where_not_everything_has_room() -> None:
    """With more rows than lines every provider is seen, and the first ones' routes; a link unfolds its own."""
    crowd = [provider(f"p{number}", models=tuple(f"m{number}-{each}" for each in range(6))) for number in range(6)]
    async with stage(FakeControl(*crowd)) as on:
        await on.press("2")
        await on.sees("▾ p0", "│ m1-5", "▸ p2", "▸ p5")
        assert "m2-0" not in on.text()
        await select(on, "p5/m5-3")
        await on.sees("m5-3", "▸ p4")


async def test_sorting_keeps_routes_with_their_provider() -> None:
    """`o` sorts providers, and the routes within each; `O` turns it round; the title says by what."""
    control = FakeControl(
        provider(
            "calm", error_rate=0.0, routes=(route("calm", "c1", error_rate=0.0), route("calm", "c2", error_rate=0.5))
        ),
        provider("wild", error_rate=0.9, priority=20),
    )
    async with stage(control, size=(120, 40)) as on:
        await on.press("2", "o")
        await on.sees("by state")
        await on.press("o")
        await on.sees("by errors")
        assert [row.key for row in on.desk.health.table.rows] == [
            "wild",
            "wild/wild-large",
            "calm",
            "calm/c2",
            "calm/c1",
        ]
        await on.press("O")
        await on.sees("by errors reversed")
        assert on.desk.health.table.rows[0].key == "calm"


async def test_a_filter_narrows_while_it_is_typed_and_escape_clears_it() -> None:
    """`/`: all words in name, kind, state, gate or reason; chips say what is looked for, a link clears them."""
    async with stage(measured(fleet()), size=(120, 40)) as on:
        await on.press("2", "slash", *"rate")
        await on.until(lambda: [row.key for row in on.desk.health.table.rows] == ["anthropic"], "one row")
        await on.press("ctrl+u", *"gpt", "enter")
        await on.sees("[gpt] (Esc clears)")
        assert [row.key for row in on.desk.health.table.rows] == ["openai", "openai/gpt-x"]
        await on.press("slash", *"zz", "enter")
        await on.sees("No provider or route has all these words. Esc clears")
        await on.press("escape")
        await on.sees("6 providers")
        await on.press("slash", *"gpt", "enter")
        await select(on, "groq")
        await on.loses("[gpt]")


async def test_e_goes_to_the_next_that_is_unwell() -> None:
    """`e` and `E` stop at what is not healthy and say so when there is none left."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("2", "g", "e")
        assert on.desk.health.table.current_key == "openai"
        await on.press("E")
        assert on.desk.health.table.current_key == "anthropic"
        await on.press("E")
        await on.sees("none above is unwell")


async def test_palette_and_command_line_lead_to_a_route() -> None:
    """Providers and routes are objects: `:health groq/solo` selects one, an unknown one is said."""
    async with stage(pair()) as on:
        await on.press("colon", *"health groq/solo", "enter")
        await on.until(lambda: on.desk.health.table.current_key == "groq/solo", "the route")
        await on.press("colon", *"health groq/none", "enter")
        await on.sees("there is no groq/none")
        on.desk.show("health", "spare/shared")
        assert on.desk.health.table.current_key == "spare/shared #key1"


async def test_empty_loading_and_lost_states_say_what_to_do() -> None:
    """Before the first answer nothing is claimed; without providers the next step is named."""
    control = FakeControl()
    control.now = status()
    control.gate.clear()
    async with stage(control) as on:
        await on.press("2")
        await on.sees("asking the engine for its providers")
        control.gate.set()
        await on.sees("No providers. Add one under `providers:`")
        await on.press("t", "d", "P", "p", "h", "enter")
        assert control.commands == []


async def test_read_only_has_the_view_without_its_switches() -> None:
    """With --read-only nothing in Health changes anything; the chart stays."""
    async with stage(pair(), read_only=True) as on:
        await on.press("2", "t", "r", "b", "d", "D", "I", "C", "P", "y", "enter")
        assert (on.desk.question, on.desk.prompt, on.control.commands) == (None, None, [])
        await on.press("escape", "p")
        await on.sees("Latency of groq")


# -- actions ----------------------------------------------------------------------------------------------------------

GROQ, SOLO = Target("groq"), Target("groq", "solo")


@pytest.mark.parametrize(
    ("key", "place", "keys", "command", "says"),
    [
        ("groq", "d", (), Drain(GROQ), "4.1 of 7.2 rps now; next: spare"),
        ("groq", "D", (), Disable(GROQ), "remembered over restarts; 2 in flight there run to the end"),
        ("groq", "I", ("enter",), Isolate(GROQ, 900.0), "no new requests for 15m00s, then back by itself"),
        ("groq", "C", ("ctrl+u", *"1h", "enter"), ForceClose(GROQ, 3600.0), "whatever the breaker says"),
        ("groq", "P", ("ctrl+u", *"30", "enter"), SetPriority("groq", 30), "before it: spare"),
        ("groq/solo", "d", (), Drain(SOLO), "nobody else serves solo: requests that name it fail"),
        ("groq/solo", "D", (), Disable(SOLO), "remembered over restarts"),
        ("groq/solo", "I", ("ctrl+u", *"90", "enter"), Isolate(SOLO, 90.0), "Isolate groq/solo for 90s?"),
        ("groq/solo", "C", ("enter",), ForceClose(SOLO, 900.0), "what asks for solo may go to it"),
        ("groq/solo", "P", ("ctrl+u", *"-5", "enter"), SetPriority("groq", -5, "solo"), "priority 10 → -5"),
        ("groq/shared", "d", (), Drain(Target("groq", "shared")), "shared is also served by spare"),
        ("spare/shared #key2", "d", (), Drain(Target("spare", "shared")), "all 2 accounts"),
    ],
)
async def test_every_action_asks_with_blast_radius_and_sends_one_command(
    key: str, place: str, keys: tuple[str, ...], command: Command, says: str
) -> None:
    """On provider and route alike: a value where one is needed, who is touched, what changes, then one command."""
    key, place = place, key
    control = pair()
    async with stage(control, size=(200, 40)) as on:
        await on.press("2")
        await select(on, place)
        await on.press(key, *keys)
        await on.sees(says, "→", "y yes, do it")
        assert control.commands == []
        await on.press("y")
        await on.sees("#1")
        assert control.commands == [command]


async def test_probe_of_a_route_asks_its_provider_at_once() -> None:
    """A probe changes nothing: it is sent without a question and its result is shown."""
    control = pair()
    async with stage(control) as on:
        await on.press("2")
        await select(on, "groq/solo")
        await on.press("t")
        await on.sees("probe groq ok (auth 12ms)")
        assert control.commands == [Probe(("groq",))]


@pytest.mark.parametrize("status_word", ["draining", "disabled", "isolated"])
async def test_d_on_a_route_that_is_out_enables_it_again(status_word: str) -> None:
    """The same key brings a route back."""
    groq = provider("groq", routes=(route("groq", "m", status=status_word), route("groq", "n")), models=("m", "n"))
    control = FakeControl(groq, provider("spare"))
    async with stage(control) as on:
        await on.press("2")
        await select(on, "groq/m")
        await on.press("d")
        await on.sees("Enable groq/m?", f"{status_word} → healthy")
        await on.press("y")
        await on.until(lambda: control.commands == [Enable(Target("groq", "m"))], "the command")


@pytest.mark.parametrize(("key", "word"), [("I", "isolated by hand"), ("C", "forced closed by hand")])
@pytest.mark.parametrize("place", ["groq", "groq/solo"])
async def test_what_was_done_by_hand_shows_how_long_it_lasts(place: str, key: str, word: str) -> None:
    """Isolated or forced closed: the row counts down, the detail says it, the breaker of what is forced has no say."""
    async with stage(pair(), size=(200, 40)) as on:
        await on.press("2")
        await select(on, place)
        await on.press(key, "enter")
        await on.sees("y yes, do it")
        await on.press("y")
        await on.sees(f"{word}, ends in 15m00s", "hand 15m00s")
        assert ("forced " in on.lines()[on.desk.health.table.cursor + 3]) == (key == "C")


@pytest.mark.parametrize("place", ["groq", "groq/solo"])
async def test_c_on_what_is_forced_closed_ends_that_early(place: str) -> None:
    """The key that overruled the breaker gives it its say back: asked, before → after, who is touched if it is open."""
    control = pair()
    target = GROQ if place == "groq" else SOLO
    async with stage(control, size=(200, 40)) as on:
        await on.press("2")
        await select(on, place)
        await on.press("C", "enter")
        await on.sees("y yes, do it")
        await on.press("y")
        await on.sees("forced closed by hand")
        await on.press("C")
        await on.sees(f"Let the breaker of {place} decide again?", "ends the forced state now", "forced_closed → auto")
        await on.press("y")
        await on.loses("forced closed by hand")
        assert control.commands[1:] == [Enable(target)]


def test_what_goes_when_an_open_breaker_decides_again_is_named() -> None:
    """A forced circuit that is open would shut: the question says so as for taking it out."""
    open_one = route("groq", "m", circuit_state="open", circuit_open_for_s=9.0, admin="forced_closed")
    seen = status(provider("groq", routes=(open_one,), models=("m",)), provider("spare"))
    subject = subject_of(seen, Target("groq", "m"))
    assert subject is not None
    told = dict(explained(command_for("provider.force_close", subject), subject, seen)[1])
    assert "nobody else serves m" in told["touches"]


async def test_reset_with_and_without_gates() -> None:
    """`r` clears gates too and asks on a gated route; `b` leaves gates and has nothing to ask where only a gate is."""
    gated = route("groq", "m", status="rate_limited", gate="rate", gate_ends_in_s=9.0)
    control = FakeControl(provider("groq", routes=(gated,), models=("m",)), provider("spare"))
    async with stage(control) as on:
        await on.press("2")
        await select(on, "groq/m")
        await on.press("r")
        await on.sees("Reset the breaker of groq/m?", "clears gates and faults")
        await on.press("n", "b")
        await on.until(lambda: control.commands == [ResetCircuit(Target("groq", "m"))], "the command")


async def test_the_menu_lists_every_action_of_the_selection() -> None:
    """`x` names what can be done here, with its keys, and does it."""
    control = pair()
    async with stage(control, size=(120, 40)) as on:
        await on.press("2", "x")
        await on.sees(
            "probe", "reset the breaker", "drain", "disable now", "isolate", "force closed", "priority", "chart"
        )
        await on.press(*"isolate", "enter")
        await on.until(lambda: on.desk.prompt, "the prompt for a time")


@pytest.mark.parametrize(
    ("action", "text", "says"),
    [
        ("provider.isolate", "15m", ""),
        ("provider.isolate", "0.5", ""),
        ("provider.isolate", "24h", ""),
        ("provider.isolate", "24h1", "write seconds"),
        ("provider.isolate", "", "write seconds"),
        ("provider.isolate", "25h", "at most 24h"),
        ("provider.isolate", "0", "more than 0"),
        ("provider.isolate", "nan", "write seconds"),
        ("provider.isolate", "-5m", "write seconds"),
        ("provider.isolate", "٣m", "write seconds"),
        ("provider.priority", "-10", ""),
        ("provider.priority", "1000000", ""),
        ("provider.priority", "1000001", "between"),
        ("provider.priority", "1.5", "whole number"),
        ("provider.priority", "", "whole number"),
        ("provider.priority", "٣", "whole number"),
    ],
)
def test_values_are_judged_while_they_are_typed(action: str, text: str, says: str) -> None:
    """Durations are more than nothing and at most a day, priorities whole numbers within the configuration's bounds."""
    problem = problem_of(action, text)
    assert says in problem
    assert bool(says) == bool(problem)


async def test_a_bad_value_is_not_accepted() -> None:
    """Enter on a value with a problem does nothing; the prompt says what is wrong."""
    control = pair()
    async with stage(control, size=(120, 40)) as on:
        await on.press("2", "P", "ctrl+u", *"abc", "enter")
        await on.sees("write a whole number")
        assert on.desk.question is None
        await on.press("escape")
        assert control.dry_runs == []


async def test_T14_provider_removed_while_its_value_is_typed() -> None:
    """The prompt says that the provider is gone and takes no Enter; nothing is sent."""
    control = pair()
    async with stage(control, size=(120, 40)) as on:
        await on.press("2", "I")
        control.now = status(provider("spare"))
        await on.sees("groq is gone; Esc leaves")
        await on.press("enter", "escape")
        assert (on.desk.question, control.dry_runs, control.commands) == (None, [], [])


async def test_T14_route_removed_while_its_question_is_open() -> None:
    """The question says that the model is gone, and `y` sends nothing."""
    control = pair()
    async with stage(control, size=(120, 40)) as on:
        await on.press("2")
        await select(on, "groq/solo")
        await on.press("d")
        await on.sees("healthy → draining")
        groq, spare = control.now.providers
        control.now = status(replace(groq, routes=groq.routes[:1], models=("shared",)), spare)
        await on.sees("groq/solo is gone", "no such model any more")
        await on.press("y")
        await on.loses("is gone")
        assert control.commands == []


async def test_T14_row_under_the_cursor_removed() -> None:
    """A selected route that goes leaves the cursor on what took its place; actions on nothing do nothing."""
    control = pair()
    async with stage(control, size=(120, 40)) as on:
        await on.press("2")
        await select(on, "spare/other")
        control.now = status(provider("groq", models=("shared", "solo")))
        await on.loses("spare")
        assert on.desk.health.table.current_key == "groq/solo"
        control.now = status()
        await on.sees("No providers")
        await on.press("d", "r", "t", "I", "P", "enter", "p")
        assert control.commands == []


async def test_T20_a_refused_change_shows_the_reason_and_the_old_value() -> None:
    """The engine refuses a priority: the reason stands below, the row shows what is so."""
    control = pair()
    async with stage(control, size=(200, 40)) as on:
        await on.press("2", "P", "ctrl+u", *"77", "enter")
        await on.sees("priority 10 → 77", "y yes, do it")
        control.refuses = ControlError("storage_unavailable", "cannot be written down now", status=503)
        await on.press("y")
        await on.sees("refused: groq: cannot be written down now")
        await on.looked()
        row = next(line for line in on.lines() if "groq" in line and "healthy" in line)
        assert " 10 " in row
        assert "77" not in row


async def test_T21_double_enter_is_one_action_on_a_route() -> None:
    """Enter twice on a route's question sends one command."""
    down = route("groq", "m", status="open", circuit_state="open")
    control = FakeControl(provider("groq", routes=(down,), models=("m",)), provider("spare"))
    async with stage(control) as on:
        await on.press("2")
        await select(on, "groq/m")
        await on.press("r")
        await on.sees("open → healthy")
        await on.press("enter", "enter")
        await on.sees("#1")
        await on.looked()
        assert len(control.commands) == 1


# -- the chart --------------------------------------------------------------------------------------------------------


async def test_latency_history_is_drawn_on_demand_and_closes() -> None:
    """`p` opens the chart of the selection with both lines, axes and the newest figures; Esc closes it."""
    async with stage(pair(), size=(120, 40)) as on:
        await on.press("2")
        await on.until(lambda: on.desk.health.record.of("groq"), "a sample")
        await on.press("p")
        await on.sees("Latency of groq", "· p50 420ms", "× p95 1.90s", "-1 min", "now", "2000┤")
        assert sum("×" in line for line in on.lines()) == 2, "the legend and the line"
        await on.press("escape")
        await on.loses("Latency of groq")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, -5.0, 1e300])
async def test_T22_numbers_that_are_none_are_dashes_and_leave_no_exception(value: float | None) -> None:
    """NaN, infinities and negative durations in metrics and status: `–` in table, detail and chart."""
    odd = provider("groq", p50_ms=value, p95_ms=value, rps=value or 0.0, gate="rate", gate_ends_in_s=value)
    control = FakeControl(odd)
    control.measured = (figures(odd, p50_ms=value, p95_ms=value, ttft_p50_ms=value, tokens_per_s=value),)
    async with stage(control, size=(120, 40)) as on:
        await on.press("2")
        await on.until(lambda: on.desk.health.record.of("groq"), "a sample")
        if value != 1e300:
            await on.sees("p50 – · p95 –")
        await on.press("p")
        await on.sees("Latency of groq", "p50")
        await on.loses("loading the chart")
        assert on.desk.state.last is None


async def test_T22_clock_skew_leaves_timeline_and_chart_standing() -> None:
    """Events from the future and from year 0 or 10^12 are shown without an exception; so is a clock that jumps back."""
    control = pair()
    async with stage(control, size=(200, 60)) as on:
        await on.press("2")
        for moment in (SEEN + 9e4, 0.0, -1e15, 1e300):
            control.publish(
                EventType.HEALTH_CHANGED,
                moment,
                provider="groq",
                account=None,
                model=None,
                before="open",
                after="healthy",
            )
        await on.sees("open → healthy")
        record = on.desk.health.record
        record.add(5.0, [("groq", 1.0, 2.0)], looked_at="")
        record.add(2.0, [("groq", 1.0, 2.0)], looked_at="")
        assert [sample.at for sample in record.of("groq")] == [2.0]


@pytest.mark.parametrize("width", [1, 19, 20, 80, 200])
@pytest.mark.parametrize("height", [0, 5, 6, 24])
@pytest.mark.parametrize("values", [[], [0.0], [3.0], [1e-9, 1e9], [math.nan, 5.0, None, math.inf, -1.0], [2.0] * 400])
def test_T22_a_chart_fits_its_space_or_is_not_drawn(width: int, height: int, values: list[float | None]) -> None:
    """Whatever is measured and however small the space: rows that fit, or none."""
    line = [(-float(place), value) for place, value in enumerate(values)]
    rows = chart.history([line, line], span_s=600.0, width=width, height=height)
    assert len(rows) <= height
    assert all(len(row) <= width for row in rows)
    assert not any(bad in "".join(rows) for bad in ("nan", "inf", "\x1b"))


def test_a_chart_has_an_ascii_form() -> None:
    """Every glyph of a chart has a counterpart on its cell, so two lines still differ."""
    from routerconsole.console.safe_text import to_ascii

    rows = chart.history([[(-1.0, 5.0)], [(-1.0, 9.0)]], span_s=60.0, width=60, height=12)
    assert rows
    assert "?" not in to_ascii("".join(rows))
    assert len({to_ascii(mark) for mark in chart.MARKS}) == len(chart.MARKS)


def test_what_is_kept_of_latencies_is_bounded() -> None:
    """Thousands of subjects: the first ones and the one looked at; gone ones are forgotten."""
    record = LatencyRecord()
    everyone = [(f"s{number}", 1.0, 2.0) for number in range(5000)]
    for moment in range(1000):
        record.add(float(moment), everyone[:200] if moment else everyone, looked_at="s150")
    kept = [key for key, _, _ in everyone if record.of(key)]
    assert len(kept) == MAX_SUBJECTS + 1
    assert "s150" in kept
    assert max(len(record.of(key)) for key in kept) <= 320
    record.add(1000.0, everyone[:1], looked_at="s150")
    assert record.of("s150") == []


async def test_T23_thousands_of_routes_open_at_once() -> None:
    """5,000 routes: taking them in costs a few calls a row, and a frame what is visible of them."""
    crowd = [provider(f"p{number:02}", models=tuple(f"m{each}" for each in range(100))) for number in range(50)]
    async with stage(measured(FakeControl(*crowd)), size=(120, 40)) as on:
        await on.press("2", "full_stop")
        await on.until(lambda: len(on.desk.health.table.rows) == 5050, "all rows")
        on.desk.health._status = None
        assert 5050 < calls(on.desk.health.sync) < 12 * 5050
        assert calls(on.app.redraw) < 12_000, "the visible ones take some 7,600"


async def test_hostile_names_and_details_reach_the_screen_harmless() -> None:
    """Escape sequences and markup in names, errors and probes are shown as text."""
    evil = "m[red]\x1b]52;c;QQ==\x07\u202e"
    bad = provider("groq", reason=evil, models=(evil,))
    bad = replace(
        bad, routes=(route("groq", evil, last_error={"class": evil, "detail": evil, "at": evil}, gaps=(evil,)),)
    )
    control = FakeControl(bad)
    control.measured = (figures(bad, failures_by_class={evil: 3}),)
    async with stage(control, size=(200, 60)) as on:
        await on.press("2")
        control.publish(EventType.PROBE_FINISHED, SEEN, provider="groq", healthy=False, depth=evil, detail=evil)
        control.publish(EventType.CIRCUIT_OPENED, SEEN, provider="groq", model=evil, account=evil, reason=evil)
        control.publish(EventType.AUDIT, SEEN, target=f"groq/{evil}", command=evil, actor=evil, before=3, after=evil)
        await on.sees("✗ failed", "[red]")
        await on.press("p")
        await on.sees("Latency of groq")
        await on.press("escape", "j", "p")
        await on.sees("Latency of groq/m[red]")
        assert not any(char in on.text() for char in ("\x1b", "\x07", "\u202e"))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0])
def test_T22_bars_leave_out_what_cannot_be_drawn(value: float | None) -> None:
    """`status --plot`: a provider without two measured latencies is left out, the others are drawn."""
    assert chart.bars(["odd"], [(value, 5.0)], width=60) == []
    rows = chart.bars(["odd", "fine"], [(5.0, value), (4.0, 900.0)], width=60)
    assert any("fine" in row for row in rows)
    assert not any("odd" in row for row in rows)


async def test_what_becomes_of_the_weights_worker_stands_among_the_transitions() -> None:
    """Loading with its seconds and size, what cannot be loaded, deaths and restarts, newest first."""
    control = measured(fleet())
    async with stage(control, size=(200, 60)) as on:
        where = {"provider": "openai"}
        control.publish(EventType.WEIGHTS_LOADING, SEEN - 9, **where, model="tiny")
        control.publish(
            EventType.WEIGHTS_LOADED, SEEN - 8, **where, model="tiny", backend="airllm", seconds=4.1, memory_mb=1806
        )
        control.publish(EventType.WEIGHTS_DIED, SEEN - 7, **where, model="tiny", reason="died of signal 9", rest_s=2.0)
        control.publish(EventType.WEIGHTS_RESTARTED, SEEN - 5, **where, restarts=1)
        control.publish(EventType.WEIGHTS_FAILED, SEEN - 4, **where, model="broken", reason="no checkpoint")
        await on.press("2")
        await select(on, "openai")
        await on.press("enter")
        await on.sees(
            "tiny: is being loaded",
            "tiny: loaded by airllm in 4s, 1,806 MB",
            "weights worker died of signal 9, rests 2s",
            "weights worker runs again",
            "broken: cannot be loaded: no checkpoint",
        )
