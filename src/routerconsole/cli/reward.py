"""`routerconsole reward …`, `eval judge-check` and `eval prefer`: outputs scored, a judge tried, columns judged.

Where no engine runs on the state directory, one is started for as long as judges are asked.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.output import Item, show_items, show_json
from routerconsole.cli.own_engine import with_engine
from routerconsole.cli.registry import with_registry
from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.control.reward_views import RewardQuery
from routerconsole.control.wire import plain
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.port import Control
    from routerconsole.control.reward_views import RewardMean, RewardPage, RewardScore

TASK_SHOWN = 60


def score(args: argparse.Namespace) -> int:
    """Have an output scored; 0 with a score, 1 without one, and why."""
    task, output = _text(args.task, args.task_text), _text(args.output, args.output_text)
    if task is None or output is None:
        raise Stop(Exit.USAGE, "name the task and the output: `reward score --task TEXT --output TEXT` (`-` is stdin)")
    if (args.task or args.task_text) == "-" == (args.output or args.output_text):
        raise Stop(Exit.USAGE, "only one of task and output can come from stdin")
    command = ScoreOutput(task, output, agent=args.agent, model=args.model, judge=args.judge)

    async def work(control: Control) -> int:
        told = (await control.do(command, actor="cli")).after
        if args.json:
            show_json(dict(told))
        elif told["score"] is not None:
            print(visible(_scored(told), BLOCK_LIMIT))
        if told["score"] is None:
            say(f"no score: {told['reason']}")
        return Exit.PROBLEMS if told["score"] is None else Exit.OK

    return with_engine(args, work)


def history(args: argparse.Namespace) -> int:
    """Print the scores kept, newest first, or what they come to."""

    async def work(control: Control) -> int:
        page = await control.rewards(RewardQuery(agent=args.agent, model=args.model, limit=args.limit))
        if args.json:
            show_json(plain(page))
        elif args.means:
            show_items(_means(page), plain=args.plain, empty="no scores")
        else:
            show_items((_item(each) for each in page.scores), plain=args.plain, empty="no scores")
        return Exit.OK

    return with_registry(args, work)


def judge_check(args: argparse.Namespace) -> int:
    """Try a judge on the shipped pairs; 0 where it may gate, 1 where not."""

    async def work(control: Control) -> int:
        told = (await control.do(CheckJudge(args.judge), actor="cli")).after
        if args.json:
            show_json(dict(told))
        else:
            print(visible(_checked(told), BLOCK_LIMIT))
        return Exit.OK if told["trusted"] else Exit.PROBLEMS

    return with_engine(args, work)


def prefer(args: argparse.Namespace) -> int:
    """Have a judge say which of two columns of a run is better; 0 once it has answered."""

    async def work(control: Control) -> int:
        told = (await control.do(PreferColumns(args.run, args.a, args.b, args.judge), actor="cli")).after
        if args.json:
            show_json(dict(told))
            return Exit.OK
        print(visible(_preferred(told), BLOCK_LIMIT))
        show_items((dict(each) for each in told["scenarios"]), plain=args.plain, empty="nothing was asked")
        if told["problem"]:
            say(f"not all pairs were answered: {told['problem']}")
        if told["more"]:
            say(f"{told['more']} more pairs were not asked about: {told['asked']} are the most at once")
        if told["trusted"] is None:
            say(f"{told['judge']} was never tried on the shipped pairs (`eval judge-check --judge {told['judge']}`)")
        return Exit.OK

    return with_engine(args, work)


def _text(named: str | None, placed: str | None) -> str | None:
    """Return a text that was given by name or by place, or what comes in where it is `-`."""
    given = placed if named is None else named
    return sys.stdin.read().encode("utf-8", "replace").decode() if given == "-" else given


def _scored(told: Mapping[str, Any]) -> str:
    counts = f"{told['positive']} good, {told['negative']} bad, {told['valid']} of {told['total']} valid"
    return f"{told['score']:+.2f} by {told['judge']}: {counts}"


def _checked(told: Mapping[str, Any]) -> str:
    low, high = told["ci"]
    said = "may gate" if told["trusted"] else "may not gate: no better than chance"
    found = f"{told['right']} of {told['answered']} pairs right (95 % {low:.2f} to {high:.2f})"
    return f"{told['judge']}: {found}; {said}"


def _preferred(told: Mapping[str, Any]) -> str:
    counts = f"a = {told['a']} won {told['a_wins']}, b = {told['b']} won {told['b_wins']}"
    rest = f"{told['unstable']} turned with the order, {told['asked'] - told['answered']} not answered"
    return f"{told['verdict']}: {counts}, {rest}, {told['left_out']} left to the graders, p {told['p']:.3f}"


def _item(each: RewardScore) -> Item:
    task = " ".join(each.task.split())
    return {
        "at": each.at,
        "score": each.score,
        "votes": f"{each.positive}+ {each.negative}- of {each.total}",
        "agent": each.agent,
        "model": each.model,
        "judge": each.judge,
        "request": each.request_id,
        "task": task if len(task) <= TASK_SHOWN else task[: TASK_SHOWN - 1] + "…",
    }


def _means(page: RewardPage) -> list[Item]:
    def item(what: str, each: RewardMean) -> Item:
        return {"what": what, "name": each.name, "mean": each.mean, "scores": each.n}

    return [*(item("model", each) for each in page.models), *(item("agent", each) for each in page.agents)]
