"""Pools as tools for agents: the names they get, and the rules between them and their templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .problems import Loc
from .references import mappings, texts
from .yaml_loader import Value

TOOL_ARGUMENT = "prompt"
"""The one argument of a tool that names none."""
OWN_TOOLS = frozenset({"list_models", "explain_route"})
"""What the MCP server offers besides the pools."""
MAX_NAME = 64
"""Characters of a tool's name that every client takes."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
"""What is filled in; other braces, of JSON or code, are text."""

Said = Iterator[tuple[Loc, str]]


def default_tool(pool: str) -> str:
    """Return the tool's name where the pool gives none; clients take no dots."""
    return f"ask_{pool}".replace(".", "_")


def wrong_tools(pools: object) -> Said:
    """Yield what is wrong with the tools of all pools: each alone, and names that two of them have."""
    taken: dict[str, str] = {}
    for index, pool in mappings(pools):
        tool = pool.get("mcp")
        if not isinstance(tool, dict):
            continue
        loc: Loc = ("pools", index, "mcp")
        yield from _wrong_template(loc, tool)
        if tool.get("expose") is True:
            yield from _wrong_name(loc, tool, str(pool.get("id")), taken)


def doubtful_tools(pools: object) -> Said:
    """Yield what makes a tool useless: nothing says what it is for, or an argument reaches no model."""
    for index, pool in mappings(pools):
        tool = pool.get("mcp")
        if not isinstance(tool, dict) or tool.get("expose") is not True:
            continue
        loc: Loc = ("pools", index, "mcp")
        if not pool.get("description"):
            text = "offers the pool without a description (write `description: Use for …`: agents decide by it)"
            yield (*loc, "expose"), text
        template = tool.get("template")
        if isinstance(template, str):
            for name in [name for _, name in texts(tool.get("args"))] or [TOOL_ARGUMENT]:
                if f"{{{name}}}" not in template:
                    yield (*loc, "template"), f"leaves out {{{name[:60]}}}, which reaches no model so (add it)"


def _wrong_name(loc: Loc, tool: Mapping[str, Value], pool: str, taken: dict[str, str]) -> Said:
    given = tool.get("tool")
    name = given if isinstance(given, str) else default_tool(pool)
    here = (*loc, "tool" if isinstance(given, str) else "expose")
    if len(name) > MAX_NAME:
        yield here, f"makes a tool's name of {len(name)} characters, {MAX_NAME} are taken (write a shorter mcp.tool)"
    elif name in OWN_TOOLS:
        yield here, f"{name!r} is a tool of the server's own (choose another mcp.tool)"
    elif (other := taken.setdefault(name, pool)) != pool:
        yield here, f"{name!r} is the tool of the pool {other[:60]!r} too (give one of them another mcp.tool)"


def _wrong_template(loc: Loc, tool: Mapping[str, Value]) -> Said:
    args = [name for _, name in texts(tool.get("args"))]
    first: dict[str, int] = {}
    for index, name in enumerate(args):
        if first.setdefault(name, index) != index:
            yield (*loc, "args", index), f"{name[:60]!r} is listed twice (keep one)"
    template = tool.get("template")
    if not isinstance(template, str):
        return
    for name in dict.fromkeys(_PLACEHOLDER.findall(template)):
        if name not in first and not (name == TOOL_ARGUMENT and not args):
            known = ", ".join(args[:20]) or f"none: {{{TOOL_ARGUMENT}}} is the only one"
            yield (*loc, "template"), f"uses {{{name[:60]}}}, which is not in args ({known})"
