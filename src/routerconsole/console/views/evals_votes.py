"""What judges can be asked in the Evals view: votes on the answer of a cell, and a trial of the judge itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from routerconsole.console.picker import Entry, Picker
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.reward_commands import CheckJudge, ScoreOutput

if TYPE_CHECKING:
    from routerconsole.control.eval_views import EvalCall, EvalCellDetail

    from .base import Host


def judge(host: Host, detail: EvalCellDetail | None) -> None:
    """Let the operator choose what the judge is asked; without an answer in the cell only the trial is left."""
    entries = []
    call = None if detail is None else _answered(detail)
    if detail is not None and call is not None:
        where = f"{visible(detail.scenario, 40)} on {visible(detail.target, 60)}"
        entries.append(Entry(f"vote on this answer: {where}", partial(_vote, host, detail, call)))
    entries.append(Entry("try the judge on the shipped pairs: may it gate?", partial(_try, host)))
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
