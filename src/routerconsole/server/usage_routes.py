"""`/api/v1/usage` and price tables: what was used and spent, and prices taken from a public table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from routerconsole.control.usage_views import UsagePage
from routerconsole.control.wire import plain

from .routes import Answer, AnyRoute, ApiRoute, Call
from .schemas import Nothing, Query

if TYPE_CHECKING:
    from routerconsole.control.port import Control


class UsageQuery(Query):
    """How many UTC days up to today."""

    days: Annotated[int, Field(ge=1, le=400)] = 30


class UsageRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table."""
        return (
            ApiRoute(
                "GET", "usage", "Requests, tokens and cost by day and model", self.usage, UsageQuery, Nothing, UsagePage
            ),
        )

    async def usage(self, call: Call[UsageQuery, Nothing]) -> Answer:
        """What was used, and the budget."""
        return Answer(plain(await self._control.usage(call.query.days)))
