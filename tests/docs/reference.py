"""Makes docs/reference.md out of the code: `python -m tests.docs.reference --write`, or without it to stdout."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from tests.docs import meanings

from routerconsole.cli.exits import Exit
from routerconsole.cli.parser import build
from routerconsole.config import fields
from routerconsole.config.models import Settings
from routerconsole.console.actions import ACTIONS, LABEL, Context, shown_key
from routerconsole.console.keymap import RESERVED
from routerconsole.control import commands, eval_commands, registry_commands, reward_commands
from routerconsole.control.wire import command_names
from routerconsole.domain.errors import ErrorCode, RouterError
from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import EFFECTS, NextRoute, OutcomeClass, SameRoute
from routerconsole.domain.pool import Strategy
from routerconsole.domain.query import Field
from routerconsole.server.app import API, CLIENT_PATHS
from routerconsole.server.operations import Operations
from routerconsole.server.routes import AnyRoute

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference.md"

_TYPES: tuple[tuple[Any, str], ...] = (
    (fields.Duration, "duration"),
    (fields.Retention, "duration, up to 3650d"),
    (fields.Id, "id"),
    (fields.ProfileId, "profile id"),
    (fields.Text, "text"),
    (fields.Name, "name"),
    (fields.HeaderName, "header name"),
    (fields.Price, "number from 0"),
    (fields.Count, "whole number from 1"),
    (fields.Ratio, "0 to 1"),
    (fields.TokenWindow, "whole number from 0"),
)
_BARE_PIPE = re.compile(r"(?<!\\)\|")
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}


# -- settings ----------------------------------------------------------------------------------------------------------


def settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (path, type, default) of every key that holds a value, in the order of the models."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        path, kind = prefix + name, hints[name]
        inner, many = _section(kind)
        if inner is not None:
            if many and inner.__name__ == "AccountSettings":
                yield path, "list", "[]"
            yield from settings(inner, f"{path}[]." if many else f"{path}.")
        else:
            yield path, _type(kind, field.metadata), "required" if field.is_required() else _default(field.default)


def _section(kind: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section a key holds and whether it holds a list of them."""
    many = get_origin(kind) is list
    inner = get_args(kind)[0] if many else kind
    return (inner, many) if isinstance(inner, type) and issubclass(inner, BaseModel) else (None, False)


def _type(kind: Any, metadata: Iterable[Any] = ()) -> str:
    for known, name in _TYPES:
        if kind == known:
            return name
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return _type(next(part for part in parts if part is not type(None)), metadata)
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "mapping"
    if hasattr(kind, "__metadata__"):
        return _type(parts[0], kind.__metadata__)
    return _PLAIN[kind] + _bounds(metadata)


def _bounds(metadata: Iterable[Any]) -> str:
    limits: dict[str, Any] = {}
    for item in metadata:
        for part in (item, *getattr(item, "metadata", ())):
            limits |= {key: getattr(part, key) for key in ("ge", "gt", "le") if getattr(part, key, None) is not None}
    low = f" from {limits['ge']:,}" if "ge" in limits else f" above {limits['gt']:,}" if "gt" in limits else ""
    return low + (f" to {limits['le']:,}" if "le" in limits else "")


def _default(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return "[]" if isinstance(value, list) else "{}"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def meaning(path: str) -> str:
    """Return what a setting means; raises KeyError for one that nobody explained."""
    if ".circuit." in path:
        text = meanings.SETTINGS["circuit." + path.rpartition(".")[2]]
        return text if path.startswith("routing.") else f"instead of `routing.circuit.{path.rpartition('.')[2]}`"
    return meanings.SETTINGS[path]


def _settings_part() -> Iterator[str]:
    yield "## Configuration"
    yield (
        "One YAML file, `version: 1`: `--config`, else `$ROUTERCONSOLE_CONFIG`, else `./config/providers.yaml`, else "
        "`$XDG_CONFIG_HOME/routerconsole/providers.yaml`, else what is found on this machine. Unknown keys are errors. "
        'Durations are seconds or `"500ms"`, `"30s"`, `"5m"`, `"1h"`, at most 24h. `${NAME}` and `${NAME:-default}` '
        "are filled in inside texts. A changed file is read again by itself; with an error in it the last good one "
        "stays. [config/providers.yaml](../config/providers.yaml) shows every key."
    )
    yield "A default of – means that none is set."
    rows: dict[str, list[list[str]]] = {}
    for path, kind, default in settings():
        head = path.partition(".")[0].removesuffix("[]")
        rows.setdefault(head, []).append(
            [f"`{path}`", kind, default if default in ("–", "required") else f"`{default}`", meaning(path)]
        )
    for head, listed in rows.items():
        yield f"### `{head}`"
        yield _table(["key", "type", "default", "meaning"], listed)


# -- commands ----------------------------------------------------------------------------------------------------------


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield (command as typed, its parser) for every command that runs something."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                inner = list(leaves(below, (*words, name)))
                yield from inner or [(" ".join((*words, name)), below)]


def _options(parser: argparse.ArgumentParser, *, skip: frozenset[str]) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._VersionAction | argparse._SubParsersAction):
            continue
        if not skip.intersection(action.option_strings):
            yield action


