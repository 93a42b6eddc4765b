"""How long an upstream asks us to wait: every form of retry hint, read in one fixed order (routing.md §3).

Negative, NaN and garbage are ignored, never guessed at. Every pattern has bounded repeats: any input takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from routerconsole.domain.outcome import GateReason
from routerconsole.routing.gates import CAP

_BODY_SCANNED: Final = 65_536
_MAX_VALUE: Final = 64
"""Characters of a header value worth reading; the longest real one is an RFC 850 date of 33."""
_EPOCH_SECONDS: Final = 1e9
_EPOCH_MILLIS: Final = 1e12
"""A bare number above these is a point in time, not a span (1e9 s is September 2001; OpenRouter sends milliseconds)."""

_NUMBER = re.compile(r"[0-9]{1,40}(?:\.[0-9]{0,20})?")
_DURATION = re.compile(
    r"(?:([0-9]{1,6}(?:\.[0-9]{1,12})?)d)?(?:([0-9]{1,6}(?:\.[0-9]{1,12})?)h)?(?:([0-9]{1,8}(?:\.[0-9]{1,12})?)m(?!s))?"
    r"(?:([0-9]{1,12}(?:\.[0-9]{1,12})?)s)?(?:([0-9]{1,15}(?:\.[0-9]{1,12})?)ms)?"
)
_DURATION_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
_RETRY_DELAY = re.compile(
    r'"retry_?delay"\s{0,8}:\s{0,8}(?:"([0-9.dhms]{1,40})"|\{\s{0,8}"seconds"\s{0,8}:\s{0,8}"?([0-9]{1,12}))', re.I
)
_IN_PROSE = re.compile(
    r"(?:retry|try(?: your request)? again|available again|resets?|retry again)(?: request)?"
    r"\s{1,4}(?:in|after)\s{1,4}(?:about\s)?"
    r"([0-9][0-9.dhms]{0,40})(?:\s{0,2}(milliseconds?|ms|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?))?",
    re.IGNORECASE,
)
_WORD_UNITS: Final = (("mil", 0.001), ("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0))
_MONTHS: Final = {
    name: n
    for n, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_CLOCK = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_RFC1123 = re.compile(
    rf"[a-z]{{3}},\s{{1,4}}([0-9]{{1,2}})\s([a-z]{{3}})\s([0-9]{{4}})\s{_CLOCK}\s(?:gmt|utc|z|[+-]0000)", re.I
)
_RFC850 = re.compile(rf"[a-z]{{6,9}},\s{{1,4}}([0-9]{{1,2}})-([a-z]{{3}})-([0-9]{{2,4}})\s{_CLOCK}\s(?:gmt|utc)", re.I)
_ASCTIME = re.compile(rf"[a-z]{{3}}\s([a-z]{{3}})\s{{1,2}}([0-9]{{1,2}})\s{_CLOCK}\s([0-9]{{4}})", re.I)
_RFC3339 = re.compile(
    rf"([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})[t ]{_CLOCK}(?:\.([0-9]{{1,12}}))?(?:z|([+-])([0-9]{{2}}):?([0-9]{{2}}))",
    re.I,
)


def clamp(seconds: float, gate: GateReason) -> float:
    """Return a hint in seconds within the gate's cap (rate and overload 1 h, quota 24 h)."""
    return max(0.0, min(seconds, CAP[gate]))


def retry_hint(headers: Mapping[str, str], body_text: str, wall_now: float, *, windows: bool = True) -> float | None:
    """Return the seconds an upstream asks us to wait (0 or more), or None where it names no usable time.

    Order: `retry-after-ms`, `x-ms-retry-after-ms`, `Retry-After`, `x-ratelimit-reset-*`, `anthropic-ratelimit-*-reset`,
    the body. `wall_now` (UTC epoch seconds) is the reference for dates where the answer has no `Date`. `windows`
    False leaves the rate-limit windows out: outside a 429 they describe normal accounting, not this refusal.
    """
    low = {name.lower(): value for name, value in headers.items()}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        millis = _number(low.get(name))
        if millis is not None:
            return millis / 1000.0
    now = _reference(low, wall_now)
    asked = low.get("retry-after")
    if asked is not None:
        seconds = _number(asked)
        if seconds is None:
            at = http_date(asked, now)
            seconds = None if at is None else max(0.0, at - now)
        if seconds is not None:
            return seconds
    if windows:
        for resets in (
            (name for name in low if name.startswith(("x-ratelimit-reset", "ratelimit-reset"))),
            (name for name in low if name.startswith("anthropic-ratelimit-") and name.endswith("-reset")),
        ):
            span = _windows(low, resets, now)
            if span is not None:
                return span
    return body_hint(body_text)


