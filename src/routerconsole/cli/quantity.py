"""Numbers as commands print them: milliseconds, spans, shares; what is unknown is None and shows as a dash."""

from __future__ import annotations


def ms(value: float | None) -> str | None:
    """Return milliseconds as `412 ms` or `2.84 s`."""
    if value is None:
        return None
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def span(seconds: float | None) -> str | None:
    """Return seconds as `14 s`, `3 min 5 s` or `2 h 10 min`."""
    if seconds is None:
        return None
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def percent(ratio: float) -> str:
    """Return a ratio as `3.8 %`."""
    return f"{ratio * 100:.1f} %"


def ending(word: str | None, seconds: float | None) -> str | None:
    """Return a gate or an open circuit with the time it has left, `rate 12 s`."""
    return None if word is None else word if seconds is None else f"{word} {span(seconds)}"
