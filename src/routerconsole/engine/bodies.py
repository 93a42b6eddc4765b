"""The last bodies, kept in memory for inspection and replay; bounded in count and bytes (answers included)."""

from __future__ import annotations

from collections import OrderedDict

from routerconsole.domain.request import ChatRequest

MAX_BODIES = 200
MAX_BYTES = 32 << 20
"""interface.md §2, `log.bodies: memory`."""


class BodyStore:
    """Request bodies by request id, oldest dropped first."""

    def __init__(self, *, enabled: bool, reply_bytes: int = 0) -> None:
        self.enabled, self.reply_bytes = enabled, reply_bytes
        self._kept: OrderedDict[str, ChatRequest] = OrderedDict()
        self._replies: dict[str, bytearray] = {}
        self._bytes = 0

    def keep(self, request: ChatRequest) -> None:
        """Remember a request; one bigger than the whole store is not kept."""
        if not self.enabled or request.size > MAX_BYTES:
            return
        self._forget(request.id)
        self._kept[request.id] = request
        self._bytes += request.size
        self._shrink()

    def get(self, request_id: str) -> ChatRequest | None:
        """Return a kept request, or None."""
        return self._kept.get(request_id)

    def keep_reply(self, request_id: str, data: bytes) -> None:
        """Add to what was answered, up to `reply_bytes`; a no-op unless replies are logged."""
        if self.reply_bytes and request_id in self._kept:
            held = self._replies.setdefault(request_id, bytearray())
            more = data[: max(0, self.reply_bytes + 1 - len(held))]
            held += more
            self._bytes += len(more)
            self._shrink()

    def reply(self, request_id: str) -> bytes:
        """Return what was kept of an answer."""
        return bytes(self._replies.get(request_id, b""))

    def _shrink(self) -> None:
        while len(self._kept) > MAX_BODIES or self._bytes > MAX_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, request_id: str) -> None:
        gone = self._kept.pop(request_id, None)
        if gone is not None:
            self._bytes -= gone.size + len(self._replies.pop(request_id, b""))
