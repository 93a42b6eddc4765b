"""What can be said about a configuration: problems with file, line and dotted path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

SHOWN = 200
"""Problems printed in full; the rest of a hopeless file is only counted."""

Loc = tuple[str | int, ...]
"""Where something is in the document: keys and list indexes from the root."""


class Severity(StrEnum):
    """An error keeps the configuration from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` is 1-based, 0 where the file has no lines (it could not be read).

    `awaits` is the provider and the model a listing has to show for the finding to be none; `refused` is a warning for
    the rest of the configuration only: it says of one provider that it is never used so.
    """

    file: str
    line: int
    path: str
    message: str
    severity: Severity = Severity.ERROR
    awaits: tuple[str, str] | None = None
    refused: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every reason, warnings left out."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(sorted(problems, key=lambda problem: problem.line))
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"… and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))


def dotted(loc: Loc) -> str:
    """Return the path as people read it, `providers.0.base_url`."""
    return ".".join(str(part) for part in loc)
