"""Logging of a process: one handler on stderr that takes secrets out, by value and by pattern, controls spelt out."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Mapping

from routerconsole.domain.redact import Redactor
from routerconsole.domain.visible import BLOCK_LIMIT, visible_block

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
_MIN_SECRET = 8
_redactors: list[Callable[[str], str]] = [Redactor().redact]


def set_up(level: str, env: Mapping[str, str]) -> None:
    """Log to stderr from `level` up; values of environment variables named like secrets never show."""
    _redactors[:] = [Redactor(_secrets_in(env)).redact]
    handler = _Stderr()
    handler.setFormatter(_Safe("routerconsole: %(levelname)s: %(name)s: %(message)s"))
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
        return visible_block(text if len(text) <= BLOCK_LIMIT * 4 else text[: BLOCK_LIMIT * 4] + "…")


def _secrets_in(env: Mapping[str, str]) -> list[str]:
    return [
        value
        for name, value in env.items()
        if len(value) >= _MIN_SECRET and any(word in name.upper() for word in _SECRET_WORDS)
    ]
