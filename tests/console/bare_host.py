"""A host for views that stand alone."""

from __future__ import annotations

from routerconsole.console.state import ConsoleState


class BareHost:
    """Answers a view and does nothing."""

    def __init__(self) -> None:
        self.state = ConsoleState()

    def show_request(self, request_id: str) -> None:
        """Ignore."""

    def operate(self, action_id: str, provider: str) -> None:
        """Ignore."""

    def tell(self, text: str, *, ok: bool) -> None:
        """Ignore."""

    def look_soon(self) -> None:
        """Ignore."""
