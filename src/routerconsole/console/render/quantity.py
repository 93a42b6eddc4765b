"""Numbers as people read them in a column; what is not a finite, non-negative number is shown as `–`."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

NONE: Final = "–"


def _sane(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def ms(value: float | None) -> str:
    """Return milliseconds as `412ms`, `2.84s` or `1m04s`."""
    value = _sane(value)
    if value is None:
        return NONE
    if value < 999.5:
        return f"{value:.0f}ms"
    if value < 9995:
        return f"{value / 1000:.2f}s"
    if value < 99950:
        return f"{value / 1000:.1f}s"
    return span(value / 1000)


def span(seconds: float | None) -> str:
    """Return seconds as `14s`, `3m05s` or `2h10m`."""
    seconds = _sane(seconds)
    if seconds is None:
        return NONE
    if seconds < 99.5:
        return f"{math.ceil(seconds)}s" if seconds < 1 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 100 else f"{hours // 24}d"


def rate(value: float | None) -> str:
    """Return requests per second: `0.4`, `7.2`, `512`."""
    value = _sane(value)
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def percent(ratio: float | None) -> str:
    """Return a ratio as `3.8%` or `12%`."""
    ratio = _sane(ratio)
    if ratio is None:
        return NONE
    value = ratio * 100
    return f"{value:.1f}%" if 0 < value < 9.95 else f"{value:.0f}%"


def count(value: int | None) -> str:
    """Return a count as `412`, `12.3k` or `4.1M`."""
    if value is None or value < 0:
        return NONE
    if value < 10_000:
        return str(value)
    return f"{value / 1000:.1f}k" if value < 999_950 else f"{value / 1_000_000:.1f}M"


def cost(usd: float | None) -> str:
    """Return dollars as `$0.0012`; free is `$0`, unknown `–`."""
    usd = _sane(usd)
    if usd is None:
        return NONE
    if usd == 0:
        return "$0"
    return f"${usd:.4f}" if usd < 1 else f"${usd:.2f}"


def moment(at: str) -> datetime | None:
    """Return the moment an ISO 8601 text names, or None where it names none."""
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        return None


def day_and_clock(at: str) -> str:
    """Return the local date and wall time of an ISO 8601 moment as `2026-03-01 12:04`."""
    when = moment(at)
    return when.astimezone().strftime("%Y-%m-%d %H:%M") if when is not None else NONE


def clock(at: str) -> str:
    """Return the local wall time of an ISO 8601 moment as `12:04:31`."""
    when = moment(at)
    return when.astimezone().strftime("%H:%M:%S") if when is not None else NONE
