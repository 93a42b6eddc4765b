"""Who can be called: one ready Target per provider and account, rebuilt when the registry is swapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from routerconsole.domain.registry import Provider, ProviderKind
from routerconsole.providers.client import Exchange, Sender, Target, target
from routerconsole.providers.kinds import dialect_of, unusable
from routerconsole.providers.openai import Quirk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import Route

Local = Callable[[Provider], Exchange]
"""Makes what carries requests to a provider that is no upstream on a network."""


class Upstreams:
    """Looks up the Target of a route; a provider that cannot be used has none and its reason is on the board."""

    def __init__(self, sender: Sender, local: Local | None = None) -> None:
        self.sender, self._local = sender, local
        self._targets: dict[tuple[str, str | None], Target] = {}
        self._followed: Mapping[str, Provider] = {}
        self.broken: dict[str, str] = {}

    def configure(self, registry: Registry) -> None:
        """Build the targets of a new registry; what cannot be used is noted in `broken` with its reason."""
        targets: dict[tuple[str, str | None], Target] = {}
        broken: dict[str, str] = {}
        for provider in registry.providers.values():
            if self._followed.get(provider.name) is provider:
                self._keep(provider, targets, broken)
                continue
            quirks = frozenset(quirk for quirk in Quirk if quirk in provider.quirks)
            for account in provider.accounts:
                reason = unusable(provider, account)
                if reason is not None:
                    broken.setdefault(provider.name, reason)
                    continue
                try:
                    made = target(provider, account, dialect_of(provider.kind, quirks))
                    if self._local is not None and provider.kind is ProviderKind.AIRLLM:
                        made.exchange = self._local(provider)
                    targets[provider.name, account.name] = made
                except OSError as exc:
                    broken[provider.name] = f"ca_file cannot be used: {type(exc).__name__}"
        self._targets, self.broken, self._followed = targets, broken, registry.providers

    def _keep(self, provider: Provider, targets: dict[tuple[str, str | None], Target], broken: dict[str, str]) -> None:
        """Take over what is known of a provider that is the very object it was."""
        for account in provider.accounts:
            known = self._targets.get((provider.name, account.name))
            if known is not None:
                targets[provider.name, account.name] = known
        if provider.name in self.broken:
            broken[provider.name] = self.broken[provider.name]

    def target(self, route: Route) -> Target | None:
        """Return the target of a route, None where it cannot be called."""
        return self._targets.get((route.provider, route.account))

    def target_of(self, provider: Provider) -> Target | None:
        """Return the first usable target of a provider, for questions about no model in particular."""
        found = (self._targets.get((provider.name, account.name)) for account in provider.accounts)
        return next((item for item in found if item is not None), None)
