"""`routerconsole eval …`: a run followed to its end, its report, two runs compared.

A run needs an engine; where none runs on the state directory, one is started for as long as the run takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routerconsole.cli.eval_inputs import key_of, scenario_files
from routerconsole.cli.eval_matrix import report_lines, square_items
from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.output import Item, changes, show_items, show_json, text
from routerconsole.cli.own_engine import with_engine
from routerconsole.cli.registry import with_registry
from routerconsole.cli.session import place, with_control
from routerconsole.cli.targets import show_receipt
from routerconsole.control.eval_accept import accepting
from routerconsole.control.eval_commands import CancelEval, RegradeEval, StartEval
from routerconsole.control.wire import plain
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.eval_views import ReportForm
    from routerconsole.control.port import Control

POLL_S = 0.1
LOOK_S = 2.0
"""After so long without an event of the run it is asked how it stands."""
_SKIPPED = re.compile(r"skipped\(([^)]*)\)")
_CELL, _END = "eval.cell_finished", "eval.finished"


def list_(args: argparse.Namespace) -> int:
    """Print the scenarios there are, or the runs."""

    async def work(control: Control) -> int:
        scenarios, found = await control.eval_scenarios(), await control.evals()
        if args.json:
            show_json({**scenarios, **found})
        elif args.runs:
            show_items((_run_item(each) for each in found["runs"]), plain=args.plain, empty="no runs")
        else:
            show_items((_scenario_item(each) for each in scenarios["scenarios"]), plain=args.plain, empty="none")
        return Exit.OK

    return with_registry(args, work)


def run(args: argparse.Namespace) -> int:
    """Run scenarios and wait for the end; 0 where all passed, 1 where not, 130 where it is stopped by Ctrl-C."""
    if not args.targets and args.resume is None:
        raise Stop(Exit.USAGE, "name what to ask, e.g. `--targets provider/model,pool:tools,auto`, or `--resume RUN`")
    command = StartEval(
        targets=args.targets,
        scenarios=args.scenarios,
        repeats=args.repeats,
        seed=args.seed,
        max_cost_usd=args.max_cost_usd,
        max_tokens=args.max_tokens,
        max_time_s=args.max_time,
        timeout_s=args.timeout,
        connections=args.connections,
        cache=args.cache,
        key=key_of(args),
        apply=args.apply,
        resume=args.resume,
    )

    async def work(control: Control) -> int:
        files = await scenario_files(control, args.scenarios_dir)
        cursor = (await control.events(-1)).next
        begun = (await control.do(replace(command, scenario_files=files), actor="cli")).after
        name = str(begun["run"])
        if not args.json:
            say(f"run {name} begins; `eval run --resume {name}` goes on with it should it be stopped")
        try:
            await _followed(control, name, cursor)
        except asyncio.CancelledError:
            await control.do(CancelEval(name), actor="cli")
            say(f"run {name} was stopped; what is finished is kept")
            raise
        report = await control.eval_run(name)
        if report is None:
            raise Stop(Exit.PROBLEMS, f"run {name} cannot be read back")
        _show(report, args)
        _say_unasked(report)
        return Exit.OK if report["all_passed"] and report["state"] == "finished" else Exit.PROBLEMS

    return with_engine(args, work)


def show(args: argparse.Namespace) -> int:
    """Print what came of a run, or one cell of it in full."""
    if (args.scenario is None) is not (args.target is None):
        raise Stop(Exit.USAGE, "--scenario and --target go together: they name a cell")

    async def work(control: Control) -> int:
        if args.scenario is not None:
            return await _cell(control, args)
        report = await control.eval_run(args.run)
        if report is None:
            raise Stop(Exit.USAGE, f"there is no run {args.run!r} (`eval list --runs` shows them)")
        _show(report, args)
        return Exit.OK

    return with_registry(args, work)


async def _cell(control: Control, args: argparse.Namespace) -> int:
    cell = await control.eval_cell(args.run, args.scenario, args.target)
    if cell is None:
        raise Stop(Exit.USAGE, f"there is no run {args.run!r} with a cell {args.scenario} on {args.target}")
    if args.json:
        show_json(plain(cell))
    else:
        from routerconsole.cli.eval_cell import cell_lines

        print("\n".join(cell_lines(cell)))
    return Exit.OK


def cancel(args: argparse.Namespace) -> int:
    """Stop a run, or its row, column, square or cell."""
    if args.repeat is not None and (args.scenario is None or args.target is None):
        raise Stop(Exit.USAGE, "--repeat goes with --scenario and --target (all of them is the whole square)")
    command = CancelEval(args.run, args.scenario, args.target, None if args.repeat is None else args.repeat - 1)

    async def work(control: Control) -> int:
        show_receipt(await control.do(command, actor="cli"), as_json=args.json)
        return Exit.OK

    return with_control(args, work)


def accept(args: argparse.Namespace) -> int:
    """Take over what a run measured; 5 where it offers nothing of the kind."""

    async def work(control: Control) -> int:
        report = await control.eval_run(args.run)
        if report is None:
            raise Stop(Exit.USAGE, f"there is no run {args.run!r} (`eval list --runs` shows them)")
        node = None if args.capability is None else (await _node(control, args.capability))
        commands = accepting(report, target=args.target, capability=node)
        receipts = [await control.do(command, actor="cli", dry_run=args.dry_run) for command in commands]
        if args.json:
            show_json({"accepted": [plain(receipt) for receipt in receipts]})
        else:
            for command, receipt in zip(commands, receipts, strict=True):
                said = changes(receipt.before, receipt.after) or "nothing changes"
                start = "dry run: " if args.dry_run else ""
                print(f"{start}{text(receipt.target)} {text(command.node)} = {command.value}: {said}")
        return Exit.OK

    return with_registry(args, work, edit=not args.dry_run)


async def _node(control: Control, name: str) -> str:
    """Return the node a word, path or alias means; a name nobody knows is left for the report to miss."""
    for node in await control.capabilities():
        if name in (node.path, *node.aliases):
            return str(node.path)
    return name


def regrade(args: argparse.Namespace) -> int:
    """Grade a run's answers again, without a call; 0 where all pass now, 1 where not."""

    async def work(control: Control) -> int:
        files = await scenario_files(control, args.scenarios_dir)
        receipt = await control.do(RegradeEval(args.run, files), actor="cli", dry_run=args.dry_run)
        if args.dry_run:
            show_receipt(receipt, as_json=args.json)
            return Exit.OK
        if not args.json:
            show_receipt(receipt, as_json=False)
        report = await control.eval_run(args.run)
        if report is None:
            raise Stop(Exit.PROBLEMS, f"run {args.run} cannot be read back")
        _show(report, args)
        return Exit.OK if report["all_passed"] else Exit.PROBLEMS

    return with_engine(args, work)


