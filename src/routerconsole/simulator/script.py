"""A script: which models a simulator has, how each behaves, when it refuses to listen, and what it lists and pulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from routerconsole.simulator.behaviour import Behaviour, Delay, Spread, in_window

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DELAYS = frozenset({"latency", "ttft"})


class ScriptError(ValueError):
    """A script that cannot be understood; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, in seconds after the start, folded by `every` if given."""

    start: float
    end: float
    every: float | None = None

    def holds(self, elapsed: float) -> bool:
        """Whether this moment lies in the window."""
        return in_window(elapsed, start=self.start, end=self.end, every=self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """How an Ollama pull of one model goes."""

    ok: bool = True
    total: int = 1_000_000
    steps: int = 5
    step_s: float = 0.02
    fail_at: int = 2  # the step at which a failing pull fails
    hang_at: int | None = None  # the step before which it falls silent for good
    parts: int = 1  # files of the model, one after the other, `total` bytes each
    error: str = "pull model manifest: file does not exist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A listing entry, as hostile or odd as wanted, of a model that need not exist; of one that does it is the entry.

    It stands in the listings with these numbers, from 1; `fields` are written over what the dialect would say.
    """

    id: str
    capabilities: tuple[str, ...] = ()
    context_window: int | None = None
    first: int = 1
    last: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    def shows(self, turn: int) -> bool:
        """Whether it stands in the listing with this number."""
        return self.first <= turn and (self.last is None or turn <= self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a simulator is told before it starts; keys of `models` like `GET /v1/models` set that path's behaviour."""

    models: Mapping[str, Behaviour] = field(default_factory=dict)
    default: Behaviour | None = None  # of models nobody named; None: 404
    api_key: str | None = None
    refusing: tuple[Window, ...] = ()  # nothing listens in these windows
    listed: tuple[Listed, ...] = ()  # further listing entries
    listing: Literal["openai", "openrouter", "llamacpp", "vllm", "lmstudio", "litellm"] = "openai"
    props: Mapping[str, object] = field(default_factory=dict)  # written over llama.cpp's `/props`
    pulls: Mapping[str, Pull] = field(default_factory=dict)  # "*" is the pull of every other name
    keep_alive_s: float | None = None
    seed: int = 0


_SCRIPT = TypeAdapter(Script)
_BEHAVIOUR = TypeAdapter(Behaviour)
_KNOWN = {kind: frozenset(item.name for item in fields(kind)) for kind in (Script, Behaviour)}


def load_script(source: str | Path) -> Script:
    """Read a script from a YAML file; raises ScriptError naming the place."""
    try:
        document = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScriptError(f"{source}: {error}") from error
    return script_of({} if document is None else document)


def script_of(document: object) -> Script:
    """A script from plain data; raises ScriptError naming the place."""
    made = dict(_known(document, "script", Script))
    made.pop("version", None)
    models = made.get("models") or {}
    if not isinstance(models, Mapping):
        raise ScriptError("models: must be a mapping of model ids to behaviours")
    made["models"] = {str(name): behaviour_of(value, at=f"models.{name}") for name, value in models.items()}
    if made.get("default") is not None:
        made["default"] = behaviour_of(made["default"], at="default")
    try:
        return _SCRIPT.validate_python(made)
    except ValidationError as error:
        raise ScriptError(_said(error, "script")) from error


def behaviour_of(document: object, *, at: str = "behaviour") -> Behaviour:
    """A behaviour from plain data (null is a healthy model); raises ScriptError naming the place."""
    made = _plain({} if document is None else document, at)
    try:
        return _BEHAVIOUR.validate_python(made)
    except ValidationError as error:
        raise ScriptError(_said(error, at)) from error


def _plain(document: object, at: str) -> dict[str, object]:
    """The behaviour's mapping with its delays and phases read."""
    made = dict(_known(document, at, Behaviour))
    for name in _DELAYS & made.keys():
        made[name] = delay_of(made[name], at=f"{at}.{name}")
    phases = made.get("schedule")
    if isinstance(phases, list):
        made["schedule"] = [
            {**phase, "behaviour": behaviour_of(phase.get("behaviour"), at=f"{at}.schedule[{i}]")}
            if isinstance(phase, Mapping)
            else phase
            for i, phase in enumerate(phases)
        ]
    return made


def _known(document: object, at: str, kind: type[Script | Behaviour]) -> Mapping[str, object]:
    """The document if it is a mapping with known keys only."""
    if not isinstance(document, Mapping):
        raise ScriptError(f"{at}: must be a mapping")
    unknown = sorted(str(key) for key in document if key not in _KNOWN[kind] and key != "version")
    if unknown:
        raise ScriptError(f"{at}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KNOWN[kind]))}")
    return document


def delay_of(value: object, *, at: str = "delay") -> Delay | float:
    """A delay from `0.2`, `"200ms"`, `{uniform: [0.1, 0.3]}` or `{lognormal: [0.2, 0.5]}`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        for unit in ("ms", "s", "m", "h"):
            number = value.removesuffix(unit)
            if number != value and number.replace(".", "", 1).isdigit():
                return float(number) * _UNITS[unit]
    if isinstance(value, Mapping) and len(value) == 1:
        spread, bounds = next(iter(value.items()))
        pair = bounds if isinstance(bounds, list) else [bounds]
        if spread in set(Spread) and 1 <= len(pair) <= 2:
            seconds = [delay_of(item, at=at) for item in pair]
            if all(isinstance(item, float) for item in seconds):
                low, high = (float(item) for item in (*seconds, 0.0)[:2] if isinstance(item, float))
                return Delay(low, high, Spread(spread))
    raise ScriptError(f"{at}: not a delay: {value!r}")


def _said(error: ValidationError, at: str) -> str:
    """The first complaint, with its place."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in (at, *first["loc"]))
    return f"{place}: {first['msg']}"
