"""Reading the model lists of upstreams, which are untrusted: bounded in number and length, oddities left out."""

from __future__ import annotations

from typing import Any, Final

from routerconsole.providers.dialect import Undecodable

_MAX_MODELS: Final = 10_000
_MAX_ID: Final = 256


def model_ids(data: Any, key: str, *names: str) -> list[str]:
    """Return the distinct ids under `key`, each the first of `names` present; raise Undecodable if it is no list."""
    entries = data.get(key) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise Undecodable("the answer is not a model listing")
    found: dict[str, None] = {}
    for entry in entries[:_MAX_MODELS]:
        value = next((entry[name] for name in names if entry.get(name)), None) if isinstance(entry, dict) else None
        if isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isprintable():
            found[value] = None
    return list(found)
