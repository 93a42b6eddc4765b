"""Reports of a run as files: written beside their place and put there in one step, so none is ever half of one."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

from .render_json import report_json
from .render_page import html, svg
from .render_text import junit, markdown
from .report_types import RunReport

FORMS: Final = ("json", "md", "xml", "html", "svg")
"""The forms of a report, which are the endings of its files."""


def report_text(report: RunReport, form: str) -> str:
    """Return a report in one of its forms: json, md, xml, html or svg; raises KeyError for any other."""
    return {"json": _json, "md": markdown, "xml": junit, "html": html, "svg": svg}[form](report)


def _json(report: RunReport) -> str:
    # ASCII only: what a model said must not act on a terminal that shows the file
    return json.dumps(report_json(report), indent=2, ensure_ascii=True, allow_nan=False)


def write_reports(report: RunReport, directory: Path) -> tuple[Path, ...]:
    """Write all five forms into a private directory and return their paths; raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tuple(
        _write(directory / f"{report.run_id}.{form}", report_text(report, form).encode("utf-8", "backslashreplace"))
        for form in FORMS
    )


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