def report(args: argparse.Namespace) -> int:
    """Print a report as it was written, or of a run that was not brought to its end as far as it came."""
    form: ReportForm = "json" if args.json else args.format
    written = None if args.url else _written(args, form)
    if written is not None:
        _page(written)
        return Exit.OK

    async def work(control: Control) -> int:
        made = await control.eval_report(args.run, form)
        if made is None:
            raise Stop(Exit.USAGE, f"there is no run {args.run!r} (`eval list --runs` shows them)")
        _page(made)
        return Exit.OK

    return with_registry(args, work)


def _written(args: argparse.Namespace, form: ReportForm) -> str | None:
    """Return the file of a report in the state directory, None where it is not there."""
    if not args.run.isascii() or not args.run.replace("_", "").isalnum():
        raise Stop(Exit.USAGE, f"{args.run!r} is no run's id")
    try:
        return (place(args) / "reports" / f"{args.run}.{form}").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _page(made: str) -> None:
    for line in made.splitlines():
        print(visible(line, len(made) + 1) if sys.stdout.isatty() else line)


def compare(args: argparse.Namespace) -> int:
    """Print one run against another; 1 where it got worse, or cannot be told to have not, and that is asked about."""

    async def work(control: Control) -> int:
        told = await control.eval_compare(args.a, args.b)
        if args.json:
            show_json(dict(told))
        else:
            print(visible(str(told["verdict"]), BLOCK_LIMIT))
            show_items((_change_item(each) for each in told["squares"]), plain=args.plain, empty="nothing in common")
            for flip in told["flips"]:
                where = f"{flip['target']} {flip['scenario_id']} #{flip['repeat'] + 1}"
                print(visible(f"{where}: {flip['before']} → {flip['after']}", BLOCK_LIMIT))
            for name in told["not_comparable"]:
                print(visible(f"{name}: not comparable, the scenario changed", BLOCK_LIMIT))
        return _gated(told) if args.fail_on else Exit.OK

    return with_registry(args, work)


