"""What calls cost, the budget by estimate, and the books of a day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from routerconsole.domain.policy import BudgetPolicy
from routerconsole.domain.registry import Model, Provider, ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Candidate, Decision
from routerconsole.routing.limits import DAY_S
from routerconsole.routing.plan import Ranked
from routerconsole.routing.spending import (
    DEFAULT_OUTPUT,
    FREE,
    MAX_AGENT,
    MOST_AGENTS,
    OTHERS,
    Books,
    Key,
    Prices,
    Row,
    day_of,
    estimate,
    prices_of,
)

HOSTED = Provider("p", ProviderKind.OPENAI_COMPATIBLE, "https://p.example/v1")
LOCAL = replace(HOSTED, local=True)
PAID = Model("p", "m", usd_per_mtok_in=1.0, usd_per_mtok_out=10.0)
UNKNOWN = Model("p", "m")
NEEDS = Needs(Endpoint.CHAT, estimate_tokens=1_100, output_tokens=100)
WALL = 1_700_000_000.0
TODAY = day_of(WALL)


def ranked(model: Model = PAID, provider: Provider = HOSTED) -> Ranked:
    """A route to ask."""
    route = Route("p", None, "m")
    return Ranked(route, model, provider, Candidate(route, Decision.ELIGIBLE))


def books(limit: float | None = None, *, enforce: bool = True) -> Books:
    """Books with a budget, in today."""
    made = Books(BudgetPolicy(limit, enforce=enforce))
    made.turn(WALL)
    return made


def only(found: Books) -> Row:
    """The one row."""
    ((_, row),) = found.rows()
    return row


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        (PAID, HOSTED, Prices(1.0, 10.0)),
        (UNKNOWN, HOSTED, None),
        (replace(PAID, usd_per_mtok_out=None), HOSTED, None),
        (replace(UNKNOWN, free=True), HOSTED, FREE),
        (UNKNOWN, replace(HOSTED, free=True), FREE),
        (UNKNOWN, LOCAL, None),
        (UNKNOWN, replace(LOCAL, free=True), FREE),
        (replace(UNKNOWN, free=True), LOCAL, FREE),
        (replace(UNKNOWN, free=False), replace(HOSTED, free=True), None),
    ],
)
def test_an_unknown_price_is_never_zero(model: Model, provider: Provider, expected: Prices | None) -> None:
    """Both prices, or somebody's word that it is free; else nobody knows, of local models too."""
    assert prices_of(model, provider) == expected


def test_embeddings_have_no_output_to_price() -> None:
    """A price per token in is all they need; without one nobody knows."""
    model = replace(UNKNOWN, usd_per_mtok_in=0.5)
    assert prices_of(model, HOSTED, Endpoint.EMBEDDINGS) == Prices(0.5, 0.0)
    assert prices_of(model, HOSTED) is None
    assert prices_of(UNKNOWN, HOSTED, Endpoint.EMBEDDINGS) is None


@pytest.mark.parametrize(
    ("needs", "model", "output"),
    [
        (NEEDS, PAID, 100),
        (replace(NEEDS, choices=3), PAID, 300),
        (Needs(Endpoint.CHAT, estimate_tokens=1_000), replace(PAID, max_output_tokens=50), 50),
        (Needs(Endpoint.CHAT, estimate_tokens=1_000), PAID, DEFAULT_OUTPUT),
        (Needs(Endpoint.EMBEDDINGS, estimate_tokens=1_000), PAID, 0),
    ],
)
def test_the_estimate_takes_the_requests_limit_then_the_models_then_1024(
    needs: Needs, model: Model, output: int
) -> None:
    """The prompt is what is not the output's limit; embeddings have no output, several answers one each."""
    assert estimate(model, Prices(1.0, 10.0), needs) == pytest.approx((1_000 + 10 * output) / 1e6)


def test_a_budget_refuses_by_estimate_and_only_when_enforced() -> None:
    """1,000 tokens in and 100 out cost 0.002 here: they fit 0.002, not less; nobody is refused without `enforce`."""
    assert books(0.002).objection(PAID, HOSTED, NEEDS) == ""
    assert "this call may cost 0.002" in books(0.0019).objection(PAID, HOSTED, NEEDS)
    assert books(0.0019, enforce=False).objection(PAID, HOSTED, NEEDS) == ""
    assert books(None).objection(PAID, HOSTED, NEEDS) == ""


def test_calls_under_way_count_until_they_are_settled() -> None:
    """Two at once do not both spend what is left for one; what really was spent takes the estimate's place."""
    found = books(0.003)
    bill = found.sent(ranked(), NEEDS, agent=None, wall=WALL)
    assert found.objection(PAID, HOSTED, NEEDS)
    assert bill.used(10, 1) == pytest.approx(20 / 1e6)
    assert (found.held, found.used) == (0.0, pytest.approx(20 / 1e6))
    assert found.objection(PAID, HOSTED, NEEDS) == ""


