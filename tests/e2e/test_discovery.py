"""Discovery and pulls through the public port: what servers list is what the router knows and offers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Reply, Stand

from routerconsole.simulator import Behaviour, Listed, Pull, Script, Wire

SIX = tuple("abcdef")
OLLAMA = {"kind": "ollama"}
HOSTED = {"local": False}


def ollama(**models: Behaviour) -> Script:
    """A script of Ollama models; `_` in a name stands for `:`."""
    return Script(models={name.replace("_", ":"): behaviour for name, behaviour in models.items()})


def listing(*ids: str, **more: Any) -> tuple[Listed, ...]:
    """Entries of a listing."""
    return tuple(Listed(id=id_, **more) for id_ in ids)


async def listed(stand: Stand, *providers: str) -> None:
    """Return once these providers were listed for the first time."""
    done = stand.node.service.discovery.last
    await stand.until(lambda: all(name in done for name in providers or stand.sims), "the first listing")


async def sync(stand: Stand, *providers: str) -> dict[str, Any]:
    """Sync now; return what changed."""
    reply = await stand.post("/api/v1/discovery/sync", {"providers": list(providers)}, admin=True)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    return found


def diff(found: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """What a sync found new, changed and missing."""
    return found["new"], found["changed"], found["missing"]


async def models(stand: Stand, **wanted: str) -> dict[str, dict[str, Any]]:
    """The registry by id."""
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    rows = (await stand.get(f"/api/v1/models?{query}")).json["models"]
    return {row["id"]: row for row in rows}


async def pools(stand: Stand) -> dict[str, list[str]]:
    """Every pool's members."""
    rows = (await stand.get("/api/v1/pools")).json["pools"]
    return {row["id"]: [f"{member['provider']}/{member['model']}" for member in row["members"]] for row in rows}


async def states(stand: Stand) -> dict[str, str]:
    """Every model's state."""
    return {id_: row["state"] for id_, row in (await models(stand)).items()}


def model_path(id_: str, *more: str) -> str:
    """The path of a model in the control plane."""
    return "/".join(("/api/v1/models", quote(id_, safe=""), *more))


# --- what is listed is known ---
async def test_an_ollama_and_an_openai_server_are_listed_at_the_start(make: MakeStand) -> None:
    """Models nobody configured are in the registry, in pools by what they can, in /v1/models, and answer."""
    scripts = {
        "o": ollama(
            **{"llama3.1_8b": Behaviour(capabilities=("tools",), context_window=8192)},
            embedder=Behaviour(capabilities=("embeddings",)),
        ),
        "v": Script(models={"vl": Behaviour(context_window=4096)}, listing="vllm"),
    }
    stand = await make("o", "v", scripts=scripts, providers={"o": OLLAMA})
    await listed(stand)
    known = await models(stand)
    assert set(known) == {"o/llama3.1:8b", "o/embedder", "v/vl"}
    llama = known["o/llama3.1:8b"]
    assert (llama["context_window"], llama["origin"], llama["served"], llama["state"]) == (
        8192,
        "discovery",
        True,
        "live",
    )
    tools = llama["capabilities"]["interaction.tool-calling"]
    assert (tools["value"], tools["source"]) == ("yes", "discovery")
    assert known["v/vl"]["context_window"] == 4096
    members = await pools(stand)
    assert (members["embeddings"], "o/llama3.1:8b" in members["tools"]) == (["o/embedder"], True)
    assert "o__llama3.1:8b" in [row["id"] for row in (await stand.get("/v1/models")).json["data"]]
    reply = await stand.chat("o/llama3.1:8b")
    assert (reply.status, reply.served_by) == (200, "o/llama3.1:8b")
    assert (await stand.chat("router/tools")).served_by in ("o/llama3.1:8b", "v/vl")
    vectors = await stand.post("/v1/embeddings", {"model": "router/embeddings", "input": "x"})
    assert (vectors.status, vectors.served_by) == (200, "o/embedder")


