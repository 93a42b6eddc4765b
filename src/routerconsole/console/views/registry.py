"""Registry: every model beside the selected one in full; edits are staged, tried, applied together and undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.model_filter import ModelFilter
from routerconsole.console.prompt import Prompt
from routerconsole.console.render.cells import Line, Role, orders, wrap
from routerconsole.console.render.form import HEAD, form_lines
from routerconsole.console.render.registry import (
    change_lines,
    columns,
    download_detail,
    download_lines,
    model_detail,
    model_lines,
)
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.staging import Change
from routerconsole.console.state import Link
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants
from routerconsole.control.port import ControlError

from . import registry_actions as doing
from .base import Host, View
from .model_editor import ModelEditor
from .panes import ListPane, Pane, TextPane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from routerconsole.console.downloads import Download
    from routerconsole.control.registry_views import ModelPage, ModelView

PANE_ROWS: Final = 6
"""Rows of staged changes and of downloads that are shown at once."""


class RegistryView(View):
    """The models, what is staged of them, and what is being downloaded."""

    def __init__(self, host: Host) -> None:
        self.table: TableModel[ModelView] = TableModel(lambda model: model.id)
        self.table.orders = orders(columns(frozenset()))
        self.editor = ModelEditor(self, host)
        self._staged: TableModel[Change] = TableModel(lambda change: change.key)
        self._loads: TableModel[Download] = TableModel(lambda download: download.key)
        self._page: ModelPage | None = None
        self._by_id: dict[str, ModelView] = {}
        self.filter = ModelFilter()
        self._made_of: tuple[object, ...] = ()
        self._heads: dict[str, tuple[int, Mapping[str, str | int | None] | None]] = {}
        models = ListPane(
            "Registry",
            (Context.REGISTRY, Context.MARKS, Context.LIST),
            table=self.table,
            draw=lambda rows, width: model_lines(rows, width, frozenset(self.editor.staging.models)),
            empty=self._nothing,
            note=self._note,
        )
        loads = ListPane(
            "Downloads",
            (Context.REGISTRY, Context.LIST),
            table=self._loads,
            draw=download_lines,
            empty=list,
            note=lambda: "X stops one",
        )
        staged = ListPane(
            "Staged",
            (Context.REGISTRY, Context.LIST),
            table=self._staged,
            draw=lambda rows, width: change_lines(rows, width, self._overtaken()),
            empty=list,
            note=self._staged_note,
        )
        detail = TextPane("Model", (Context.REGISTRY, Context.DETAIL), draw=self._detail)
        super().__init__("registry", host, (models, loads, staged), detail)
        self.filled_in = self.editor

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take the models in; rows are made again only when models, filter or what is staged changed."""
        state = self.host.state
        page = state.snapshots.models
        models = page.models if page is not None else ()
        if page is not self._page:
            self._page, self._by_id = page, {model.id: model for model in models}
        made_of = (id(page), self.filter.words)
        if made_of != self._made_of:
            self._made_of = made_of
            self.table.set(self.filter.select(models))
        self._staged.set(self.editor.staging.changes)
        self._loads.set(state.downloads.all())
        if not self.shows(self.focused):
            self.focus = self._last_list = 0
        self._about()

    def _about(self) -> None:
        """Say what the detail is about, and read the header of its weights where that is wanted and unknown."""
        if self.editor.form is not None:
            self.detail.about(self.editor.form.title)
            self.detail.name, self.detail.watch = self.editor.form.title, HEAD + self.editor.form.cursor
            return
        model = self.subject
        self.detail.watch = None
        self.detail.about(model.id if model is not None else None)
        self.detail.name = f"Model {visible(model.id, 80)}" if model is not None else "Model"
        if model is None or model.path is None or not (self.wide or self.pushed):
            return
        known = self._heads.get(model.id)
        if known is None or known[0] != model.version:
            self._heads[model.id] = (model.version, None)
            self.host.spawn(self._read_head(model))

    @property
    def _place(self) -> int:
        """The list that was gone to last."""
        return self.focus if self.focus < len(self.lists) else self._last_list

    def _load(self) -> Download | None:
        """Return the download the cursor is on, where it is among them."""
        return self._loads.current if self._place == 1 else None

    @property
    def subject(self) -> ModelView | None:
        """The model the cursor is on, in the list or in what is staged or downloaded."""
        if (load := self._load()) is not None:
            return self._by_id.get(load.key)
        if self._place == 2 and (change := self._staged.current) is not None:
            return self._by_id.get(change.model)
        return self.table.current

    def targets(self) -> Sequence[ModelView]:
        """Return the models an action is meant for: the marked ones, else the selected one."""
        if self.table.marked:
            return self.table.marked
        model = self.subject
        return () if model is None else (model,)

    async def _read_head(self, model: ModelView) -> None:
        try:
            found = await self.host.control.registry_model(model.provider, model.upstream_id)
        except ControlError:
            self._heads.pop(model.id, None)  # asked again when it is looked at again
            return
        self._heads[model.id] = (model.version, {} if found is None else found.header)
        self.host.redraw()

    def stamp(self) -> object:
        """Show no requests; of events what downloads went through."""
        return self.host.state.downloads.version, self.editor.staging.version

    def wants(self) -> Wants:
        """Need the models."""
        return Wants(running=False, unfinished=self.host.state.requests.unfinished(), reads=frozenset({Read.MODELS}))

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give downloads and staged changes the lines they need, up to a third each, nothing where there are none."""
        most = max(3, height // 3)
        lines = (min(most, min(len(table.rows), PANE_ROWS) + 2) for table in (self._loads, self._staged) if table.rows)
        needed = iter(lines)
        return (None, *(next(needed) if table.rows else 0 for table in (self._loads, self._staged)))

    def list_width(self, width: int) -> int:
        """Give the lists 55 % beside the detail."""
        return width * 11 // 20

    def shows(self, pane: Pane) -> bool:
        """Say whether a pane has rows; the models' own is always there."""
        counts = (len(self._loads.rows), len(self._staged.rows))
        return all(pane is not each or count for each, count in zip(self.lists[1:], counts, strict=True))

    def _overtaken(self) -> frozenset[str]:
        return frozenset(self.editor.staging.overtaken(self._by_id)) if self._page is not None else frozenset()

    def _staged_note(self) -> str:
        count, overtaken = len(self._staged.rows), self._overtaken()
        if overtaken:
            return f"{count} not applied · ✗ changed elsewhere: {len(overtaken)} (a asks what to do)"
        return f"{count} not applied · a applies, u unstages"

    def _note(self) -> str:
        page = self._page
        if page is None:
            return ""
        shown = len(self.table.rows)
        parts = [f"{shown} of {page.total}" if shown != page.total else f"{page.total}"]
        missing = sum(model.served is False for model in page.models)
        if missing:
            parts.append(f"{missing} not served")
        if self.filter.words:
            parts.append(" ".join(f"[{visible(word, 30)}]" for word in self.filter.words) + " (Esc clears)")
        return " · ".join(parts)

    def _nothing(self) -> Sequence[Line]:
        state = self.host.state
        if self._page is None:
            if state.problem:
                return wrap(f"not read yet: {state.problem}; it is tried again", 76, indent=2, role=Role.DIM)
            waiting = state.link in {Link.CONNECTING, Link.LIVE}
            text = "reading the registry…" if waiting else "no engine answers yet; see the line above"
            return [((f"  {text}", Role.DIM),)]
        if self.filter.words:
            return wrap("No model passes the filter. Esc clears it.", 76, indent=2, role=Role.DIM)
        return wrap(
            "No models. S asks the providers what they serve, R registers one, P has Ollama download one; "
            "or write `models:` under a provider in the configuration.",
            76,
            indent=2,
        )

    def _detail(self, width: int) -> list[Line]:
        if self.editor.form is not None:
            return form_lines(self.editor.form, width)
        load, model = self._load(), self.subject
        begun = [*download_detail(load, width), ()] if load is not None else []
        if model is None:
            return [*begun, (("no model selected" if load is None else "not in the registry yet", Role.DIM),)]
        staged = [change for change in self.editor.staging.changes if change.model == model.id]
        head = self._heads.get(model.id, (0, None))[1]
        where = self._page.weights_dir if self._page is not None else None
        return begun + model_detail(model, width, staged=staged, head=head, weights_dir=where)

    # -- where one can go --------------------------------------------------------------------------------------------

    def objects(self) -> Iterable[tuple[str, str]]:
        """Models live here."""
        page = self.host.state.snapshots.models
        for model in page.models if page is not None else ():
            yield model.id, f"{model.id} {model.display or ''}".strip()

    def go(self, key: str) -> bool:
        """Select a model, whatever the filter says."""
        self.focus = self._last_list = 0
        self.sync()
        if key not in self._by_id:
            return False
        if not self.table.go(key):
            self.narrow("")
        return self.table.go(key)

    def narrow(self, text: str) -> bool:
        """Filter by words in id, name, tags, role, tier, state, pools and agents; a minus excludes."""
        self.filter.take(text)
        self.sync()
        return True

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Stage, apply, act on models, filter, else move."""
        match action_id.split("."):
            case ["registry", "filter"]:
                before = " ".join(self.filter.words)
                self.host.ask_text(
                    Prompt(
                        "/", self._narrowed, before, changed=self._narrowed, cancelled=lambda: self._narrowed(before)
                    )
                )
            case ["registry", "copy"]:
                if (model := self.subject) is not None:
                    self.host.copy(model.id, "the model's id")
            case ["registry", "edit"]:
                if (model := self.subject) is not None:
                    self.editor.edit(model)
            case ["registry", "apply"]:
                self.editor.apply()
            case ["registry", "unstage"]:
                change = self._staged.current if self.focused is self.lists[2] else None
                self.editor.unstage(change, self.subject)
            case ["registry", "register"]:
                model = self.subject
                self.editor.register(model.provider if model is not None else "")
            case ["registry", "sync" | "prices" as what]:
                doing.taken_over(self.host, what)
            case ["registry", "pull"]:
                self._pull()
            case ["registry", "cancel"]:
                doing.cancel_pulls(self.host, self._chosen_load())
            case ["registry", what]:
                self._on_models(what)
            case _:
                return super().act(action_id)
        self.sync()
        return True

    def pop(self) -> bool:
        """Leave the detail, take marks away, clear the filter, put ended downloads away."""
        if super().pop():
            return True
        if self.filter.words:
            return self.narrow("")
        if self.host.state.downloads.put_away():
            self.sync()
            return True
        return False

    def _narrowed(self, text: str) -> None:
        self.narrow(text)

    def _on_models(self, what: str) -> None:
        models = self.targets()
        if not models:
            self.host.tell("no model is selected", ok=False)
            return
        match what:
            case "tags":
                known = sorted({tag for model in self._by_id.values() for tag in model.tags})
                self.host.ask_text(doing.tags_prompt(models, self.editor.staging, known))
            case "switch":
                first, *rest = doing.switch_proposals(models)
                if rest:
                    self.host.send_all((first, *rest))
                else:
                    self.host.propose(first)
            case "remove":
                self.host.propose(doing.remove_proposal(models))
            case "accept":
                waiting = [model for model in models if not model.in_pools]
                if waiting:
                    self.host.propose(doing.accept_proposal(waiting))
                else:
                    self.host.tell(f"{doing.several(models)}: joins pools already", ok=True)
            case "evaluate":
                self.host.evaluate([model.id for model in models])
            case "assign":
                self.host.pick(doing.assign_picker(self.host, models[0], self._agents()))
            case "unassign":
                self.host.pick(doing.unassign_picker(self.host, models[0]))

    def _agents(self) -> dict[str, str]:
        """Return the agents one knows and where they were assigned to: of models, then of the log."""
        known = {agent: model.id for model in self._by_id.values() for agent in model.agents}
        seen = {row.agent for row in self.host.state.requests.rows() if row.agent}
        return {**dict.fromkeys(sorted(seen), ""), **known}

    def _pull(self) -> None:
        status = self.host.state.status
        servers = [each.name for each in status.providers if each.kind == "ollama"] if status is not None else []
        if not servers:
            self.host.tell("only Ollama servers download models, and none is configured", ok=False)
            return
        model = self.subject
        start = model.id if model is not None and model.provider in servers else f"{servers[0]}/"
        known = [each for each in self._by_id if each.partition("/")[0] in servers]
        self.host.ask_text(doing.pull_prompt(self.host, start, [*(f"{name}/" for name in servers), *known]))

    def _chosen_load(self) -> Sequence[Download]:
        """Return the running download the cursor is on, else all that run."""
        running = self.host.state.downloads.running()
        chosen = self._load()
        return [chosen] if chosen in running and chosen is not None else running

    def model(self, model_id: str) -> ModelView | None:
        """Return a model as last read."""
        return self._by_id.get(model_id)

    def opened(self) -> None:
        """Show the form in the place of the detail."""
        self._into_detail()

    def closed(self) -> None:
        """Go back to where the form was opened from."""
        if self.focused is self.detail:
            super().pop()
        self.sync()