def body_hint(text: str) -> float | None:
    """Return the seconds an error body names: Google's `retryDelay`, else "retry in 10h17m5.7s" and its like."""
    text = text[:_BODY_SCANNED]
    found = _RETRY_DELAY.search(text)
    if found:
        span = float(found[2]) if found[2] else duration(found[1])
        if span is not None:
            return span
    for match in _IN_PROSE.finditer(text):
        value, unit = match[1].rstrip(".").lower(), match[2]
        if unit is None:
            span = duration(value)
        else:
            count = _number(value)
            scale = next(factor for prefix, factor in _WORD_UNITS if unit.lower().startswith(prefix))
            span = None if count is None else count * scale
        if span is not None:
            return span
    return None


def duration(text: str) -> float | None:
    """Return the seconds of `6m0s`, `1h2m3.5s`, `20ms` or a bare number of seconds, else None."""
    text = text.strip().lower()
    if not text or len(text) > _MAX_VALUE:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        return _number(text)
    return sum(float(part) * unit for part, unit in zip(match.groups(), _DURATION_UNITS, strict=True) if part)


def http_date(text: str, near: float) -> float | None:
    """Return the epoch seconds of an HTTP date in any of its three forms, or of an RFC 3339 time.

    `near` decides the century of a two-digit year: more than 50 years ahead means the one before (RFC 9110 §5.6.7).
    """
    text = text.strip()
    if len(text) > _MAX_VALUE:
        return None
    if match := _RFC1123.fullmatch(text):
        day, month, year, hour, minute, second = match.groups()
    elif match := _RFC850.fullmatch(text):
        day, month, year, hour, minute, second = match.groups()
        if len(year) == 2:
            current = datetime.fromtimestamp(near, UTC).year
            full = current - current % 100 + int(year)
            year = str(full - 100 if full > current + 50 else full)
    elif match := _ASCTIME.fullmatch(text):
        month, day, hour, minute, second, year = match.groups()
    else:
        return _rfc3339(text)
    return _epoch(int(year), _MONTHS.get(month.lower(), 0), int(day), (int(hour), int(minute), int(second)))


def _rfc3339(text: str) -> float | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_h, off_m = match.groups()
    at = _epoch(int(year), int(month), int(day), (int(hour), int(minute), int(second)))
    if at is None:
        return None
    offset = (int(off_h) * 3600 + int(off_m) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return at + (float(f"0.{fraction}") if fraction else 0.0) - offset


def _epoch(year: int, month: int, day: int, clock: tuple[int, int, int]) -> float | None:
    hour, minute, second = clock
    try:
        # a leap second is a legal :60
        at = datetime(year, month, day, hour, minute, 0, tzinfo=UTC) + timedelta(seconds=second)
    except (ValueError, OverflowError):
        return None
    return at.timestamp() if second <= 60 else None


def _number(text: str | None) -> float | None:
    """Return a plain non-negative decimal; signs, exponents, `inf` and `nan` are garbage here."""
    if text is None or len(text) > _MAX_VALUE:
        return None
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _reference(low: Mapping[str, str], wall_now: float) -> float:
    """Return the answer's own `Date` in epoch seconds (its clock may differ from ours), else `wall_now`."""
    said = low.get("date")
    at = None if said is None else http_date(said, wall_now)
    return wall_now if at is None else at


def _windows(low: Mapping[str, str], names: Iterable[str], now: float) -> float | None:
    """Return the longest wait among the exhausted windows, or among all where none says it is exhausted."""
    spans: list[tuple[bool, float]] = []
    for name in names:
        span = _reset(low[name], now)
        if span is not None:
            remaining = _number(low.get(name.replace("reset", "remaining")))
            spans.append((remaining == 0.0, span))
    exhausted = [span for is_out, span in spans if is_out]
    return max(exhausted or [span for _, span in spans], default=None)


def _reset(text: str, now: float) -> float | None:
    """Return the seconds until a window resets: a span, a point in time as number, or RFC 3339."""
    number = _number(text)
    if number is None:
        span = duration(text)
        if span is not None:
            return span
        at = http_date(text, now)
        return None if at is None else max(0.0, at - now)
    if number >= _EPOCH_MILLIS:
        return max(0.0, number / 1000.0 - now)
    return max(0.0, number - now) if number >= _EPOCH_SECONDS else number
