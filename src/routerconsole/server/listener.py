"""Who holds a TCP port, as far as the kernel tells us (Linux, processes of the same user); only for error messages."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens; `name` is its command name without arguments."""

    pid: int
    name: str


def listener(port: int, proc: Path = Path("/proc")) -> Listener | None:
    """Return the process that listens on a port, None where that cannot be known."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(proc / "net" / table, port)}
    if not sockets:
        return None
    for entry in proc.iterdir():
        if entry.name.isdigit() and _holds(entry / "fd", sockets):
            return Listener(int(entry.name), _name(entry))
    return None


def _inodes(table: Path, port: int) -> list[str]:
    """Return the inodes of the sockets that listen on a port: fields 1 (address), 3 (state) and 9 (inode)."""
    with contextlib.suppress(OSError):
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
    return []


def _holds(descriptors: Path, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):  # not ours to look into, or gone by now
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in sockets:
                    return True
    return False


def _name(entry: Path) -> str:
    with contextlib.suppress(OSError):
        words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        if any("routerconsole" in word for word in words[:3]):
            return "routerconsole"
        return "".join(char for char in Path(words[0]).name if char.isprintable()) or "unnamed"
    return "unnamed"
