"""From a place on disk to valid settings, all or nothing: finds the file, reads it, reports every problem at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from routerconsole.domain.assemble import virtual_words
from routerconsole.domain.registry import ModelFormat

from .checks import check_rules, declared_tree, unset_variables
from .models import Settings
from .problems import ConfigError, Loc, Problem, Severity, dotted
from .references import check_references, mappings
from .secrets import expand, is_literal, subscription, syntax_error, unusable
from .validate import validate
from .weights import WeightsError, check_checkpoint, check_weights, missing_extra
from .yaml_loader import Document, Value, parse, read_config

CONFIG_VARIABLE = "ROUTERCONSOLE_CONFIG"
LOCAL_CONFIG = Path("config", "providers.yaml")
_LATE_FIELDS = frozenset({"api_key", "base_url", "proxy", "ca_file", "headers", "accounts"})
"""A provider's fields that are resolved when the registry is built: an unset variable costs that provider only."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """Valid settings and what is worth saying about them. `source_path` is None where there is no file.

    `templates` maps the places of filled-in `${…}` to what is written there, for every face that shows settings.
    `world_readable` is for the doctors to say; without keys in the file it keeps nobody from starting.
    """

    settings: Settings
    source_path: Path | None = None
    warnings: tuple[Problem, ...] = ()
    from_cwd: bool = False
    templates: Mapping[Loc, str] = field(default_factory=dict)
    world_readable: bool = False


def find_config(path: Path | None, env: Mapping[str, str], cwd: Path) -> tuple[Path | None, bool]:
    """Return the file to read (None: there is none, detect instead) and whether the working directory named it."""
    if path is not None:
        return path, False
    if env.get(CONFIG_VARIABLE):
        return Path(env[CONFIG_VARIABLE]), False
    local = cwd / LOCAL_CONFIG
    if os.path.lexists(local):
        return local, True
    personal = user_config(env)
    return (personal, False) if personal is not None and os.path.lexists(personal) else (None, False)


def user_config(env: Mapping[str, str]) -> Path | None:
    """Return where the user's own config lives, under `$XDG_CONFIG_HOME` or `~/.config`; None without a home."""
    base = env.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # the XDG rules: a relative or empty value counts as unset
        home = env.get("HOME", "")
        if not home:
            return None
        base = os.path.join(home, ".config")
    return Path(base, "routerconsole", "providers.yaml")


def load(path: Path | None, env: Mapping[str, str], cwd: Path) -> LoadedConfig:
    """Return the configuration in force (search order of interface.md §1); raise ConfigError with every problem."""
    found, from_cwd = find_config(path, env, cwd)
    if found is None:
        return LoadedConfig(Settings())
    # os.geteuid is absent where the platform has no owners; ours (Linux, macOS) all have it
    owners = frozenset({os.geteuid(), 0}) if from_cwd else None
    shown = cwd / found
    loaded = load_text(read_config(shown, owners=owners), str(shown), env)
    warnings = (*loaded.warnings, *_open_to_others(shown, loaded.settings))
    readable = bool(shown.stat().st_mode & stat.S_IROTH)
    return LoadedConfig(loaded.settings, shown, warnings, from_cwd, loaded.templates, readable)


def load_text(text: str, file: str, env: Mapping[str, str]) -> LoadedConfig:
    """Return the settings in `text`; `file` only names it in messages. Raises ConfigError with every problem."""
    document = parse(text, file)
    templates: dict[Loc, str] = {}
    problems = list(document.duplicates)
    data = _filled(document, env, templates, problems)
    settings, refused = validate(document, data)
    problems += refused
    problems += _not_said_before(
        refused, [*check_rules(document, data), *check_references(document, data, virtual_words(declared_tree(data)))]
    )
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if settings is None or errors:
        raise ConfigError(errors)
    if "version" not in data:
        problems.append(Problem(file, 1, "version", "is missing; version 1 is assumed", Severity.WARNING))
    problems += _unusable_secrets(document, data, env)
    problems += _missing_weights(document, settings)
    warnings = tuple(sorted(problems, key=lambda problem: problem.line))
    return LoadedConfig(settings, None, warnings, templates=templates)


def _not_said_before(said: list[Problem], more: list[Problem]) -> list[Problem]:
    """Leave out what a rule adds about a place whose own value is already refused."""
    places = {problem.path for problem in said}
    return [problem for problem in more if problem.path not in places]


