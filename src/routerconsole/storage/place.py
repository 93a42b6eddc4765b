"""The state directory: ours alone (0700, files 0600 whatever the umask), and its tokens.

Links and other people's directories are refused; rights that are too wide are taken away and told. A directory that
cannot be written still works: tokens then live in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from routerconsole.domain.secret import Secret

from . import files
from .errors import Notice, UnsafePlace

TOKEN_BYTES = 32
_TOKEN = re.compile(r"[\x21-\x7e]{16,512}")  # our own have 43 characters, an operator's own at least 16
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The two keys to the door."""

    admin: Secret
    client: Secret


@dataclass(frozen=True, slots=True)
class Place:
    """A checked state directory; `notices` say what had to be put right."""

    root: Path
    notices: list[Notice] = field(default_factory=list)

    @property
    def state_db(self) -> Path:
        """The file that must not be lost."""
        return self.root / "state.db"

    @property
    def log_db(self) -> Path:
        """The disposable file."""
        return self.root / "log.db"

    @property
    def backups(self) -> Path:
        """Where backups go."""
        return self.root / "backups"

    @property
    def reports(self) -> Path:
        """Where eval reports go."""
        return self.root / "reports"

    def tokens(self) -> Tokens:
        """Return both tokens, made at the first start; raise UnsafePlace for a link in a token's place."""
        return Tokens(admin=self._token("admin.token"), client=self._token("client.token"))

    def _token(self, name: str) -> Secret:
        path = self.root / name
        for _ in range(2):
            held = self._held_token(path)
            if held is not None:
                return held
            fresh = secrets.token_urlsafe(TOKEN_BYTES)
            try:
                _create_whole(path, fresh + "\n")
            except FileExistsError:
                continue  # another process was first: its token counts
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
                self.notices.append(
                    Notice("token_not_saved", f"{path} cannot be written; its token ends with this run")
                )
            return Secret(fresh)
        raise UnsafePlace(f"{path} holds no usable token and cannot be replaced")

    def _held_token(self, path: Path) -> Secret | None:
        text = read_private(path)
        if text is None:
            return None
        if files.keep_private(path):
            self.notices.append(Notice("rights_fixed", f"{path} could be read by others; it is 0600 now"))
        token = text.strip()
        if _TOKEN.fullmatch(token):
            return Secret(token)
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f"{path.name}.unusable-{secrets.token_hex(4)}"))
            self.notices.append(Notice("token_replaced", f"{path} held no usable token; a new one was made"))
        return None


def open_place(root: Path) -> Place:
    """Create or check the state directory and return it; raise UnsafePlace, or OSError where it cannot be made."""
    root = Path(os.path.abspath(root))
    place = Place(root)
    _make_directories(root)
    _check_directory(root, place.notices)
    for inner in (place.backups, place.reports):
        try:
            _make_directories(inner)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            place.notices.append(Notice("read_only", f"{root} cannot be written"))
            break
        _check_directory(inner, place.notices)
    for path in (place.state_db, place.log_db):
        files.regular_file(path)
    return place


def _make_directories(path: Path) -> None:
    """Create what is missing, each part 0700 whatever the umask."""
    missing = [part for part in (path, *path.parents) if not os.path.lexists(part)]
    for part in reversed(missing):
        with contextlib.suppress(FileExistsError):
            part.mkdir(mode=0o700)
            part.chmod(0o700)


def _check_directory(path: Path, notices: list[Notice]) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePlace(f"{path} is a symbolic link; name the directory it points to")
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePlace(f"{path} is not a directory")
    if found.st_uid != os.geteuid():
        raise UnsafePlace(f"{path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if found.st_mode & 0o077:
        # Opened without following, so that what is changed is what was looked at.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & 0o700)
        except OSError as error:
            raise UnsafePlace(f"{path} is open to others and its rights cannot be changed: {error.strerror}") from error
        finally:
            os.close(descriptor)
        notices.append(Notice("rights_fixed", f"{path} was open to others; it is 0700 now"))


def read_private(path: Path) -> str | None:
    """Read a small file of ours without following links; None where there is none."""
    if not files.regular_file(path):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(4096).decode("utf-8", "replace")


def _create_whole(path: Path, text: str) -> None:
    """Put a new private file in place in one step; raise FileExistsError where there is one already."""
    temporary = write_temporary(path, text)
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK) or os.path.lexists(path):
            raise
        temporary.rename(path)  # a file system without hard links
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_directory(path.parent)


def write_temporary(path: Path, text: str) -> Path:
    """Write a private file beside `path`, safe on disk, to be renamed over it or linked to it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    files.make_private(temporary)
    try:
        with temporary.open("r+b") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
