"""Overview: the failover flow, its price, what hangs on one provider, and the ways on from there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.console.fake_control import FakeControl, failed, failed_over, provider, request, route, running
from tests.console.scenes import fleet
from tests.console.stage import stage

from routerconsole.console.coverage import coverage_of
from routerconsole.console.render.cells import line_width, plain
from routerconsole.console.render.coverage import coverage_detail, coverage_lines, coverage_note
from routerconsole.console.render.flow import added_usd, flow_detail, flow_lines, flow_note
from routerconsole.console.reroutes import Failed, Flows, Reroutes, flows_of, rates_of, reroute_of
from routerconsole.console.views.overview import flow_filter
from routerconsole.control.port import RequestQuery
from routerconsole.control.registry_views import NodeModel, NodeView
from routerconsole.control.views import RequestRow

NOW = datetime(2026, 3, 1, 12, 0, 42, tzinfo=UTC).timestamp()


def fold(*rows: RequestRow, now: float = NOW) -> Flows:
    """Return the flows of some rows."""
    return flows_of(rows, Reroutes().of(rows), rates_of(rows), now=now)


# -- what one row says ---------------------------------------------------------------------------------------------


def test_a_chain_names_who_failed_how_who_served_and_what_that_added() -> None:
    """The time before the serving attempt began is what the failover added."""
    row = failed_over(1, chain="a✗429 › b✗CON › c✓ 400ms", attempts=3, total_ms=1500.0)
    said = reroute_of(row)
    assert said is not None
    assert said.failed == (Failed("a", "429"), Failed("b", "CON"))
    assert (said.absorber, said.added_ms) == ("c", 1100.0)


@pytest.mark.parametrize("status", ["failed", "truncated", "cancelled"])
def test_a_request_that_did_not_end_well_was_absorbed_by_nobody(status: str) -> None:
    """Whatever its chain says, the client got no whole answer."""
    said = reroute_of(failed_over(1, status=status))
    assert said is not None
    assert (said.absorber, said.added_ms) == (None, None)


@pytest.mark.parametrize("chain", ["", "-", "…", "groq✓ 12ms", "invalid_model", "✓", "groq✓ NaNms"])
def test_a_chain_without_a_failure_is_no_reroute(chain: str) -> None:
    """Nothing is read out of a chain that names no failed attempt."""
    assert reroute_of(failed_over(1, chain=chain)) is None


@pytest.mark.parametrize("at", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_row_without_a_moment_is_left_out(at: str) -> None:
    """A row whose time cannot be read belongs to no window."""
    assert reroute_of(failed_over(1, at=at)) is None


def test_T22_odd_figures_make_no_flow_fail() -> None:
    """NaN, negative and missing times are shown as `–` or nothing, never raised."""
    rows = [
        failed_over(1, total_ms=float("nan")),
        failed_over(2, total_ms=-5.0, cost_usd=float("inf")),
        failed_over(3, total_ms=None, cost_usd=None, prompt_tokens=None, completion_tokens=None),
        failed_over(4, chain="a✗ › b✓ x"),
    ]
    flows = fold(*rows)
    for flow in flows.flows:
        assert flow_detail(flow, 40, now=NOW)
    assert flow_lines(flows.flows, 80, now=NOW, top=1)[1]


# -- flows ---------------------------------------------------------------------------------------------------------


def test_flows_count_requests_by_source_cause_and_end_the_largest_first() -> None:
    """Two requests that went the same way are one flow; a retry of the same place within one request counts once."""
    flows = fold(
        failed_over(1),
        failed_over(2),
        failed(3),
        failed_over(4, chain="a✗500 › a✗500 › b✓ 1ms", attempts=3),
        request(5),
    )
    assert [(flow.source, flow.cause, flow.target, flow.n) for flow in flows.flows] == [
        ("anthropic", "429", "groq", 2),
        ("a", "500", "b", 1),
        ("groq", "503", None, 1),
        ("ollama", "CON", None, 1),
    ]
    assert (flows.requests, flows.rerouted, flows.lost) == (5, 3, 1)
    assert flows.tries == pytest.approx((2 + 2 + 2 + 3 + 1) / 5)


def test_the_added_cost_is_against_what_the_source_charges_itself() -> None:
    """USD per token of what a provider served, in the same window; unknown where it served nothing."""
    cheap = request(1, provider="a", cost_usd=0.001, prompt_tokens=900, completion_tokens=100, chain="a✓ 1ms")
    dear = failed_over(2, chain="a✗500 › b✓ 1ms", cost_usd=0.01, prompt_tokens=1900, completion_tokens=100)
    assert fold(cheap, dear).flows[0].added_usd == pytest.approx(0.01 - 0.002)
    assert fold(dear).flows[0].added_usd is None
    again = failed_over(3, chain="a✗500 › a✓ 1ms", provider="a", cost_usd=0.01)
    assert fold(again).flows[0].added_usd == 0.0


def test_only_the_last_hour_and_what_has_ended_counts() -> None:
    """An older row and a running one are in no flow."""
    assert fold(failed_over(1), now=NOW + 3700).flows == ()
    assert fold(running(1, attempts=2, chain="a✗500 › b…")).flows == ()


@pytest.mark.parametrize(("usd", "shown"), [(None, "–"), (0.0, "$0"), (0.0012, "+$0.0012"), (-2.5, "-$2.50")])
def test_added_dollars_have_a_sign(usd: float | None, shown: str) -> None:
    """A detour may be cheaper."""
    assert added_usd(usd) == shown


@pytest.mark.parametrize("width", [30, 45, 60, 78, 118, 198])
def test_flow_lines_fit_and_keep_way_and_count(width: int) -> None:
    """Columns go as it gets narrow; who failed, how, who absorbed it and how often stay."""
    flows = fold(failed_over(1), failed_over(2))
    head, lines = flow_lines(flows.flows, width, now=NOW, top=2)
    assert line_width(head) == line_width(lines[0])
    assert width < 35 or line_width(lines[0]) <= width
    assert "anthropic ✗429 → groq" in plain(lines[0])
    assert len(lines[0]) <= 3


def test_T04_foreign_names_are_shown_visible() -> None:
    """Names and causes with escape sequences neither act nor break a line."""
    flows = fold(failed_over(1, chain="a\x1b[2J✗5\x0700 › b\u202e✓ 1ms"))
    lines = [*flow_lines(flows.flows, 100, now=NOW, top=1)[1], *flow_detail(flows.flows[0], 60, now=NOW)]
    assert all(text.isprintable() for line in lines for text, _ in line)


def test_the_note_says_window_absorbed_lost_and_amplification() -> None:
    """One line says how much of the traffic needed help, and how many calls a request took."""
    assert (
        flow_note(fold(failed_over(1), failed(2), request(3)), NOW)
        == "last 41s · 1 absorbed · 1 lost · 1.67 tries/request"
    )
    assert flow_note(Flows(), NOW) == ""


@pytest.mark.parametrize(("chain", "status"), [("a✗500 › b✓ 1ms", "ok"), ("a✗500 › b✗CON", "failed")])
def test_a_flow_is_a_filter_that_finds_its_own_requests_again(chain: str, status: str) -> None:
    """What Enter filters by passes the flow's requests and not those of another way."""
    row = failed_over(1, chain=chain, status=status)
    wanted = RequestQuery(filter=flow_filter(fold(row).flows[0])).test(now=NOW)
    assert wanted(row)
    assert not wanted(failed_over(2))


