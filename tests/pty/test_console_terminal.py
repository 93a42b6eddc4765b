"""The console on a real terminal: boot, keys, resize, exits, hang-up, stall, slow and poor terminals."""

from __future__ import annotations

import base64
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.pty.terminal import PATIENCE_S, Terminal, showcase

IDLE = ("--per-look", "0")


def test_boot_keys_and_quit() -> None:
    """The console paints, answers keys and quits with its own exit code."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview", "anthropic", "LIVE")
        on.send("5")
        on.sees("▶ Requests")
        on.send("E")
        on.send("\r")
        on.sees("retry-after 20s")
        on.send("\x1b")
        on.sees("▶ Requests")
        on.send("q")
        on.sees("Quit?")
        on.send("q")
        on.until(lambda: b"ended: quit 0" in on.bytes)
        assert on.ended() == 0


def leave_by_key(on: Terminal) -> None:
    """q, answered with q."""
    on.send("q")
    on.sees("Quit?")
    on.send("q")


def leave_by_interrupt_key(on: Terminal) -> None:
    """ctrl+c twice."""
    on.send("\x03")
    on.sees("Quit?")
    on.send("\x03")


def leave_by_sigint(on: Terminal) -> None:
    """The signal, twice."""
    on.child.kill(signal.SIGINT)
    on.sees("Quit?")
    on.child.kill(signal.SIGINT)


def leave_by_sigterm(on: Terminal) -> None:
    """The signal of an init system."""
    on.child.kill(signal.SIGTERM)


@pytest.mark.parametrize(
    ("leave", "says"),
    [
        (leave_by_key, b"ended: quit 0"),
        (leave_by_interrupt_key, b"ended: interrupted 130"),
        (leave_by_sigint, b"ended: interrupted 130"),
        (leave_by_sigterm, b"ended: quit 0"),
    ],
)
def test_T11_every_exit_restores_the_terminal(leave: object, says: bytes) -> None:
    """After each way out `stty` is as before, and alternate screen, mouse, paste mode and hidden cursor are off."""
    script = f"stty -g; {sys.executable} -m tests.console.showcase --per-look 0; stty -g; read x"
    with Terminal(["/bin/sh", "-c", script]) as on:
        on.sees("▶ Overview")
        if leave is leave_by_sigint or leave is leave_by_sigterm:
            on.child.pid, shell = child_of(on.child.pid), on.child.pid
            leave(on)  # type: ignore[operator]
            on.child.pid = shell
        else:
            leave(on)  # type: ignore[operator]
        on.until(lambda: says in on.bytes, "the end")
        on.until(lambda: len(stty_lines(on.bytes)) == 2, "stty after")
        before, after = stty_lines(on.bytes)
        assert before == after
        assert on.modes_left() == set()


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def stty_lines(data: bytes) -> list[bytes]:
    """Return the lines `stty -g` printed."""
    return re.findall(rb"^([0-9a-f]+(?::[0-9a-f]+){30,})\r?$", data, re.MULTILINE)


def test_T11_crash_restores_the_terminal_and_says_what_happened() -> None:
    """A console that dies of a bug leaves a usable terminal."""
    with showcase(*IDLE, "--crash") as on:
        assert on.ended() == 3
        assert on.modes_left() == set()
        assert b"\x1b[?1049h" in on.bytes


def test_T08_hang_up_ends_the_console_quietly(tmp_path: Path) -> None:
    """When the terminal goes, the console is soon gone, says `hangup`, and leaves no traceback."""
    report, errors = tmp_path / "report", tmp_path / "stderr"
    command = f"exec {sys.executable} -m tests.console.showcase --per-look 1 --report {report} 2>{errors}"
    with Terminal(["/bin/sh", "-c", command]) as on:
        on.sees("▶ Overview")
        on.hang_up()
        began = time.monotonic()
        while not report.exists() or not report.read_text():
            assert time.monotonic() < began + PATIENCE_S
        assert report.read_text() == "hangup 0"
        assert "Traceback" not in errors.read_text()


def test_T08_eof_on_input_ends_the_console(tmp_path: Path) -> None:
    """A terminal that only goes silent with an error, without SIGHUP, ends the console too."""
    report = tmp_path / "report"
    command = f"trap '' HUP; exec {sys.executable} -m tests.console.showcase --per-look 1 --report {report} 2>/dev/null"
    with Terminal(["/bin/sh", "-c", command]) as on:
        on.sees("▶ Overview")
        on.hang_up()
        deadline = time.monotonic() + PATIENCE_S
        while not report.exists() or not report.read_text():
            assert time.monotonic() < deadline
        assert report.read_text() == "hangup 0"


def test_T07_stalled_terminal_holds_nothing_up_and_is_repainted(tmp_path: Path) -> None:
    """While nobody reads the screen the console keeps looking at the engine; afterwards the screen is right again."""
    looks = tmp_path / "report.looks"
    with showcase("--per-look", "30", "--report", str(tmp_path / "report")) as on:
        on.sees("▶ Overview")
        on.send("5")
        on.sees("▶ Requests")
        start = int(looks.read_text() or 0)
        deadline = time.monotonic() + PATIENCE_S
        while int(looks.read_text() or 0) < start + 12:  # nobody reads the terminal here
            assert time.monotonic() < deadline, "the stalled terminal held the console up"
        on.send("1")
        on.sees("▶ Overview", "Latest failovers", "anthropic", "LIVE")
        on.send("f")


def test_T01_resize_storm_ends_in_a_whole_screen() -> None:
    """Any size, zero included, and back: everything is there again."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview")
        for size in [(1, 1), (0, 0), (2, 200), (500, 500), (40, 10), (39, 9), (200, 60), (80, 24)]:
            on.resize(*size)
            on.child.kill(signal.SIGWINCH)
            on.pump()
        on.sees("▶ Overview", "Latest failovers", "t probe")


