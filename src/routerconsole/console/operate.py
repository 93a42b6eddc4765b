"""Provider actions: what a key means for a provider as it stands, the question it asks, and how its receipt reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from routerconsole.control.commands import Command, Disable, Drain, Enable, Probe, Receipt, ResetCircuit, Target

from .actions import Context
from .render import quantity
from .render.notes import changes
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.views import ProviderStatus, Status

    from .sending import Proposal

EDITED = ("enabled", "admin", "priority")
"""What of a provider only operators change, here or elsewhere."""
_OUT = frozenset({"draining", "disabled", "isolated"})


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
    def provider(self) -> str | None:
        """The provider it touches, if it is about one."""
        return self.proposal.provider if self.proposal is not None else None


def command_for(action_id: str, provider: ProviderStatus) -> Command:
    """Return the command an action id stands for, given how the provider stands now."""
    target = Target(provider.name)
    match action_id:
        case "provider.probe":
            return Probe((provider.name,))
        case "provider.reset":
            return ResetCircuit(target, gates=True)
        case "provider.drain":
            return Enable(target) if provider.status in _OUT or not provider.enabled else Drain(target)
        case "provider.disable":
            return Enable(target) if provider.status == "disabled" or not provider.enabled else Disable(target)
        case _:
            raise ValueError(f"not a provider action: {action_id}")


def needs_asking(command: Command, provider: ProviderStatus) -> bool:
    """Whether a command touches live traffic: all but a probe, and a reset of something that is in order already."""
    if isinstance(command, Probe):
        return False
    if isinstance(command, ResetCircuit):
        routes = provider.routes
        held = provider.gate or provider.fault not in {None, "ok"} or provider.circuit_state != "closed"
        return bool(held) or any(
            route.circuit_state != "closed" or route.gate or route.fault not in {None, "ok"} for route in routes
        )
    return True


def _title(command: Command, name: str) -> str:
    verbs: Mapping[type, str] = {
        Drain: "Drain",
        Disable: "Disable",
        Enable: "Enable",
        ResetCircuit: "Reset the breaker of",
    }
    return f"{verbs.get(type(command), type(command).__name__)} {name}?"


def _effect(command: Command, provider: ProviderStatus) -> str:
    running = f"{provider.in_flight} in flight there {'runs' if provider.in_flight == 1 else 'run'} to the end"
    match command:
        case Drain():
            return f"no new requests until enabled again or restarted; {running}"
        case Disable():
            return f"no new requests, remembered over restarts; {running}"
        case Enable():
            return "takes new requests again, at once"
        case ResetCircuit():
            return "closes its circuits, clears gates and faults: requests go there at once, broken or not"
        case _:
            return ""


def blast_radius(command: Command, provider: ProviderStatus, status: Status) -> str:
    """Return which live traffic a command touches and who would absorb it."""
    share = f"{quantity.rate(provider.rps)} of {quantity.rate(status.rps)} rps"
    if isinstance(command, (Enable, ResetCircuit)):
        return f"up to {share} may go to it"
    rest = [other for other in status.providers if other.name != provider.name]
    words = {"healthy", "degraded", "unknown", "recovering"}
    up = [other for other in rest if other.enabled and other.status in words and other.counts_as != "unhealthy"]
    elsewhere = {model for other in up for model in other.models}
    only_here = [model for model in provider.models if model not in elsewhere]
    parts = [f"{share} now"]
    if up:
        parts.append(
            "next: " + ", ".join(visible(other.name, 30) for other in sorted(up, key=lambda p: p.priority)[:4])
        )
    else:
        parts.append("NO OTHER PROVIDER IS UP: requests will fail")
    if only_here:
        more = f" and {len(only_here) - 4} more" if len(only_here) > 4 else ""
        parts.append("models nobody else serves: " + ", ".join(visible(model, 40) for model in only_here[:4]) + more)
    return "; ".join(parts)


def explained(command: Command, provider: ProviderStatus, status: Status) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the title and paragraphs that a question about a provider shows."""
    touches = blast_radius(command, provider, status)
    return _title(command, visible(provider.name, 40)), (("does", _effect(command, provider)), ("touches", touches))


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


def settle(question: Question, receipt: Receipt) -> None:
    """Put the dry run's before → after into a question and let it be answered."""
    question.paragraphs[-1] = ("changes", changes(receipt.before, receipt.after))
    question.ready, question.before = True, receipt.before
    question.keys = [("y", "yes, do it"), ("n", "no")]


def edited(before: Mapping[str, object], now: Mapping[str, object]) -> str | None:
    """Return what another operator changed since, None where nobody did; what changes by itself is no edit."""
    was, stands = ({key: picture.get(key) for key in EDITED} for picture in (before, now))
    return None if was == stands else changes(was, stands)


def withdraw(question: Question) -> None:
    """The provider is gone: say so, leave only the way out."""
    question.title = f"{visible(question.provider, 40)} is gone"
    question.gone, question.ready, question.proposal = True, False, None
    question.paragraphs = [("gone", "the configuration no longer has this provider; nothing was changed")]
    question.keys = [("Esc", "close")]


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
    kept = "" if receipt.persisted else " (in memory only: storage is degraded)"
    number = f"#{receipt.audit_id} " if receipt.audit_id is not None else ""
    return f"{number}{name}: {changes(receipt.before, receipt.after)}{kept}"


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
