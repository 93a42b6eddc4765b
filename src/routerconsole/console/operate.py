"""Questions before a change: what they show, how they are settled or withdrawn, and how a receipt reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from routerconsole.control.commands import Target

from .actions import Context
from .render import quantity
from .render.judged import COMMANDS, judged_text
from .render.notes import changes
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.commands import Receipt

    from .sending import Proposal

EDITED = ("enabled", "admin", "priority")
"""What of a provider only operators change, here or elsewhere."""


@dataclass(slots=True)
class Question:
    """A sheet waiting for an answer; until the engine has said what would change it is not `ready` and `y` is deaf."""

    title: str
    context: Context
    paragraphs: list[tuple[str, str]]
    proposal: Proposal | None = None
    ready: bool = True
    gone: bool = False
    interrupted: bool = False
    before: Mapping[str, object] | None = None  # how things stood when the answer was asked for
    keys: list[tuple[str, str]] = field(default_factory=list)

    @property
    def target(self) -> Target | None:
        """The provider, or the model there, that it touches, if it is about one."""
        proposal = self.proposal
        if proposal is None or proposal.provider is None:
            return None
        return Target(proposal.provider, proposal.model)


def question_of(proposal: Proposal) -> Question:
    """Return the question for a proposal; what exactly changes is filled in from the engine's dry run."""
    return Question(
        title=proposal.title,
        context=Context.CONFIRM,
        paragraphs=[*proposal.paragraphs, ("changes", "asking the engine…")],
        proposal=proposal,
        ready=False,
        keys=[("Esc", "no"), ("", "wait…")],
    )


def settle(question: Question, receipt: Receipt, *, impact: str | None = None) -> None:
    """Put the dry run's before → after, and the impact where it was asked for, into a question; it may be answered."""
    question.paragraphs[-1] = ("changes", changes(receipt.before, receipt.after))
    if impact is not None:
        question.paragraphs.append(("impact", impact))
    question.ready, question.before = True, receipt.before
    question.keys = [("y", "yes, do it"), ("n", "no")]


def edited(before: Mapping[str, object], now: Mapping[str, object]) -> str | None:
    """Return what another operator changed since, None where nobody did; what changes by itself is no edit."""
    was, stands = ({key: picture.get(key) for key in EDITED} for picture in (before, now))
    return None if was == stands else changes(was, stands)


def withdraw(question: Question) -> None:
    """What it is about is gone: say so, leave only the way out."""
    target = question.target
    question.title = f"{visible(target.label() if target is not None else None, 60)} is gone"
    question.gone, question.ready, question.proposal = True, False, None
    question.paragraphs = [("gone", f"there is no such {_kind(target)} any more; nothing was changed")]
    question.keys = [("Esc", "close")]


def _kind(target: Target | None) -> str:
    return "model" if target is not None and target.model is not None else "provider"


def quit_question(running: int, *, interrupted: bool) -> Question:
    """Return what `q` asks while requests are in flight."""
    noun = "request is" if running == 1 else "requests are"
    return Question(
        title=f"{running} {noun} in flight. Quit?",
        context=Context.QUIT,
        paragraphs=[
            ("drain", "running requests get 10 s to finish, then the engine stops"),
            ("hand off", "the screen ends, the engine serves on in this terminal"),
        ],
        keys=[("q", "drain and quit"), ("h", "hand off to headless"), ("Esc", "stay")],
        interrupted=interrupted,
    )


def result_text(receipt: Receipt) -> str:
    """Return a receipt in one line for the bottom of the screen."""
    name = f"{receipt.command.replace('_', ' ')} {visible(receipt.target, 40)}".strip()
    if receipt.command == "health_check":
        return _probe_text(receipt) or name
    if receipt.command == "sync_models":
        return f"{name}: {_found_text(receipt)}"
    if receipt.command in COMMANDS:
        return judged_text(receipt)
    kept = "" if receipt.persisted else " (in memory only: storage is degraded)"
    number = f"#{receipt.audit_id} " if receipt.audit_id is not None else ""
    return f"{number}{name}: {changes(receipt.before, receipt.after)}{kept}"


def _found_text(receipt: Receipt) -> str:
    """Return how many models a round of listings found new, changed and missing."""
    counts = []
    for what in ("new", "changed", "missing"):
        found = receipt.after.get(what)
        counts.append(f"{len(found) if isinstance(found, (list, tuple)) else 0} {what}")
    return ", ".join(counts)


def _probe_text(receipt: Receipt) -> str:
    providers = receipt.after.get("providers")
    if not isinstance(providers, (list, tuple)):
        return ""
    parts: list[str] = []
    for item in providers:
        if hasattr(item, "keys"):
            latency = item.get("latency_ms")
            took = f" {quantity.ms(latency)}" if isinstance(latency, (int, float)) else ""
            word = "ok" if item.get("healthy") else "failed"
            detail = visible(str(item.get("detail") or ""), 80)
            parts.append(
                f"{visible(str(item.get('name')), 40)} {word}"
                f" ({visible(str(item.get('depth', 'reach')), 12)}{took}) {detail}"
            )
    return ("probe " + "; ".join(parts)).rstrip()
