"""Incidents: folded from transitions and reroutes, listed, opened, written as a redacted report."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.console.fake_control import failed_over, provider, request, route
from tests.console.scenes import fleet
from tests.console.stage import stage

from routerconsole.console.chronicle import Chronicle
from routerconsole.console.incidents import LEAST_HITS, QUIET_S, Incident, incidents_of
from routerconsole.console.render.cells import line_width
from routerconsole.console.render.incidents import incident_page, report
from routerconsole.console.reroutes import Reroutes, rates_of
from routerconsole.control.views import ProviderStatus, RequestRow
from routerconsole.domain.events import Event, EventType

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()
OPENED, CLOSED = EventType.CIRCUIT_OPENED, EventType.CIRCUIT_CLOSED


def chronicle(*told: tuple[float, EventType, dict[str, Any]]) -> Chronicle:
    """Return a record of some transitions of provider `a`, seconds after noon."""
    record = Chronicle()
    record.take(Event(n, NOON + at, kind, {"provider": "a", **data}) for n, (at, kind, data) in enumerate(told))
    return record


def incidents(
    record: Chronicle, *rows: RequestRow, now: float, providers: tuple[ProviderStatus, ...] = ()
) -> list[Incident]:
    """Fold, `now` seconds after noon."""
    return incidents_of(record, Reroutes().of(rows), providers, rates=rates_of(rows), now=NOON + now)


def hit(second: int, cause: str = "500", **changes: Any) -> RequestRow:
    """Return a request `a` failed and `b` absorbed, so many seconds after noon."""
    return failed_over(second, **{"chain": f"a✗{cause} › b✓ 320ms", **changes})


# -- the fold ------------------------------------------------------------------------------------------------------


def test_a_circuit_that_opens_and_closes_is_one_incident_with_its_requests() -> None:
    """Began with the first failure, ended with the closing; who absorbed it, how many, what it added."""
    record = chronicle((12, OPENED, {"reason": "server"}), (20, EventType.CIRCUIT_HALF_OPEN, {}), (22, CLOSED, {}))
    found = incidents(record, hit(10), hit(11), hit(12, status="failed"), now=100)
    assert len(found) == 1
    incident = found[0]
    assert (incident.provider, incident.began, incident.ended) == ("a", NOON + 10, NOON + 22)
    assert (incident.hit, incident.absorbed, incident.lost) == (3, (("b", 2),), 1)
    assert incident.causes == (("500", 3),)
    assert incident.p50_ms == pytest.approx(1000)
    assert [step.type for step in incident.steps] == [OPENED, EventType.CIRCUIT_HALF_OPEN, CLOSED]


def test_it_goes_on_while_a_circuit_or_gate_is_open_however_quiet() -> None:
    """No news of an open circuit is no end; the failures after it are the same incident."""
    record = chronicle((0, OPENED, {}), (300, CLOSED, {}))
    assert len(incidents(record, hit(2), hit(200), now=400)) == 1
    still = chronicle((0, EventType.GATE_STARTED, {"reason": "quota"}))
    assert incidents(still, now=3000)[0].open


def test_a_provider_seen_well_ends_what_events_did_not() -> None:
    """An end that was missed (a hole in the events) is learned from the status."""
    record = chronicle((0, OPENED, {}))
    assert incidents(record, now=100)[0].open
    assert not incidents(record, now=100, providers=(provider("a"),))[0].open
    gated = provider("a", routes=(route("a", "m", gate="rate"),))
    assert incidents(record, now=100, providers=(gated,))[0].open


def test_quiet_cuts_one_incident_from_the_next() -> None:
    """Within the quiet time it is the same trouble, beyond it another."""
    near, far = (int(QUIET_S) - 1, int(QUIET_S) + 1)
    assert len(incidents(Chronicle(), *(hit(second) for second in (0, 1, 2, near, near + 1)), now=500)) == 1
    again = [hit(second) for second in (0, 1, 2, 2 + far, 3 + far, 4 + far)]
    found = incidents(Chronicle(), *again, now=500)
    assert [incident.began for incident in found] == [NOON + 2 + far, NOON]


def test_a_few_failures_without_a_transition_are_no_incident() -> None:
    """One blip that was absorbed is a line of the log; several close together are trouble."""
    assert incidents(Chronicle(), *(hit(second) for second in range(LEAST_HITS - 1)), now=100) == []
    assert len(incidents(Chronicle(), *(hit(second) for second in range(LEAST_HITS)), now=100)) == 1


@pytest.mark.parametrize("cause", ["CXL", "4xx", "POL", "CTX", "413", "SHED"])
def test_what_a_request_is_to_blame_for_is_no_incident(cause: str) -> None:
    """Too long, malformed, filtered or cancelled requests say nothing of a provider."""
    assert incidents(Chronicle(), *(hit(second, cause) for second in range(10)), now=100) == []


def test_good_news_alone_and_operators_begin_nothing() -> None:
    """A closing circuit, an ended gate, a drain, an audited change are no incident."""
    record = chronicle(
        (0, CLOSED, {}),
        (1, EventType.GATE_ENDED, {"reason": "rate"}),
        (2, EventType.HEALTH_CHANGED, {"before": "open", "after": "healthy"}),
        (3, EventType.HEALTH_CHANGED, {"before": "healthy", "after": "draining"}),
        (4, EventType.AUDIT, {"target": "a", "command": "drain_provider"}),
    )
    assert incidents(record, now=100) == []


def test_accounts_and_models_are_held_apart() -> None:
    """One key's gate ending does not end another's."""
    gate = EventType.GATE_STARTED
    record = chronicle(
        (0, gate, {"reason": "rate", "account": "k1"}),
        (1, gate, {"reason": "rate", "account": "k2"}),
        (2, EventType.GATE_ENDED, {"reason": "rate", "account": "k1"}),
    )
    assert incidents(record, now=500)[0].open


def test_both_providers_of_a_chain_have_their_own_incident() -> None:
    """A request two providers failed is a hit of both; the newest incident comes first."""
    rows = [hit(second, chain="a✗500 › b✗CON › c✓ 1ms") for second in range(3)]
    assert {incident.provider for incident in incidents(Chronicle(), *rows, now=50)} == {"a", "b"}


def test_the_added_cost_is_the_sum_over_its_requests() -> None:
    """Against what the provider's own requests cost per token."""
    own = request(0, provider="a", chain="a✓ 1ms", cost_usd=0.001, prompt_tokens=500, completion_tokens=500)
    rows = [hit(second, cost_usd=0.01, prompt_tokens=1000, completion_tokens=0) for second in range(1, 4)]
    assert incidents(Chronicle(), own, *rows, now=50)[0].added_usd == pytest.approx(3 * 0.009)


