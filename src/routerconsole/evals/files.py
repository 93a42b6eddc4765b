"""Reports of a run as files: written beside their place and put there in one step, so none is ever half of one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import orjson

from .render_json import report_json
from .render_page import html, svg
from .render_text import junit, markdown
from .report_types import RunReport


def write_reports(report: RunReport, directory: Path) -> tuple[Path, ...]:
    """Write all five forms into a private directory and return their paths; raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    forms = {
        "json": orjson.dumps(report_json(report), option=orjson.OPT_INDENT_2),
        "md": markdown(report).encode("utf-8", "backslashreplace"),
        "xml": junit(report).encode("utf-8", "backslashreplace"),
        "html": html(report).encode("utf-8", "backslashreplace"),
        "svg": svg(report).encode("utf-8", "backslashreplace"),
    }
    return tuple(_write(directory / f"{report.run_id}.{suffix}", data) for suffix, data in forms.items())


def _write(path: Path, data: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return path
