"""Starting: what is refused, with which words and code, and what is safe about it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.process.conftest import Upstreams
from tests.process.router import Bench, free_port, until, without_powers

from routerconsole.simulator import Behaviour

EMPTY = "version: 1\nproviders: []\n"


def refused(bench: Bench, config: str | None, *arguments: str, **more: object) -> tuple[int, str]:
    """The exit code and the words of a start that must not succeed; one line, no traceback."""
    router = bench.start(config, *arguments, **more)  # type: ignore[arg-type]  # passed through to Popen
    code = router.ended()
    assert router.out == ""
    assert "Traceback" not in router.err
    return code, router.err


def test_G24_a_port_in_use_names_its_holder(bench: Bench) -> None:
    """Exit 2, the address, the remedy, and our own engine's pid."""
    first = bench.start(EMPTY).ready()
    code, said = refused(bench, EMPTY, "--port", str(first.port), state="other")
    assert code == 2
    assert f"127.0.0.1:{first.port}" in said
    assert f"pid {first.process.pid} (routerconsole)" in said
    assert "--port" in said
    assert first.ask("/healthz")[0] == 200


def test_G24_a_port_somebody_else_holds(bench: Bench) -> None:
    """Exit 2 as well."""
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        code, said = refused(bench, EMPTY, "--port", str(held.getsockname()[1]))
    assert code == 2
    assert f"pid {os.getpid()}" in said


def test_G24_an_address_that_cannot_be_bound(bench: Bench) -> None:
    """Exit 2 and the address; no hang, no traceback."""
    host = "192.0.2.1"
    code, said = refused(bench, EMPTY, "--host", host)
    assert code == 2
    assert host in said
    assert "--host" in said


def test_G24_a_privileged_port(bench: Bench) -> None:
    """Exit 2 and why."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        pytest.skip("no port is privileged here")
    code, said = refused(bench, EMPTY, "--port", "81", through=without_powers())
    assert code == 2
    assert "privileges" in said


def test_G24_ipv6(bench: Bench) -> None:
    """The loopback of IPv6 works, and is printed as a URL."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    router = bench.start(EMPTY, "--host", "::1")
    until(lambda: router.out or router.process.poll() is not None, "it says something")
    if router.process.poll() is not None:
        assert router.process.returncode == 2
        pytest.skip("no IPv6 loopback on this machine")
    assert router.out.startswith("routerconsole listening on http://[::1]:")


def test_a_bind_to_everywhere_needs_allowed_hosts(bench: Bench) -> None:
    """Exit 2, naming the key."""
    code, said = refused(bench, EMPTY, "--host", "0.0.0.0")
    assert code == 2
    assert "allowed_hosts" in said


def test_a_bind_to_everywhere_with_allowed_hosts(bench: Bench) -> None:
    """It answers to the named host and to loopback names, to nothing else."""
    router = bench.start(EMPTY + "server: {allowed_hosts: [router.example]}\n", "--host", "0.0.0.0").ready()
    for host, status in (("router.example", 200), ("127.0.0.1", 200), ("evil.example", 421), ("0.0.0.0", 421)):
        with closing(router.link()) as link:
            link.putrequest("GET", "/healthz", skip_host=True)
            link.putheader("Host", f"{host}:{router.port}")
            link.endheaders()
            assert link.getresponse().status == status, host


def test_G26_a_second_engine_on_one_state_directory(bench: Bench) -> None:
    """Refused with 5, naming the first's pid; the first goes on, and its end frees the directory."""
    first = bench.start(EMPTY).ready()
    code, said = refused(bench, EMPTY)
    assert code == 5
    assert f"pid {first.process.pid}" in said
    assert first.ask("/healthz")[0] == 200
    first.process.kill()
    first.ended()
    assert bench.start(EMPTY).ready().ask("/healthz")[0] == 200


def test_D15_a_newer_state_is_refused_with_3(bench: Bench) -> None:
    """Exit 3 and the migration's name; the file is as it was."""
    bench.start(EMPTY).ready().send(signal.SIGTERM)
    path = bench.place / "state" / "state.db"
    bench._routers[-1].ended()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO migrations (name) VALUES ('9999-of-the-future')")
    before = path.read_bytes()
    code, said = refused(bench, EMPTY)
    assert code == 3
    assert "9999-of-the-future" in said
    assert path.read_bytes() == before


