"""Writes what people export: always a new file, 0600, never through a link and never over anything."""

from __future__ import annotations

import os
from pathlib import Path


class ExportRefusedError(Exception):
    """The file was not written; the text says why, and nothing was changed."""


def write_new(path: Path, text: str) -> None:
    """Write a new file, 0600, whole or not at all; raises ExportRefusedError where the name is taken, by a link too."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    if os.path.lexists(path):
        raise ExportRefusedError(f"{path} already exists; choose a new file")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ExportRefusedError(f"{path} cannot be created: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # a link appears with all of its content, and fails where a rename would replace what came in between
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        raise ExportRefusedError(f"{path} already exists; choose a new file") from None
    except OSError as error:
        raise ExportRefusedError(f"{path} could not be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
