"""Bringing the board's nodes in line with a registry: what still exists keeps its state, what is gone is dropped.

A provider that is the very object it was has nothing to follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .state import AccountNode, FaultKind, ProviderNode, RouteNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.registry import Provider, Registry
    from routerconsole.domain.route import Route


def follow(
    registry: Registry, known: Mapping[str, ProviderNode], routes: Mapping[Route, RouteNode]
) -> tuple[dict[str, ProviderNode], dict[Route, RouteNode], list[ProviderNode]]:
    """Return the nodes of a registry, reusing the known ones, and the providers that are not as they were.

    A changed key or origin cures configuration faults.
    """
    owners: dict[str, ProviderNode] = {}
    found = dict(routes)
    for name in known.keys() - registry.providers.keys():
        _drop(known[name], found)
    changed: list[ProviderNode] = []
    for provider in registry.providers.values():
        owner = known.get(provider.name) or ProviderNode(provider)
        if owner.followed is not provider:
            _drop(owner, found)
            _follow(owner, provider)
            owner.routes = _routes(owner, provider, registry, routes)
            owner.followed = provider
            changed.append(owner)
            found.update(owner.routes)
        owners[provider.name] = owner
    return owners, found, changed


def _drop(owner: ProviderNode, routes: dict[Route, RouteNode]) -> None:
    for route in owner.routes:
        routes.pop(route, None)


def _routes(
    owner: ProviderNode, provider: Provider, registry: Registry, known: Mapping[Route, RouteNode]
) -> dict[Route, RouteNode]:
    """Return a provider's routes, its models by priority."""
    found: dict[Route, RouteNode] = {}
    for model in sorted(provider.models, key=lambda model: registry.priority(model.key)):
        for route in registry.routes(model.key):
            account = owner.accounts[route.account]
            node = known.get(route) or RouteNode(route, owner, account, circuit=provider.circuit)
            node.owner, node.account = owner, account
            node.breaker.adopt(provider.circuit)
            node.window.span = provider.circuit.window
            node.admin.listed(active=model.enabled)
            if owner.changed and node.fault is not None and node.fault.kind is FaultKind.CONFIG_ERROR:
                node.fault = None
            found[route] = node
    return found


def _follow(owner: ProviderNode, provider: Provider) -> None:
    origin = (provider.kind, provider.base_url, provider.headers, provider.proxy, provider.ca_file)
    owner.changed = owner.origin is not None and owner.origin != origin
    owner.origin = origin
    owner.unavailable = provider.unavailable
    owner.limit = provider.max_concurrency
    owner.breaker.adopt(provider.circuit)
    owner.window.span = provider.circuit.window
    owner.admin.configured(enabled=provider.enabled)
    accounts: dict[str | None, AccountNode] = {}
    for account in provider.accounts:
        node = owner.accounts.get(account.name) or AccountNode(provider.name, account.name)
        if owner.changed or node.credential != account.api_key:
            owner.changed = True
            node.fault = None
        node.credential, node.unavailable = account.api_key, account.unavailable
        accounts[account.name] = node
    owner.accounts = accounts
    if owner.changed:
        owner.fault = None
