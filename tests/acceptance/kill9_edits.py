"""Registry edits for the `kill -9` rounds: what an operator was told is done must be there after the restart."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from urllib.parse import quote

from tests.acceptance.live import Client, Json

PROVIDER, MODEL, AGENT = "steady", "steady", "walker"
NODE = "interaction.tool-calling"


@dataclass(frozen=True, slots=True)
class Shelf:
    """What operators decided about one provider's models."""

    tags: frozenset[str] = frozenset()
    tools: str | None = None  # the operator's own value
    own: frozenset[str] = frozenset()  # registered models
    agent: str | None = None  # what the agent is assigned to


@dataclass(slots=True)
class Edits:
    """The acknowledged shelf, what is on its way, and how much was acknowledged since the last restart."""

    acknowledged: Shelf = Shelf()
    pending: Shelf | None = None
    this_round: int = 0
    total: int = 0
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def next_edit(shelf: Shelf, rng: random.Random) -> tuple[str, Json, Shelf]:
    """A random command that is not refused, its arguments, and the shelf it leads to."""
    here, name = {"provider": PROVIDER, "model": MODEL}, f"x{rng.randrange(20)}"
    kind = rng.choice(["label", "capability", "model", "agent"])
    if kind == "label":
        there = name in shelf.tags
        return "label_model", {**here, "remove" if there else "add": [name]}, replace(shelf, tags=shelf.tags ^ {name})
    if kind == "capability":
        value = rng.choice(["yes", "no"] if shelf.tools is None else ["yes", "no", None])
        if value is None:
            return "clear_capability", {**here, "node": "tools"}, replace(shelf, tools=None)
        return "set_capability", {**here, "node": "tools", "value": value}, replace(shelf, tools=value)
    if kind == "model":
        command = "remove_model" if name in shelf.own else "register_model"
        gone = shelf.agent == f"{PROVIDER}/{name}"  # assignments go with their model
        after = replace(shelf, own=shelf.own ^ {name}, agent=None if gone else shelf.agent)
        return command, {"provider": PROVIDER, "model": name}, after
    target = f"{PROVIDER}/{rng.choice([MODEL, *sorted(shelf.own)])}"
    return "assign_agent", {"agent": AGENT, "model": target}, replace(shelf, agent=target)


def edit(admin: Client, edits: Edits, *, rng: random.Random, stop: threading.Event) -> None:
    """Edit until the engine dies under it; only what was acknowledged as persisted counts."""
    while not stop.is_set():
        command, args, after = next_edit(edits.acknowledged, rng)
        edits.pending = after
        try:
            answer = admin.call("POST", "/api/v1/router/commands", {"command": command, "args": args})
        except (OSError, HTTPException, ValueError):
            return  # the kill: the edit stays pending
        if answer.status != 200 or not answer.body.get("persisted"):
            edits.refused.append(f"{command} {args}: {answer.status} {answer.body}")
            return
        edits.acknowledged, edits.pending = after, None
        edits.this_round += 1
        edits.total += 1


def observed(admin: Client) -> Shelf:
    """The shelf as the control plane shows it."""
    model = admin.get(f"/api/v1/models/{quote(f'{PROVIDER}/{MODEL}', safe='')}")
    layers = model["capabilities"].get(NODE, {}).get("layers", ())
    said = [layer["value"] for layer in layers if layer["source"] == "operator"]
    rows = admin.get(f"/api/v1/models?provider={PROVIDER}")["models"]
    assigned = {row["agent"]: row["model"] for row in admin.get("/api/v1/models/assignments/all")["assignments"]}
    own = frozenset(row["upstream_id"] for row in rows) - {MODEL}
    return Shelf(frozenset(model["tags"]), said[0] if said else None, own, assigned.get(AGENT))


def check(admin: Client, edits: Edits, fresh: list[Json], label: str) -> None:
    """Compare a restarted engine with what was acknowledged; `fresh` are the audit rows of the round."""
    now = observed(admin)
    if now not in (edits.acknowledged, edits.pending):
        edits.lost.append(f"{label}: {edits.acknowledged} or {edits.pending}, but {now}")
    names = ("label_model", "set_capability", "clear_capability", "remove_model", "register_model", "assign_agent")
    written = sum(row["command"] in names for row in fresh)
    if written < min(edits.this_round, 300):  # the listing may be capped
        edits.lost.append(f"{label}: {edits.this_round} acknowledged edits, {written} audit rows")
    edits.acknowledged, edits.pending, edits.this_round = now, None, 0
