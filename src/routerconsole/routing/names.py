"""What can be named in one registry, indexed once: pools and virtual models by any case, capabilities by every name.

A registry never changes, so an index holds as long as its registry is the one in force.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from routerconsole.domain.assemble import virtual_words
from routerconsole.domain.capability import ATTRIBUTES, NODE_OF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from routerconsole.domain.pool import Pool
    from routerconsole.domain.registry import Registry

    from .resolution import Resolution

SUGGESTIONS: Final = 3
SHOWN_NAME: Final = 100
"""Characters of an unknown name that are compared and shown back."""
COMPARED: Final = 300
"""Names compared closely for suggestions; 300 take about 3 ms, and a typo must not hold the loop for longer."""
KEPT: Final = 2048
"""Names whose meaning is remembered; far more than a deployment's clients use, and a bound on what strangers send."""


class Names:
    """The index of one registry. `known` remembers what names turned out to mean."""

    __slots__ = ("known", "nodes", "pools", "virtual", "words")

    def __init__(self, registry: Registry) -> None:
        # automatic pools come first, so that a user's pool beats one of the same name
        self.pools: dict[str, Pool] = {pool.id.casefold(): pool for pool in registry.pools.values()}
        self.virtual: dict[str, Pool] = {name.casefold(): pool for name, pool in registry.virtual.items()}
        self.words: dict[str, str] = {word.casefold(): word for word in virtual_words(registry.tree)}
        self.nodes: dict[str, tuple[str, ...]] = dict(_capabilities(registry))
        self.known: dict[str | None, Resolution] = {}

    def remember(self, name: str | None, meaning: Resolution) -> Resolution:
        """Keep what a name means, and return it."""
        if len(self.known) >= KEPT:
            self.known.clear()
        self.known[name] = meaning
        return meaning


def _capabilities(registry: Registry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every name of a capability with its nodes: last segments, then the full paths and words that beat them."""
    tree = registry.tree
    nodes = sorted(tree.nodes)
    leaves: dict[str, list[str]] = {}
    for node in nodes:
        leaves.setdefault(node.rpartition(".")[2], []).append(node)
    yield from ((leaf, tuple(found)) for leaf, found in leaves.items())
    yield from ((node, (node,)) for node in nodes)
    yield from ((str(word), (node,)) for word, node in NODE_OF.items() if word not in ATTRIBUTES)
    yield from ((word, (node,)) for word, node in tree.aliases.items())


class _Latest:
    """The index of the registry last asked about; the two change in one step, as engines may run in several threads."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: tuple[Registry, Names] | None = None


_LATEST: Final = _Latest()


def names_of(registry: Registry) -> Names:
    """Return the index of a registry, made at its first use."""
    known = _LATEST.known
    if known is None or known[0] is not registry:
        known = _LATEST.known = (registry, Names(registry))
    return known[1]


def shown(name: str) -> str:
    """Return a name as messages quote it: escaped and cut."""
    return repr(name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…")


def suggestions(name: str, registry: Registry) -> tuple[str, ...]:
    """Return up to three names that exist and look like one that does not."""
    asked = name[:SHOWN_NAME].casefold()
    known: dict[str, str] = {}
    for each in _everything(registry):
        known.setdefault(each.casefold(), each)
    near = list(known)
    if len(near) > COMPARED:
        start = asked.rpartition("/")[2][:3]
        near = [each for each in near if start in each][:COMPARED]
    return tuple(known[each] for each in difflib.get_close_matches(asked, near, n=SUGGESTIONS, cutoff=0.4))


def _everything(registry: Registry) -> Iterator[str]:
    """Yield every name there is, those people chose first."""
    yield from (profile.id for profile in registry.profiles.values() if not profile.implicit)
    yield from registry.pools
    yield from registry.assignments
    yield from registry.agents
    yield from (pool.id for pool in registry.virtual.values())
    for key in registry.models:
        yield key.model
        yield f"{key.provider}/{key.model}"
