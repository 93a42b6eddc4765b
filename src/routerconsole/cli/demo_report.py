"""What the headless demo prints: one line per finished request, and what sixty seconds of faults came to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from routerconsole.domain.counted import counted
from routerconsole.domain.events import EventType
from routerconsole.domain.trace import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from routerconsole.control.port import EventPage
    from routerconsole.control.views import RequestRow
    from routerconsole.domain.events import Event
    from routerconsole.domain.trace import Trace

_FINAL = frozenset({EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED})
_CIRCUITS = {
    EventType.CIRCUIT_OPENED: "open",
    EventType.CIRCUIT_HALF_OPEN: "half_open",
    EventType.CIRCUIT_CLOSED: "closed",
}
_USABLE = frozenset({Decision.ELIGIBLE, Decision.DEMOTED})


class DemoReport:
    """Follows the event stream, printing and counting."""

    def __init__(self, find: Callable[[str], Trace | None], *, quiet: bool = False) -> None:
        self._find, self._quiet = find, quiet
        self._outcomes: Counter[str] = Counter()
        self._circuits: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._unserved: list[str] = []
        self._failovers = 0

    def follow(self, page: EventPage) -> int:
        """Print the finished requests of a page; return the cursor to go on from."""
        for event in page.events:
            if event.type is EventType.ATTEMPT_FAILED:
                self._outcomes[event.data["class"]] += 1
            elif event.type is EventType.ATTEMPT_SUCCEEDED:
                self._outcomes["ok"] += 1
            elif event.type in _CIRCUITS:
                self._circuits[_CIRCUITS[event.type]] += 1
                self._say(f"  circuit {_CIRCUITS[event.type]:<10} {_named(event)}")
            elif event.type in _FINAL:
                self._finished(event.data["row"])
        return page.next

    def document(self) -> dict[str, object]:
        """Return what happened as numbers."""
        return {
            "requests": dict(self._statuses),
            "failed_over": self._failovers,
            "outcomes": dict(self._outcomes),
            "circuits": dict(self._circuits),
            "unserved": list(self._unserved),
        }

    def summary(self) -> None:
        """Print what happened; say plainly whether every request that had a healthy candidate was served."""
        total = sum(self._statuses.values())
        statuses = ", ".join(f"{count} {status}" for status, count in self._statuses.most_common())
        print(f"\n{counted(total, 'request')}: {statuses}; {self._failovers} failed over")
        classes = ", ".join(f"{name} {count}" for name, count in self._outcomes.most_common())
        print(f"{counted(len(self._outcomes), 'outcome class', 'outcome classes')}: {classes}")
        states = ", ".join(f"{name} {count}" for name, count in self._circuits.most_common())
        print(f"{counted(len(self._circuits), 'circuit state')} entered: {states or 'none'}")
        if self._unserved:
            ids = ", ".join(self._unserved)
            verb = "was" if len(self._unserved) == 1 else "were"
            print(f"{counted(len(self._unserved), 'request')} that had a healthy candidate {verb} not served: {ids}")
        else:
            print("every request that had a healthy candidate succeeded")

    def _finished(self, row: RequestRow) -> None:
        self._statuses[row.status] += 1
        self._failovers += row.attempts > 1
        took = f"{row.total_ms:7.0f}ms" if row.total_ms is not None else "        -"
        kind = "stream" if row.stream else "whole"
        told = f"{row.id} {row.status:<9} {row.http_status or '-':>3} {took} {kind:<6}"
        self._say(f"{told} {row.model or 'auto':<22} {row.chain}")
        if row.status != "ok" and self._had_another(row.id):
            self._unserved.append(row.id)

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line)

    def _had_another(self, request_id: str) -> bool:
        """Whether a usable candidate of a request was never asked: then its failure was ours, not the fleet's."""
        trace = self._find(request_id)
        if trace is None:
            return False
        asked = {attempt.route for attempt in trace.attempts}
        return any(item.decision in _USABLE and item.route not in asked for item in trace.candidates)


def _named(event: Event) -> str:
    data = event.data
    return f"{data['provider']}/{data['model']}" if data.get("model") else str(data["provider"])
