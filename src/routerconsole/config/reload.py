"""Whether a changed file is worth reading again: pure decisions on signatures; the engine brings the clock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .problems import ConfigError
from .yaml_loader import read_config


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies a state of a file; a mere touch changes no digest."""

    mtime_ns: int
    size: int
    inode: int
    digest: str


class Decision(StrEnum):
    """What to do after a look at the file."""

    KEEP = "keep"
    WAIT = "wait"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True)
class Watch:
    """What was last read (`tried`, valid or not) and what was last seen changing (`pending`)."""

    tried: Signature | None
    pending: Signature | None = None

    def look(self, now: Signature | None) -> tuple[Watch, Decision]:
        """Decide on the file as it is now (None: it is gone or cannot be read).

        1 gone → keep what is in force · 2 same content as last tried → keep ·
        3 the same change twice in a row → reload · 4 a new change → wait one tick (an editor may be writing it).
        A rejected file counts as tried: it is read again at its next change, not at every tick.
        """
        if now is None:  # 1
            return Watch(self.tried), Decision.KEEP
        if self.tried is not None and now.digest == self.tried.digest:  # 2
            return Watch(now), Decision.KEEP
        if now == self.pending:  # 3
            return Watch(now), Decision.RELOAD
        return Watch(self.tried, now), Decision.WAIT  # 4


def signature(path: Path) -> Signature | None:
    """Return the signature of a file as it is now; None where it cannot be read as a configuration."""
    try:
        text = read_config(path)
        status = path.stat()
    except (ConfigError, OSError):
        return None
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino, digest)
