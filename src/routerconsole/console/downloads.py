"""What events said of model downloads since the console looks: one entry per model, the newest last. Pure, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from routerconsole.domain.events import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from routerconsole.domain.events import Event

KEPT: Final = 8
"""Downloads remembered; the oldest that ended gives way."""
RUNNING: Final = "running"


@dataclass(frozen=True, slots=True)
class Download:
    """Where one download stands; sizes are bytes, `percent` None while nobody knows."""

    provider: str
    model: str
    state: str
    status: str
    completed: int
    total: int
    percent: float | None
    error: str
    proposal: str

    @property
    def key(self) -> str:
        """The id of the model it brings."""
        return f"{self.provider}/{self.model}"


@dataclass(slots=True)
class Downloads:
    """The newest by model. `version` grows with every event."""

    version: int = 0
    _by_key: dict[str, Download] = field(default_factory=dict)

    def all(self) -> Sequence[Download]:
        """Return them, as they began."""
        return tuple(self._by_key.values())

    def running(self) -> list[Download]:
        """Return those that run."""
        return [each for each in self._by_key.values() if each.state == RUNNING]

    def take(self, events: Iterable[Event]) -> None:
        """Take what events say of downloads in."""
        for event in events:
            if event.type is EventType.PULL_PROGRESS:
                download = _download(event.data)
                self._by_key[download.key] = download
                self.version += 1
        ended = [key for key, each in self._by_key.items() if each.state != RUNNING]
        for key in ended[: max(0, len(self._by_key) - KEPT)]:
            del self._by_key[key]

    def forget(self) -> None:
        """Another engine answers."""
        self._by_key.clear()
        self.version += 1

    def put_away(self) -> bool:
        """Take those that ended off the list; False when there were none."""
        running = {each.key: each for each in self.running()}
        had = len(running) < len(self._by_key)
        self._by_key = running
        self.version += had
        return had


def _download(data: Mapping[str, Any]) -> Download:
    percent = data.get("percent")
    return Download(
        provider=str(data.get("provider", "")),
        model=str(data.get("model", "")),
        state=str(data.get("state", "")),
        status=str(data.get("status") or ""),
        completed=_whole(data.get("completed")),
        total=_whole(data.get("total")),
        percent=float(percent) if isinstance(percent, int | float) else None,
        error=str(data.get("error") or ""),
        proposal=str(data.get("proposal") or ""),
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