def _spelt(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar or action.dest)
        return f"[{name}]" if action.nargs == "?" else name
    if action.nargs == 0:
        return " ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"{action.option_strings[0]} {value}"


def _commands_part() -> Iterator[str]:
    whole = build()
    shared = list(_options(whole, skip=frozenset()))
    everywhere = frozenset(name for action in shared for name in action.option_strings)
    flags = frozenset({"--read-only", "--ascii", "--slow", "--on-hangup"})
    yield "## Commands"
    yield "`routerconsole [OPTIONS] COMMAND`. Options of every command stand before or after it:"
    yield _table(
        ["option", "meaning"], [[f"`{_spelt(a)}`", _cell(a.help)] for a in shared if not flags & {*a.option_strings}]
    )
    yield "`console`, `attach`, `demo` and `routerconsole` without a command draw a console and also take:"
    yield _table(
        ["option", "meaning"], [[f"`{_spelt(a)}`", _cell(a.help)] for a in shared if flags & {*a.option_strings}]
    )
    rows = [
        [
            f"`{name}`",
            _cell(below.description),
            "<br>".join(f"`{_spelt(action)}` {_cell(action.help)}" for action in _options(below, skip=everywhere)),
        ]
        for name, below in leaves(whole)
    ]
    yield _table(["command", "does", "takes"], rows)
    yield "### Exit codes"
    yield _table(["code", "meaning"], [[str(code.value), meanings.EXITS[code.value]] for code in Exit])


# -- everything else ---------------------------------------------------------------------------------------------------


def api_routes() -> tuple[AnyRoute, ...]:
    """Return the control plane's table; no handler is called."""
    nothing: Any = None
    return Operations(nothing, nothing).routes()


def _routes_part() -> Iterator[str]:
    yield "## HTTP"
    yield (
        "Tokens go into `Authorization: Bearer …`; the admin token serves wherever the client token does. "
        "Details of bodies and answers: `GET /api/v1/openapi.json`."
    )
    rows = [[method, f"`{path}`", token, text] for method, path, token, text in meanings.DATA_PLANE]
    for route in api_routes():
        path = API.decode() + route.path
        token = "client" if path.encode() in CLIENT_PATHS else "admin"
        rows.append([route.method, f"`{path}`", token, route.summary])
    yield _table(["method", "route", "token", "does"], rows)
    yield "### Request headers"
    yield _table(["header", "meaning"], [[f"`{name}`", text] for name, text in meanings.REQUEST_HEADERS.items()])
    yield "### Response headers"
    yield _table(["header", "meaning"], [[f"`{name}`", text] for name, text in meanings.RESPONSE_HEADERS.items()])
    yield "### Control commands"
    yield "What `POST /api/v1/router/commands` takes as `command`; the audit log uses the same names."
    yield _table(["command", "does"], [[f"`{name}`", _command_text(name)] for name in command_names()])


def _command_text(name: str) -> str:
    modules = (commands, registry_commands, eval_commands, reward_commands)
    for kind in (each for module in modules for each in vars(module).values()):
        if isinstance(kind, type) and name in (
            getattr(kind, "name", None),
            *(f"{getattr(kind, 'verb', '')}{end}" for end in ("", "_provider", "_route")),
        ):
            return _cell(kind.__doc__)
    raise KeyError(name)


