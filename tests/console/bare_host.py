"""A host for views that stand alone."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING

from tests.console.fake_control import FakeControl

from routerconsole.console.options import ConsoleOptions
from routerconsole.console.state import ConsoleState

if TYPE_CHECKING:
    from routerconsole.console.picker import Picker
    from routerconsole.console.prompt import Prompt
    from routerconsole.console.sending import Proposal
    from routerconsole.console.views.panes import TextPane


class BareHost:
    """Answers a view and does nothing but keep what it was handed."""

    def __init__(self) -> None:
        self.state = ConsoleState()
        self.control = FakeControl()
        self.proposals: list[Proposal] = []
        self.prompt: Prompt | None = None
        self.picker: Picker | None = None
        self.page: TextPane | None = None
        self.copied = ""
        self.options = ConsoleOptions()
        self.page: TextPane | None = None

    def show_request(self, request_id: str) -> None:
        """Ignore."""

    def show_requests(self, text: str) -> None:
        """Ignore."""

    def operate(self, action_id: str, provider: str, model: str | None = None) -> None:
        """Ignore."""

    def propose(self, proposal: Proposal) -> None:
        """Keep it."""
        self.proposals.append(proposal)

    def send_all(self, proposals: Sequence[Proposal]) -> None:
        """Keep them."""
        self.proposals.extend(proposals)

    def marked_models(self) -> tuple[str, ...]:
        """Return nothing: there are no other views."""
        return ()

    def evaluate(self, models: Sequence[str], node: str | None = None) -> None:
        """Ignore."""

    def ask_text(self, prompt: Prompt) -> None:
        """Keep it."""
        self.prompt = prompt

    def pick(self, picker: Picker) -> None:
        """Keep it."""
        self.picker = picker

    def open_page(self, page: TextPane) -> None:
        """Keep it."""
        self.page = page

    def copy(self, text: str, what: str) -> None:
        """Keep it."""
        self.copied = text

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Never run it."""
        work.close()

    def tell(self, text: str, *, ok: bool) -> None:
        """Ignore."""

    def look_soon(self) -> None:
        """Ignore."""

    def redraw(self) -> None:
        """Ignore."""
