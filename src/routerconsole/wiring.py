"""The one composition root: from options to a running engine with its server. Nothing else constructs across layers."""

from __future__ import annotations

import json
import os
import random
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routerconsole import __version__
from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.detect import LOCAL, from_answers, listed_ids
from routerconsole.config.load import LoadedConfig, load, load_text
from routerconsole.config.reload import Decision, Watch, signature
from routerconsole.config.show import effective
from routerconsole.control.local import LocalControl
from routerconsole.domain.address import is_local
from routerconsole.domain.registry import ProviderKind, assemble
from routerconsole.domain.secret import Secret
from routerconsole.engine.clock import SystemClock
from routerconsole.engine.keeping import LogPolicy
from routerconsole.engine.service import Loaded, Service
from routerconsole.server.app import App
from routerconsole.server.control import api_app
from routerconsole.server.door import DoorLimits
from routerconsole.server.guard import LOOPBACK_NAMES, Guard
from routerconsole.server.run import HttpServer, bind
from routerconsole.simulator import Behaviour, Simulator
from routerconsole.storage.db import Database
from routerconsole.storage.lock import EngineLock
from routerconsole.storage.migrations import LOG, STATE
from routerconsole.storage.place import Place, Tokens, open_place

if TYPE_CHECKING:
    import socket

    from routerconsole.config.models import ServerSettings
    from routerconsole.domain.registry import Provider, Registry

STATE_VARIABLE = "ROUTERCONSOLE_STATE_DIR"
CLIENT_TOKEN_VARIABLE, ADMIN_TOKEN_VARIABLE = "ROUTERCONSOLE_CLIENT_TOKEN", "ROUTERCONSOLE_ADMIN_TOKEN"
WILDCARDS = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104 - named to be refused without allowed_hosts
DETECT_TIMEOUT_S = 0.4
"""A local server that lists its models answers in milliseconds; start-up waits for nobody longer."""


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


def state_directory(option: Path | None, env: Mapping[str, str]) -> Path:
    """Return the state directory of interface.md §1."""
    if option is not None:
        return option
    if env.get(STATE_VARIABLE):
        return Path(env[STATE_VARIABLE])
    base = env.get("XDG_STATE_HOME", "")
    return Path(base if os.path.isabs(base) else Path.home() / ".local" / "state") / "routerconsole"


def prepare(options: EngineOptions, env: Mapping[str, str], *, text: str | None = None) -> Prepared:
    """Do what can fail, on the main thread; raise ConfigError, CannotStart, or a StorageError.

    `text` is a configuration made by the program itself (the demo's), in place of a file.
    """
    config = load_text(text, "built in", env) if text is not None else load(options.config, env, Path.cwd())
    if text is not None:
        config = replace(config, warnings=())  # the program's own text needs no advice
    elif config.source_path is None:
        config = replace(config, settings=from_answers(env, _local_listings()))
    place = open_place(state_directory(options.state_dir, env))
    lock = EngineLock(place)
    try:
        tokens = _tokens(place, env)
        server = config.settings.server
        host = options.host or server.host
        guard = _guard(server, host, tokens)
        sock = _bind(host, server.port if options.port is None else options.port)
    except BaseException:
        lock.release()
        raise
    shown_host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return Prepared(
        config=config,
        loaded=_loaded(config, env, tokens, place=place),
        place=place,
        lock=lock,
        tokens=tokens,
        guard=guard,
        sock=sock,
        url=f"http://{shown_host}:{sock.getsockname()[1]}",
        options=options,
        env=env,
    )