async def test_a_hosted_models_listing_bills_nobody_until_it_is_accepted(make: MakeStand) -> None:
    """Models of a hosted provider can be named, and join no pool until somebody accepts them; then the free ones do."""
    entries = listing("x/paid", "x/chat:free", capabilities=("tools",), context_window=32_768)
    script = Script(listing="openrouter", listed=entries, default=Behaviour())
    stand = await make("r", scripts={"r": script}, providers={"r": HOSTED})
    await listed(stand)
    known = await models(stand)
    assert {id_: (row["in_pools"], row["free"]) for id_, row in known.items()} == {
        "r/x/paid": (False, None),
        "r/x/chat:free": (False, True),
    }
    assert (known["r/x/paid"]["usd_per_mtok_in"], known["r/x/paid"]["usd_per_mtok_out"]) == (0.5, 1.5)
    assert (await pools(stand))["auto"] == []
    assert (await stand.chat("auto")).status == 503
    assert (await stand.chat("x/paid")).status == 200
    for id_ in known:
        accepted = await stand.post("/api/v1/router/commands", _accept(id_), admin=True)
        assert accepted.status == 200, accepted.body
    free = await stand.chat("router/tools/free")
    assert (free.status, free.served_by) == (200, "r/x/chat:free")
    assert (await stand.chat("router/free")).served_by == "r/x/chat:free"
    assert set((await pools(stand))["auto"]) == set(known)


def _accept(id_: str) -> dict[str, Any]:
    provider, _, model = id_.partition("/")
    return {"command": "accept_model", "args": {"provider": provider, "model": model}}


async def test_a_configured_hosted_model_is_free_by_its_listing(make: MakeStand) -> None:
    """What is configured joins pools; that it costs nothing is what the listing says."""
    entries = listing("x/chat:free", "x/paid", capabilities=("tools",))
    script = Script(listing="openrouter", listed=entries, default=Behaviour())
    stand = await make("r", scripts={"r": script}, models={"r": ("x/chat:free", "x/paid")}, providers={"r": HOSTED})
    await listed(stand)
    assert (await stand.chat("router/free")).served_by == "r/x/chat:free"
    local = await stand.chat("router/local")
    assert (local.status, local.error["code"]) == (503, "no_routable_candidate")


async def test_C1_12_a_variant_that_lists_no_tools_is_in_no_tools_pool(make: MakeStand) -> None:
    """Its sibling's tools are not its own; a terse listing adds to what the catalogue knows."""
    entries = (
        Listed(id="z/x", capabilities=("tools",)),
        Listed(id="z/x:free", capabilities=("reasoning",)),
        Listed(id="meta-llama/llama-3.1-8b-instruct", capabilities=("vision",)),
    )
    script = Script(listing="openrouter", listed=entries, default=Behaviour())
    stand = await make("r", scripts={"r": script})
    await listed(stand)
    assert set((await pools(stand))["tools"]) == {"r/z/x", "r/meta-llama/llama-3.1-8b-instruct"}
    assert (await pools(stand))["vision"] == ["r/meta-llama/llama-3.1-8b-instruct"]
    assert (await pools(stand))["reasoning"] == ["r/z/x:free"]


@pytest.mark.parametrize(
    ("style", "word"), [("llamacpp", "tools"), ("lmstudio", "tools"), ("litellm", "tools"), ("litellm", "vision")]
)
async def test_each_server_is_asked_what_it_can_tell(make: MakeStand, style: Any, word: str) -> None:
    """llama.cpp's props, LM Studio's and LiteLLM's lists end as capabilities and windows of the registry."""
    script = Script(models={"m": Behaviour(capabilities=(word,), context_window=2048)}, listing=style)
    stand = await make("s", scripts={"s": script})
    await listed(stand)
    row = (await models(stand))["s/m"]
    node = {"tools": "interaction.tool-calling", "vision": "understanding.vision-understanding"}[word]
    assert (row["capabilities"][node]["value"], row["capabilities"][node]["source"]) == ("yes", "discovery")
    assert row["context_window"] == 2048


async def test_a_llama_cpp_python_is_spared_what_it_chokes_on(make: MakeStand) -> None:
    """Its listing gives it away; from then on an assistant's null content goes as an empty text."""
    script = Script(models={"m": Behaviour()}, listed=listing("m", fields={"owned_by": "me"}))
    stand = await make("s", scripts={"s": script})
    await listed(stand)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    reply = await stand.post("/v1/chat/completions", {"model": "m", "messages": history})
    assert reply.status == 200
    sent = orjson.loads(next(row.body for row in reversed(stand.sims["s"].received) if row.model == "m"))
    assert sent["messages"][1]["content"] == ""


