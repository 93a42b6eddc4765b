"""Every form of retry hint, and everything that only looks like one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.outcome import GateReason
from routerconsole.routing.hints import body_hint, clamp, duration, http_date, retry_hint

DATE = "Sun, 06 Nov 1994 08:49:07 GMT"
WALL = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def hint(body: str = "", /, **headers: str) -> float | None:
    return retry_hint({name.replace("_", "-"): value for name, value in headers.items()}, body, WALL)


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_U16_three_date_forms_against_the_answers_own_date(value: str) -> None:
    """Our own clock does not matter where the answer has a Date."""
    assert retry_hint({"Retry-After": value, "Date": DATE}, "", 5e9) == 30.0
    assert retry_hint({"Retry-After": value}, "", WALL - 10) == 10.0


def test_U16_C1_42_a_date_in_the_past_is_zero_and_a_far_one_positive() -> None:
    """A past date means now."""
    assert hint(Retry_After="Sun, 06 Nov 1994 08:00:00 GMT", Date=DATE) == 0.0
    far = hint(Retry_After="Fri, 31 Dec 2099 23:59:59 GMT", Date=DATE)
    assert far is not None
    assert far > 0


def test_U16_a_two_digit_year_is_the_nearest() -> None:
    """More than fifty years ahead means the century before (RFC 9110)."""
    near = http_date("Friday, 20-Nov-26 10:00:00 GMT", 1_795_000_000.0)
    assert near == http_date("Fri, 20 Nov 2026 10:00:00 GMT", 0)
    assert http_date("Sunday, 06-Nov-94 08:49:37 GMT", 1_795_000_000.0) == WALL


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0), ("1.5", 1.5), (" 30 ", 30.0), ("-5", None), ("1e9", None), ("abc", None), ("", None),
        ("nan", None), ("inf", None), ("30, 60", None), ("٣", None), ("0x10", None), ("+5", None), ("1_0", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None), ("Sun, 06 Foo 1994 08:49:37 GMT", None), ("9" * 500, None),
    ],
)  # fmt: skip
def test_U18_odd_retry_after_values(value: str, expected: float | None) -> None:
    """Zero is honoured; signs, exponents, words and repeats are ignored."""
    assert hint(Retry_After=value, Date=DATE) == expected


def test_U18_twenty_digits_are_clamped() -> None:
    """A huge number ends at the gate's cap."""
    huge = hint(Retry_After="9" * 20)
    assert huge is not None
    assert clamp(huge, GateReason.RATE) == 3600.0
    assert clamp(huge, GateReason.OVERLOAD) == 3600.0
    assert clamp(huge, GateReason.QUOTA) == 86_400.0
    assert clamp(-1.0, GateReason.RATE) == 0.0


def test_U19_milliseconds_win() -> None:
    """`retry-after-ms` comes first, then Azure's, then Retry-After."""
    assert hint(retry_after_ms="250", Retry_After="60") == 0.25
    assert hint(x_ms_retry_after_ms="500", Retry_After="60") == 0.5
    assert hint(retry_after_ms="garbage", Retry_After="60") == 60.0


def test_U20_rate_limit_windows() -> None:
    """Go durations, RFC 3339 against Date, epoch seconds and milliseconds."""
    assert hint(x_ratelimit_reset_requests="6m0s") == 360.0
    assert hint(x_ratelimit_reset_tokens="20ms") == pytest.approx(0.02)
    assert hint(anthropic_ratelimit_requests_reset="1994-11-06T08:49:37Z", Date=DATE) == 30.0
    assert hint(anthropic_ratelimit_tokens_reset="1994-11-06T09:49:37.5+01:00", Date=DATE) == 30.5
    assert hint(x_ratelimit_reset=str(int(WALL * 1000) + 5000)) is not None
    assert retry_hint({"x-ratelimit-reset": "1795000060000"}, "", 1_795_000_000.0) == 60.0
    assert retry_hint({"x-ratelimit-reset": "1795000060"}, "", 1_795_000_000.0) == 60.0


def test_U20_the_exhausted_window_counts() -> None:
    """Of several windows the one with nothing left decides, else the longest."""
    headers = {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "1h"}
    assert retry_hint(headers, "", WALL) == 3600.0
    assert retry_hint({**headers, "x-ratelimit-remaining-requests": "0"}, "", WALL) == 1.0
    assert retry_hint(headers, "", WALL, windows=False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"retryDelay":"46s"}', 46.0),
        ('{"retryDelay": "46.5s"}', 46.5),
        ("Please retry in 10h17m5.7s.", 37_025.7),
        ("Please try again in 6m0s. Visit", 360.0),
        ("try again in 20ms", 0.02),
        ("Please retry after 30 seconds.", 30.0),
        ("retry after 2 minutes", 120.0),
        ("Try again in 1 hour", 3600.0),
        ("retry in soon", None),
        ("nothing to see", None),
        ("retry in 46 bananas", 46.0),
        ("", None),
    ],
)
def test_U20_bodies(text: str, expected: float | None) -> None:
    """Google's field and the usual sentences."""
    assert body_hint(text) == (None if expected is None else pytest.approx(expected))


def test_the_order_of_sources() -> None:
    """Headers before windows before the body."""
    body = '{"retryDelay":"46s"}'
    assert hint(body, Retry_After="5", x_ratelimit_reset_requests="6m0s") == 5.0
    assert hint(body, Retry_After="junk", x_ratelimit_reset_requests="6m0s") == 360.0
    assert hint(body, anthropic_ratelimit_x_reset="1s", x_ratelimit_reset_requests="6m0s") == 360.0
    assert hint(body) == 46.0


def test_durations() -> None:
    """Units add up; `m` is not `ms`."""
    assert duration("1d2h3m4.5s") == pytest.approx(93_784.5)
    assert duration("500ms") == 0.5
    assert duration("5m") == 300.0
    assert duration("5") == 5.0
    assert duration("5x") is None
    assert duration("") is None


_NAMES = [
    "Retry-After",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "Date",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset",
    "x-ratelimit-remaining-requests",
    "anthropic-ratelimit-requests-reset",
]
_VALUES = st.text(max_size=60) | st.from_regex(r"[0-9:, a-zA-Z.+-]{0,40}", fullmatch=True) | st.floats().map(str)


@given(headers=st.dictionaries(st.sampled_from(_NAMES), _VALUES), body=st.text(max_size=200), now=st.floats(0, 4e9))
def test_U18_a_hint_is_never_negative_or_nan(headers: dict[str, str], body: str, now: float) -> None:
    """Whatever an upstream sends, a wait is a finite number of seconds from zero, or nothing."""
    found = retry_hint(headers, body, now)
    if found is not None:
        assert math.isfinite(found)
        assert found >= 0


@given(text=st.text(max_size=300))
def test_bodies_never_break_the_reader(text: str) -> None:
    """Prose around a hint is harmless."""
    assert body_hint(text + " retry in 5s") is not None
