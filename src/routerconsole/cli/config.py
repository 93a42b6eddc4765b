"""`routerconsole config check|show|init|export`: works on files, with or without an engine."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routerconsole.cli import logs
from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.output import show_json
from routerconsole.cli.session import place
from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.export import export_text, write_new
from routerconsole.config.init import write_starter
from routerconsole.config.listings import detected
from routerconsole.config.load import CONFIG_VARIABLE, LoadedConfig, find_config, load, user_config
from routerconsole.config.problems import SHOWN, ConfigError, Problem, Severity
from routerconsole.config.show import effective
from routerconsole.console.keymap import keymap_problems
from routerconsole.control.wire import plain
from routerconsole.domain.visible import BLOCK_LIMIT, visible, visible_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.config.models import Settings


def check(args: argparse.Namespace) -> int:
    """Print every problem, warning and notice; 2 if the configuration cannot be used, 0 if it can."""
    found, _ = find_config(args.config, os.environ, Path.cwd())
    try:
        loaded = load(args.config, os.environ, Path.cwd())
    except ConfigError as exc:
        if args.json:
            show_json(_report(found, exc.problems, None))
            return Exit.USAGE
        for problem in exc.problems[:SHOWN]:
            _print(f"ERROR: {problem}")
        say(f"{len(exc.problems)} problem{'s' if len(exc.problems) > 1 else ''}; nothing of {found} is in use")
        return Exit.USAGE
    loaded = replace(loaded, warnings=(*loaded.warnings, *_bad_keys(loaded)))
    if args.json:
        show_json(_report(loaded.source_path, (), loaded))
        return Exit.OK
    for warning in loaded.warnings:
        _print(f"WARN: {warning}")
    for notice in loaded.notices:
        _print(f"NOTE: {notice}")
    if loaded.source_path is None:
        print("ok: no configuration file; providers are detected at start (`config init` writes them down)")
    else:
        _print(f"ok: {loaded.source_path}, {len(loaded.settings.providers)} providers")
    return Exit.OK


def show(args: argparse.Namespace) -> int:
    """Print the effective configuration, every default visible and every secret masked."""
    loaded = _loaded(args)
    registry = build_registry(loaded.settings, os.environ)
    redactor = build_redactor(registry)
    logs.learn(redactor.redact)
    shown = effective(loaded, registry, redactor)
    if args.json:
        show_json(shown)
    else:
        print(visible_block(_yaml(shown)), end="")
    return Exit.OK


def init(args: argparse.Namespace) -> int:
    """Write a commented first file with what this machine and its environment offer; never over anything."""
    target = _init_target(args)
    if os.path.lexists(target):  # said before four servers are asked
        raise Stop(Exit.REFUSED, f"{target} already exists; choose a new file with `--out FILE`")
    settings = detected(os.environ)
    write_starter(target, settings)
    names = [provider.name for provider in settings.providers]
    read, _ = find_config(args.config, os.environ, Path.cwd())
    if read != target:
        say(f"{read} is read before this file; name it with `--config` or move it")
    if args.json:
        show_json({"path": str(target), "providers": names})
    else:
        _print(f"written: {target} ({', '.join(names) or 'no provider found; the file shows how one looks'})")
    return Exit.OK


def export(args: argparse.Namespace) -> int:
    """Write the effective configuration, operators' priorities included, as YAML that loads again."""
    loaded = _loaded(args)
    loaded = replace(loaded, settings=_with_priorities(loaded.settings, place(args)))
    made = export_text(loaded)
    if args.out is None:
        print(made, end="")
        return Exit.OK
    write_new(args.out, made)
    if args.json:
        show_json({"path": str(args.out)})
    else:
        _print(f"written: {args.out}")
    return Exit.OK


def _loaded(args: argparse.Namespace) -> LoadedConfig:
    loaded = load(args.config, os.environ, Path.cwd())
    return loaded if loaded.source_path is not None else replace(loaded, settings=detected(os.environ))


def _init_target(args: argparse.Namespace) -> Path:
    """Return where a first file goes: as told, else where it will be found."""
    named: Path | None = args.out or args.config
    if named is None and os.environ.get(CONFIG_VARIABLE):
        named = Path(os.environ[CONFIG_VARIABLE])
    target = named or user_config(os.environ)
    if target is None:
        raise Stop(Exit.USAGE, "there is no home directory; name a file with `--out FILE`")
    return target


def _with_priorities(settings: Settings, root: Path) -> Settings:
    """Lay the priorities operators set over the configured ones."""
    import asyncio

    from routerconsole.cli.offline import OfflineReader

    async def saved() -> dict[str, int]:
        reader = OfflineReader(root)
        try:
            records = (await reader.saved()).of("priority")
        finally:
            await reader.aclose()
        return {  # a model's own priority has no place in the file
            str(key[0]): data["priority"]
            for key, data in records.items()
            if len(key) == 1 and isinstance(data.get("priority"), int)
        }

    priorities = asyncio.run(saved())
    providers = [
        each.model_copy(update={"priority": priorities[each.name]}) if each.name in priorities else each
        for each in settings.providers
    ]
    return settings.model_copy(update={"providers": providers})


def _report(path: Path | None, problems: Sequence[Problem], loaded: LoadedConfig | None) -> dict[str, Any]:
    return {
        "ok": not problems,
        "path": None if path is None else str(path),
        "problems": [plain(problem) for problem in problems],
        "warnings": [] if loaded is None else [plain(warning) for warning in loaded.warnings],
        "notices": [] if loaded is None else [plain(notice) for notice in loaded.notices],
    }


def _bad_keys(loaded: LoadedConfig) -> list[Problem]:
    """Return what the console would leave out of `console.keys`: it knows its actions, the configuration does not."""
    found = keymap_problems(loaded.settings.console.keys)
    return [Problem(str(loaded.source_path), 0, "", text, Severity.WARNING) for text in found]


def _yaml(shown: object) -> str:
    import yaml

    made: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120)
    return made


def _print(line: str) -> None:
    print(visible(logs.redact(line), BLOCK_LIMIT))