async def test_X26_hostile_ids_stay_out_and_are_told(make: MakeStand) -> None:
    """A name that cannot be shown is left out with a note; the others are listed."""
    script = Script(models={"m": Behaviour()}, listed=listing("evil\x1b[2J", "\u202eabc", "x" * 10_000))
    stand = await make("s", scripts={"s": script})
    await listed(stand)
    assert set(await models(stand)) == {"s/m"}
    (told,) = stand.events("discovery.updated")
    assert told.data["detail"] == "3 entries have no usable id and stays out"


# --- what changes between listings ---
async def test_C1_56_a_second_sync_is_an_empty_diff_and_writes_nothing(make: MakeStand) -> None:
    """No event, no audit row, no new version of the registry; the same after a restart."""
    stand = await make("s", scripts={"s": Script(models={"m": Behaviour(), "n": Behaviour()})})
    await listed(stand)
    version, rows = stand.node.service.registry.version, len((await stand.get("/api/v1/audit")).json["audit"])
    assert diff(await sync(stand)) == ([], [], [])
    assert stand.node.service.registry.version == version
    assert len(stand.events("discovery.updated")) == 1
    assert len((await stand.get("/api/v1/audit")).json["audit"]) == rows
    await stand.restart()
    assert diff(await sync(stand, "s")) == ([], [], [])
    assert stand.events("discovery.updated") == []


async def test_a_sync_tells_what_is_new_changed_and_missing(make: MakeStand) -> None:
    """Real differences by id, in the answer, in one event and in the audit; a dry run only tells."""
    entries = (Listed(id="goes", last=1), Listed(id="comes", first=2), *listing("stays", "and", "and-two"))
    script = Script(listed=(*entries, Listed(id="c", last=1), Listed(id="c", first=2, fields={"max_model_len": 5})))
    stand = await make("s", scripts={"s": script})
    await listed(stand)
    stand.sims["s"].listed = [entry for entry in stand.sims["s"].listed if entry.first == 2 or entry.last is None]
    dry = {"command": "sync_models", "dry_run": True}
    told = (await stand.post("/api/v1/router/commands", dry, admin=True)).json["after"]
    assert diff(told) == (["s/comes"], ["s/c"], ["s/goes"])
    assert "s/comes" not in await models(stand)
    found = await sync(stand)
    assert diff(found) == (["s/comes"], ["s/c"], ["s/goes"])
    event = stand.events("discovery.updated")[-1].data
    assert (event["new"], event["changed"], event["missing"]) == (["comes"], ["c"], ["goes"])
    audit = (await stand.get("/api/v1/audit")).json["audit"][0]
    assert (audit["command"], audit["after"]["missing"]) == ("sync_models", ["s/goes"])
    assert (await models(stand))["s/c"]["context_window"] == 5


async def test_a_missing_model_is_stale_then_withdrawn_and_live_again_when_it_returns(make: MakeStand) -> None:
    """After two complete listings it leaves the pools, is still listed, and comes back as it was."""
    script = Script(models=dict.fromkeys(SIX, Behaviour()))
    stand = await make("s", scripts={"s": script})
    await listed(stand)
    stand.sims["s"].remove("f")
    assert diff(await sync(stand)) == ([], [], ["s/f"])
    assert (await states(stand))["s/f"] == "stale"
    assert "s/f" in (await pools(stand))["auto"]
    assert diff(await sync(stand)) == ([], [], ["s/f"])
    assert (await states(stand))["s/f"] == "withdrawn"
    assert "s/f" not in (await pools(stand))["auto"]
    assert diff(await sync(stand)) == ([], [], [])
    stand.sims["s"].set("f", Behaviour())
    assert diff(await sync(stand)) == ([], ["s/f"], [])
    assert (await states(stand))["s/f"] == "live"


