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
    hidden: list[Path] = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        if _holds(entry / "fd", sockets):
            return Listener(int(entry.name), _name(entry))
        if _hides(entry):
            hidden.append(entry)
    # An engine shows its descriptors to nobody (no core dumps): of those that hide them, the one that was told this
    # port, else the only one.
    engines = [entry for entry in hidden if _name(entry) == "routerconsole"]
    engines = [entry for entry in engines if str(port) in _words(entry)] or engines
    return Listener(int(engines[0].name), "routerconsole") if len(engines) == 1 else None


def _inodes(table: Path, port: int) -> list[str]:
    """Return the inodes of the sockets that listen on a port: fields 1 (address), 3 (state) and 9 (inode)."""
    with contextlib.suppress(OSError):
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
    return []


def _hides(entry: Path) -> bool:
    """Whether a process of our own user does not let us see its descriptors."""
    try:
        for descriptor in (entry / "fd").iterdir():
            os.readlink(descriptor)
    except PermissionError:
        with contextlib.suppress(OSError):
            lines = (entry / "status").read_text().splitlines()
            return any(line.split()[1] == str(os.geteuid()) for line in lines if line.startswith("Uid:"))
    except OSError:
        return False  # gone by now
    return False


def _holds(descriptors: Path, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):  # not ours to look into, or gone by now
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in sockets:
                    return True
    return False


def _name(entry: Path) -> str:
    words = _words(entry)
    if any("routerconsole" in word for word in words[:3]):
        return "routerconsole"
    return "".join(char for char in Path(words[0]).name if char.isprintable()) or "unnamed"


def _words(entry: Path) -> list[str]:
    """Return the command line; at least one word."""
    with contextlib.suppress(OSError):
        return (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return [""]
