"""A request under way: its trace, the task that serves it, and why that task was told to stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routerconsole.domain.trace import Trace
    from routerconsole.routing.cascade import Try
    from routerconsole.routing.limits import Charge
    from routerconsole.routing.pointers import Track
    from routerconsole.routing.spending import Bill


class CancelReason(StrEnum):
    """Who stopped a request, where it was not its client."""

    OPERATOR = "operator"
    SHUTDOWN = "shutting_down"


@dataclass(slots=True)
class InFlight:
    """`waited` are seconds spent in back-off; `step` is the attempt under way, `charge` the latest one's in the books.

    `bills` are those of attempts that were sent, by number; `track` says which pool's memory its attempts belong to.
    """

    trace: Trace
    task: asyncio.Task[object]
    waited: float = 0.0
    reason: CancelReason | None = None
    step: Try | None = None
    charge: Charge | None = None
    track: Track | None = None
    bills: dict[int, Bill] = field(default_factory=dict)

    def cancel(self, reason: CancelReason) -> None:
        """Stop the request; its task sees one cancellation, however often it is told, and asks `reason`."""
        if self.reason is None:
            self.reason = reason
            self.task.cancel()
