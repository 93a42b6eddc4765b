"""The state directory, its tokens, and one engine at a time."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from routerconsole.storage.errors import AlreadyRunning, UnsafePlace
from routerconsole.storage.lock import EngineLock, running_engine
from routerconsole.storage.place import open_place

from .conftest import NOBODY


def mode(path: Path) -> int:
    """Permission bits of a path itself."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_X21_everything_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Directories are 0700 and files 0600 under any umask, parents that had to be made included."""
    before = os.umask(umask)
    try:
        place = open_place(tmp_path / "a" / "state")
        place.tokens()
        lock = EngineLock(place)
        lock.publish(url="http://127.0.0.1:1", version="1")
    finally:
        os.umask(before)
    inside = list(place.root.rglob("*"))
    assert {p.name for p in inside} == {
        "admin.token",
        "client.token",
        "backups",
        "reports",
        "engine.lock",
        "engine.json",
    }
    assert {mode(p) for p in (tmp_path / "a", place.root, *inside) if p.is_dir()} == {0o700}
    assert {mode(p) for p in inside if p.is_file()} == {0o600}
    lock.release()


@pytest.mark.parametrize("wide", [0o777, 0o755, 0o1777, 0o701])
def test_X20_a_directory_open_to_others_is_closed_and_told(tmp_path: Path, wide: int) -> None:
    """Rights of others are taken away before anything is written."""
    root = tmp_path / "state"
    root.mkdir()
    root.chmod(wide)
    place = open_place(root)
    assert mode(root) == 0o700
    assert [n.code for n in place.notices] == ["rights_fixed"]
    assert open_place(root).notices == []


def test_X20_a_linked_directory_is_refused(tmp_path: Path) -> None:
    """A symbolic link in the directory's place is refused, and nothing is made behind it."""
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(target)
    with pytest.raises(UnsafePlace, match="symbolic link"):
        open_place(tmp_path / "state")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("name", ["state.db", "log.db", "admin.token", "client.token", "engine.lock"])
@pytest.mark.parametrize("dangling", [False, True])
def test_X20_a_linked_file_is_refused(tmp_path: Path, name: str, dangling: bool) -> None:
    """No file of the directory is reached through a link; what it points to is neither read, written nor made."""
    root, victim = tmp_path / "state", tmp_path / "victim"
    root.mkdir(mode=0o700)
    if not dangling:
        victim.write_text("x" * 64)
    (root / name).symlink_to(victim)

    def begin() -> None:
        place = open_place(root)
        place.tokens()
        EngineLock(place)

    with pytest.raises(UnsafePlace, match="symbolic link"):
        begin()
    assert victim.exists() is not dangling
    assert dangling or victim.read_text() == "x" * 64


@pytest.mark.parametrize("name", ["state.db", "admin.token"])
def test_X20_a_pipe_in_a_files_place_does_not_hang(tmp_path: Path, name: str) -> None:
    """Something that is no regular file is refused at once."""
    root = tmp_path / "state"
    root.mkdir(mode=0o700)
    os.mkfifo(root / name)
    with pytest.raises(UnsafePlace, match="not a regular file"):
        open_place(root).tokens()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's directory")
def test_X20_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    """A directory of another user is refused by name, and left as it is."""
    root = tmp_path / "state"
    root.mkdir(mode=0o777)
    os.chown(root, NOBODY, NOBODY)
    with pytest.raises(UnsafePlace, match=f"belongs to uid {NOBODY}"):
        open_place(root)
    assert list(root.iterdir()) == []


