"""What can be done with a run: stopped, gone on with, its findings accepted, its report written, its requests shown."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, get_args

from routerconsole.console.mark_picker import MarkPicker
from routerconsole.console.picker import Entry, Picker
from routerconsole.console.render.evals import done, squares
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.eval_commands import CancelEval, RegradeEval, StartEval
from routerconsole.control.eval_views import ReportForm
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import AcceptMeasured
from routerconsole.domain.counted import counted

from .evals_start import Wanted, node_of
from .new_file import ask_new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routerconsole.control.eval_views import EvalCellDetail, EvalMeasured, EvalRun, EvalScenario

    from .base import Host

FORMS: Final[tuple[ReportForm, ...]] = get_args(ReportForm)
ASKED_AGAIN: Final = frozenset({"error", "rate_limited"})
"""Verdicts a resumed run asks again, besides the cells that are missing."""


# -- stopping and going on -----------------------------------------------------------------------------------------


def cancel(host: Host, run: EvalRun, scenario: EvalScenario | None, target: str) -> None:
    """Ask whether to stop a run, or in the matrix which part of it."""
    if run.state != "running":
        host.tell(f"{visible(run.id, 40)} is {run.state}; nothing to stop", ok=False)
        return
    if scenario is None:
        _stop(host, run, CancelEval(run.id), "the whole run")
        return
    row, column = visible(scenario.id, 60), visible(target, 60)
    parts = (
        (f"this cell: {row} on {column}", CancelEval(run.id, scenario=scenario.id, target=target)),
        (f"this row: {row} on every target", CancelEval(run.id, scenario=scenario.id)),
        (f"this column: every scenario on {column}", CancelEval(run.id, target=target)),
        ("the whole run", CancelEval(run.id)),
    )
    host.pick(Picker("Stop what", [Entry(text, partial(_stop, host, run, command, text)) for text, command in parts]))


def _stop(host: Host, run: EvalRun, command: CancelEval, what: str) -> None:
    whole = command.scenario is None and command.target is None
    after = "R goes on with it" if whole else "what was not finished is skipped(cancelled); the rest of the run goes on"
    host.propose(
        Proposal(
            command,
            visible(run.id, 40),
            f"Stop {what}?",
            (
                ("touches", f"{visible(run.id, 40)}, {done(run)} of {squares(run)} cells have ended"),
                ("keeps", f"every finished cell; {after}"),
            ),
        )
    )


def again(host: Host, run: EvalRun, scenario: EvalScenario | None, target: str, form: Callable[[Wanted], None]) -> None:
    """Let the operator choose: go on with a run, or ask all or a part of it again as a new run."""
    ids = [each.id for each in run.scenarios]
    entries = []
    missing, failed = squares(run) - done(run), sum(cell.verdict in ASKED_AGAIN for cell in run.cells)
    if run.state != "running":
        note = f"{counted(missing, 'cell')} missing, {failed} without an answer"
        entries.append(Entry("go on with this run: what is missing or was an error", partial(_resume, host, run), note))
        entries.append(Entry("grade its kept answers again, without a call", partial(_regrade, host, run)))
    entries.append(Entry("all of it again, as a new run…", partial(form, Wanted(run.targets, ids))))
    if scenario is not None:
        row, column = visible(scenario.id, 40), visible(target, 60)
        parts = (
            (f"this cell again, as a new run… ({row} on {column})", Wanted((target,), (scenario.id,))),
            (f"this row again, as a new run… ({row})", Wanted(run.targets, (scenario.id,))),
            (f"this column again, as a new run… ({column})", Wanted((target,), ids)),
        )
        entries += [Entry(text, partial(form, wanted)) for text, wanted in parts]
    host.pick(Picker("Again", entries))


def _resume(host: Host, run: EvalRun) -> None:
    host.propose(
        Proposal(
            StartEval(resume=run.id),
            visible(run.id, 40),
            f"Go on with {visible(run.id, 40)}?",
            (("does", "asks what is missing or was an error; finished cells are graded again without a call"),),
        )
    )


def _regrade(host: Host, run: EvalRun) -> None:
    host.propose(
        Proposal(
            RegradeEval(run.id),
            visible(run.id, 40),
            f"Grade the answers of {visible(run.id, 40)} again?",
            (("does", "judges what is kept by the scenarios as they are now; nobody is asked anything"),),
        )
    )


# -- what was measured ---------------------------------------------------------------------------------------------


def offer(run: EvalRun, scenario: EvalScenario | None, target: str) -> EvalMeasured | None:
    """Return what a run measured in one cell, None where it measured nothing there."""
    node = node_of(scenario.capability) if scenario is not None else None
    if node is None:
        return None
    leaf = node.rpartition(".")[2]
    return next(
        (
            each
            for each in run.measured
            if f"{each.provider}/{each.model}" == target and (each.node == node or each.node.rpartition(".")[2] == leaf)
        ),
        None,
    )


def accept(host: Host, run: EvalRun, scenario: EvalScenario | None, target: str) -> None:
    """Ask whether to take over what a cell measured, or in the list of runs which findings."""
    if scenario is not None:
        found = offer(run, scenario, target)
        if found is None or found.finding == "flaky":
            host.tell(_nothing(run, scenario, target, found), ok=False)
        else:
            _take(host, (found,))
        return
    sure = {_named(each): each for each in run.measured if each.finding != "flaky"}
    if not sure:
        host.tell(f"{visible(run.id, 40)} measured nothing beyond doubt", ok=False)
        return
    picker = MarkPicker("Accept what was measured", lambda chosen: _take(host, [sure[name] for name in chosen]))
    picker.offer([(name, f"{each.finding} {each.k}/{each.n}") for name, each in sure.items()])
    host.pick(picker)


async def accept_of(host: Host, models: Sequence[str], node: str) -> None:
    """Ask whether to take over what the newest runs measured of models at a node."""
    try:
        page = await host.control.eval_page()
    except ControlError as error:
        host.tell(error.message, ok=False)
        return
    found: dict[str, EvalMeasured] = {}
    for run in page.runs:
        for each in run.measured:
            model = f"{each.provider}/{each.model}"
            if each.node == node and model in models and each.finding != "flaky":
                found.setdefault(model, each)
    if found:
        _take(host, list(found.values()))
    else:
        leaf = visible(node.rpartition(".")[2], 40)
        host.tell(f"nothing to accept: no evaluation has measured {leaf} yet (E evaluates)", ok=True)
    host.redraw()


def _named(each: EvalMeasured) -> str:
    return f"{each.provider}/{each.model}:{each.node.rpartition('.')[2]}".replace(" ", "_")


def _nothing(run: EvalRun, scenario: EvalScenario, target: str, found: EvalMeasured | None) -> str:
    """Say why there is nothing to accept."""
    if found is not None:
        return f"flaky, {found.k} of {found.n}: neither yes nor no can be accepted"
    if scenario.capability is None:
        return f"{visible(scenario.id, 60)} measures no capability"
    if "/" not in target or target.partition(":")[0] in {"pool", "profile", "url"}:
        return f"{visible(target, 60)} is no single model: it is not known who would be meant"
    return "not decided: three straight passes verify, two straight failures refute" + (
        "; the run goes on" if run.state == "running" else ""
    )


def _take(host: Host, found: Sequence[EvalMeasured]) -> None:
    commands = [
        AcceptMeasured(
            each.provider,
            each.model,
            each.node,
            "yes" if each.finding == "verified" else "no",
            evidence=each.evidence,
            measured_at=each.at,
            fingerprint=each.fingerprint,
        )
        for each in found
    ]
    first, *rest = found
    name = visible(f"{first.provider}/{first.model}", 80)
    leaf = visible(first.node.rpartition(".")[2], 40)
    title = f"Accept {leaf} = {commands[0].value} for {name}?" if not rest else f"Accept {len(found)} findings?"
    told = [("evidence", visible(f"{_named(each)}: {each.evidence}", 200)) for each in found[:6]]
    if len(found) > 6:
        told.append(("evidence", f"and {len(found) - 6} more"))
    stays = ("keeps", "an operator's own word stands above it and is only contradicted; z undoes it")
    host.propose(
        Proposal(
            commands[0],
            name if not rest else f"{len(found)} findings",
            title,
            (*told, stays),
            impact=True,
            more=tuple(commands[1:]),
        )
    )


# -- requests and files --------------------------------------------------------------------------------------------


def show_requests(host: Host, detail: EvalCellDetail | None) -> None:
    """Go to the request behind a cell, or let the operator choose among its calls."""
    calls = [(repeat, call) for repeat in (detail.repeats if detail is not None else ()) for call in repeat.calls]
    logged = [(repeat, call) for repeat, call in calls if call.request and not call.drill]
    if not logged:
        drill = any(call.drill for _, call in calls)
        why = "a drill's requests are in no log but its own" if drill else "no request is known of this cell"
        host.tell(why, ok=False)
    elif len(logged) == 1:
        host.show_request(logged[0][1].request)
    else:
        host.pick(
            Picker(
                "Which call",
                [
                    Entry(
                        f"repeat {repeat.number + 1} {visible(call.label, 40)}",
                        partial(host.show_request, call.request),
                        note=f"{repeat.verdict} · {visible(call.served_by, 60) or 'nobody served'} · {call.request}",
                    )
                    for repeat, call in logged
                ],
            )
        )


def export(host: Host, run: EvalRun) -> None:
    """Ask for a path and write the run's report there in the form its ending names."""

    async def made(form: ReportForm) -> str | None:
        text = await host.control.eval_report(run.id, form)
        if text is None:
            host.tell(f"there is no run {visible(run.id, 40)} any more", ok=False)
        return text

    ask_new_file(
        host,
        "the report",
        f"{run.id}.md",
        forms=FORMS,
        made=made,
        said=lambda path: f"report of {run.id} written to {path}",
    )
