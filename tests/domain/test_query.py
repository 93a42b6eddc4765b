"""The filter language."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.query import FilterError, inverted, parse_filter


@dataclass(frozen=True)
class Row:
    """A row of the log as the language sees it."""

    id: str = "abc-00001"
    status: str = "ok"
    origin: str = "http"
    model: str | None = "llama3.1:8b"
    provider: str | None = "ollama"
    served_model: str | None = "llama3.1:8b"
    chain: str = "groq✗429 › ollama✓ 412ms"
    agent: str | None = None
    needed: tuple[str, ...] = ("tools",)
    http_status: int | None = 200
    error_code: str | None = None
    attempts: int = 2
    total_ms: float | None = 2500.0
    ttft_ms: float | None = None
    prompt_tokens: int | None = 10
    completion_tokens: int | None = None
    cost_usd: float | None = None
    extra: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("  -  ", True),
        ("LLAMA3.1:8b", True),
        ("-llama", False),
        ("fo", True),
        ("-fo", False),
        ("err", False),
        ("cap:tools", True),
        ("cap:vision", False),
        ("prov:ollama", True),
        ("prov:groq", True),
        ("prov:gro", False),
        ("code:429", True),
        ("code:4xx", True),
        ("code:5xx", False),
        ("code:200", True),
        ("lat>2s", True),
        ("lat>2500ms", False),
        ("lat>=2500ms", True),
        ("ttft>0ms", False),
        ("-ttft>0ms", True),
        ("hops>=2", True),
        ("hops=3", False),
        ("tok<11", True),
        ("cost>0", False),
        ("status:ok origin:http", True),
        ("status:failed", False),
        ('"groq✗429 › ollama"', True),
        ("fo cap:tools lat>1s -err", True),
        ("unknown:thing", False),
        ("!", True),
        ("! fo", False),
        ("fo !", False),
        ("! fo err", True),
        ("! ! fo", True),
        ("!fo", False),
    ],
)
def test_a_term_passes_what_it_says(text: str, passes: bool) -> None:
    """Each kind of term, negated ones and several at once; what is unknown never matches a comparison."""
    assert parse_filter(text).matches(Row()) is passes


def test_last_looks_at_the_age() -> None:
    """`last:5m` passes what came in at most five minutes ago."""
    wanted = parse_filter("last:5m")
    assert wanted.matches(Row(), age_s=299.0)
    assert not wanted.matches(Row(), age_s=301.0)


@pytest.mark.parametrize("text", ["lat>", "lat>fast", "hops>=2s", "cost>", "last:soon", "cap:", "prov>groq", "a " * 33])
def test_a_term_that_means_nothing_is_named_with_an_example(text: str) -> None:
    """A number without digits, a unit where none belongs, a missing value, too many terms."""
    with pytest.raises(FilterError, match=r"e\.g\.|at most"):
        parse_filter(text)


def test_the_terms_come_back_as_they_were_typed() -> None:
    """What is shown as chips is the user's own spelling."""
    assert [term.chip for term in parse_filter('fo -cap:Tools "a b" lat>2s').terms] == [
        "fo",
        "-cap:Tools",
        '"a b"',
        "lat>2s",
    ]


@given(st.text(max_size=80))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    """Nothing else ever comes out of the parser, and what it makes can be asked."""
    try:
        wanted = parse_filter(text)
    except FilterError:
        return
    assert wanted.matches(Row()) in (True, False)


@given(st.text(max_size=40))
def test_a_filter_and_its_opposite_share_no_row(text: str) -> None:
    """What one passes the other does not, and the opposite of the opposite is the filter again."""
    try:
        wanted, opposite = parse_filter(text), parse_filter(inverted(text))
    except FilterError:
        return
    if wanted.terms:
        assert wanted.matches(Row()) is not opposite.matches(Row())
        assert parse_filter(inverted(inverted(text))) == wanted