def test_invalid_bytes_and_ctrl_z_are_ignored() -> None:
    """Bytes that are no UTF-8, broken escape sequences and ctrl+z neither end, stop nor confuse the console."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview")
        on.send(b"\xff\xfe\xc3\x28\x80")
        on.send("\x1a")
        on.child.kill(signal.SIGTSTP)
        on.send(b"\x1b[<0;999999999999;M\x1b[1;1;1;1;1R\x1b[M!!!")
        on.send("5")
        on.sees("▶ Requests")


def test_T03_megabyte_of_paste_leaves_the_console_alive() -> None:
    """A megabyte pasted without its end, full of escape sequences: capped, and the keys behind it work."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview")
        on.send("5/")
        on.sees("/▏")
        on.send(b"\x1b[200~")
        for _ in range(256):
            on.send(b"dq\x1b]52;c;aGk=\x07 " * 256)
            on.pump(0)
        on.sees("dq")  # ended by its silence
        on.send("\x1b")
        on.sees("▶ Requests  42")


def test_T04_everything_sent_to_the_terminal_is_on_the_allow_list() -> None:
    """The bytes of a session are text, colours, cursor moves, the driver's modes and a copy asked for; nothing else."""
    with showcase("--per-look", "3") as on:
        on.sees("▶ Overview")
        for keys, shown in (
            ("5", "▶ Requests"),
            ("k", "FROZEN"),
            ("\r", "Why"),
            ("\x1b", "▶ Requests"),
            ("/zzz\r", "[zzz]"),
            ("\x1b", "FROZEN ▼"),
            ("?", "▶ Keys"),
            ("\x1b", "▶ Requests"),
            ("@", "No operator"),
            ("\x1b", "▶ Requests"),
            ("1", "▶ Overview"),
            ("d", "Drain anthropic?"),
        ):
            on.send(keys)
            on.sees(shown)
        on.send("n")
        on.sees("nothing was changed")
        on.send("5")
        on.sees("▶ Requests")
        on.send("c")
        on.sees("id copied")
        (clipboard,) = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", on.bytes)
        assert base64.b64decode(clipboard).startswith(b"req_")
        rest = re.sub(rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07", b"", on.bytes)
        rest = re.sub(rb"\x1b\[[0-9;]*[mH]|\x1b\[\?[0-9;]+(?:[hl]|\$p)|\x1b\[[<>][0-9;]*u", b"", rest)
        rest = re.sub(rb"\r?\n", b"", rest)
        assert rest.decode().isprintable(), re.findall(rb"[^ -~]{1,8}", rest)[:5]


def test_what_the_engine_logs_does_not_touch_the_screen() -> None:
    """Lines written to standard error while the console draws appear after it has ended, made visible."""
    with showcase(*IDLE, "--noisy") as on:
        on.sees("▶ Overview", "anthropic")
        on.send("5")
        on.sees("▶ Requests")
        assert "a log line" not in on.text()
        on.send("\x03")
        on.sees("Quit?")
        on.send("\x03")
        on.until(lambda: b"ended: interrupted 130" in on.bytes)
        assert b"a log line \\x1b[31m" in on.bytes


def bytes_per_second(on: Terminal, looks: int, report: Path) -> float:
    """Return what a console sends while the engine is looked at a number of times."""
    path = report.with_suffix(".looks")
    start, before, began = int(path.read_text() or 0), len(on.bytes), time.monotonic()
    on.until(lambda: int(path.read_text() or 0) >= start + looks)
    return (len(on.bytes) - before) / (time.monotonic() - began)


def comes_to_rest(on: Terminal, report: Path, *, looks: int = 2) -> None:
    """Wait until an idle console sends its clock's digits and no more: 200 bytes a second for so many looks."""
    assert any(bytes_per_second(on, looks, report) <= 200 for _ in range(20)), "it never comes to rest"


def test_bytes_idle_and_following(tmp_path: Path) -> None:
    """An idle console sends its clock's digits, at 80x24 one following a busy log at most 25 KB/s."""
    report = tmp_path / "report"
    for size in ((80, 24), (200, 60)):
        with showcase(*IDLE, "--report", str(report), size=size) as on:
            on.sees("▶ Overview")
            comes_to_rest(on, report)
            comes_to_rest(on, report, looks=8)
    with showcase("--per-look", "50", "--report", str(report)) as on:
        on.sees("▶ Overview")
        on.send("5")
        on.sees("▶ Requests")
        assert bytes_per_second(on, 12, report) <= 25_000


def test_partial_updates_come_to_the_same_as_a_repaint(tmp_path: Path) -> None:
    """After moves, panes, pages and filters the screen is what ctrl+l paints from nothing."""
    report = tmp_path / "report"
    with showcase(*IDLE, "--report", str(report), size=(120, 40)) as on:
        on.sees("▶ Overview")
        for keys, shown in (("jjk", "▶ Overview"), ("5", "▶ Requests"), ("jjjkE", "Why"), ("/groq\r", "[groq]")):
            on.send(keys)
            on.sees(shown)
        for keys, shown in (("\x1b", "FROZEN"), ("?", "▶ Keys"), ("\x1b", "▶ Requests"), ("1", "▶ Overview")):
            on.send(keys)
            on.sees(shown)
        comes_to_rest(on, report)
        before, sent = on.screen.display[1:], len(on.bytes)
        on.send("\x0c")
        on.until(lambda: len(on.bytes) > sent + 3000, "the repaint")
        comes_to_rest(on, report)
        assert on.screen.display[1:] == before


def test_slow_link_sends_less(tmp_path: Path) -> None:
    """With --slow a busy log costs at most 6 KB/s."""
    report = tmp_path / "report"
    with showcase("--per-look", "50", "--slow", "--report", str(report)) as on:
        on.sees("▶ Overview")
        on.send("5")
        on.sees("▶ Requests")
        assert bytes_per_second(on, 4, report) <= 6_000


@pytest.mark.parametrize("term", ["vt100", "xterm", "linux", "screen", "tmux"])
def test_T16_poor_terminals(term: str) -> None:
    """On each terminal type the console is usable; on the Linux text console it is ASCII."""
    with showcase(*IDLE, env={"TERM": term}) as on:
        on.sees("Overview", "anthropic")
        on.send("5")
        on.sees("Requests")
        if term == "linux":
            assert on.text().isascii()


def test_T16_without_colour_no_colour_is_sent() -> None:
    """NO_COLOR leaves no colour in the output, greys included."""
    with showcase(*IDLE, env={"NO_COLOR": "1"}) as on:
        on.sees("▶ Overview", "openai")
        codes = {code for sgr in re.findall(rb"\x1b\[([0-9;]*)m", on.bytes) for code in sgr.split(b";") if code}
        assert codes <= {b"0", b"1", b"4", b"7", b"39", b"49"}


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}])
def test_T16_dumb_terminal_is_refused_without_an_escape_byte(env: dict[str, str]) -> None:
    """On a dumb terminal the console does not start, names the headless form, and sends nothing but text."""
    with showcase(env=env) as on:
        on.until(lambda: b"routerconsole serve" in on.bytes)
        assert b"\x1b" not in on.bytes


