"""A route: the unit of breaker, gate and statistics. Keys are tuples; no id is ever split or joined."""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """One way to reach one upstream model: provider, account (None where the provider has one key) and upstream id."""

    provider: str
    account: str | None
    model: str

    def label(self) -> str:
        """Return the text shown to people, `provider/model` with `#account` where there is one; never parsed back."""
        return (
            f"{self.provider}/{self.model}" if self.account is None else f"{self.provider}/{self.model}#{self.account}"
        )


class ModelKey(NamedTuple):
    """A registry key: the model as its provider names it, whatever the account."""

    provider: str
    model: str