def test_a_bad_configuration_is_refused_with_2(bench: Bench) -> None:
    """Every problem on a line of its own with file, line and path; nothing is bound, no state is made."""
    code, said = refused(bench, "version: 1\nfail_treshold: 3\nserver: {port: 99999}\n")
    assert code == 2
    assert all("config0.yaml:" in line for line in said.splitlines())
    assert "fail_treshold" in said
    assert "server.port" in said
    assert not (bench.place / "state").exists()


def test_a_named_configuration_that_is_not_there(bench: Bench) -> None:
    """G01: exit 2 naming the file."""
    done = bench.cli("--config", str(bench.place / "nowhere.yaml"), "serve")
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr


def test_X21_nothing_is_open_to_others_whatever_the_umask(bench: Bench, upstreams: Upstreams) -> None:
    """umask 000: every file 0600, every directory 0700, while it runs and after it ended."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config, umask=0).ready()
    assert router.chat()[0] == 200
    assert router.control("a", "disable")[0] == 200

    def open_to_others() -> list[str]:
        return [
            f"{path}: {stat.S_IMODE(path.lstat().st_mode):o}"
            for path in (router.state, *router.state.rglob("*"))
            if stat.S_IMODE(path.lstat().st_mode) != (0o700 if path.is_dir() else 0o600)
        ]

    assert open_to_others() == []
    router.send(signal.SIGTERM)
    assert router.ended() == 0
    assert open_to_others() == []


def test_X20_a_state_directory_open_to_all_is_closed(bench: Bench) -> None:
    """0777 becomes 0700 and is told; a link in its place is refused."""
    state = bench.place / "state"
    state.mkdir()
    state.chmod(0o777)
    router = bench.start(EMPTY).ready()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert any("0700" in notice for notice in router.status()["notices"])
    (bench.place / "link").symlink_to(state)
    code, said = refused(bench, EMPTY, state="link")
    assert code == 2
    assert "symbolic link" in said


def test_D08_a_state_that_cannot_be_written(bench: Bench, upstreams: Upstreams) -> None:
    """Requests are served, operators heard in memory, a banner says so; the tokens are the ones that were there."""
    config, _ = upstreams(a=Behaviour())
    first = bench.start(config).ready()
    tokens = {name: first.token(name) for name in ("admin", "client")}
    first.send(signal.SIGTERM)
    assert first.ended() == 0
    for path in (*first.state.rglob("*"), first.state):
        path.chmod(0o500 if path.is_dir() else 0o400)
    router = bench.start(config, through=without_powers()).ready()
    assert {name: router.token(name) for name in tokens} == tokens
    assert router.chat()[0] == 200
    status, receipt = router.control("a", "disable")
    assert (status, receipt["persisted"]) == (200, False)
    assert router.status()["providers"][0]["status"] == "disabled"
    assert any("storage degraded" in notice for notice in router.status()["notices"])
    router.send(signal.SIGTERM)
    assert router.ended() == 0


def test_C1_51_without_any_provider_it_serves_and_says_what_to_fill_in(bench: Bench) -> None:
    """Zero configuration on a bare machine: it runs, status works, a request gets a 503 that names the key."""
    router = bench.start(None).ready()
    status, body = router.chat()
    assert status == 503
    assert "providers" in body["error"]["message"]
    assert router.status()["total"] == 0
    shown = bench.cli("status")
    assert shown.returncode == 0, shown.stderr


def test_C0_05_a_provider_without_its_secret_is_listed_and_left_alone(bench: Bench, upstreams: Upstreams) -> None:
    """It starts, names the variable, sends nothing there, and the others serve."""
    config, sim = upstreams(provider="api_key: env:NOT_SET_ANYWHERE, ", a=Behaviour())
    router = bench.start(config).ready()
    row = router.status()["providers"][0]
    assert "missing_secret: NOT_SET_ANYWHERE" in row["reason"]
    status, body = router.chat()
    assert status == 503
    assert "NOT_SET_ANYWHERE" in str(body)
    assert sim.total == 0


def test_the_engine_runs_without_textual(bench: Bench) -> None:
    """Nothing headless reaches the terminal library."""
    code = (
        "import sys, routerconsole.cli.serve, routerconsole.cli.process, routerconsole.wiring;"
        "print([name for name in ('textual', 'plotext', 'routerconsole.console') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_free_port_can_be_asked_for_by_number(bench: Bench) -> None:
    """`--port N` listens there and says so; engine.json tells others."""
    port = free_port()
    router = bench.start(EMPTY, "--port", str(port)).ready()
    assert router.url == f"http://127.0.0.1:{port}"
    told = (router.state / "engine.json").read_text()
    assert f'"pid": {router.process.pid}' in told
    assert router.url in told
