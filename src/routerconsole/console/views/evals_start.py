"""The form of a new evaluation run: who is asked what, how often, within which limits; what that comes to is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from routerconsole.console.forms import Field, Form, Kind, Step
from routerconsole.console.mark_picker import MarkPicker
from routerconsole.console.render.cells import Line, Role, labelled
from routerconsole.console.render.form import form_lines
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.eval_commands import StartEval
from routerconsole.control.port import ControlError
from routerconsole.domain.capability import NODE_OF
from routerconsole.domain.counted import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from routerconsole.control.commands import Receipt

    from .base import Host

PAD: Final = 10
NAMED: Final = 6
SUITE: Final = "suite:"
_KEYS: Final = [
    ("Enter", "preview"),
    ("Esc", "leave"),
    ("Up/Down", "field"),
    ("^o", "pick from a list"),
    ("^r", "restore"),
]
_FIELDS: Final = (
    Field(
        "targets",
        Kind.WORDS,
        needed=True,
        hint="provider/model, profile:x, pool:x, router/x or auto, with commas between; ^o picks from a list",
    ),
    Field(
        "scenarios",
        Kind.WORDS,
        hint="ids with commas between, or suite:x; empty: all there are; ^o picks from a list",
    ),
    Field("repeats", Kind.WHOLE, hint="of each scenario; empty: as often as each scenario says"),
    Field("max_cost_usd", Kind.NUMBER, hint="USD after which nothing more is asked; empty: no limit"),
    Field("max_tokens", Kind.WHOLE, hint="tokens after which nothing more is asked; empty: no limit"),
    Field("max_time_s", Kind.NUMBER, hint="seconds after which nothing more is asked; empty: no limit"),
    Field("timeout_s", Kind.NUMBER, hint="seconds one call may take; empty: as each scenario says"),
    Field("seed", Kind.WHOLE, hint="the same order and the same questions again; empty: drawn"),
    Field(
        "apply",
        Kind.CHOICE,
        ("no", "yes"),
        hint="yes: what is measured beyond doubt is taken over at the end without asking; no: a offers it",
    ),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form begins with."""

    targets: Sequence[str] = ()
    scenarios: Sequence[str] = ()
    repeats: int | None = None
    node: str | None = None