class Node:
    """One engine with its HTTP server, on the loop it is started on."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        clock = SystemClock()
        place, log = prepared.place, prepared.config.settings.log
        self._watch = Watch(None if prepared.config.source_path is None else signature(prepared.config.source_path))
        self._simulators: dict[str, Simulator] = {}
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
        )
        self.service.endpoint = prepared.url
        self.control = LocalControl(self.service)
        server = prepared.config.settings.server
        max_body = int(server.max_body_mb * 1024 * 1024)
        app = App(
            chat=self.service.chat,
            control=self.control,
            guard=prepared.guard,
            api=api_app(self.control, self.service.chat, max_body=max_body),
            max_body=max_body,
        )
        limits = DoorLimits(max_connections=server.max_connections, max_body=max_body)
        self.server = HttpServer(app, prepared.sock, limits)

    async def start(self) -> None:
        """Open storage, serve, and say where in engine.json. Raises NewerSchema or UnsafePlace."""
        await self._start_simulators()
        await self.service.start()
        await self.server.start(self.service.tasks)
        self._prepared.lock.publish(url=self._prepared.url, version=__version__)

    async def stop(self) -> None:
        """Stop accepting, drain, flush, close; idempotent."""
        self.server.stop_accepting()
        await self.service.stop(before_close=self.server.stop)
        for simulator in self._simulators.values():
            await simulator.stop()
        self._prepared.lock.release()

    def _file_changed(self) -> bool:
        path = self._prepared.config.source_path
        self._watch, decision = self._watch.look(None if path is None else signature(path))
        return decision is Decision.RELOAD

    def _reload(self, version: int) -> Loaded:
        prepared = self._prepared
        config = load(prepared.config.source_path, prepared.env, Path.cwd())
        loaded = _loaded(config, prepared.env, prepared.tokens, place=prepared.place, version=version)
        return replace(loaded, registry=self._with_simulators(loaded.registry))

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
        return assemble(
            version=registry.version,
            policy=registry.policy,
            providers=[self._pointed(provider) for provider in registry.providers.values()],
            pools=[pool for pool in registry.pools.values() if not pool.automatic],
            tree=registry.tree,
        )

    def _pointed(self, provider: Provider) -> Provider:
        if provider.kind is not ProviderKind.SIMULATED:
            return provider
        simulator = self._simulators.get(provider.name)
        if simulator is None:
            return replace(provider, unavailable="a simulated provider added by a reload starts with the next start")
        return replace(provider, base_url=simulator.base_url, unavailable=None)


def _loaded(config: LoadedConfig, env: Mapping[str, str], tokens: Tokens, *, place: Place, version: int = 1) -> Loaded:
    registry = build_registry(config.settings, env, version=version)
    redactor = build_redactor(registry, (tokens.admin, tokens.client))
    shown: Mapping[str, Any] = effective(config, registry, redactor)
    notices = (*(str(item) for item in config.warnings), *(notice.text for notice in place.notices))
    path = None if config.source_path is None else str(config.source_path)
    return Loaded(registry, shown, notices, path, redactor.redact)


def _tokens(place: Place, env: Mapping[str, str]) -> Tokens:
    """Return the tokens in force: the environment's override the files'."""
    held = place.tokens()
    admin, client = env.get(ADMIN_TOKEN_VARIABLE), env.get(CLIENT_TOKEN_VARIABLE)
    return Tokens(admin=Secret(admin) if admin else held.admin, client=Secret(client) if client else held.client)


def _guard(server: ServerSettings, host: str, tokens: Tokens) -> Guard:
    """Decide which Hosts are answered; raise CannotStart for a bind that would be open to the world."""
    allowed = frozenset(name.lower() for name in server.allowed_hosts)
    if host in WILDCARDS:
        if not allowed:
            raise CannotStart(
                f"server.host {host!r} listens everywhere; name the hosts to answer to in `server.allowed_hosts`."
            )
        hosts = allowed | LOOPBACK_NAMES
    elif is_local(host.strip("[]")):
        hosts = allowed | LOOPBACK_NAMES
    else:
        hosts = allowed | {f"[{host.strip('[]')}]" if ":" in host else host.lower()}
    if server.auth == "loopback_open" and not is_local(host.strip("[]")):
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
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else str(exc)
        raise CannotStart(
            f"cannot listen on {host}:{port}: {why}. Choose another with `--port` or `server.port`."
        ) from exc


def _local_listings() -> dict[str, list[str] | None]:
    """Ask the usual local servers for their models, all at once."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    urls = [local.listing for local in LOCAL]
    with ThreadPoolExecutor(len(urls)) as pool:
        return dict(zip(urls, pool.map(partial(_listing, opener), urls), strict=True))


def _listing(opener: urllib.request.OpenerDirector, url: str) -> list[str] | None:
    try:
        with opener.open(url, timeout=DETECT_TIMEOUT_S) as answer:
            return listed_ids(json.loads(answer.read(1 << 20)))
    except (OSError, ValueError):
        return None
