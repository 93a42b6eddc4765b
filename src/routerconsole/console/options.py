"""What a console is started with and how it ended; importable without Textual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class ExitReason(StrEnum):
    """Why a console ended: `handoff` and `hangup` leave the engine serving, the others let the caller drain it."""

    QUIT = "quit"
    HANDOFF = "handoff"
    HANGUP = "hangup"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ConsoleExit:
    """How a console ended and the exit code that goes with it."""

    reason: ExitReason
    code: int = 0


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Flags and settings of one console. `owns_engine` False (attach): quitting leaves the engine alone, unasked."""

    title: str = "router"
    theme: str = "routerconsole-dark"
    theme_folder: Path | None = None
    filters_file: Path | None = None
    read_only: bool = False
    ascii: bool = False
    slow: bool = False
    no_color: bool = False
    owns_engine: bool = True
    keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    max_fps: int = 10
    now: Callable[[], datetime] = _wall_clock

    @property
    def interval(self) -> float:
        """Seconds between two looks at the engine: 4 Hz, or 1 Hz with `--slow`; fewer where fewer frames are wanted."""
        return max(1.0 if self.slow else 0.25, self.least_gap)

    @property
    def least_gap(self) -> float:
        """Least seconds between two looks, however fast keys ask for one: each may draw a frame."""
        return 1 / self.max_fps
