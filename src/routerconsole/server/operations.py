"""The one table of the control plane, put together from its groups, with the document made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .capability_routes import CapabilityRoutes
from .eval_routes import EvalRoutes
from .log_routes import LogRoutes
from .openapi import document
from .registry_routes import RegistryRoutes
from .reward_routes import RewardRoutes
from .router_routes import RouterRoutes
from .routes import Answer, AnyRoute, Plain, get
from .schemas import JsonObject
from .usage_routes import UsageRoutes

if TYPE_CHECKING:
    from routerconsole.control.port import Chat

    from .events import PushingControl


class Operations:
    """The groups of handlers over one engine, and the table of their routes."""

    def __init__(self, control: PushingControl, chat: Chat) -> None:
        groups = (
            RouterRoutes(control, chat),
            RegistryRoutes(control),
            CapabilityRoutes(control),
            LogRoutes(control),
            EvalRoutes(control),
            RewardRoutes(control),
            UsageRoutes(control),
        )
        self._table: tuple[AnyRoute, ...] = (
            *(row for group in groups for row in group.rows()),
            get("openapi.json", "This document", self.openapi, JsonObject),
        )

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the one table."""
        return self._table

    async def openapi(self, call: Plain) -> Answer:
        """What all this is, for programs."""
        return Answer(document(self._table))
