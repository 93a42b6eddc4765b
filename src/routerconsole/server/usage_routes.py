"""`/api/v1/usage` and price tables: what was used and spent, and prices taken from a public table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from routerconsole.control.commands import Receipt
from routerconsole.control.registry_commands import ImportPrices
from routerconsole.control.usage_views import UsagePage
from routerconsole.control.wire import plain

from .routes import Answer, AnyRoute, ApiRoute, Call, post
from .schemas import Body, JsonObject, NoQuery, Nothing, Query

if TYPE_CHECKING:
    from routerconsole.control.port import Control


class UsageQuery(Query):
    """How many UTC days up to today."""

    days: Annotated[int, Field(ge=1, le=400)] = 30


class PricesBody(Body):
    """A price table as LiteLLM, OpenRouter or models.dev publish it; `provider` says whose ids the table's are."""

    table: JsonObject
    origin: Annotated[str, Field(max_length=300)] = ""
    provider: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    overwrite: bool = False


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
            post("models/prices", "Take prices from a public table", self.prices, PricesBody, Receipt),
        )

    async def usage(self, call: Call[UsageQuery, Nothing]) -> Answer:
        """What was used, and the budget."""
        return Answer(plain(await self._control.usage(call.query.days)))

    async def prices(self, call: Call[NoQuery, PricesBody]) -> Answer:
        """Prices taken, as one change that can be undone."""
        body = call.body
        command = ImportPrices(body.table, body.origin, body.provider, body.overwrite)
        return Answer(plain(await self._control.do(command, actor=call.actor)))