# -- the report ----------------------------------------------------------------------------------------------------

SECRET = "sk-proj-abcdefghijklmnopqrstuvwx"


def hostile() -> tuple[Incident, ProviderStatus]:
    """Return an incident all of whose foreign texts are hostile."""
    record = chronicle((1, OPENED, {"reason": f"Bearer {SECRET}", "model": "m|x\x1b]0;t\x07"}))
    rows = [hit(second, chain="a✗500 › `b`|\x1b[2J✓ 1ms", id=f"req|{second}\n# x") for second in range(3)]
    error = {"class": "auth", "detail": f"Incorrect API key provided: {SECRET} <script>\u202e", "at": "x"}
    status = provider("a", routes=(route("a", "m`1", last_error=error),))
    return incidents(record, *rows, now=50)[0], status


def test_the_report_has_no_secret_no_control_and_no_live_markdown() -> None:
    """Secrets are taken out by pattern; what a terminal or a Markdown reader would act on is inert."""
    incident, status = hostile()
    text = report(incident, status, now=NOON + 50)
    assert SECRET not in text
    assert "[redacted]" in text.replace("\\", "")
    assert all(line.isprintable() for line in text.splitlines())
    assert "\n# x" not in text
    assert "<script>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = {line.replace("\\|", "").count("|") for line in tables}
    assert columns <= {3, 5}


