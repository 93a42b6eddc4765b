"""One log line per finished request, where somebody asked for lines of that level; never what was said in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .rows import row_fields

if TYPE_CHECKING:
    from routerconsole.domain.trace import Trace

log = logging.getLogger("routerconsole.requests")


def line(trace: Trace) -> None:
    """Log a request that is over: its row as `request` for JSON, its chain as text."""
    if log.isEnabledFor(logging.INFO):
        row = row_fields(trace)
        log.info("%s %s %s %s", trace.id, row["status"], trace.model or "auto", row["chain"], extra={"request": row})
