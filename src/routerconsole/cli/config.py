"""`routerconsole config check|show|init|export`: works on files, with or without an engine."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from routerconsole.cli import logs
from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.output import show_json
from routerconsole.cli.session import place
from routerconsole.config.build import build_redactor, build_registry, capability_tree
from routerconsole.config.export import Exported, export_anew, export_in_place
from routerconsole.config.init import Tags, write_starter
from routerconsole.config.listings import detected
from routerconsole.config.load import CONFIG_VARIABLE, LoadedConfig, find_config, load, user_config
from routerconsole.config.patch import CannotPatch
from routerconsole.config.problems import SHOWN, ConfigError, Problem, Severity
from routerconsole.config.show import effective
from routerconsole.config.yaml_loader import parse, read_config
from routerconsole.console.keymap import keymap_problems
from routerconsole.control.new_file import write_new
from routerconsole.control.wire import plain
from routerconsole.domain.capability import ANY_OF_ITS_KIND, NODE_OF, Source, Tri
from routerconsole.domain.counted import counted
from routerconsole.domain.route import ModelKey
from routerconsole.domain.visible import BLOCK_LIMIT, visible, visible_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.config.models import Settings
    from routerconsole.control.registry_views import ModelView
    from routerconsole.domain.overlay import Overlay


def check(args: argparse.Namespace) -> int:
    """Print every problem, warning and notice; 2 if the configuration or what it refers to is refused, else 0."""
    found, _ = find_config(args.config, os.environ, Path.cwd())
    try:
        loaded = load(args.config, os.environ, Path.cwd())
    except ConfigError as exc:
        if args.json:
            show_json(_report(found, exc.problems, None))
            return Exit.USAGE
        for problem in exc.problems[:SHOWN]:
            _print(f"ERROR: {problem}")
        say(f"{counted(len(exc.problems), 'problem')}; nothing of {found} is in use")
        return Exit.USAGE
    loaded = replace(loaded, warnings=(*loaded.warnings, *_bad_keys(loaded)))
    refused = [problem for problem in loaded.warnings if problem.refused]
    if args.json:
        show_json(_report(loaded.source_path, refused, loaded))
        return Exit.USAGE if refused else Exit.OK
    for warning in loaded.warnings:
        _print(f"{'ERROR' if warning.refused else 'WARN'}: {warning}")
    if refused:
        say(f"what is refused is never used; the rest of {loaded.source_path} is")
        return Exit.USAGE
    if loaded.source_path is None:
        print("ok: no configuration file; providers are detected at start (`config init` writes them down)")
    else:
        _print(f"ok: {loaded.source_path}, {counted(len(loaded.settings.providers), 'provider')}")
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
    write_starter(target, settings, asyncio.run(_tags(settings)))
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
    """Write the configuration with operators' decisions in it: a copy of the file, or a new one where there is none."""
    loaded = _loaded(args)
    done = _exported(loaded, asyncio.run(_overlay(place(args))))
    for what in done.lost:
        say(f"not in the file: {visible(what, BLOCK_LIMIT)}")
    if args.out is None:
        if args.json:
            show_json({"yaml": done.text, "lost": list(done.lost)})
        else:
            print(done.text, end="")
        return Exit.OK
    write_new(args.out, done.text)
    if args.json:
        show_json({"path": str(args.out), "lost": list(done.lost)})
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


def _exported(loaded: LoadedConfig, overlay: Overlay) -> Exported:
    tree = capability_tree(loaded.settings)
    if loaded.source_path is None:
        return export_anew(loaded, overlay, tree)
    try:
        done = export_in_place(read_config(loaded.source_path), overlay, tree)
    except CannotPatch as exc:
        done = export_anew(loaded, overlay, tree)
        why = f"the comments and the order of {loaded.source_path}: {exc.place} could not be changed in place"
        done = replace(done, lost=(why, *done.lost))
    # a comment may quote a key that the settings only refer to
    redact = build_redactor(build_registry(loaded.settings, os.environ)).redact
    return replace(done, text=redact(done.text))


async def _overlay(root: Path) -> Overlay:
    """Return what operators decided on this state directory."""
    from routerconsole.cli.offline import OfflineReader
    from routerconsole.engine.overlay_records import restored

    reader = OfflineReader(root)
    try:
        overlay, strange = restored(await reader.saved())
    finally:
        await reader.aclose()
    if strange:
        say(f"{strange} stored records could not be understood and are left out")
    return overlay


async def _tags(settings: Settings) -> dict[ModelKey, Tags]:
    """Ask the local servers what their models can do, and go by the names of the others."""
    from routerconsole.control.local import LocalControl
    from routerconsole.control.registry_views import ModelQuery
    from routerconsole.wiring import EngineOptions, resting_service

    with tempfile.TemporaryDirectory() as nowhere:
        service = resting_service(EngineOptions(), os.environ, Path(nowhere), settings=settings)
        try:
            await service.rest(writable=False)
            local = tuple(name for name, provider in service.registry.providers.items() if provider.local)
            if local:
                await service.discovery.sync(local)
            page = await LocalControl(service).registry(ModelQuery())
        finally:
            await service.stop()
    return {ModelKey(model.provider, model.upstream_id): _tags_of(model) for model in page.models}


_MADE_UP: Final = frozenset({Source.DISCOVERY.value, Source.CATALOGUE.value, Source.GUESS.value})


def _tags_of(model: ModelView) -> Tags:
    """Return the words a model has by its listing or name; what is guessed of every model of a kind says nothing."""
    known = [
        (str(word), value.source)
        for word, node in NODE_OF.items()
        if (value := model.capabilities.get(node)) is not None
        and value.value == Tri.YES
        and value.source in _MADE_UP
        and not (value.layers and value.layers[0].evidence == ANY_OF_ITS_KIND)
    ]
    return Tags(tuple(word for word, _ in known), any(source == Source.DISCOVERY for _, source in known))


def _report(path: Path | None, problems: Sequence[Problem], loaded: LoadedConfig | None) -> dict[str, Any]:
    return {
        "ok": not problems,
        "path": None if path is None else str(path),
        "problems": [plain(problem) for problem in problems],
        "warnings": [] if loaded is None else [plain(each) for each in loaded.warnings if not each.refused],
    }


def _bad_keys(loaded: LoadedConfig) -> list[Problem]:
    """Return what the console would leave out of `console.keys`: it knows its actions, the configuration does not."""
    found = keymap_problems(loaded.settings.console.keys)
    path = loaded.source_path
    if not found or path is None:
        return []
    root, file = parse(read_config(path), str(path)).root, str(path)
    told = []
    for text in found:
        where, _, message = text.partition(": ")
        name = where.removeprefix("console.keys.")
        told.append(Problem(file, root.line_of(("console", "keys", name)), where, message, Severity.WARNING))
    return told


def _yaml(shown: object) -> str:
    import yaml

    made: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120)
    return made


def _print(line: str) -> None:
    print(visible(logs.redact(line), BLOCK_LIMIT))