def test_the_report_says_what_broke_who_absorbed_it_and_what_it_cost() -> None:
    """Times in UTC, causes, counts, latency and cost, transitions, requests, errors."""
    record = chronicle((12, OPENED, {"reason": "server"}), (22, CLOSED, {}))
    text = report(incidents(record, hit(10), hit(11), hit(12), now=100)[0], None, now=NOON + 100)
    for part in (
        "# Incident: a", "| began | 2026-03-01T12:00:10Z |", "| ended | 2026-03-01T12:00:22Z |", "| lasted | 12s |",
        "| causes | 500×3 |", "| absorbed by | b 3 |", "circuit opened (server)", "req\\_00000a", "a✗500 › b✓ 320ms",
        "p50 +1.00s",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_T04_the_page_shows_foreign_text_visible_and_fits(width: int) -> None:
    """No control character, no line wider than the page, no secret."""
    incident, status = hostile()
    lines = incident_page(incident, status, width, now=NOON + 50)
    assert max(map(line_width, lines)) <= width
    assert all(text.isprintable() and SECRET not in text for line in lines for text, _ in line)


# -- on the screen -------------------------------------------------------------------------------------------------


async def test_M_lists_enter_opens_W_writes_a_new_file_only_we_can_read(tmp_path: Path) -> None:
    """The whole way by keyboard: list, page, report as a new file with mode 0600."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("M")
        await on.sees("▶ Incidents", "anthropic  429×4", "absorbed by groq 4")
        await on.press(*"anthropic", "enter")
        await on.sees("▶ Incident anthropic", "absorbed  groq 4", "Requests hit 4")
        await on.press("W")
        await on.sees("write the report to (.md) incident-anthropic-")
        target = tmp_path / "report.md"
        await on.press("ctrl+u", *_keys(str(target)), "enter")
        await on.sees("report written to")
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert "# Incident: anthropic" in target.read_text()
        await on.press("W", "ctrl+u", *_keys(str(target)))
        await on.sees("exists already; choose a new name")
        await on.press("enter", "escape", "escape")
        await on.sees("▶ Overview")
        assert list(tmp_path.iterdir()) == [target]


def _keys(text: str) -> list[str]:
    names = {"/": "slash", "-": "minus", "_": "underscore", ".": "full_stop"}
    return [names.get(char, char) for char in text]


async def test_a_path_that_cannot_be_written_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    """A file of another ending, a missing directory and a link are refused while typing."""
    link = tmp_path / "link.md"
    link.symlink_to(tmp_path / "gone.md")
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("M", "enter", "W", "ctrl+u")
        for path, says in (
            (tmp_path / "x.txt", "end it in .md"),
            (tmp_path / "no" / "x.md", "there is no such directory"),
            (link, "exists already"),
        ):
            await on.press("ctrl+u", *_keys(str(path)))
            await on.sees(says)
        assert not (tmp_path / "gone.md").exists()


async def test_an_incident_is_an_object_of_palette_and_command_line() -> None:
    """ctrl+p finds it by its provider."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("ctrl+p", *_keys("incident"), "space", *"groq", "enter")
        await on.sees("▶ Incident groq")


async def test_an_open_incident_is_kept_up_to_date() -> None:
    """More failures arrive while its page is open: it counts them, also from another view."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("2", "M", *"anthropic", "enter")
        await on.sees("Requests hit 4")
        on.control.arrive(*(failed_over(number) for number in range(43, 46)))
        await on.sees("Requests hit 7")


async def test_without_incidents_the_list_says_so() -> None:
    """The empty page spells out what it means."""
    control = fleet()
    control.rows.clear()
    async with stage(control) as on:
        await on.press("M")
        await on.sees("none: no provider failed")