async def test_C1_54_a_listing_that_lost_most_models_is_distrusted(make: MakeStand) -> None:
    """One of six: nobody is missing, however often; five of six: one is."""
    stand = await make("s", scripts={"s": Script(models=dict.fromkeys(SIX, Behaviour()))})
    await listed(stand)
    for name in SIX[1:]:
        stand.sims["s"].remove(name)
    for _ in range(3):
        found = await sync(stand)
        assert diff(found) == ([], [], [])
        assert "1 of 6" in found["providers"]["s"]["detail"]
    assert set((await states(stand)).values()) == {"live"}
    for name in SIX[1:5]:
        stand.sims["s"].set(name, Behaviour())
    assert diff(await sync(stand)) == ([], [], ["s/f"])


async def test_C3_41_a_sync_touches_nothing_a_person_set(make: MakeStand) -> None:
    """The same id at two providers is two models; tags, own models and tombstones outlive every sync."""
    scripts = {name: Script(models={"m": Behaviour(), "n": Behaviour()}) for name in ("a", "b")}
    stand = await make("a", "b", scripts=scripts)
    await listed(stand)
    assert {"a/m", "b/m"} <= set(await models(stand))
    tag = {"command": "label_model", "args": {"provider": "a", "model": "m", "add": ["mine"]}}
    tagged = await stand.post("/api/v1/router/commands", tag, admin=True)
    assert tagged.status == 200, tagged.body
    assert (await stand.post("/api/v1/models", {"provider": "a", "id": "hand-made"}, admin=True)).status == 201
    away = {"command": "remove_model", "args": {"provider": "b", "model": "n"}}
    removed = await stand.post("/api/v1/router/commands", away, admin=True)
    assert removed.status == 200, removed.body
    for sim in stand.sims.values():
        sim.set("later", Behaviour())
    found = await sync(stand)
    assert set(found["new"]) == {"a/later", "b/later"}
    known = await models(stand)
    assert known["a/m"]["tags"] == ["mine"]
    assert known["a/hand-made"]["state"] == "live"
    assert "b/n" not in known
    await stand.restart()
    assert "b/n" not in await models(stand)


async def test_what_missing_and_new_models_do_is_configured(make: MakeStand) -> None:
    """`on_new_model: ignore` registers none, `on_missing_model: ignore` makes none stale."""
    policy = {"discovery": {"on_new_model": "ignore", "on_missing_model": "ignore"}}
    script = Script(models={"m": Behaviour(context_window=4096), "n": Behaviour(), "o": Behaviour()}, listing="vllm")
    stand = await make("s", scripts={"s": script}, models={"s": ("m", "n")}, providers={"s": policy})
    await listed(stand)
    assert set(await models(stand)) == {"s/m", "s/n"}
    assert (await models(stand))["s/m"]["context_window"] == 4096
    stand.sims["s"].set("p", Behaviour())
    stand.sims["s"].remove("m")
    assert diff(await sync(stand)) == ([], [], [])
    assert diff(await sync(stand)) == ([], [], [])
    assert await states(stand) == {"s/m": "live", "s/n": "live"}


# --- who is asked, and when ---
async def test_discovery_that_is_off_asks_nobody(make: MakeStand) -> None:
    """Not at the start and not on demand; naming it says why, an unknown name is 404."""
    quiet = {"discovery": {"enabled": False}, "health": {"enabled": False}}
    stand = await make("a", "b", providers={"a": quiet})
    await listed(stand, "b")
    found = await sync(stand)
    assert list(found["providers"]) == ["b"]
    refused = await stand.post("/api/v1/discovery/sync", {"providers": ["a"]}, admin=True)
    assert (refused.status, "discovery.enabled" in refused.error["message"]) == (409, True)
    assert stand.sims["a"].count("GET /v1/models") == 0
    unknown = await stand.post("/api/v1/discovery/sync", {"providers": ["zz"]}, admin=True)
    assert (unknown.status, "'zz'" in unknown.error["message"]) == (404, True)


async def test_the_interval_asks_again_and_again(make: MakeStand) -> None:
    """A model that appears is known without anybody asking."""
    policy = {"discovery": {"interval": "250ms"}, "health": {"enabled": False}}
    stand = await make("s", scripts={"s": Script(models={"m": Behaviour()})}, providers={"s": policy})
    await listed(stand)
    stand.sims["s"].set("later", Behaviour())
    async with asyncio.timeout(60):
        while "s/later" not in await models(stand):
            await asyncio.sleep(0.02)


