"""The memory of an engine holds keys: no core file is written of it, and its own user cannot look into it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.process.conftest import Upstreams
from tests.process.router import Bench, free_port

from routerconsole.simulator import Behaviour

CRASH = ["-c", "import os; os.abort()"]


def dumped(process: subprocess.Popen[bytes]) -> bool:
    """Wait for the end by a signal; whether the kernel made a core of it."""
    _, status = os.waitpid(process.pid, 0)
    assert os.WIFSIGNALED(status)
    process.returncode = -os.WTERMSIG(status)  # what Popen would have found out
    return os.WCOREDUMP(status)


def like_any_user() -> list[str]:
    """What takes from root the right to look into every process."""
    if os.geteuid() != 0:
        return []
    launcher = shutil.which("setpriv")
    if launcher is None:
        pytest.skip("root without setpriv cannot become less")
    return [launcher, "--bounding-set", "-sys_ptrace"]


def test_X35_a_crash_leaves_no_core(bench: Bench, upstreams: Upstreams) -> None:
    """`ulimit -c unlimited` or not; another program that crashes in the same place does leave one."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY and os.geteuid() != 0:
        pytest.skip("core files are forbidden on this machine anyway")
    unlimited = ["prlimit", "--core=unlimited:unlimited"]
    other = subprocess.Popen([*unlimited, sys.executable, *CRASH], cwd=bench.place, stderr=subprocess.DEVNULL)
    if not dumped(other):
        pytest.skip("the kernel makes no cores on this machine anyway")
    for core in bench.place.glob("core*"):
        core.unlink()
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config, through=unlimited).ready()
    limits = Path(f"/proc/{router.process.pid}/limits").read_text().splitlines()
    assert next(line.split()[4:6] for line in limits if line.startswith("Max core file size")) == ["0", "0"]
    subprocess.run(["prlimit", f"--pid={router.process.pid}", "--core=unlimited:unlimited"], check=False)
    router.send(signal.SIGABRT)
    assert not dumped(router.process), "PR_SET_DUMPABLE holds whatever the limit says"
    assert list(bench.place.glob("core*")) == []


def test_X35_another_process_of_the_user_cannot_look_in(bench: Bench, upstreams: Upstreams) -> None:
    """Neither its memory nor its environment nor its descriptors; those of another program it can read."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config, through=like_any_user(), env={"SECRET_OF_MINE": "sk-canary"}).ready()
    look = "import sys; print(len(open(f'/proc/{sys.argv[1]}/environ').read()), open(f'/proc/{sys.argv[1]}/mem','rb'))"

    def looked(pid: int) -> subprocess.CompletedProcess[str]:
        command = [*like_any_user(), sys.executable, "-c", look, str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    with subprocess.Popen([*like_any_user(), "sleep", "60"]) as sleeper:
        try:
            if looked(sleeper.pid).returncode != 0:
                pytest.skip("nobody may look into anybody on this machine")
        finally:
            sleeper.kill()
    seen = looked(router.process.pid)
    assert seen.returncode != 0
    assert "PermissionError" in seen.stderr
    assert router.chat()[0] == 200


def test_X35_G24_an_engine_is_named_though_it_hides_its_descriptors(bench: Bench, upstreams: Upstreams) -> None:
    """Who may not look into the holder of the port learns its pid all the same."""
    config, _ = upstreams(a=Behaviour())
    first = bench.start(config, "--port", str(free_port()), through=like_any_user()).ready()
    second = bench.start(config, "--port", str(first.port), state="other", through=like_any_user())
    assert second.ended() == 2
    assert f"pid {first.process.pid} (routerconsole)" in second.err