# -- coverage ------------------------------------------------------------------------------------------------------


def node(word: str, *models: str, value: str = "yes") -> NodeView:
    """Return a capability some `provider/model`s say a value of."""
    said = tuple(NodeModel(*name.split("/"), value, "config") for name in models)
    return NodeView(f"x.{word}", (word,), False, len(said), len(said), said)


def test_without_its_only_provider_a_capability_has_none() -> None:
    """`if openai dies: vision → none`; one left is named, two left is nothing to say."""
    providers = [provider(name, models=("m",)) for name in ("a", "b", "c")]
    coverage = coverage_of(
        providers, [node("vision", "a/m"), node("tools", "a/m", "b/m"), node("text", "a/m", "b/m", "c/m")]
    )
    loss = coverage.losses[0]
    assert (loss.provider, loss.none, loss.last, loss.kept) == ("a", ("vision",), (("tools", "b/m"),), 1)
    assert coverage_note(coverage) == "!! if a dies: vision → none"
    text = "\n".join(plain(line) for line in coverage_detail(loss, 70))
    assert "vision: no other model" in text
    assert "tools: only b/m" in text


@pytest.mark.parametrize("status", ["open", "disabled", "isolated", "draining", "missing", "config_error"])
def test_a_route_that_takes_no_request_is_no_stand_in(status: str) -> None:
    """What is out now does not count as left; a gate that ends by itself does."""
    out = provider("b", models=("m",), routes=(route("b", "m", status=status),))
    gated = provider("b", models=("m",), routes=(route("b", "m", status="rate_limited"),))
    nodes = [node("vision", "a/m", "b/m")]
    alone = provider("a", models=("m",))
    assert coverage_of([alone, out], nodes).losses[0].none == ("vision",)
    assert coverage_of([alone, gated], nodes).losses[0].none == ()


def test_what_nobody_can_do_now_is_said_first() -> None:
    """A capability whose every model is out is gone already."""
    down = provider("a", status="open", models=("m",), routes=(route("a", "m", status="open"),))
    coverage = coverage_of([down, provider("b", models=("m",))], [node("vision", "a/m"), node("text", "b/m")])
    assert coverage.gone == ("vision",)
    assert coverage_note(coverage) == "!! nobody can be asked now: vision"
    assert coverage.losses[0].down


def test_a_no_is_no_cover_and_a_node_without_a_word_is_not_asked() -> None:
    """Only a yes covers; parents of the tree say nothing of their own."""
    parent = NodeView("x", (), False, 1, 1, (NodeModel("a", "m", "yes", "config"),))
    coverage = coverage_of([provider("a", models=("m",))], [node("vision", "a/m", value="no"), parent])
    assert (coverage.losses[0].none, coverage.words) == ((), 1)