async def test_C1_58_one_dead_provider_delays_and_fails_nobody(make: MakeStand) -> None:
    """Refused, hanging and garbled listings end in a status each; the others are listed, /v1/models answers."""
    scripts = {name: Script(models={"m": Behaviour()}) for name in ("good", "hung", "odd", "shut")}
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = {"base_url": f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"}
        scripts["hung"] = Script(models={"m": Behaviour(), "GET /v1/models": Behaviour(wire=Wire.HANG)})
        scripts["odd"] = Script(models={"m": Behaviour(), "GET /v1/models": Behaviour(statuses=(503,))})
        stand = await make("good", "hung", "odd", "shut", scripts=scripts, providers={"shut": dead})
        await listed(stand, "good", "odd", "shut")
        found = await sync(stand, "good", "odd", "shut")
        states_of = {name: row["status"] for name, row in found["providers"].items()}
        assert states_of == {"good": "ok", "odd": "failed", "shut": "failed"}
        assert "503" in found["providers"]["odd"]["detail"]
        assert "hung" not in stand.node.service.discovery.last
        assert [row["id"] for row in (await stand.get("/v1/models")).json["data"] if "__" in row["id"]] == ["good__m"]
        assert (await stand.chat("good/m")).status == 200


async def test_C3_40_a_failed_listing_keeps_the_last_good_one_over_a_restart(make: MakeStand) -> None:
    """Its models stay, marked stale in the status of the sync, also when the engine starts without it."""
    stand = await make("s", scripts={"s": Script(models={"m": Behaviour(), "n": Behaviour()})})
    await listed(stand)
    await stand.sims["s"].pause_listening(drop=True)
    found = await sync(stand)
    assert (diff(found), found["providers"]["s"]["stale"]) == (([], [], []), True)
    assert set(await states(stand)) == {"s/m", "s/n"}
    await stand.restart()
    assert await states(stand) == {"s/m": "live", "s/n": "live"}
    await listed(stand)
    assert stand.node.service.overlay.listings["s"].stale
    await stand.sims["s"].resume_listening()
    assert diff(await sync(stand)) == ([], [], [])
    assert not stand.node.service.overlay.listings["s"].stale
    assert (await stand.chat("s/n")).status == 200


async def test_a_listing_ends_the_fault_missing(make: MakeStand) -> None:
    """A model that was 404 and is listed again is asked again at once."""
    stand = await make("s", scripts={"s": Script(models={"m": Behaviour(), "n": Behaviour()})})
    await listed(stand)
    stand.sims["s"].remove("m")
    assert (await stand.chat("s/m")).error["routerconsole"]["attempts"][0]["class"] == "missing"
    assert (await stand.route("s", "m")).status == "missing"
    stand.sims["s"].set("m", Behaviour())
    await sync(stand)
    assert (await stand.route("s", "m")).status != "missing"
    assert (await stand.chat("s/m")).status == 200


# --- pulls ---
CHAIN = ("llama3.2-vision:11b", "qwen2.5vl:3b", "llava:7b", "moondream:1.8b")


def chained(*installed: str, **pulls: Pull) -> dict[str, Any]:
    """An Ollama with a vision chain of which these are installed."""
    script = Script(models=dict.fromkeys(installed, Behaviour(capabilities=("vision",))), pulls=pulls)
    pool = {"id": "vision-chain", "members": [f"o/{name}" for name in CHAIN], "strategy": "priority"}
    return {"scripts": {"o": script}, "providers": {"o": OLLAMA}, "pools": [pool]}


async def pull(stand: Stand, id_: str) -> Reply:
    """Ask for a download."""
    return await stand.post(model_path(id_, "pull"), {}, admin=True)


async def ended(stand: Stand) -> list[dict[str, Any]]:
    """Every event of the download once it has ended."""
    told = lambda: [dict(event.data) for event in stand.events("pull.progress")]  # noqa: E731
    await stand.until(lambda: told() and told()[-1]["state"] != "running", "the end of the download")
    return told()


async def test_a_pull_tells_its_progress_and_its_model_serves(make: MakeStand) -> None:
    """At most five events a second, up to all bytes of all parts; then the model is listed, pooled, and answers."""
    stand = await make("o", **chained(*CHAIN[1:2], **{"*": Pull(steps=6, step_s=0.11, total=600, parts=2)}))
    await listed(stand)
    started = await pull(stand, f"o/{CHAIN[0]}")
    assert started.status in (200, 202), started.body
    assert (await pull(stand, f"o/{CHAIN[0]}")).status == 409
    told = await ended(stand)
    percents = [row["percent"] for row in told if row["percent"] is not None]
    assert told[0]["state"] == "running"
    assert (told[-1]["state"], told[-1]["completed"], told[-1]["total"], told[-1]["percent"]) == (
        "done",
        1200,
        1200,
        100,
    )
    assert 3 <= len(told) <= 12
    assert min(percents) < 100
    assert (await states(stand))[f"o/{CHAIN[0]}"] == "live"
    assert (await stand.chat("vision-chain")).served_by == f"o/{CHAIN[0]}"


async def test_a_failing_pull_proposes_the_next_installed_of_its_chain(make: MakeStand) -> None:
    """`qwen2.5vl:3b` is not installed either: `llava:7b` is next; the reason is the server's."""
    stand = await make("o", **chained("llava:7b", "moondream:1.8b", **{"*": Pull(ok=False, step_s=0.01)}))
    await listed(stand)
    await pull(stand, f"o/{CHAIN[0]}")
    last = (await ended(stand))[-1]
    assert (last["state"], last["proposal"]) == ("failed", "o/llava:7b")
    assert last["error"] == "pull model manifest: file does not exist"
    assert f"o/{CHAIN[0]}" not in await models(stand)


async def test_a_cancelled_pull_closes_its_connection(make: MakeStand) -> None:
    """The upstream sees the connection end; cancelling again is 404; a new pull may start."""
    stand = await make("o", **chained("llava:7b", **{"*": Pull(hang_at=2, step_s=0.01)}))
    await listed(stand)
    await pull(stand, f"o/{CHAIN[0]}")
    await stand.sims["o"].wait_received(model="POST /api/pull")
    path = model_path(f"o/{CHAIN[0]}", "pull")
    headers = {"authorization": f"Bearer {stand.admin_token}"}
    async with stand.session.delete(stand.url + path, headers=headers) as cancelled:
        assert cancelled.status == 200
    await stand.sims["o"].wait_closed()
    assert (await ended(stand))[-1]["state"] == "cancelled"
    async with stand.session.delete(stand.url + path, headers=headers) as again:
        assert again.status == 404
    stand.sims["o"].pulls["*"] = Pull(step_s=0.001)
    assert (await pull(stand, f"o/{CHAIN[0]}")).status in (200, 202)
    await stand.until(lambda: stand.events("pull.progress")[-1].data["state"] == "done")


async def test_a_pull_that_falls_silent_fails(make: MakeStand) -> None:
    """Silence has an end, and closes the connection."""
    stand = await make("o", **chained("llava:7b", **{"*": Pull(hang_at=2, step_s=0.01)}))
    await listed(stand)
    stand.node.service.pulls.silence_s = 0.2
    await pull(stand, f"o/{CHAIN[0]}")
    last = (await ended(stand))[-1]
    assert (last["state"], last["proposal"]) == ("failed", "o/llava:7b")
    assert "no progress" in last["error"]
    await stand.sims["o"].wait_closed()


async def test_only_ollama_servers_pull(make: MakeStand) -> None:
    """Other kinds are a clear 400, unknown providers a 404, and nothing is sent."""
    stand = await make("a")
    refused = await pull(stand, "a/m")
    assert (refused.status, "Only Ollama" in refused.error["message"]) == (400, True)
    assert (await pull(stand, "zz/m")).status == 404
    assert stand.sims["a"].count("POST /api/pull") == 0


async def test_a_pull_in_progress_does_not_outlive_its_engine(make: MakeStand) -> None:
    """A stop ends it at once and leaves nothing open."""
    stand = await make("o", **chained("llava:7b", **{"*": Pull(hang_at=2, step_s=0.01)}))
    await listed(stand)
    await pull(stand, f"o/{CHAIN[0]}")
    await stand.sims["o"].wait_received(model="POST /api/pull")
    await stand.restart()
    await stand.sims["o"].wait_closed()
    assert stand.node.service.pulls.running() == ()