class RunForm:
    """The form that is open, if one is; `around` hears that it opened, closed, and which run it began."""

    hints = _KEYS

    def __init__(
        self, host: Host, *, opened: Callable[[], None], closed: Callable[[], None], begun: Callable[[str], None]
    ) -> None:
        self._host = host
        self._opened, self._closed, self._begun = opened, closed, begun
        self.form: Form | None = None
        self._node: str | None = None
        self._known: Sequence[Mapping[str, Any]] | None = None
        self._problem = ""

    def open(self, wanted: Wanted) -> None:
        """Open the form; the scenarios there are are read anew."""
        blank = {each.name: "no" if each.kind is Kind.CHOICE else "" for each in _FIELDS}
        texts = {
            **blank,
            "targets": ", ".join(wanted.targets),
            "scenarios": ", ".join(wanted.scenarios),
            "repeats": "" if wanted.repeats is None else str(wanted.repeats),
        }
        self._show(Form("New evaluation run", _FIELDS, blank, texts=texts, cursor=1 if wanted.targets else 0))
        self._node, self._problem = wanted.node, ""
        self._host.spawn(self._read())

    def _show(self, form: Form) -> None:
        self.form = form
        self._opened()

    async def _read(self) -> None:
        """Read what scenarios there are, and name those that measure what the form was opened for."""
        try:
            self._known = (await self._host.control.eval_scenarios())["scenarios"]
        except ControlError as error:
            self._problem = error.message
        else:
            node, form = self._node, self.form
            if node is not None and form is not None and not form.texts["scenarios"]:
                fitting = [str(each["id"]) for each in self._known if node_of(each.get("capability")) == node]
                if fitting:
                    form.fill("scenarios", ", ".join(fitting))
                else:
                    self._host.tell(f"no scenario measures {visible(node, 60)} itself: choose some", ok=False)
            self._node = None
        self._host.redraw()

    # -- keys --------------------------------------------------------------------------------------------------------

    def type(self, key: str, character: str | None) -> None:
        """Fill the form in."""
        form = self.form
        if form is None:
            return
        if key == "ctrl+o" and form.current.name in {"targets", "scenarios"}:
            self._pick(form, form.current.name)
            return
        step = form.key(key, character)
        if step is Step.LEFT:
            self.form = None
            self._closed()
        elif step is Step.ACCEPTED:
            self._accept(form)

    def paste(self, text: str) -> None:
        """Put pasted text into the form."""
        if self.form is not None:
            self.form.paste(text)

    def _pick(self, form: Form, name: str) -> None:
        """Let the operator mark what is added to a field."""

        def take(chosen: tuple[str, ...]) -> None:
            field = next(each for each in form.fields if each.name == name)
            there = field.value(form.texts[name])
            form.fill(name, ", ".join(dict.fromkeys((*there, *chosen))))

        picker = MarkPicker("Ask whom" if name == "targets" else "Ask what", take)
        picker.offer(list(self._targets() if name == "targets" else self._scenarios()))
        self._host.pick(picker)

    def _targets(self) -> Iterable[tuple[str, str]]:
        snapshots = self._host.state.snapshots
        yield "auto", "the router: whoever can"
        for pool in snapshots.pools or ():
            if pool.id != "auto":
                name = pool.id if pool.id.startswith("pool:") else f"pool:{pool.id}"
                yield name, f"pool, {pool.routable} of {pool.total} routable"
        for profile in snapshots.profiles or ():
            yield f"profile:{profile.id}", "profile"
        for model in snapshots.models.models if snapshots.models is not None else ():
            if " " not in model.id:
                yield model.id, "model" if model.enabled else "model, switched off"

    def _scenarios(self) -> Iterable[tuple[str, str]]:
        known = self._known or ()
        for suite in dict.fromkeys(str(each["suite"]) for each in known):
            count = sum(each["suite"] == suite for each in known)
            yield f"{SUITE}{suite}", f"all {count} of the suite"
        for each in known:
            measures = f", measures {each['capability']}" if each.get("capability") else ""
            yield str(each["id"]), f"{each['title']}{measures}"

    # -- what it comes to --------------------------------------------------------------------------------------------

    def lines(self, width: int) -> list[Line]:
        """Return the form and under it what it comes to."""
        form = self.form
        if form is None:
            return []
        lines = [*form_lines(form, width), ()]
        if self._problem:
            return [*lines, *labelled("scenarios", f"not read: {visible(self._problem, 200)}", width, pad=PAD)]
        if self._known is None:
            return [*lines, (("reading the scenarios…", Role.DIM),)]
        unknown = self._unknown()
        if unknown:
            lines += labelled("✗ unknown", f"{', '.join(unknown)}; ^o lists them all", width, pad=PAD, role=Role.BAD)
        lines += labelled("comes to", self.summary(), width, pad=PAD)
        return [*lines, *labelled("limits", self._limits(), width, pad=PAD, role=Role.WARN)]

    def _words(self, name: str) -> list[str]:
        form = self.form
        if form is None:
            return []
        found: list[str] = next(each for each in form.fields if each.name == name).value(form.texts[name])
        return found

    def _meant(self) -> list[Mapping[str, Any]]:
        """Return the scenarios the form names, suites opened; all there are where it names none."""
        words, known = self._words("scenarios"), self._known or ()
        return [each for each in known if not words or each["id"] in words or f"{SUITE}{each['suite']}" in words]

    def _unknown(self) -> list[str]:
        known = {str(each["id"]) for each in self._known or ()}
        known |= {f"{SUITE}{each['suite']}" for each in self._known or ()}
        return [visible(word, 60) for word in self._words("scenarios") if word not in known]

    def summary(self) -> str:
        """Return cells, repeats and calls the form stands for; capability probes may stop before."""
        targets, meant = len(dict.fromkeys(self._words("targets"))), self._meant()
        typed = self.form.texts["repeats"].strip() if self.form is not None else ""
        given = int(typed.replace("_", "")) if typed.isascii() and typed.replace("_", "").isdigit() else None
        each = [(1 if one["kind"] == "drill" else given or int(one["repeats"]), one) for one in meant]
        cells = targets * len(meant)
        repeats = targets * sum(count for count, _ in each)
        calls = targets * sum(count * int(one.get("calls", 1)) for count, one in each if one["kind"] != "drill")
        drills = sum(one["kind"] == "drill" for one in meant)
        squares = f"{counted(targets, 'target')} × {counted(len(meant), 'scenario')} = {counted(cells, 'cell')}"
        text = f"{squares}, {counted(repeats, 'repeat')}, about {counted(calls, 'call')}"
        return f"{text}; {drills} drill{'s run' if drills > 1 else ' runs'} on the simulator" if drills else text

    def _limits(self) -> str:
        form = self.form
        if form is None:
            return ""
        units = {"max_cost_usd": "USD", "max_tokens": "tokens", "max_time_s": "seconds"}
        given = [f"{form.texts[name].strip()} {unit}" for name, unit in units.items() if form.texts[name].strip()]
        return f"nothing more is asked after {' or '.join(given)}" if given else "none of money, tokens or time"

    # -- the run -----------------------------------------------------------------------------------------------------

    def command(self) -> StartEval | None:
        """Return what the form begins, None where a field is not sound."""
        form = self.form
        if form is None or any(each.problem(form.texts[each.name]) for each in form.fields):
            return None
        said = {each.name: each.value(form.texts[each.name]) for each in form.fields}
        all_ = not said["scenarios"]
        return StartEval(
            targets=tuple(said["targets"]),
            scenarios=() if all_ else tuple(dict.fromkeys((*map(str, self._ids()), *self._unknown()))),
            repeats=said["repeats"],
            seed=said["seed"],
            max_cost_usd=said["max_cost_usd"],
            max_tokens=said["max_tokens"],
            max_time_s=said["max_time_s"],
            timeout_s=said["timeout_s"],
            apply=bool(said["apply"]),
        )

    def _ids(self) -> list[str]:
        return [str(each["id"]) for each in self._meant()]

    def _accept(self, form: Form) -> None:
        """Ask whether to begin what the form says; one the engine refuses is back with the reason."""
        command = self.command()
        if command is None:
            return
        summary, limits = self.summary(), self._limits()
        ids = self._ids() if command.scenarios else []
        self.form = None
        self._closed()

        def done(receipt: Receipt) -> None:
            self._begun(str(receipt.after.get("run", "")))

        def refused(error: ControlError) -> bool:
            if self.form is None:
                form.refuse(error.message)
                self._show(form)
            self._host.tell(f"refused: {error.message}", ok=False)
            return True

        self._host.propose(
            Proposal(
                command,
                "evaluation run",
                "Start this evaluation run?",
                (
                    ("targets", listed(command.targets)),
                    ("asks", listed(ids) if ids else "all scenarios there are"),
                    ("total", summary),
                    ("limits", limits),
                    ("does", "asks as origin eval: moves no breaker, heeds gates, counts in usage and cost"),
                ),
                done=done,
                refused=refused,
            )
        )


def listed(names: Sequence[str]) -> str:
    """Return names with commas, the many counted."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(visible(name, 60) for name in names[:NAMED]) + more


def node_of(capability: object) -> str | None:
    """Return the node a scenario's capability stands for: a word's, else it names the node itself."""
    return None if not capability else NODE_OF.get(str(capability), str(capability))