@pytest.mark.parametrize("width", [40, 58, 78, 120])
def test_coverage_lines_fit(width: int) -> None:
    """However narrow, provider and loss are there in one line."""
    coverage = coverage_of([provider("a" * 30, models=("m",))], [node("v" * 300, "a" * 30 + "/m")])
    head, lines = coverage_lines(coverage.losses, width)
    assert max(map(line_width, [head, *lines])) <= width
    assert "!!" in plain(lines[0])


# -- on the screen -------------------------------------------------------------------------------------------------


def covered() -> FakeControl:
    """Return the fleet with a capability only one of its providers has."""
    control = fleet()
    control.node_views = (
        node("vision", "ollama-local/qwen2.5vl:7b"),
        node("tools", "groq/llama-3.3-70b", "anthropic/claude-x"),
    )
    return control


async def test_at_80x24_providers_flow_coverage_and_failovers_are_all_there() -> None:
    """Nothing essential scrolls off: who is up, headroom, who absorbed what, the gravest loss, the newest failovers."""
    async with stage(covered()) as on:
        await on.sees(
            "anthropic ✗429 → groq", "+908ms", "!! if ollama-local dies: vision → none", "left", "OPEN 14s",
            "Latest failovers", "anthropic✗429 › groq✓", "spare",
        )  # fmt: skip
        assert len(on.lines()) == 24


async def test_enter_on_a_flow_shows_its_requests_filtered() -> None:
    """From Overview Tab Enter is the log with exactly the requests of the first flow."""
    async with stage(covered()) as on:
        await on.press("tab", "enter")
        await on.sees("▶ Requests", "4 of 42", "anthropic✗429")
        assert "groq✗503" not in on.text()


async def test_every_list_says_beside_it_what_is_selected_in_it() -> None:
    """At 120 columns the detail speaks of provider, flow, request or coverage, as the focus goes."""
    async with stage(covered(), size=(120, 40)) as on:
        await on.sees("Provider anthropic")
        await on.press("tab")
        await on.sees("Flow anthropic ✗429 → groq", "Newest requests")
        await on.press("tab")
        await on.sees("Request 00001f", "retry-after 20s")
        await on.press("tab")
        await on.sees("Without ollama-local", "vision: no other model")
        await on.press("tab", "shift+tab")
        await on.sees("▶ Coverage N-1")


async def test_provider_keys_mean_nothing_where_no_provider_is_shown() -> None:
    """In a flow's detail `d` drains nobody."""
    async with stage(covered(), size=(120, 40)) as on:
        await on.press("tab", "l", "d", "r", "t")
        assert on.desk.question is None
        assert on.control.commands == []


async def test_focus_gives_coverage_its_lines_at_80x24() -> None:
    """One line says the gravest; with the focus it lists all providers."""
    async with stage(covered()) as on:
        await on.press("tab", "tab", "tab")
        await on.sees("▶ Coverage N-1", "if … dies", "ollama-local")
        await on.press("enter")
        await on.sees("▶ Without ollama-local")
        await on.press("escape")
        await on.sees("▶ Coverage N-1")


@pytest.mark.parametrize("size", [(40, 10), (80, 14), (100, 24), (160, 24), (200, 60), (159, 40)])
async def test_T02_every_size_has_providers_and_failovers_and_one_focus(size: tuple[int, int]) -> None:
    """Panes without room are not there to be gone to; Tab never gets lost."""
    async with stage(covered(), size=size) as on:
        for _ in range(6):
            assert sum(line.count("▶ ") for line in on.lines()) >= 1
            assert on.desk.view.shows(on.desk.view.focused)
            await on.press("tab")
        await on.sees("Overview")


async def test_three_columns_from_160() -> None:
    """Providers over failovers, flows over coverage, the detail: beside each other."""
    async with stage(covered(), size=(160, 40)) as on:
        await on.sees("Coverage N-1")
        heads = [line for line in on.lines() if "Overview" in line]
        assert "Failover flow" in heads[0]
        assert "Provider anthropic" in heads[0]
        assert any("Latest failovers" in line and "Coverage N-1" in line for line in on.lines())


async def test_nothing_yet_is_said_in_every_pane() -> None:
    """Without requests and capabilities each pane explains itself."""
    control = FakeControl(provider("a"))
    async with stage(control, size=(120, 40)) as on:
        await on.sees("nothing had to be routed around", "None: every request so far", "says yes to nothing")


async def test_a_new_failover_appears_and_the_cursor_stays_on_its_flow() -> None:
    """Counts grow in place; a selected flow stays selected when another overtakes it."""
    async with stage(covered(), size=(120, 40)) as on:
        await on.press("tab", "j")
        await on.sees("▶groq ✗503 → nobody")
        on.control.arrive(*(failed_over(number, chain="lab✗500 › groq✓ 5ms") for number in range(50, 60)))
        await on.sees("lab ✗500 → groq")
        await on.sees("▶groq ✗503 → nobody")