def test_tokens_are_made_once_and_differ(tmp_path: Path) -> None:
    """Both tokens hold 32 random bytes, differ, and are the same after a restart."""
    first = open_place(tmp_path / "state").tokens()
    again = open_place(tmp_path / "state").tokens()
    assert first == again
    assert first.admin != first.client
    assert len(first.admin.reveal()) == len(first.client.reveal()) == 43
    assert (tmp_path / "state" / "admin.token").read_text().strip() == first.admin.reveal()
    assert first.admin.reveal() not in repr(first)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short", b"\xff" * 40, b"two words of a token that is long", b"a" * 600]
)
def test_a_token_file_that_holds_no_token_is_replaced(tmp_path: Path, content: bytes) -> None:
    """An empty or damaged token never becomes the key; the old file is kept and the operator told."""
    place = open_place(tmp_path / "state")
    (place.root / "admin.token").write_bytes(content)
    token = place.tokens().admin.reveal()
    assert len(token) == 43
    kept = [p for p in place.root.iterdir() if p.name.startswith("admin.token.unusable-")]
    assert [p.read_bytes() for p in kept] == [content]
    assert "token_replaced" in [n.code for n in place.notices]


def test_X20_a_token_others_can_read_is_closed_and_told(tmp_path: Path) -> None:
    """A token file with wide rights is made 0600; the token stays."""
    place = open_place(tmp_path / "state")
    token = place.tokens().admin
    (place.root / "admin.token").chmod(0o644)
    assert place.tokens().admin == token
    assert mode(place.root / "admin.token") == 0o600
    assert "rights_fixed" in [n.code for n in place.notices]


def test_D08_a_directory_that_cannot_be_written_still_gives_tokens(unprivileged: Path) -> None:
    """Without a place to write, tokens and the lock hold for this run, and the operator is told."""
    unprivileged.chmod(0o500)
    place = open_place(unprivileged)
    tokens = place.tokens()
    assert len(tokens.admin.reveal()) == 43
    lock = EngineLock(place)
    assert lock.publish(url="http://127.0.0.1:1", version="1") is False
    with pytest.raises(AlreadyRunning):
        EngineLock(place)
    lock.release()
    assert {n.code for n in place.notices} >= {"token_not_saved", "read_only"}


def test_G26_a_second_engine_is_refused_by_the_firsts_pid(tmp_path: Path) -> None:
    """Another process on the same directory is told who holds it, and changes nothing."""
    place = open_place(tmp_path / "state")
    lock = EngineLock(place)
    lock.publish(url="http://127.0.0.1:8808", version="1.2")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from routerconsole.storage.place import open_place\n"
        "from routerconsole.storage.lock import EngineLock, running_engine\n"
        "from routerconsole.storage.errors import AlreadyRunning\n"
        "place = open_place(Path(sys.argv[1]))\n"
        "try:\n    EngineLock(place)\n"
        "except AlreadyRunning as error:\n    print(error.pid, str(error.pid) in str(error))\n"
        "print(running_engine(place.root).url)\n"
    )
    for _ in range(2):
        told = subprocess.run([sys.executable, "-c", code, place.root], capture_output=True, text=True, check=True)
        assert told.stdout.splitlines() == [f"{os.getpid()} True", "http://127.0.0.1:8808"]
    lock.release()
    lock.release()
    assert not (place.root / "engine.json").exists()
    assert running_engine(place.root) is None
    EngineLock(place).release()


def test_G26_a_killed_engine_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """What a dead engine left behind is seen as stale and taken over."""
    place = open_place(tmp_path / "state")
    code = (
        "import os, sys, signal\nfrom pathlib import Path\n"
        "from routerconsole.storage.place import open_place\n"
        "from routerconsole.storage.lock import EngineLock\n"
        "lock = EngineLock(open_place(Path(sys.argv[1])))\n"
        "lock.publish(url='http://127.0.0.1:1', version='1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, place.root], check=False)
    assert json.loads((place.root / "engine.json").read_text())["url"] == "http://127.0.0.1:1"
    assert running_engine(place.root) is None
    lock = EngineLock(place)
    assert not (place.root / "engine.json").exists()
    lock.publish(url="http://127.0.0.1:2", version="2")
    found = running_engine(place.root)
    assert found is not None
    assert (found.pid, found.url, found.version) == (os.getpid(), "http://127.0.0.1:2", "2")
    lock.release()
