"""Logging of a process: one handler on stderr that takes secrets out, by value and by pattern, controls spelt out.

As text, or with `--log-format json` one JSON object a line, for programs that collect logs.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from routerconsole.domain.redact import Redactor
from routerconsole.domain.visible import BLOCK_LIMIT, json_text, visible_block

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
_MIN_SECRET = 8
Form = Literal["text", "json"]
_redactors: list[Callable[[str], str]] = [Redactor().redact]


def set_up(level: str, env: Mapping[str, str], *, form: Form = "text") -> None:
    """Log to stderr from `level` up; values of environment variables named like secrets never show."""
    _redactors[:] = [Redactor(_secrets_in(env)).redact]
    handler = _Stderr()
    text = _Safe("routerconsole: %(levelname)s: %(name)s: %(message)s")
    handler.setFormatter(_Json() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def learn(redact: Callable[[str], str]) -> None:
    """Let a redactor that knows more values (a loaded configuration's) look at every line from now on."""
    _redactors.append(redact)


def redact(text: str) -> str:
    """Return text without any secret this process knows of."""
    for take_out in _redactors:
        text = take_out(text)
    return text


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at the moment: a console puts its own in place while it has the screen."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; trouble with it or with the stream costs the record, not the program."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            print(self.format(record), file=sys.stderr, flush=True)


class _Safe(logging.Formatter):
    """Formats, redacts and makes visible; tracebacks keep their lines."""

    def format(self, record: logging.LogRecord) -> str:
        text = redact(super().format(record))
        return visible_block(_cut(text))


class _Json(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, error, and what a record says of a request."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(redact(record.getMessage())),
        }
        if record.exc_info:
            told["error"] = _cut(redact(self.formatException(record.exc_info)))
        request = getattr(record, "request", None)
        if isinstance(request, Mapping):
            told["request"] = {name: _clean(value) for name, value in request.items()}
        return json_text(told)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _cut(redact(value))
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _cut(text: str) -> str:
    return text if len(text) <= BLOCK_LIMIT * 4 else text[: BLOCK_LIMIT * 4] + "…"


def _secrets_in(env: Mapping[str, str]) -> list[str]:
    return [
        value
        for name, value in env.items()
        if len(value) >= _MIN_SECRET and any(word in name.upper() for word in _SECRET_WORDS)
    ]
