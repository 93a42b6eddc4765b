"""Says which written settings are valid but have no effect in this version, so that nobody waits for them to act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .checks import section
from .problems import Loc, Notice, dotted
from .references import mappings
from .yaml_loader import Document, Value

_LATER = "has no effect yet in this version (it is checked and kept)"
_FPS = 10
_SECTIONS = ("profiles", "agents", "reward", "budget", "mcp")
_POOL_KEYS = ("node", "filter", "session_mode", "mcp")
_MODEL_KEYS: Mapping[str, frozenset[Value]] = {
    "role": frozenset({"general"}),
    "format": frozenset({"api", "ollama"}),
    "path": frozenset(),
    "tier": frozenset({"standard"}),
}
"""Keys of a model with the values that ask for nothing."""


def notices(document: Document, data: Mapping[str, Value]) -> tuple[Notice, ...]:
    """Return one notice for each written setting whose feature is not built yet, in line order."""
    found = (Notice(dotted(loc), document.root.line_of(loc), text) for loc, text in _idle(data))
    return tuple(sorted(found, key=lambda notice: notice.line))


def _idle_of(model: Mapping[str, Value]) -> Iterator[str]:
    for key, asks_nothing in _MODEL_KEYS.items():
        value = model.get(key)
        if isinstance(value, str) and value not in asks_nothing:
            yield key
    if any(value is not None for value in section(model, "limits").values()):
        yield "limits"


def _idle(data: Mapping[str, Value]) -> Iterator[tuple[Loc, str]]:
    for name in _SECTIONS:
        if data.get(name):
            yield (name,), _LATER
    for index, provider in mappings(data.get("providers")):
        if "discovery" in provider:
            yield ("providers", index, "discovery"), _LATER
        if provider.get("free") is True:
            yield ("providers", index, "free"), _LATER
        for place, model in mappings(provider.get("models")):
            yield from ((("providers", index, "models", place, key), _LATER) for key in _idle_of(model))
    for index, pool in mappings(data.get("pools")):
        loc: Loc = ("pools", index)
        yield from (((*loc, key), _LATER) for key in _POOL_KEYS if section(pool, key) or isinstance(pool.get(key), str))
        if pool.get("strategy", "priority") != "priority":
            yield (*loc, "strategy"), "has no effect yet in this version: the pool is tried by priority"
    if section(data, "registry").get("weights_dir") is not None:
        yield ("registry", "weights_dir"), _LATER
    if section(data, "console").get("max_fps", _FPS) != _FPS:
        yield ("console", "max_fps"), "has no effect yet in this version: the console draws four times a second"
