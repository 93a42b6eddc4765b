"""Saved filters: one small YAML file per user, `name: filter`. Entries that cannot be used are told and left alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from routerconsole.domain.query import FilterError, parse_filter

from .safe_text import visible

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE: Final = 64 * 1024
MAX_SAVED: Final = 100
MAX_NAME: Final = 40


class FiltersNotSavedError(Exception):
    """The file could not be written; the text says why."""


@dataclass(slots=True)
class SavedFilters:
    """The filters of one user; without a path they last as long as the console."""

    path: Path | None = None
    filters: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def load(self) -> None:
        """Read the file; what is wrong with it ends up in `problems`, nothing is raised."""
        self.filters, self.problems = {}, []
        if self.path is None:
            return
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_FILE + 1)
            if len(text) > MAX_FILE:
                self.problems.append(f"{self.path.name}: over {MAX_FILE // 1024} KB, not read")
                return
            data = yaml.safe_load(text)
        except FileNotFoundError:
            return
        except OSError as error:
            self.problems.append(f"{self.path.name}: {error.strerror}")
            return
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
            self.problems.append(f"{self.path.name}: no readable YAML, left as it is")
            return
        if data is not None and not isinstance(data, dict):
            self.problems.append(f"{self.path.name}: expected `name: filter` entries")
            return
        for name, text_ in (data or {}).items():
            self._admit(name, text_)

    def save(self, name: str, text: str) -> None:
        """Keep a filter under a name and write the file; raises FiltersNotSavedError."""
        self._write({**self.filters, name: text})

    def forget(self, name: str) -> None:
        """Drop one and write the file; raises FiltersNotSavedError."""
        self._write({kept: text for kept, text in self.filters.items() if kept != name})

    def _admit(self, name: object, text: object) -> None:
        if not isinstance(name, str) or name_problem(name) or not isinstance(text, str):
            self.problems.append(f"saved filter {visible(str(name), MAX_NAME)}: a name and a filter, both text")
        elif len(self.filters) >= MAX_SAVED:
            self.problems.append(f"saved filter {visible(name, MAX_NAME)}: more than {MAX_SAVED}")
        else:
            try:
                parse_filter(text)
            except FilterError as error:
                self.problems.append(f"saved filter {visible(name, MAX_NAME)}: {visible(str(error), 200)}")
            else:
                self.filters[name] = text

    def _write(self, filters: dict[str, str]) -> None:
        if len(filters) > MAX_SAVED:
            raise FiltersNotSavedError(f"there are {MAX_SAVED} saved filters already; forget one first")
        if self.problems and self.path is not None:
            raise FiltersNotSavedError(f"{self.problems[0]}; mend or remove {self.path} first, it would be overwritten")
        if self.path is not None:
            draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with open(descriptor, "w", encoding="utf-8") as stream:
                    yaml.safe_dump(filters, stream, allow_unicode=False, sort_keys=False)
                draft.replace(self.path)
            except OSError as error:
                raise FiltersNotSavedError(f"{self.path}: {error.strerror}") from error
        self.filters = filters


def name_problem(name: str) -> str:
    """Return what is wrong with a name, empty where nothing is."""
    if not name.strip():
        return "a name is needed"
    if len(name) > MAX_NAME or not name.isprintable():
        return f"at most {MAX_NAME} visible characters"
    return ""