def _filled(
    document: Document, env: Mapping[str, str], templates: dict[Loc, str], problems: list[Problem]
) -> dict[str, Value]:
    """Return the data with `${NAME}` filled in, except in the fields of a provider that are resolved late."""

    def fill(value: Value, loc: Loc) -> Value:
        if isinstance(value, dict):
            return {key: inner if _late((*loc, key)) else fill(inner, (*loc, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner, (*loc, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        text, missing = expand(value, env)
        wrong = syntax_error(value, references=False)
        if wrong is not None:
            problems.append(document.problem(loc, wrong))
        elif missing is not None:
            problems.append(
                document.problem(loc, f"missing_secret: {missing} (set it, or write ${{{missing}:-default}})")
            )
        templates[loc] = value
        return text

    filled = fill(document.data, ())
    return filled if isinstance(filled, dict) else {}


def _late(loc: Loc) -> bool:
    return len(loc) == 3 and loc[0] == "providers" and loc[2] in _LATE_FIELDS


def _unusable_secrets(document: Document, data: Mapping[str, Value], env: Mapping[str, str]) -> list[Problem]:
    """Warn of what enabled providers refer to and cannot use: variables unset now, files, subscription tokens."""
    found: list[Problem] = []
    for index, provider in mappings(data.get("providers")):
        if provider.get("enabled") is False:
            continue
        fields: list[tuple[Loc, Value]] = [
            ((key,), provider.get(key)) for key in ("api_key", "base_url", "proxy", "ca_file")
        ]
        headers = provider.get("headers")
        fields += [(("headers", name), value) for name, value in (headers if isinstance(headers, dict) else {}).items()]
        for place, account in mappings(provider.get("accounts")):
            fields.append((("accounts", place, "api_key"), account.get("api_key")))
        for where, value in fields:
            loc: Loc = ("providers", index, *where)
            unset = unset_variables(value, env) if isinstance(value, str) else ()
            for name in unset:
                text = f"missing_secret: {name} (provider {provider.get('name')!r} stays unavailable until it is set)"
                line = document.root.line_of(loc)
                found.append(Problem(document.file, line, dotted(loc), text, Severity.WARNING))
            if not isinstance(value, str):
                continue
            line = document.root.line_of(loc)
            if (wrong := subscription(value, env)) is not None:
                found.append(Problem(document.file, line, dotted(loc), wrong, Severity.WARNING, refused=True))
            elif not unset and (where[-1] == "api_key" or where[0] == "headers"):
                reason = unusable(value, env, is_key=where[-1] == "api_key")
                if reason is not None:
                    text = f"{reason}; provider {provider.get('name')!r} stays unavailable"
                    found.append(Problem(document.file, line, dotted(loc), text, Severity.WARNING))
    return found


def _missing_weights(document: Document, settings: Settings) -> list[Problem]:
    """Warn of weights, and of libraries for them, that are not there: nobody else is held up by that."""
    found: list[Problem] = []
    for place, provider in enumerate(settings.providers):
        if provider.enabled and (extra := missing_extra(provider.kind)) is not None:
            kind: Loc = ("providers", place, "kind")
            found.append(Problem(document.file, document.root.line_of(kind), dotted(kind), extra, Severity.WARNING))
        for index, model in enumerate(provider.models):
            if model.path is None or model.format is None:
                continue
            try:
                check = check_checkpoint if provider.kind == "airllm" else check_weights
                check(model.path, ModelFormat(model.format), settings.registry.weights_dir)
            except (WeightsError, OSError, ValueError) as exc:
                loc: Loc = ("providers", place, "models", index, "path")
                found.append(
                    Problem(document.file, document.root.line_of(loc), dotted(loc), str(exc), Severity.WARNING)
                )
    return found


def _open_to_others(path: Path, settings: Settings) -> tuple[Problem, ...]:
    """Warn of a file with plain-text keys that others can read, or of one that others can change."""
    mode = path.stat().st_mode
    keys = [provider.api_key for provider in settings.providers]
    keys += [account.api_key for provider in settings.providers for account in provider.accounts]
    if mode & stat.S_IWOTH:
        return (Problem(str(path), 0, "", "can be changed by every user (chmod 600 it)", Severity.WARNING),)
    if mode & 0o077 and any(key and is_literal(key) for key in keys):
        return (
            Problem(
                str(path), 0, "", "holds plain-text keys and can be read by others (chmod 600 it)", Severity.WARNING
            ),
        )
    return ()
