"""What an operator can do to models of the registry, as proposals, prompts and pages to choose from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from routerconsole.console.actions import Context
from routerconsole.console.forms import shown_value
from routerconsole.console.picker import Entry, Picker
from routerconsole.console.prompt import Prompt
from routerconsole.console.render.cells import Role, wrap
from routerconsole.console.render.registry import change_text, sync_lines
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.console.staging import current
from routerconsole.control.registry_commands import (
    AcceptModel,
    AssignAgent,
    CancelPull,
    PullModel,
    RemoveModel,
    SetModelActive,
    SyncModels,
    UnassignAgent,
)

from .panes import TextPane
from .price_actions import ask_prices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from routerconsole.console.downloads import Download
    from routerconsole.console.render.cells import Line
    from routerconsole.console.staging import Staging
    from routerconsole.control.commands import Command, Receipt
    from routerconsole.control.port import ControlError
    from routerconsole.control.registry_views import ModelView

    from .base import Host

NAMED = 6
"""Models, pools and agents that a question names; the others are counted."""


def several(models: Sequence[ModelView]) -> str:
    """Return the one model's id, or how many there are."""
    return visible(models[0].id, 60) if len(models) == 1 else f"{len(models)} models"


def listed(names: Sequence[str]) -> str:
    """Return names with commas, the many counted; none is `none`."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(visible(name, 60) for name in names[:NAMED]) + more if names else "none"


# -- staged edits -----------------------------------------------------------------------------------------------------


def apply_proposal(
    staging: Staging, done: Callable[[Receipt], None], refused: Callable[[ControlError], bool]
) -> Proposal | None:
    """Return the question for everything staged, None where nothing is."""
    command = staging.command()
    if command is None:
        return None
    changes, models = staging.changes, staging.models
    label = visible(models[0], 60) if len(models) == 1 else f"{len(models)} models"
    count = f"{len(changes)} staged change{'' if len(changes) == 1 else 's'}"
    paragraphs = [("staged", f"{visible(each.model, 60)}: {change_text(each)}") for each in changes[:NAMED]]
    if len(changes) > NAMED:
        paragraphs.append(("staged", f"and {len(changes) - NAMED} more"))
    return Proposal(
        command,
        label,
        f"Apply {count} to {label}?",
        tuple(paragraphs),
        impact=True,
        done=done,
        refused=refused,
    )


def tags_prompt(models: Sequence[ModelView], staging: Staging, known: Sequence[str]) -> Prompt:
    """Return the line that stages tags of models: words to add, those with a minus to take away."""

    def accept(text: str) -> None:
        words = text.replace(",", " ").split()
        gone = {word[1:] for word in words if word.startswith("-")}
        added = [word for word in words if not word.startswith("-")]
        for model in models:
            now = staging.of(model.id).get("tags", current(model, "tags")) or ()
            kept = [tag for tag in now if tag not in gone]
            staging.stage(model, {"tags": list(dict.fromkeys((*kept, *added)))})

    def complete(text: str) -> list[str]:
        before, _, last = text.rpartition(" ")
        sign, lead = "-" if last.startswith("-") else "", f"{before} " if before else ""
        stem = last.removeprefix("-")
        return [f"{lead}{sign}{tag}" for tag in known if tag.startswith(stem) and tag != stem]

    return Prompt(f"tags of {several(models)} (word adds, -word removes): ", accept, complete=complete)


def conflict_picker(
    staging: Staging,
    model: str,
    now: ModelView | None,
    *,
    again: Callable[[], None],
    edit: Callable[[ModelView], None],
) -> Picker:
    """Return the choice when somebody else changed a staged model: theirs, mine, or look at both."""
    shown = visible(model, 60)
    mine = [each for each in staging.changes if each.model == model]
    if now is None:
        drop = Entry("drop my changes of it", partial(staging.drop, model), note="nothing is left to apply them to")
        return Picker(f"{shown} was removed by somebody else", [drop])
    stands = {each.field: current(now, each.field) for each in mine}
    theirs = ", ".join(
        f"{each.field} {shown_value(stands[each.field])}" for each in mine if stands[each.field] != each.before
    )
    what = f"it says {theirs}" if theirs else "other fields of it than mine"
    over = ", ".join(f"{each.field} {shown_value(stands[each.field])} → {shown_value(each.after)}" for each in mine)

    def take_mine() -> None:
        staging.restage(now)
        again()

    def look() -> None:
        staging.restage(now)
        edit(now)

    return Picker(
        f"Conflict: {shown} was changed by somebody else ({visible(what, 120)})",
        [
            Entry("theirs: keep it as it is now, drop my changes", partial(staging.drop, model)),
            Entry("mine: apply my changes over theirs", take_mine, note=over),
            Entry("keep editing: open the form with both", look),
        ],
    )


# -- models -----------------------------------------------------------------------------------------------------------


def switch_proposals(models: Sequence[ModelView]) -> list[Proposal]:
    """Return what switches models: off where any is on (asks), else on (one proposal each)."""
    on = [model for model in models if model.enabled]
    if not on:
        return [Proposal(_switch(each, active=True), each.id, asks=False) for each in models]
    first, *rest = on
    return [
        Proposal(
            _switch(first, active=False),
            several(on),
            f"Switch off {several(on)}?",
            (("does", "listed as before, but no requests, remembered over restarts; running ones end"), *_losers(on)),
            impact=True,
            more=tuple(_switch(each, active=False) for each in rest),
        )
    ]


def remove_proposal(models: Sequence[ModelView]) -> Proposal:
    """Return the question that names what loses the models."""
    first, *rest = models
    kept = "a configured or listed one stays away until it is registered again; z brings it back"
    return Proposal(
        RemoveModel(first.provider, first.upstream_id),
        several(models),
        f"Remove {several(models)} from the registry?",
        (("models", listed([each.id for each in models])), *_losers(models), ("back", kept)),
        impact=True,
        more=tuple(RemoveModel(each.provider, each.upstream_id) for each in rest),
    )


def accept_proposal(models: Sequence[ModelView]) -> Proposal:
    """Return the question that lets models join pools."""
    first, *rest = models
    costs = [each.id for each in models if not each.free]
    return Proposal(
        AcceptModel(first.provider, first.upstream_id),
        several(models),
        f"Let {several(models)} join pools?",
        (("does", "requests may go there from now on"), ("may cost", listed(costs))),
        impact=True,
        more=tuple(AcceptModel(each.provider, each.upstream_id) for each in rest),
    )


def _switch(model: ModelView, *, active: bool) -> SetModelActive:
    return SetModelActive(model.provider, model.upstream_id, active)


def _losers(models: Sequence[ModelView]) -> tuple[tuple[str, str], ...]:
    """Return which pools and agents lose models."""
    pools = dict.fromkeys(pool for model in models for pool in model.pools)
    agents = dict.fromkeys(agent for model in models for agent in model.agents)
    return (("pools", f"lost by {listed(list(pools))}"), ("agents", f"lost by {listed(list(agents))}"))


# -- agents -----------------------------------------------------------------------------------------------------------


def assign_picker(host: Host, model: ModelView, known: dict[str, str]) -> Picker:
    """Return whom to send to a model: the agents one knows, or another one by name. `known` says where they go now."""

    def send(agent: str) -> None:
        host.propose(Proposal(AssignAgent(agent.strip(), model.id), agent.strip(), asks=False))

    def ask() -> None:
        host.ask_text(Prompt(f"agent to send to {visible(model.id, 60)}: ", send, problem=_no_name))

    others = [
        Entry(agent, partial(send, agent), note=f"goes to {visible(to, 60)}" if to else "not assigned")
        for agent, to in known.items()
        if to != model.id
    ]
    another = Entry("another agent…", ask, note="type its name (x-router-agent)")
    return Picker(f"Send which agent to {visible(model.id, 60)}", [*others, another])


def unassign_picker(host: Host, model: ModelView) -> Picker:
    """Return which agent of a model is to fall back to its own default."""

    def free(agent: str) -> None:
        host.propose(Proposal(UnassignAgent(agent), agent, asks=False))

    entries = [Entry(agent, partial(free, agent)) for agent in model.agents]
    return Picker(f"Unassign which agent of {visible(model.id, 60)}", entries, empty="no agent is assigned to it")


def _no_name(text: str) -> str:
    return "" if text.strip() else "a name"


# -- downloads and listings -------------------------------------------------------------------------------------------


def pull_prompt(host: Host, start: str, known: Sequence[str]) -> Prompt:
    """Return the line that names a model to download, `provider/model`."""

    def problem(text: str) -> str:
        provider, slash, model = text.strip().partition("/")
        return "" if provider and slash and model else "provider/model, like ollama/llama3.2:3b"

    def accept(text: str) -> None:
        provider, _, model = text.strip().partition("/")
        host.propose(Proposal(PullModel(provider, model), text.strip(), asks=False))

    def complete(text: str) -> list[str]:
        return [each for each in known if each.startswith(text) and each != text]

    return Prompt("pull (Ollama): ", accept, start, complete=complete, problem=problem)


def cancel_pulls(host: Host, running: Sequence[Download]) -> None:
    """Ask whether to stop the one download, or which of several."""

    def ask(each: Download) -> None:
        command: Command = CancelPull(each.provider, each.model)
        host.propose(
            Proposal(
                command,
                each.key,
                f"Stop downloading {visible(each.key, 60)}?",
                (("does", "what is there already stays with the server, which may go on from it"),),
            )
        )

    if not running:
        host.tell("nothing is being downloaded", ok=True)
    elif len(running) == 1:
        ask(running[0])
    else:
        entries = [Entry(each.key, partial(ask, each), note=each.status) for each in running]
        host.pick(Picker("Stop which download", entries))


def taken_over(host: Host, what: Literal["sync", "prices"]) -> None:
    """Take over what others say: providers of their models, a public table of prices."""
    if what == "prices":
        ask_prices(host)
    else:
        _sync(host)


def _sync(host: Host) -> None:
    """List all providers' models now, on a page that shows what came of it."""
    page = SyncPage()
    host.open_page(page)

    def done(receipt: Receipt) -> None:
        page.found = receipt.after

    def refused(error: ControlError) -> bool:
        page.problem = error.message
        return False

    host.propose(Proposal(SyncModels(()), "all providers", asks=False, done=done, refused=refused))


class SyncPage(TextPane):
    """What listing all providers' models came to."""

    def __init__(self) -> None:
        super().__init__("Listing models", (Context.NOTE,), draw=self._lines, prefix="note")
        self.found: Mapping[str, object] | None = None
        self.problem = ""

    def _lines(self, width: int) -> list[Line]:
        if self.problem:
            return wrap(f"✗ {visible(self.problem, 600)}", width, role=Role.BAD)
        if self.found is None:
            waiting = "asking every provider for its models; this page may be closed, the bottom line will tell"
            return wrap(waiting, width, indent=2, role=Role.DIM)
        return sync_lines(self.found, width)
