"""Log lines: no secret, no raw control character."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from routerconsole.cli import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Put the root logger back: `set_up` is for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    logs.set_up("warning", {})
    root.handlers = handlers
    logging.captureWarnings(False)


def test_values_of_the_environment_and_learnt_ones_never_show(capsys: pytest.CaptureFixture[str]) -> None:
    """A key in the environment, a key of the configuration and whatever looks like a key are taken out."""
    logs.set_up("info", {"MY_API_KEY": "correct-horse-battery", "HOME": "/home/somebody-here"})
    logs.learn(lambda text: text.replace("from-the-file", "[redacted]"))
    logging.getLogger("x").info("with %s and %s in /home/somebody-here", "correct-horse-battery", "from-the-file")
    shown = capsys.readouterr().err
    assert "correct-horse" not in shown
    assert "from-the-file" not in shown
    assert "/home/somebody-here" in shown


def test_tracebacks_are_cleaned_too(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception's text is part of the line; its own line ends stay."""
    logs.set_up("warning", {"TOKEN": "correct-horse-battery"})
    try:
        raise ValueError("correct-horse-battery \x1b[2J")
    except ValueError:
        logging.getLogger("x").exception("it\nbroke")
    shown = capsys.readouterr().err
    assert "correct-horse" not in shown
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    assert "ValueError" in shown


def test_the_level_holds_and_a_wrong_record_costs_only_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing below the level; a record that cannot be formatted raises nothing."""
    logs.set_up("warning", {})
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("%d", "not a number")
    assert capsys.readouterr().err == ""


def test_json_lines_carry_requests_and_hide_what_text_hides(capsys: pytest.CaptureFixture[str]) -> None:
    """One ASCII object a line with time, level, logger and message; tracebacks and request rows are redacted too."""
    logs.set_up("info", {"MY_API_KEY": "correct-horse-battery"}, form="json")
    row = {"id": "r-1", "model": "m-correct-horse-battery", "needed": ("tools",), "total_ms": 1.5, "cost_usd": None}
    logging.getLogger("routerconsole.requests").info("r-1 ok \x1b[31m", extra={"request": row})
    try:
        raise ValueError("with correct-horse-battery\nin two lines")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    shown = capsys.readouterr().err
    assert "correct-horse" not in shown
    assert shown.isascii()
    first, second = (json.loads(line) for line in shown.splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("info", "routerconsole.requests", "r-1 ok \x1b[31m")
    assert first["time"].endswith("+00:00")
    assert (first["request"]["id"], first["request"]["needed"], first["request"]["total_ms"]) == ("r-1", ["tools"], 1.5)
    assert second["level"] == "error"
    assert "ValueError" in second["error"]
