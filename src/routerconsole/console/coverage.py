"""What is left when one provider goes (N-1): pure functions of status and capability snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.registry_views import NodeView
    from routerconsole.control.views import ProviderStatus

OUT: Final = frozenset({"open", "disabled", "isolated", "draining", "missing", "config_error"})
"""Health words of a route that takes no new request; a gate ends by itself and is not among them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What goes with one provider: capabilities nobody has then, and those with one model left.

    `down` says that it takes no request already now.
    """

    provider: str
    none: tuple[str, ...]
    last: tuple[tuple[str, str], ...]  # (capability, the provider/model that would be the last)
    kept: int  # capabilities with more than one model left
    down: bool = False

    @property
    def key(self) -> str:
        """What tells losses apart."""
        return self.provider


@dataclass(frozen=True, slots=True)
class Coverage:
    """One loss per provider, the gravest first; `gone` are capabilities that have models but none to ask now."""

    losses: tuple[Loss, ...]
    gone: tuple[str, ...]
    words: int


def asked_by_name(nodes: Sequence[NodeView]) -> dict[str, NodeView]:
    """Return the nodes requests ask for, by their short word: those with one, or with models of their own kind.

    A parent whose models are all known from a word below it would only say the same again.
    """
    return {node.aliases[0]: node for node in nodes if node.aliases and node.total}


def coverage_of(providers: Sequence[ProviderStatus], nodes: Sequence[NodeView]) -> Coverage:
    """Fold who can be asked now into what each provider's death would take."""
    alive = {
        (provider.name, route.model)
        for provider in providers
        if provider.enabled and provider.status not in OUT
        for route in provider.routes
        if route.enabled and route.status not in OUT
    }
    able = {word: _able(node) for word, node in asked_by_name(nodes).items()}
    now = {word: [model for model in models if model in alive] for word, models in able.items()}
    losses = [_loss(provider, able, now) for provider in providers]
    losses.sort(key=lambda loss: (-len(loss.none), -len(loss.last), loss.provider))
    gone = tuple(word for word, models in now.items() if not models and able[word])
    return Coverage(tuple(losses), gone, len(able))


def _able(node: NodeView) -> list[tuple[str, str]]:
    return list(dict.fromkeys((each.provider, each.model) for each in node.models if each.value == "yes"))


def _loss(
    provider: ProviderStatus, able: dict[str, list[tuple[str, str]]], now: dict[str, list[tuple[str, str]]]
) -> Loss:
    """Say what is left without a provider; one that is down already takes nothing more, but took what it has."""
    name = provider.name
    none: list[str] = []
    last: list[tuple[str, str]] = []
    kept = 0
    for word, models in able.items():
        if not any(owner == name for owner, _ in models):
            continue
        left = [model for model in now[word] if model[0] != name]
        if not left:
            none.append(word)
        elif len(left) == 1:
            last.append((word, "/".join(left[0])))
        else:
            kept += 1
    return Loss(name, tuple(none), tuple(last), kept, down=provider.status in OUT or not provider.enabled)


def worst(losses: Iterable[Loss]) -> Loss | None:
    """Return the gravest loss that takes a capability away, None where none does."""
    return next((loss for loss in losses if loss.none), None)
