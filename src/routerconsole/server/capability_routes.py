"""`/api/v1/capabilities`, `pools`, `profiles`, `discovery` and `audit/{id}/undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.control.commands import Receipt
from routerconsole.control.registry_commands import ExtendCapabilities, RotatePool, SyncModels, Undo
from routerconsole.control.wire import plain
from routerconsole.domain.errors import ErrorCode, RequestRejected

from .packing import packed
from .registry_schemas import FindingList, NodeBody, NodeList, PoolList, ProfileList, SyncBody, Synced
from .routes import Answer, AnyCall, AnyRoute, Call, Plain, get, post
from .schemas import NoQuery, Nothing, shown

if TYPE_CHECKING:
    from routerconsole.control.commands import Command
    from routerconsole.control.port import Control

_MAX_DIGITS = 18
"""Of an audit number: what a 64 bit integer surely holds."""


class CapabilityRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table."""
        return (
            get("capabilities", "The tree, and who says yes or no of each node", self.capabilities, NodeList),
            post("capabilities", "Add a node to the tree", self.extend, NodeBody, Receipt),
            get("pools", "Every pool with its members in their order now", self.pools, PoolList),
            post("pools/{id}/rotate", "Move a pool's pointer on", self.rotate, Nothing, Receipt, optional=True),
            get("profiles", "Every profile and whether it can be used", self.profiles, ProfileList),
            get("profiles/doctor", "What is wrong with profiles", self.doctor, FindingList),
            post("discovery/sync", "List providers' models now", self.sync, SyncBody, Synced, optional=True),
            post("audit/{id}/undo", "Reverse a registry change", self.undo, Nothing, Receipt, optional=True),
        )

    async def capabilities(self, call: Plain) -> Answer:
        """The tree."""
        return Answer(pieces=await packed("nodes", await self._control.capabilities(), piece=1))

    async def extend(self, call: Call[NoQuery, NodeBody]) -> Answer:
        """A node more."""
        return await self._done(call, ExtendCapabilities(call.body.node))

    async def pools(self, call: Plain) -> Answer:
        """Every pool."""
        return Answer(pieces=await packed("pools", await self._control.pools(), piece=1))

    async def rotate(self, call: AnyCall) -> Answer:
        """A pool's pointer moved on."""
        return await self._done(call, RotatePool(call.path["id"]))

    async def profiles(self, call: Plain) -> Answer:
        """Every profile."""
        return Answer({"profiles": await self._control.profiles()})

    async def doctor(self, call: Plain) -> Answer:
        """What is wrong with profiles."""
        return Answer({"findings": await self._control.doctor("profiles")})

    async def sync(self, call: Call[NoQuery, SyncBody]) -> Answer:
        """What the listings changed."""
        receipt = await self._control.do(SyncModels(tuple(call.body.providers)), actor=call.actor)
        return Answer(receipt.after)

    async def undo(self, call: AnyCall) -> Answer:
        """A change reversed."""
        number = call.path["id"]
        if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS):
            raise RequestRejected(ErrorCode.NOT_FOUND, f"There is no change {shown(number)}; see GET /api/v1/audit.")
        return await self._done(call, Undo(int(number)))

    async def _done(self, call: AnyCall, command: Command) -> Answer:
        return Answer(plain(await self._control.do(command, actor=call.actor)))
