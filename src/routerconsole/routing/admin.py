"""What an operator decided about a provider or route; it outranks everything the traffic says.

Two layers: a base (`auto`, `draining`, `disabled`) and an overlay with a TTL (`isolated`, `forced_closed`), so that an
overlay that runs out never enables what was disabled.
"""

from __future__ import annotations

from enum import StrEnum


class AdminMode(StrEnum):
    """The administrative states of routing.md §1."""

    AUTO = "auto"
    DRAINING = "draining"
    DISABLED = "disabled"
    ISOLATED = "isolated"
    FORCED_CLOSED = "forced_closed"


class Admin:
    """The state of one target. `explicit` says an operator set the base, so configuration no longer does.

    `active` False is a model that is switched off in the registry: no verb on its routes switches it on.
    """

    __slots__ = ("active", "base", "explicit", "overlay", "plain", "until")

    def __init__(self, *, enabled: bool) -> None:
        self.base = AdminMode.AUTO if enabled else AdminMode.DISABLED
        self.overlay: AdminMode | None = None
        self.until = 0.0
        self.explicit = False
        self.active = True
        self.plain = enabled  # nothing but auto: the hot path asks no further

    @property
    def enabled(self) -> bool:
        """Whether it is not disabled; draining and isolated targets are enabled."""
        return self.active and self.base is not AdminMode.DISABLED

    def mode(self, now: float) -> AdminMode:
        """Return the state in force."""
        if not self.active:
            return AdminMode.DISABLED
        if self.plain or self.base is not AdminMode.AUTO:
            return self.base
        return self.overlay if self.overlay is not None and self.until > now else AdminMode.AUTO

    def forced(self, now: float) -> bool:
        """Whether the breaker is overruled."""
        return not self.plain and self.overlay is AdminMode.FORCED_CLOSED and self.until > now

    def set_base(self, base: AdminMode) -> None:
        """Enable (auto), drain or disable by hand; enabling also ends an isolation or a forced circuit early."""
        self.base, self.explicit = base, True
        if base is AdminMode.AUTO:
            self.overlay = None
        self._settle()

    def set_overlay(self, overlay: AdminMode, until: float) -> None:
        """Isolate or force closed until a monotonic time."""
        self.overlay, self.until = overlay, until
        self._settle()

    def configured(self, *, enabled: bool) -> None:
        """Follow the configuration unless an operator decided otherwise."""
        if not self.explicit:
            self.base = AdminMode.AUTO if enabled else AdminMode.DISABLED
            self._settle()

    def listed(self, *, active: bool) -> None:
        """Follow the registry's switch of a model."""
        self.active = active
        self._settle()

    def sweep(self, now: float) -> AdminMode | None:
        """End an overlay whose time is over and return which it was."""
        if self.overlay is None or self.until > now:
            return None
        over, self.overlay = self.overlay, None
        self._settle()
        return over

    def _settle(self) -> None:
        self.plain = self.active and self.base is AdminMode.AUTO and self.overlay is None
