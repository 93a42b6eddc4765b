"""An endpoint outside the registry behind an engine of its own: one provider, no address of ours, for one run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from routerconsole import __version__
from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.load import load_text
from routerconsole.engine.clock import SystemClock
from routerconsole.engine.keeping import LogPolicy
from routerconsole.engine.service import Loaded, Service
from routerconsole.evals.outside import KIND, NoOutside, Outside, parts
from routerconsole.storage.db import Database
from routerconsole.storage.migrations import LOG, STATE

if TYPE_CHECKING:
    from routerconsole.domain.secret import Secret

PROVIDER = "url"
_KEY = "KEY"
_AT_ONCE = 64
"""Requests it may have at once; the run's own lanes keep it to fewer."""


async def open_outside(address: str, key: Secret | None) -> Outside:
    """Open an endpoint and find out which model to ask: the one named, else the first it lists. Raises NoOutside."""
    base, named = parts(address)
    root = TemporaryDirectory(prefix="routerconsole-url-")
    service = _service(base, key, named, Path(root.name))

    async def close() -> None:
        await service.stop(drain_s=0.0)
        root.cleanup()

    try:
        await service.start()
        listed = await service.discovery.sync([PROVIDER])
        provider = service.registry.providers[PROVIDER]
        model = next((each for each in provider.models if named is None or each.upstream_id == named), None)
        if model is None:
            told = "".join(each.error for each in listed)
            raise NoOutside(service.loaded.scrub(told) or "it lists no models (name one: url:http://…#model)")
    except BaseException:
        await close()
        raise
    name = f"{PROVIDER}/{model.upstream_id}"
    return Outside(
        chat=service.chat,
        name=name,
        model=model.upstream_id,
        window=model.context_window,
        local=provider.local,
        redact=service.loaded.scrub,
        close=close,
    )


def _service(base: str, key: Secret | None, model: str | None, root: Path) -> Service:
    provider = {
        "name": PROVIDER,
        "kind": KIND,
        "base_url": base,
        "max_concurrency": _AT_ONCE,
        "health": {"enabled": False},
        "models": [] if model is None else [{"id": model}],
        **({} if key is None else {"api_key": f"env:{_KEY}"}),
    }
    env = {} if key is None else {_KEY: key.reveal()}
    settings = load_text(json.dumps({"version": 1, "providers": [provider]}), "url", env).settings
    registry = build_registry(settings, env)
    clock = SystemClock()
    return Service(
        Loaded(registry, {}, (), None, build_redactor(registry).redact),
        state_db=Database(root / "state.db", STATE, wall=clock.wall),
        log_db=Database(root / "log.db", LOG, wall=clock.wall, synchronous="NORMAL"),
        clock=clock,
        rng=random.Random(),  # noqa: S311 - jitter, not secrets
        log_policy=LogPolicy(bodies="off"),
        version=__version__,
    )
