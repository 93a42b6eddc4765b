"""The one composition root: from options to a running engine with its server. Nothing else constructs across layers."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routerconsole import __version__
from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.listings import detected
from routerconsole.config.load import LoadedConfig, load, load_text
from routerconsole.config.reload import Decision, Watch, signature
from routerconsole.config.show import effective
from routerconsole.config.yaml_loader import read_config
from routerconsole.control.discovery import ADMIN_TOKEN_VARIABLE, CLIENT_TOKEN_VARIABLE, state_directory
from routerconsole.control.local import LocalControl
from routerconsole.domain.assemble import reassemble
from routerconsole.domain.guess import hints
from routerconsole.domain.policy import BudgetPolicy, RewardPolicy
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.route import ModelKey
from routerconsole.domain.secret import Secret
from routerconsole.engine.clock import SystemClock
from routerconsole.engine.exposition import exposition
from routerconsole.engine.keeping import LogPolicy
from routerconsole.engine.service import Loaded, Service
from routerconsole.engine.spans import NoExporter, SpanFeed, open_feed, wanted
from routerconsole.server.app import App
from routerconsole.server.control import api_app
from routerconsole.server.door import DoorLimits
from routerconsole.server.guard import LOOPBACK_NAMES, Guard
from routerconsole.server.listener import listener
from routerconsole.server.run import HttpServer, bind
from routerconsole.simulator import Behaviour, Simulator
from routerconsole.storage.db import Database
from routerconsole.storage.lock import EngineLock
from routerconsole.storage.migrations import LOG, STATE
from routerconsole.storage.place import Place, Tokens, open_place

if TYPE_CHECKING:
    from routerconsole.config.models import ServerSettings, Settings
    from routerconsole.domain.registry import Provider, Registry
    from routerconsole.evals.outside import Outside
    from routerconsole.evals.scenario import Scenario
    from routerconsole.evals.types import CellKey, Sample


UNREADABLE_LOOKS = 2
"""Looks in a row at which a file is gone or cannot be read before that is told: an editor may be replacing it."""


class CannotStart(Exception):
    """The engine cannot start as asked; the text names the place and the remedy (exit 2)."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the command line says about an engine; None leaves it to configuration and environment."""

    config: Path | None = None
    state_dir: Path | None = None
    host: str | None = None
    port: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can fail before an engine runs has been done: configuration read, directory locked, port bound."""

    config: LoadedConfig
    loaded: Loaded
    place: Place
    lock: EngineLock
    tokens: Tokens
    guard: Guard
    sock: socket.socket
    url: str
    options: EngineOptions
    env: Mapping[str, str]


def prepare(options: EngineOptions, env: Mapping[str, str], *, text: str | None = None) -> Prepared:
    """Do what can fail, on the main thread; raise ConfigError, CannotStart, or a StorageError.

    `text` is a configuration made by the program itself (the demo's), in place of a file.
    """
    config = load_text(text, "built in", env) if text is not None else load(options.config, env, Path.cwd())
    if text is not None:
        config = replace(config, warnings=())  # the program's own text needs no advice
    elif config.source_path is None:
        config = replace(config, settings=detected(env))
    place = open_place(state_directory(options.state_dir, env))
    lock = EngineLock(place)
    try:
        tokens = _tokens(place, env)
        server = config.settings.server
        host = options.host or server.host
        sock = _bind(host, server.port if options.port is None else options.port)
        try:
            guard = _guard(server, host, sock.getsockname()[0], tokens)
            loaded = _loaded(config, env, tokens, place=place)
        except BaseException:
            sock.close()
            raise
    except BaseException:
        lock.release()
        raise
    shown_host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return Prepared(
        config=config,
        loaded=loaded,
        place=place,
        lock=lock,
        tokens=tokens,
        guard=guard,
        sock=sock,
        url=f"http://{shown_host}:{sock.getsockname()[1]}",
        options=options,
        env=env,
    )


def resting_service(
    options: EngineOptions, env: Mapping[str, str], root: Path, *, settings: Settings | None = None
) -> Service:
    """Return an engine that is not started, for a look at its registry or an edit; raise ConfigError.

    `settings` stand in for a configuration file.
    """
    config = load(options.config, env, Path.cwd()) if settings is None else LoadedConfig(settings)
    if settings is None and config.source_path is None:
        config = replace(config, settings=detected(env))
    registry = build_registry(config.settings, env)
    redactor = build_redactor(registry)
    path = None if config.source_path is None else str(config.source_path)
    clock = SystemClock()
    return Service(
        Loaded(
            registry,
            effective(config, registry, redactor),
            (),
            path,
            redactor.redact,
            _warnings(config),
            budget=budget_of(config.settings),
        ),
        state_db=Database(root / "state.db", STATE, wall=clock.wall, backups=root / "backups"),
        log_db=Database(root / "log.db", LOG, wall=clock.wall, synchronous="NORMAL"),
        clock=clock,
        rng=random.Random(options.seed),  # noqa: S311 - jitter and spreading, not secrets
        log_policy=LogPolicy(),
        version=__version__,
        hints=hints,
    )


class Node:
    """One engine with its HTTP server, on the loop it is started on."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        clock = SystemClock()
        place, log = prepared.place, prepared.config.settings.log
        self._watch = Watch(None if prepared.config.source_path is None else signature(prepared.config.source_path))
        self._unreadable = 0
        self._simulators: dict[str, Simulator] = {}
        self._spans: SpanFeed | None = None
        self.service = Service(
            prepared.loaded,
            state_db=Database(place.state_db, STATE, wall=clock.wall, backups=place.backups),
            log_db=Database(place.log_db, LOG, wall=clock.wall, synchronous="NORMAL"),
            clock=clock,
            rng=random.Random(prepared.options.seed),  # noqa: S311 - jitter and spreading, not secrets
            log_policy=LogPolicy(bodies=log.bodies, retention_s=log.retention, max_mb=log.max_mb),
            reload=None if prepared.config.source_path is None else self._reload,
            changed=None if prepared.config.source_path is None else self._file_changed,
            version=__version__,
            hints=hints,
        )
        self.service.endpoint, self.service.drill = prepared.url, _drilled
        self.service.outside = _opened
        self.control = LocalControl(self.service)
        server = prepared.config.settings.server
        max_body = int(server.max_body_mb * 1024 * 1024)
        app = App(
            chat=self.service.chat,
            control=self.control,
            guard=prepared.guard,
            api=api_app(self.control, self.service.chat, max_body=max_body),
            metrics=lambda: exposition(self.service),
            max_body=max_body,
        )
        limits = DoorLimits(max_connections=server.max_connections, max_body=max_body)
        self.server = HttpServer(app, prepared.sock, limits)

    async def start(self) -> None:
        """Open storage, serve, and say where in engine.json. Raises NewerSchema or UnsafePlace."""
        await self._start_simulators()
        await self.service.start()
        self._export_spans()
        await self.server.start(self.service.tasks)
        self._prepared.lock.publish(url=self._prepared.url, version=__version__)

    async def stop(self) -> None:
        """Stop accepting, drain, flush, close; idempotent."""
        self.server.stop_accepting()
        await self.service.stop(before_close=self.server.stop)
        if self._spans is not None:
            await self._spans.aclose()
        for simulator in self._simulators.values():
            await simulator.stop()
        self._prepared.lock.release()

    def _export_spans(self) -> None:
        """Send traces where the environment says (OTEL_EXPORTER_OTLP_ENDPOINT); without the extra a notice says so."""
        env = self._prepared.env
        if not wanted(env) or self._spans is not None:
            return
        try:
            self._spans = open_feed(env, __version__)
        except NoExporter as exc:
            self.service.remarks.append(str(exc))
            return
        self.service.recorder.watchers.append(self._spans.offer)

    def _file_changed(self) -> bool:
        """Whether the configuration file is worth reading again: it changed, or can be read (no more, or again)."""
        path = self._prepared.config.source_path
        now = None if path is None else signature(path)
        self._watch, decision = self._watch.look(now)
        before, self._unreadable = self._unreadable, 0 if now is not None else self._unreadable + 1
        came_back = now is not None and before >= UNREADABLE_LOOKS
        return decision is Decision.RELOAD or came_back or self._unreadable == UNREADABLE_LOOKS

    def _reload(self, version: int) -> Loaded:
        prepared, path = self._prepared, self._prepared.config.source_path
        if path is not None:
            seen = signature(path)
            self._watch = Watch(self._watch.tried if seen is None else seen)
            if prepared.config.from_cwd:
                read_config(path, owners=frozenset({os.geteuid(), 0}))
        config = replace(load(path, prepared.env, Path.cwd()), from_cwd=prepared.config.from_cwd)
        loaded = _loaded(config, prepared.env, prepared.tokens, place=prepared.place, version=version)
        notices = (*loaded.notices, *self._only_at_start(config))
        return replace(loaded, registry=self._with_simulators(loaded.registry), notices=notices)

    def _only_at_start(self, config: LoadedConfig) -> list[str]:
        """Say which sections changed that an engine reads once."""
        was, now = self._prepared.config.settings, config.settings
        pairs = (("server", was.server, now.server), ("log", was.log, now.log))
        return [f"`{name}` has changed: it takes effect at the next start" for name, old, new in pairs if old != new]

    async def _start_simulators(self) -> None:
        """Run one simulated upstream per provider of kind `simulated`, on a loopback socket."""
        registry = self.service.registry
        for provider in registry.providers.values():
            if provider.kind is ProviderKind.SIMULATED:
                simulator = Simulator(seed=self._prepared.options.seed or 0)
                for model in provider.models:
                    simulator.set(model.upstream_id, Behaviour())
                await simulator.start()
                self._simulators[provider.name] = simulator
        if self._simulators:
            self.service.loaded = replace(self.service.loaded, registry=self._with_simulators(registry))

    def _with_simulators(self, registry: Registry) -> Registry:
        if not any(provider.kind is ProviderKind.SIMULATED for provider in registry.providers.values()):
            return registry
        return reassemble(registry, [self._pointed(provider) for provider in registry.providers.values()])

    def _pointed(self, provider: Provider) -> Provider:
        if provider.kind is not ProviderKind.SIMULATED:
            return provider
        simulator = self._simulators.get(provider.name)
        if simulator is None:
            return replace(provider, unavailable="a simulated provider added by a reload starts with the next start")
        return replace(provider, base_url=simulator.base_url, unavailable=None)


async def _drilled(scenario: Scenario, key: CellKey) -> Sample:
    """Run a drill; what that takes is imported by the first one."""
    from routerconsole.wiring_drills import drill

    return await drill(scenario, key)


async def _opened(address: str, key: Secret | None) -> Outside:
    """Open an endpoint outside the registry; what that takes is imported by the first one."""
    from routerconsole.wiring_urls import open_outside

    return await open_outside(address, key)


def _loaded(config: LoadedConfig, env: Mapping[str, str], tokens: Tokens, *, place: Place, version: int = 1) -> Loaded:
    registry = build_registry(config.settings, env, version=version)
    redactor = build_redactor(registry, (tokens.admin, tokens.client))
    shown: Mapping[str, Any] = effective(config, registry, redactor)
    notices = (*(str(item) for item in config.warnings), *(notice.text for notice in place.notices))
    path = None if config.source_path is None else str(config.source_path)
    awaiting = {str(item): ModelKey(*item.awaits) for item in config.warnings if item.awaits is not None}
    return Loaded(
        registry,
        shown,
        notices,
        path,
        redactor.redact,
        _warnings(config),
        awaiting,
        _reward(config),
        budget_of(config.settings),
    )


def _reward(config: LoadedConfig) -> RewardPolicy:
    said = config.settings.reward
    return RewardPolicy(said.enabled, said.model or None, said.votes, said.sample)


def budget_of(settings: Settings) -> BudgetPolicy:
    """Return the budget a configuration sets."""
    said = settings.budget
    return BudgetPolicy(said.daily_usd, said.alert_at, said.enforce)


def _warnings(config: LoadedConfig) -> tuple[tuple[str, str], ...]:
    """Return what the doctors say of the file: a dotted path or its name, and what is wrong."""
    told = tuple((item.path or item.file, item.message) for item in config.warnings)
    file = str(config.source_path)
    if config.world_readable and all(where != file for where, _ in told):
        told += ((file, "can be read by every user (chmod 600 it)"),)
    return told


def _tokens(place: Place, env: Mapping[str, str]) -> Tokens:
    """Return the tokens in force: the environment's override the files'."""
    held = place.tokens()
    admin, client = env.get(ADMIN_TOKEN_VARIABLE), env.get(CLIENT_TOKEN_VARIABLE)
    return Tokens(admin=Secret(admin) if admin else held.admin, client=Secret(client) if client else held.client)


def _guard(server: ServerSettings, host: str, bound: str, tokens: Tokens) -> Guard:
    """Decide which Hosts are answered, by the address really bound; raise CannotStart where that is open to the world.

    `host` is what was asked for: `0`, `0x0` and `::0` are spellings of everywhere, and names resolve to anything.
    """
    allowed = frozenset(name.lower() for name in server.allowed_hosts)
    address = ip_address(bound.partition("%")[0])
    own = {f"[{name}]" if ":" in name else name for name in (host.strip("[]").lower(), bound)}
    if address.is_unspecified:
        if not allowed:
            raise CannotStart(
                f"server.host {host!r} listens everywhere; name the hosts to answer to in `server.allowed_hosts`."
            )
        hosts = allowed | LOOPBACK_NAMES
    elif address.is_loopback:
        hosts = allowed | LOOPBACK_NAMES | own
    else:
        hosts = allowed | own
    if server.auth == "loopback_open" and not address.is_loopback:
        raise CannotStart("`server.auth: loopback_open` is only allowed on a loopback bind; use `required`.")
    return Guard(
        client_token=tokens.client,
        admin_token=tokens.admin,
        hosts=hosts,
        loopback_open=server.auth == "loopback_open",
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except (OSError, UnicodeError, OverflowError) as exc:
        number = exc.errno if isinstance(exc, OSError) else None
        known = number is not None and number > 0 and not isinstance(exc, socket.gaierror)
        why = os.strerror(number or 0) if known else getattr(exc, "strerror", None) or str(exc)
        holder = listener(port) if number == errno.EADDRINUSE else None
        by = "" if holder is None else f" by pid {holder.pid} ({holder.name})"
        remedy = "Ports below 1024 need privileges. " if number == errno.EACCES else ""
        raise CannotStart(
            f"cannot listen on {host}:{port}: {why}{by}. {remedy}Choose another with `--port`/`--host` or in `server`."
        ) from exc