BROKEN = (
    b"\x1b[<0;10;5",
    b"\x1b[5;7r",
    b"\x1b[<0;10D",
    b"\x1b]11;rgb:dd/dd/dd\x07",
    b"\x1bP>|dD\x1b\\",
)


def test_T18_broken_and_late_sequences_act_on_nothing() -> None:
    """Mouse reports and arrows that are cut, unknown, or torn apart by a slow link press no key."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview", "reset")
        for data in (*BROKEN, b"\x1b[A", b"\x1b[D", b"\x1b[<64;3;3M"):
            for piece in (data[:1], data[1:2], data[2:]):
                on.send(piece)
                reads(on, 0.25)
        on.send(b"".join(BROKEN))
        reads(on, 3.0)  # what is never ended is given up
        for _ in range(20):  # a console that got the rest late gives it up later
            if "No operator" not in on.text():
                on.send("@")
                reads(on, 3.0)
        assert "No operator" in on.text(), "nothing was changed, and keys work"
        on.send("\x1b")
        on.sees("▶ Overview")
        assert not any(asked in on.text() for asked in ("Reset ", "Drain ", "Disable "))


def reads(on: Terminal, seconds: float) -> None:
    """Read for a while: the gap a slow link makes is what is tested."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        on.pump(left)


def test_T18_two_hundred_repeats_a_second_keep_up() -> None:
    """A held key moves, asks once and acts on nothing; what is typed after it is answered at once."""
    with showcase(*IDLE) as on:
        on.sees("▶ Overview")
        for key in "jkdrD":
            on.send(key * 200)
        on.sees("Drain ")
        on.send("n")
        on.sees("nothing was changed")
        on.send("@")
        on.sees("No operator")