@pytest.mark.parametrize("free", [replace(UNKNOWN, free=True), replace(PAID, usd_per_mtok_in=0, usd_per_mtok_out=0)])
def test_what_costs_nothing_goes_out_whatever_was_spent(free: Model) -> None:
    """Free and local models are never refused; one of unknown price is, once nothing is left."""
    found = books(0.001)
    assert found.objection(UNKNOWN, HOSTED, NEEDS) == ""
    found.sent(ranked(), NEEDS, agent=None, wall=WALL).used(10_000, 0)
    assert found.objection(free, HOSTED, NEEDS) == ""
    assert found.objection(UNKNOWN, LOCAL, NEEDS) == ""
    assert "its price is unknown" in found.objection(UNKNOWN, HOSTED, NEEDS)


def test_the_row_of_each_ending() -> None:
    """Reported counts are priced; a refusal is a request without cost; what is lost is unknown, held as estimated."""
    found = books(1.0)
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).used(100, 10)
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).refused()
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).lost()
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).used(7, None)
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).used(100, 10, estimated=True)
    found.sent(ranked(), NEEDS, agent="a", wall=WALL).unsent()
    row = only(found)
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (5, 207, 20)
    assert (row.priced, row.unknown, row.estimated) == (2, 2, 1)
    assert (row.cost_usd, row.guessed_usd) == (pytest.approx(0.0004), pytest.approx(0.004))
    assert (found.spent, found.guessed, found.held) == (pytest.approx(0.0004), pytest.approx(0.004), 0.0)


def test_a_bill_settled_again_puts_its_row_right() -> None:
    """An undelivered stream is lost at first; returned all the same it says what it took."""
    found = books()
    bill = found.sent(ranked(), NEEDS, agent=None, wall=WALL)
    assert bill.open
    bill.lost()
    bill.used(100, 10)
    row = only(found)
    assert (row.requests, row.unknown, row.priced, row.prompt_tokens) == (1, 0, 1, 100)
    assert (found.guessed, found.spent, bill.open) == (0.0, pytest.approx(0.0002), False)


def test_unknown_prices_count_tokens_and_no_cost() -> None:
    """Tokens are known, what they cost is not."""
    found = books()
    assert found.sent(ranked(UNKNOWN), NEEDS, agent=None, wall=WALL).used(100, 10) is None
    row = only(found)
    assert (row.prompt_tokens, row.unknown, row.priced, row.cost_usd) == (100, 1, 0, 0.0)


def test_a_day_is_a_utc_date_and_a_late_answer_belongs_to_the_day_it_was_sent() -> None:
    """Midnight begins a new sum; what was sent before still puts its own row right, and not today's sum."""
    found = books(1.0)
    midnight = (WALL // DAY_S + 1) * DAY_S
    late = found.sent(ranked(), NEEDS, agent=None, wall=midnight - 1)
    assert found.turn(midnight)
    assert not found.turn(midnight + 1)
    late.used(100, 10)
    assert {key.date: row.prompt_tokens for key, row in found.rows()} == {TODAY: 100}
    assert (found.spent, found.held) == (0.0, 0.0)
    assert found.turn(midnight - 1), "a clock set back finds that day's sum again"
    assert found.spent == pytest.approx(0.0002)


def test_rows_of_days_long_gone_are_let_go_once_written() -> None:
    """Yesterday's stay for answers still to come; what is not written stays too."""
    found = books()
    found.sent(ranked(), NEEDS, agent=None, wall=WALL).used(1, 1)
    assert not found.touched(), "what was kept of the day is not known yet"
    assert found.partial() == {TODAY}
    found.whole.add(TODAY)
    taken = found.touched()
    assert list(taken) == [Key(TODAY, "p", "m", "")]
    assert not found.touched()
    found.untaken(taken)
    assert found.touched() == taken
    found.turn(WALL + DAY_S)
    assert len(list(found.rows())) == 1
    found.turn(WALL + 2 * DAY_S)
    assert not list(found.rows())


def test_what_was_kept_is_added_to_what_was_counted_since() -> None:
    """A restart goes on where the day was."""
    found = books(1.0)
    found.sent(ranked(), NEEDS, agent=None, wall=WALL).used(100, 10)
    found.restore(Key(TODAY, "p", "m", ""), Row(5, 1_000, 50, 0.5, 4, 1, 0, 0.25))
    row = only(found)
    assert (row.requests, row.prompt_tokens, row.cost_usd) == (6, 1_100, pytest.approx(0.5002))
    assert found.used == pytest.approx(0.7502)


def test_agents_with_rows_of_their_own_are_bounded() -> None:
    """The name is a client's: after MOST_AGENTS of a day, the others share a row."""
    found = books()
    for number in range(MOST_AGENTS + 50):
        found.sent(ranked(), NEEDS, agent=f"agent-{number}", wall=WALL).refused()
    rows = {key.agent: row.requests for key, row in found.rows()}
    assert len(rows) == MOST_AGENTS + 1
    assert rows[OTHERS] == 50


def test_an_agents_name_is_kept_at_bounded_length() -> None:
    """A header may hold 32 KB; no row does."""
    found = books()
    found.sent(ranked(), NEEDS, agent="x" * 10_000, wall=WALL).refused()
    ((key, _),) = found.rows()
    assert key.agent == "x" * MAX_AGENT
