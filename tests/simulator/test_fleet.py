"""The demo fleet shows every class in a minute and always has a healthy backup; its traffic meets all of it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import Any

import orjson
import yaml
from tests.simulator.wire import ask, chat

from routerconsole.config.load import load_text
from routerconsole.simulator import Answering, Behaviour, Wire
from routerconsole.simulator.fleet import PERIOD_S, demo_fleet
from routerconsole.simulator.traffic import CHAT, EMBEDDINGS, TrafficItem, traffic


def _durations(config: dict[str, Any]) -> list[float]:
    """The attempt timeouts of the routing section, in seconds."""
    names = ("connect_timeout", "first_token_timeout", "idle_timeout", "total_timeout")
    return [float(str(config[name]).removesuffix("s")) for name in names]


async def test_the_fleet_starts_and_its_configuration_points_at_it(leakcheck: None) -> None:
    """Four providers or more, five models or more, timeouts of two seconds and less, quick circuits, real addresses."""
    async with demo_fleet(7) as fleet:
        providers: list[dict[str, Any]] = list(fleet.provider_configs)
        assert len(providers) >= 4
        assert len({model["id"] for p in providers for model in p["models"]}) >= 5
        assert max(_durations(dict(fleet.routing_config))) <= 2
        for provider in providers:
            simulator = fleet.simulators[provider["name"]]
            assert provider["base_url"].startswith(simulator.origin)
            assert {model["id"] for model in provider["models"]} <= set(simulator.behaviours)
            assert provider["circuit"]["recovery_timeout"] == "6s"
        assert [p["priority"] for p in providers] == sorted(p["priority"] for p in providers)
        assert (await ask(fleet.simulators["steady"], chat("ember-8b"))).status == 200
    json.dumps(providers)  # plain data


def test_steady_serves_every_shared_model_and_never_fails() -> None:
    """The backup has no time table, no fault and every id that may fail over."""
    fleet = demo_fleet(7)
    backup = fleet.simulators["steady"].behaviours
    assert all(
        not b.schedule and not b.statuses and b.wire is Wire.NONE and not b.refuse and b.context_window is None
        for b in backup.values()
    )
    alone = {"guarded-8b", "glass-8b", "flint-3b", "iris-vl"}  # pinned on purpose, or reached through `auto` only
    for name, simulator in fleet.simulators.items():
        models = {model for model in simulator.behaviours if not model.startswith("GET ")}
        assert models - alone <= set(backup), name


def _shown(behaviour: Behaviour) -> str | None:
    """What a behaviour in force shows."""
    if behaviour.statuses:
        return str(behaviour.statuses[0])
    if behaviour.wire is not Wire.NONE:
        return behaviour.wire
    if behaviour.answer is not Answering.NORMAL:
        return behaviour.answer
    if behaviour.cut_after is not None:
        return "cut"
    return "slow" if isinstance(behaviour.ttft, float) and behaviour.ttft > 2 else None


def test_a_minute_of_traffic_meets_every_fault() -> None:
    """Whatever the seed, requests to a faulty model arrive while its fault lasts."""
    wanted = {
        "openai_rate", "stale", "blank", "login_page", "openai_server", "llama_loading", "slow", "payment", "503",
        "openai_bad_request", "openai_missing", "openai_filter", "anthropic_overloaded", "anthropic_bad_key", "cut",
    }  # fmt: skip
    for seed in (0, 7, 99):
        fleet = demo_fleet(seed)
        met: Counter[str] = Counter()
        elapsed = 0.0
        for item in traffic(seed):
            elapsed += item.delay_s
            if elapsed >= PERIOD_S:
                break
            model = str(item.body["model"]).rpartition("/")[2]
            model = "ember-8b" if model == "auto" else model  # the first candidate of the pool
            for name, simulator in fleet.simulators.items():
                behaviour = simulator.behaviours.get(model)
                if behaviour is None or name == "steady":
                    continue
                shown = _shown(behaviour.at(elapsed))
                if shown not in {"slow", "cut"} or item.body.get("stream"):
                    met[shown or "good"] += 1
            if model == "llama3.2:3b" and any(w.holds(elapsed) for w in fleet.simulators["cobalt"].script.refusing):
                met["refused"] += 1
        assert wanted <= set(met), (seed, wanted - set(met))
        assert met["openai_server"] >= 8, "enough in a row to open a circuit"
        assert met["refused"] >= 3, "enough in a row to open a provider's circuit"


def test_traffic_is_the_same_for_the_same_seed_and_has_every_kind() -> None:
    """Seeded, JSON all through, about eight a second, with every need of a request in it."""
    first, second, other = (list(islice(traffic(seed), 300)) for seed in (7, 7, 8))
    assert first == second
    assert first != other
    seen: Counter[str] = Counter(kind for item in first for kind in _kinds(item))
    for kind in (
        "plain", "stream", "usage", "required", "named", "auto", "json_object", "json_schema", "vision", "embeddings",
        "long", "pinned", "agent",
    ):  # fmt: skip
        assert seen[kind], kind
    assert 6 < 300 / sum(item.delay_s for item in first) < 12


def _kinds(item: TrafficItem) -> list[str]:
    """The kinds a request belongs to."""
    body: dict[str, Any] = orjson.loads(orjson.dumps(item.body))
    kinds = {
        "embeddings": item.path == EMBEDDINGS,
        "plain": item.path == CHAT and not body.get("stream"),
        "stream": bool(body.get("stream")),
        "usage": "stream_options" in body,
        "required": body.get("tool_choice") == "required",
        "named": isinstance(body.get("tool_choice"), dict),
        "auto": body.get("tool_choice") == "auto",
        "json_object": body.get("response_format") == {"type": "json_object"},
        "json_schema": body.get("response_format", {}).get("type") == "json_schema",
        "vision": "image_url" in str(body.get("messages")),
        "long": len(str(body)) > 6_000,
        "pinned": "/" in body["model"] and not body["model"].startswith("router/"),
        "agent": "x-router-agent" in item.headers,
    }
    return [kind for kind, found in kinds.items() if found]


async def test_the_configuration_is_one_the_loader_takes() -> None:
    """Providers and routing go through the real loader without a complaint."""
    async with demo_fleet(7) as fleet:
        document = {"version": 1, "routing": fleet.routing_config, "providers": fleet.provider_configs}
    text = yaml.safe_dump(orjson.loads(orjson.dumps(document)), sort_keys=False)
    loaded = load_text(text, "demo.yaml", {})
    assert [provider.name for provider in loaded.settings.providers] == list(fleet.simulators)
