"""Discovery of real llama.cpp servers by their real listings: what they declare, what turns out, who is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from tests.acceptance.lab import NAMES, Lab
from tests.acceptance.live import Client, Json, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine
from tests.acceptance.payloads import IMAGE, WEATHER

FORCED: Json = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 256}
TOOLS, VISION = "interaction.tool-calling", "understanding.vision-understanding"


@pytest.fixture
def engine(make_engine: MakeEngine, lab: Lab) -> Iterator[Engine]:
    """A fresh router that is told of four servers and of no model."""
    engine = make_engine({"providers": [provider(lab, name) for name in NAMES]})
    yield engine
    engine.stop()


@pytest.fixture
def admin(engine: Engine) -> Client:
    """A client with the admin token, once all four servers were listed."""
    admin = engine.admin()
    wait_until(lambda: len(registry(admin)) == len(NAMES), "the four listings")
    return admin


@pytest.fixture(autouse=True)
def _healed(lab: Lab) -> Iterator[None]:
    """Every server runs again after each test."""
    yield
    lab.heal()


def provider(lab: Lab, name: str) -> Json:
    """A server without any model; one of them wants its key."""
    key = {"api_key": "lab-key"} if name == "lab-think" else {}
    return {"name": name, "kind": "openai_compatible", "base_url": lab.url(name), "health": {"enabled": False}, **key}


def registry(admin: Client) -> dict[str, Json]:
    """The models by id."""
    return {row["id"]: row for row in admin.get("/api/v1/models")["models"]}


def model(admin: Client, name: str) -> Json:
    """One server's model."""
    return admin.get(f"/api/v1/models/{quote(f'{name}/{name}', safe='')}")


def sync(admin: Client, *names: str) -> Json:
    """List now."""
    answer = admin.call("POST", "/api/v1/discovery/sync", {"providers": list(names)})
    assert answer.status == 200, answer
    return answer.body


def chat(name: str, **more: object) -> Json:
    """A chat body with one user turn."""
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 32, **more}


def test_four_real_listings_say_what_each_server_declares(admin: Client) -> None:
    """Window of a slot, tools by the template, no vision; all local, served, live and in pools by themselves."""
    known = registry(admin)
    assert set(known) == {f"{name}/{name}" for name in NAMES}
    for row in known.values():
        assert (row["state"], row["served"], row["origin"], row["context_window"]) == ("live", True, "discovery", 4096)
        told = {
            node: (row["capabilities"][node]["value"], row["capabilities"][node]["source"]) for node in (TOOLS, VISION)
        }
        assert told == {TOOLS: ("yes", "discovery"), VISION: ("no", "discovery")}
        assert {"auto", "tools"} <= set(row["pools"])
    answer = admin.chat(chat("lab-ready"))
    assert (answer.status, answer.headers["x-router-provider"]) == (200, "lab-ready")


def test_router_tools_serves_what_can_call_tools(admin: Client) -> None:
    """All four declare tools and one calls them: the virtual model lists them, and answers with a call."""
    assert "router/tools" in [row["id"] for row in admin.get("/v1/models")["data"]]
    for _ in range(4):
        answer = admin.chat(chat("router/tools", **FORCED))
        assert answer.status == 200, answer
        assert answer.headers["x-router-provider"] == "lab-tools", answer
        assert answer.body["choices"][0]["message"]["tool_calls"]
    gap = model(admin, "lab-ready")["capabilities"][TOOLS]
    assert (gap["value"], gap["source"]) == ("no", "gap"), "three strikes are a learned gap"
    cleared = admin.call("DELETE", f"/api/v1/models/{quote('lab-ready/lab-ready', safe='')}/capabilities/{TOOLS}/gap")
    assert cleared.status == 200, cleared
    assert model(admin, "lab-ready")["capabilities"][TOOLS]["source"] == "discovery"


def test_a_refusal_teaches_the_exact_route_and_clear_forgets_it(admin: Client) -> None:
    """llama.cpp's 500 to an image: a gap on lab-ready only, above what discovery says; cleared, discovery counts."""
    asked = chat("lab-ready/lab-ready")
    asked["messages"][0]["content"] = [{"type": "text", "text": "what is it?"}, IMAGE]
    assert admin.chat(asked).status == 422
    value = model(admin, "lab-ready")["capabilities"][VISION]
    assert [layer["source"] for layer in value["layers"]][:2] == ["gap", "discovery"]
    assert model(admin, "lab-tools")["capabilities"][VISION]["source"] == "discovery"
    path = f"/api/v1/models/{quote('lab-ready/lab-ready', safe='')}/capabilities/{VISION}/gap"
    assert admin.call("DELETE", path).status == 200
    assert model(admin, "lab-ready")["capabilities"][VISION]["source"] == "discovery"


def test_a_second_sync_of_real_servers_changes_nothing(engine: Engine, admin: Client) -> None:
    """Their listings say the same twice; the command line says so too."""
    found = sync(admin)
    assert (found["new"], found["changed"], found["missing"]) == ([], [], [])
    assert {row["status"] for row in found["providers"].values()} == {"ok"}
    said = engine.run("--json", "models", "sync")
    assert said.returncode == 0, said
    assert json.loads(said.stdout)["new"] == []


def test_a_frozen_and_a_dead_server_stop_nobody(lab: Lab, engine: Engine, admin: Client) -> None:
    """Frozen: given up after ten seconds; killed: at once; the last good lists stay, over a restart too."""
    lab.freeze("lab-chatter")
    lab.kill("lab-ready")
    began = time.monotonic()
    found = sync(admin)
    assert time.monotonic() - began < 15
    states = {name: row["status"] for name, row in found["providers"].items()}
    assert states == {"lab-chatter": "failed", "lab-ready": "failed", "lab-tools": "ok", "lab-think": "ok"}
    assert (found["missing"], len(registry(admin))) == ([], len(NAMES))
    engine.stop()
    engine.start()
    again = engine.admin()
    assert set(registry(again)) == {f"{name}/{name}" for name in NAMES}
    assert again.chat(chat("auto")).status == 200
    lab.heal()
    assert {row["status"] for row in sync(again)["providers"].values()} == {"ok"}


def test_a_wrong_key_is_told_as_such(lab: Lab, make_engine: MakeEngine) -> None:
    """lab-think lists its model to anybody who has the key only; the status says what to check."""
    engine = make_engine({"providers": [{**provider(lab, "lab-think"), "api_key": "wrong"}]})
    found = sync(engine.admin(), "lab-think")
    told = found["providers"]["lab-think"]
    assert (told["status"], told["models"]) == ("failed", 0)
    assert "check the key" in told["detail"]
    engine.stop()