def _gated(told: Mapping[str, Any]) -> Exit:
    """Return how a gate on regressions ends; what it could not look at is told, and seeing nothing is no pass."""
    unseen = [*told["not_comparable"], *(f"{each['scenario_id']} on {each['target']}" for each in told["ungraded"])]
    if unseen:
        say(f"not looked at, since it changed or was not graded again: {', '.join(unseen)}")
    if not told["comparable"]:
        say("nothing was graded in both runs: whether it got worse cannot be told")
    return Exit.PROBLEMS if told["regression"] or not told["comparable"] else Exit.OK


async def _followed(control: Control, name: str, cursor: int) -> None:
    """Wait for the end of a run; on a terminal say how far it is."""
    done = wrong = 0
    idle = 0.0
    while True:
        page = await control.events(cursor)
        cursor = page.next
        mine = [event for event in page.events if event.data.get("run") == name]
        for event in mine:
            if event.type.value == _CELL:
                done += 1
                wrong += event.data.get("verdict") not in ("pass", "skipped", "unsupported")
            elif event.type.value == _END:
                _progress("")
                return
        if mine:
            idle = 0.0
            _progress(f"{counted(done, 'cell')}, {wrong} not passed")
            continue
        if page.missed or idle >= LOOK_S:
            idle = 0.0
            if await _over(control, name):
                _progress("")
                return
        await asyncio.sleep(POLL_S)
        idle += POLL_S


async def _over(control: Control, name: str) -> bool:
    found = (await control.evals())["runs"]
    return all(each["state"] != "running" for each in found if each["run_id"] == name)


def _progress(line: str) -> None:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


def _show(report: Mapping[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        show_json(dict(report))
        return
    if args.plain:
        print(visible(f"{report['run_id']}: {report['state']}, seed {report['seed']}"))
        show_items(square_items(report), plain=True, empty="nothing was run")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(report_lines(report, width)))
    offered = [each for each in report.get("measured", ()) if each["finding"] != "flaky" and not each["accepted"]]
    if offered and report["state"] == "finished":
        count = f"{len(offered)} capability tag{'' if len(offered) == 1 else 's'}"
        say(f"{count} can be accepted: `eval accept {report['run_id']}` (--dry-run shows them)")


def _say_unasked(report: Mapping[str, Any]) -> None:
    """Tell of cells that were kept from being asked: they have neither failed nor passed."""
    squares = [square for column in report["targets"] for square in column["scenarios"]]
    count = sum(square["counts"].get("skipped", 0) for square in squares)
    if count:
        why = dict.fromkeys(part for square in squares for part in _SKIPPED.findall(square["summary"]))
        told = f"{count} cell{' was' if count == 1 else 's were'} not asked ({', '.join(why)})"
        more = (
            f"; `eval run --resume {report['run_id']}` asks them, with more to spend" if any(map(_spent, why)) else ""
        )
        say(told + more)


def _spent(reason: str) -> bool:
    """Whether a cell was not asked since the run had spent what it may."""
    return reason.startswith("cap_") and not reason.endswith("_unknown")


def _tenths(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _change_item(square: Mapping[str, Any]) -> Item:
    before, after = square["before"], square["after"]
    return {
        "target": square["target"],
        "scenario": square["scenario_id"],
        "before": f"{before['status']} {before['k']}/{before['n']}",
        "after": f"{after['status']} {after['k']}/{after['n']}",
        "latency_ms": _tenths(square["latency_ms"]),
        "ttft_ms": _tenths(square["ttft_ms"]),
        "cost_usd": square["cost_usd"],
        "regressed": "yes" if square["regressed"] else None,
    }


def _scenario_item(each: Mapping[str, Any]) -> Item:
    return {name: each[name] for name in ("id", "title", "suite", "kind", "capability", "repeats")}


def _run_item(each: Mapping[str, Any]) -> Item:
    return {
        "run": each["run_id"],
        "state": each["state"],
        "started_at": each["started_at"],
        "targets": tuple(each["targets"]),
        "scenarios": len(each["scenario_ids"]),
    }