def _strategies_part() -> Iterator[str]:
    yield "## Strategies"
    yield "`pools[].strategy`: how a pool orders the models that can be asked. What a request needs is decided before."
    yield _table(["strategy", "order"], [[f"`{each.value}`", meanings.STRATEGIES[each.value]] for each in Strategy])


def _errors_part() -> Iterator[str]:
    yield "## Error codes"
    yield (
        'Every error is `{"error": {"message", "type", "code", "param", "routerconsole": {"request_id", "attempts", '
        '"skipped"}}}`.'
    )
    rows = []
    for code in ErrorCode:
        error = RouterError(code, "")
        rows.append([f"`{code.value}`", str(error.status), f"`{error.type.value}`", meanings.ERRORS[code.value]])
    yield _table(["code", "status", "type", "meaning"], rows)


_SAME = {
    SameRoute.NEVER: "no",
    SameRoute.FREE_ONCE: "once, free",
    SameRoute.LAST: "only if nothing else may be asked",
}
_NEXT = {
    NextRoute.YES: "yes",
    NextRoute.LARGER_CONTEXT: "a larger context first",
    NextRoute.CONFIRM: "once, to confirm",
    NextRoute.NO: "no",
}


def _outcomes_part() -> Iterator[str]:
    yield "## Outcome classes"
    yield "How an attempt ended, and what follows. *Counts* says whose circuit breaker counts it as a failure."
    rows = []
    for cls in OutcomeClass:
        effect = EFFECTS.get(cls)
        counts = ", ".join(name for name in ("route", "provider") if effect is not None and getattr(effect, name))
        told = ("–", "–") if effect is None else (_SAME[effect.same], _NEXT[effect.next])
        rows.append([f"`{cls.value}`", meanings.OUTCOMES[cls.value], *told, counts or "–"])
    yield _table(["class", "recognised by", "same route again", "next route", "counts"], rows)


def _events_part() -> Iterator[str]:
    yield "## Events"
    yield "`GET /api/v1/events` streams them: `id` is a sequence number, `Last-Event-ID` resumes."
    yield _table(["event", "says"], [[f"`{kind.value}`", meanings.EVENTS[kind.value]] for kind in EventType])


def _filter_part() -> Iterator[str]:
    yield "## Filter language"
    yield (
        "The console's `/`, `requests list|tail|export --filter` and `GET /api/v1/requests?filter=` take the same "
        "terms. All must hold; `-` in front negates one, a lone `!` means the opposite of the whole, double quotes "
        "keep spaces."
    )
    yield _table(
        ["term", "passes"], [[f"`{example}`", text] for example, text in (meanings.FILTER[field] for field in Field)]
    )


def _keys_part() -> Iterator[str]:
    yield "## Console keys"
    yield (
        "`console.keys` maps an action to a key or a list of keys, as in `log.filter: x`. Actions marked * cannot be "
        "changed; those marked † are left out by `--read-only`. "
        f"Reserved: {', '.join(f'`{key}`' for key in sorted(RESERVED))}."
    )
    for context in Context:
        rows = [
            [
                " ".join(f"`{shown_key(key)}`" for key in action.keys),
                f"`{action.id}`" + "\\*" * action.fixed + "†" * action.mutating,
                action.help,
            ]
            for action in ACTIONS
            if action.context is context
        ]
        yield f"### {LABEL[context].capitalize()}"
        yield _table(["key", "action", "does"], rows)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_BARE_PIPE.sub(r"\|", cell) for cell in cells) + " |" for cells in lines)


def reference() -> str:
    """Return the whole document."""
    parts = [
        "# Reference",
        "Made from the code by `make docs`; do not edit. Start with the [README](../README.md).",
        *_commands_part(),
        *_settings_part(),
        *_routes_part(),
        *_strategies_part(),
        *_errors_part(),
        *_outcomes_part(),
        *_events_part(),
        *_filter_part(),
        *_keys_part(),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the reference, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/reference.md")
    if parser.parse_args().write:
        REFERENCE.parent.mkdir(exist_ok=True)
        REFERENCE.write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())


if __name__ == "__main__":
    main()
