"""What judges can be asked in the Evals view, and what they said: votes, two columns compared, a trial, the scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from routerconsole.console.picker import Entry, Picker
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.port import ControlError
from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.control.reward_views import RewardQuery

if TYPE_CHECKING:
    from routerconsole.control.eval_views import EvalCall, EvalCellDetail, EvalRun
    from routerconsole.control.reward_views import RewardScore

    from .base import Host

SHOWN: Final = 200
"""Scores that are listed, the newest."""


def judge(host: Host, run: EvalRun, detail: EvalCellDetail | None, pair: tuple[str, str] | None) -> None:
    """Let the operator choose what the judge is asked, of an answered cell or of two compared columns, or look back."""
    entries = []
    call = None if detail is None else _answered(detail)
    if detail is not None and call is not None:
        where = f"{visible(detail.scenario, 40)} on {visible(detail.target, 60)}"
        entries.append(Entry(f"vote on this answer: {where}", partial(_vote, host, detail, call)))
    if pair is not None:
        one, other = (visible(name, 60) for name in pair)
        entries.append(Entry(f"which is better, {one} or {other}?", partial(_prefer, host, run, pair)))
    entries.append(Entry("try the judge on the shipped pairs: may it gate?", partial(_try, host)))
    entries.append(Entry("the scores there are, newest first", partial(_history, host)))
    host.pick(Picker("Judge", entries))


def _answered(detail: EvalCellDetail) -> EvalCall | None:
    """Return the last call of a cell that was answered in words."""
    calls = (call for repeat in reversed(detail.repeats) for call in reversed(repeat.calls))
    return next((call for call in calls if call.text and call.prompt), None)


def _vote(host: Host, detail: EvalCellDetail, call: EvalCall) -> None:
    subject = visible(detail.target, 60)
    host.propose(
        Proposal(
            ScoreOutput(call.prompt, call.text, model=detail.target if "/" in detail.target else None),
            subject,
            f"Have the judge vote on what {subject} answered?",
            (
                ("asks", "the judge, once per vote, as ordinary requests that cost what they cost"),
                ("keeps", "the score in the reward history; it counts for the pool strategy quality_first"),
            ),
        )
    )


def _try(host: Host) -> None:
    host.propose(
        Proposal(
            CheckJudge(),
            "judge",
            "Try the judge on the shipped pairs?",
            (
                ("asks", "40 questions: which of two outputs is better, in both orders"),
                ("keeps", "how it did; one that is no better than chance gates nothing"),
            ),
        )
    )


def _prefer(host: Host, run: EvalRun, pair: tuple[str, str]) -> None:
    one, other = (visible(name, 60) for name in pair)
    host.propose(
        Proposal(
            PreferColumns(run.id, *pair),
            visible(run.id, 40),
            f"Have the judge say which is better, {one} or {other}?",
            (
                ("asks", "about each repeat that the graders let both pass, in both orders; only stable wins count"),
                ("keeps", "nothing: no verdict changes"),
            ),
        )
    )


def _history(host: Host) -> None:
    """Open the scores kept; they come in while the page stands."""
    page = Picker("Scores", [Entry("reading…", lambda: None)])
    host.pick(page)
    host.spawn(_read(host, page))


async def _read(host: Host, page: Picker) -> None:
    try:
        found = await host.control.rewards(RewardQuery(limit=SHOWN))
    except ControlError as error:
        page.refill([Entry(f"not read: {visible(error.message, 200)}", lambda: None)])
    else:
        entries = [_entry(host, each) for each in found.scores]
        page.refill(entries or [Entry("no scores yet: J on a cell has the judge vote on its answer", lambda: None)])
    host.redraw()


def _entry(host: Host, each: RewardScore) -> Entry:
    """Return a score as it is listed; chosen, it is told with its task."""
    about = " · ".join(visible(name, 60) for name in (each.model, each.agent) if name) or "an output"
    votes = (
        f"{each.positive} good, {each.negative} bad, {each.valid} of {each.total} valid, by {visible(each.judge, 60)}"
    )
    text = f"{each.at[:19].replace('T', ' ')}  {each.score:+.2f}  {about}"
    task = visible(" ".join(each.task.split()), 200) or "the task was not kept"
    return Entry(text, lambda: host.tell(f"{each.score:+.2f} for {about} ({votes}): {task}", ok=True), note=votes)
