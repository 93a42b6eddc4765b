"""Pools as tools, pure: names, input schemas, and the prompt that arguments make. Knows no protocol and no engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routerconsole.control.registry_views import PoolView

LIST_MODELS, EXPLAIN_ROUTE = "list_models", "explain_route"
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)

Schema = dict[str, object]


class BadArguments(Exception):
    """A tool was called with arguments it does not take; the text says which."""


@dataclass(frozen=True, slots=True)
class PoolTool:
    """One pool as agents see it."""

    pool: str
    name: str
    description: str
    args: tuple[str, ...]
    template: str

    @property
    def schema(self) -> Schema:
        """The JSON schema of its arguments: all of them text, all of them needed."""
        return {
            "type": "object",
            "properties": {name: {"type": "string"} for name in self.args},
            "required": list(self.args),
            "additionalProperties": False,
        }

    def prompt(self, given: Mapping[str, object]) -> str:
        """Return what is asked of the model; an argument's own `{places}` stay as they are. Raises BadArguments."""
        values: dict[str, str] = {}
        for name in self.args:
            value = given.get(name)
            if not isinstance(value, str):
                raise BadArguments(f"{self.name} needs `{name}` as text")
            values[name] = value
        refuse_others(self.name, given, self.args)
        if not any(value.strip() for value in values.values()):
            raise BadArguments(f"{self.name} needs something to ask")
        return _PLACE.sub(lambda place: values.get(place[1], place[0]), self.template)


def refuse_others(tool: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise BadArguments for an argument the tool does not have."""
    taken = tuple(known)
    other = next((name for name in given if name not in taken), None)
    if other is not None:
        raise BadArguments(f"{tool} has no argument `{other[:60]}` ({', '.join(taken) or 'it takes none'})")


def pool_tools(pools: Iterable[PoolView]) -> tuple[PoolTool, ...]:
    """Return the tools of the pools that are exposed, in the pools' order."""
    return tuple(
        PoolTool(
            pool=pool.id,
            name=pool.tool.name,
            description=pool.description or f"Ask the models of the pool {pool.id}.",
            args=pool.tool.args,
            template=pool.tool.template,
        )
        for pool in pools
        if pool.tool is not None
    )
