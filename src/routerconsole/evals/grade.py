"""From a sample to a verdict: which answers count, what was asserted of them, and what is no answer at all.

The order of a verdict:
1 nothing came back · 2 an answer that is an error nobody asked for · 3 a gate failed on an answer that was cut or
declined: truncated, refused · 4 a deterministic gate failed: fail, whatever a judge says · 5 a gate could not be told:
its obstacle · 6 a judge's gate failed · 7 a negative held only because the answer was cut or declined · 8 pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.routing.deliver import PREAMBLE

from .assertions import JUDGES, READS_ANSWER, TOOL_TYPES, Branch, Errors, Judged, Leaf, Node, leaves
from .finding import Facts, Finding, answer, untold
from .grade_compaction import grade_compaction
from .grade_text import grade_text
from .grade_tools import grade_tools
from .grade_wire import grade_wire, measured
from .scenario import CONTROL, WARMUP, Scenario
from .scenario_files import asked_schema
from .text import refuses
from .types import (
    PASSED,
    CallError,
    Check,
    Grade,
    Reply,
    Sample,
    Status,
    Verdict,
    errored,
    failed,
    unsupported,
)

_OVER_ALL: Final = frozenset({"ttft_ms", "latency_ms", "added_latency_ms", "tokens_per_s", "tokens", "cost_usd"})
_ABSENCE: Final = frozenset({"no_tool_call", "reasoning_not_leaked"})
"""Types that hold of an answer with nothing in it."""
_SPOKEN: Final = ("turn-", "compact-", "recall")
"""How the labels of calls begin that follow one another in one conversation."""
_RATE: Final = frozenset({OutcomeClass.RATE, OutcomeClass.QUOTA})
_TOO_MANY: Final = 429
_UNHEARD: Final = _RATE | {
    OutcomeClass.CONNECT, OutcomeClass.STALE_CONN, OutcomeClass.TIMEOUT_FIRST, OutcomeClass.CUT, OutcomeClass.AUTH,
    OutcomeClass.WARMING, "timeout", "cancelled", "cap",
}  # fmt: skip
"""Classes of errors that come of the line, the limits or the set-up, not of what was asked."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A node of the assertion tree with its result and those of its members."""

    node: Node
    check: Check
    inner: tuple[Check, ...] = ()


def grade(scenario: Scenario, sample: Sample) -> Grade:
    """Return the verdict on one repeat and the checks behind it. Pure: a stored sample can be graded again."""
    if not sample.replies:  # 1
        return Grade(errored("no_answer", "nothing was asked"))
    facts = Facts(sample, asked_schema(scenario.said.request), sample.variables)
    wrong = _no_answer(scenario, sample)  # 2
    if wrong is not None and wrong.status is not Status.FAIL:
        return Grade(wrong)
    judged = [_judge(node, facts, f"{n}") for n, node in enumerate(scenario.asserts)]
    checks = tuple(check for item in judged for check in (item.check, *item.inner))
    verdict = wrong if wrong is not None else _verdict(judged, sample)
    if scenario.said.expect == "truncated":
        if verdict.status is Status.TRUNCATED:
            verdict = PASSED
        elif verdict.status is Status.PASS:
            verdict = failed("not_truncated", expected="an answer cut at its limit", actual=_last_answer(sample))
    return Grade(verdict, checks, _capable(scenario, judged, sample, wrong))


def _capable(scenario: Scenario, judged: Sequence[_Judged], sample: Sample, wrong: Verdict | None) -> bool | None:
    """Return what the gates without a metric say of the capability, None where they are not graded."""
    if scenario.node is None:
        return None
    said = [item for item in judged if not item.node.said.metric]
    verdict = wrong if wrong is not None else _verdict(said, sample)
    return verdict.status is Status.PASS if verdict.graded else None


def _last_answer(sample: Sample) -> str:
    last = sample.last()
    return "" if last is None else answer(last)


# ---- 2: no answer


def _no_answer(scenario: Scenario, sample: Sample) -> Verdict | None:
    """Return what an unexpected error makes of the repeat. In a drill the router is on trial, so it is a failure.

    Where an error is asked for, one that says nothing of what was asked (no connection, too many requests, no time) is
    still no answer, unless that class is the one named.
    """
    asked_for = [leaf for leaf in scenario.leaves if leaf.kind == "error" and not leaf.negated]
    for reply in sample.replies:
        if reply.error is None or reply.label.startswith(WARMUP):
            continue
        asking = [leaf for leaf in asked_for if reply in _meant(leaf.said.on, sample)]
        if asking and (scenario.is_drill or not _beside_the_point(reply.error, asking)):
            continue
        if (copied := _copied(scenario, sample, reply.error)) is not None:
            return copied
        if scenario.is_drill:
            return failed("not_served", expected="an answer", actual=answer(reply))
        return verdict_of(reply.error)
    return None


def _copied(scenario: Scenario, sample: Sample, error: CallError) -> Verdict | None:
    """Return the failure of a compaction whose own notes, not shortened, no longer fitted."""
    leaf = next((leaf for leaf in scenario.leaves if leaf.kind == "compacted" and not leaf.negated), None)
    if leaf is None or error.cls not in (OutcomeClass.CONTEXT, OutcomeClass.OVERSIZE):
        return None
    answered = replace(sample, replies=tuple(reply for reply in sample.replies if reply.error is None))
    found = grade_compaction(leaf.kind, Facts(answered)) if answered.replies else None
    if found is None or found.passed is not False:
        return None
    return failed(leaf.code, expected=found.expected, actual=found.actual)


def _beside_the_point(error: CallError, asking: Sequence[Leaf]) -> bool:
    """Whether an error is the line's or the limit's, and none of the classes a scenario waits for."""
    named = {name for leaf in asking if isinstance(leaf.said, Errors) for name in leaf.said.classes}
    if not named or named & {error.cls, error.code}:
        return False
    return error.cls in _UNHEARD or error.status == _TOO_MANY


def verdict_of(error: CallError) -> Verdict:
    """Return what an error means for a cell; only an answer that was not what was forced is a wrong one."""
    said = error.message or error.code
    if error.cls == OutcomeClass.UNDELIVERED or error.code == "capability_not_delivered":
        return failed("not_delivered", actual=said)
    if error.cls == OutcomeClass.BLANK:
        return failed("blank", actual=said)
    if error.cls in _RATE or error.status == _TOO_MANY:
        gated = error.cls == ErrorCode.NO_ROUTABLE_CANDIDATE  # nobody was asked: a waiting period stood in the way
        return Verdict(Status.RATE_LIMITED, "gated" if gated else "", said)
    if error.cls == OutcomeClass.POLICY:
        return Verdict(Status.REFUSED, "policy", said)
    if error.cls == OutcomeClass.CAPABILITY:
        return unsupported(error.capability or "unknown", said)
    return errored(error.cls, said)


# ---- 3 to 8


def _verdict(judged: Sequence[_Judged], sample: Sample) -> Verdict:
    gates = [item for item in judged if item.check.gate]
    lost = [item for item in gates if item.check.passed is False and not _by_judge(item.node)]
    for item in lost:
        if _doubt(item.node, sample, negatives=False) is None:
            return _failed(item.check)  # 4
    for item in lost:  # 3
        found = _doubt(item.node, sample, negatives=False)
        if found is not None:
            return found
    for item in gates:  # 5
        if item.check.passed is None:
            return item.check.obstacle or Verdict(Status.INCONCLUSIVE)
    for item in gates:  # 6
        if item.check.passed is False:
            return _doubt(item.node, sample, negatives=False) or _failed(item.check)
    for item in gates:  # 7
        found = _doubt(item.node, sample, negatives=True)
        if found is not None:
            return found
    return PASSED  # 8


def _failed(check: Check) -> Verdict:
    return failed(check.code, expected=check.expected, actual=check.actual)


def _by_judge(node: Node) -> bool:
    return any(leaf.kind in JUDGES for leaf in leaves(node))


def _doubt(node: Node, sample: Sample, *, negatives: bool) -> Verdict | None:
    """Return `truncated` or `refused` where a node reads a cut or declined answer; of negatives only, if so asked.

    A control's answer may be anything, and prose where a tool was forced is no beginning of a call. What a cut answer
    holds and should not is there, cut or not. A turn that followed a cut or declined one is no better than that.
    """
    for leaf in leaves(node):
        absence = leaf.negated or leaf.kind in _ABSENCE
        if leaf.kind not in READS_ANSWER or (negatives and not absence):
            continue
        for reply in _meant(leaf.said.on, sample):
            if reply.label == CONTROL or reply.error is not None:
                continue
            if reply.truncated and (negatives or not absence) and not (leaf.kind in TOOL_TYPES and _talked(reply)):
                return _cut(reply)
            if declined(reply):
                return _declined(reply)
        if not negatives:
            for reply in _before(leaf.said.on, sample):
                if reply.truncated and not _talked(reply):
                    return _cut(reply)
                if declined(reply):
                    return _declined(reply)
    return None


def _before(on: str | None, sample: Sample) -> tuple[Reply, ...]:
    """Return the answers that stood in the conversation when the one meant was given, or was not asked for any more."""
    spoken = tuple(reply for reply in sample.replies if reply.label.startswith(_SPOKEN))
    meant = _meant(on, sample)
    if meant and not meant[0].label.startswith(_SPOKEN):
        return ()
    return spoken[: spoken.index(meant[0])] if meant else spoken


def _cut(reply: Reply) -> Verdict:
    return Verdict(Status.TRUNCATED, "", "cut at max_tokens", actual=answer(reply))


def _declined(reply: Reply) -> Verdict:
    return Verdict(Status.REFUSED, "", actual=reply.refusal or answer(reply))


def _talked(reply: Reply) -> bool:
    """Whether a cut answer was prose all the way where a tool was forced (routing.md §4 judges it the same)."""
    forced = reply.request.get("tool_choice")
    return forced not in (None, "auto", "none") and not reply.tool_calls and len(reply.text.strip()) > PREAMBLE


def declined(reply: Reply) -> bool:
    """Whether the model or a filter declined to answer."""
    return bool(reply.refusal) or reply.finish_reason == "content_filter" or refuses(reply.text)


# ---- assertions


def _meant(on: str | None, sample: Sample, *, default: str | None = None) -> tuple[Reply, ...]:
    """Return the answers an assertion looks at."""
    said = on or default
    if said is None:
        last = sample.last()
        return (last,) if last is not None else ()
    if said == "all":
        return tuple(reply for reply in sample.replies if reply.label != CONTROL and not reply.label.startswith(WARMUP))
    return tuple(reply for reply in sample.replies if fnmatchcase(reply.label, said))


def _judge(node: Node, facts: Facts, place: str) -> _Judged:
    if isinstance(node, Leaf):
        return _Judged(node, _leaf(node, facts))
    members = [_judge(member, facts, f"{place}.{n}") for n, member in enumerate(node.members)]
    passed = _combined(node, [member.check.passed for member in members])
    lost = next((member.check for member in members if member.check.passed is False), None)
    blocked = next((member.check.obstacle for member in members if member.check.passed is None), None)
    inner = tuple(_measuring(check) for member in members for check in (member.check, *member.inner))
    check = Check(
        type=node.said.type,
        passed=passed,
        gate=node.said.gate,
        metric=node.said.metric or "",
        code=node.code,
        expected=_wanted(node, members),
        actual="" if lost is None else lost.actual,
        obstacle=blocked if passed is None else None,
    )
    return _Judged(node, check, inner)


def _measuring(check: Check) -> Check:
    """A member's check: its group decides."""
    return Check(
        check.type, check.passed, False, check.metric, check.code, check.expected, check.actual, check.label,
        check.obstacle, check.value,
    )  # fmt: skip


def _wanted(node: Branch, members: Sequence[_Judged]) -> str:
    texts = [member.check.expected for member in members if member.check.expected]
    if node.said.type == "threshold":
        return f"at least {node.said.threshold:g} of {len(members)}: {', '.join(texts)}"
    return (" and " if node.said.type == "all" else " or ").join(texts)


def _combined(node: Branch, results: Sequence[bool | None]) -> bool | None:
    """Three-valued: a result that cannot be told matters only where it could turn the scale."""
    weights = [member.said.weight for member in node.members]
    total = sum(weights)
    needed = {"all": total, "any": min(weights), "threshold": node.said.threshold}[node.said.type]
    won = sum(weight for weight, result in zip(weights, results, strict=True) if result)
    open_ = sum(weight for weight, result in zip(weights, results, strict=True) if result is None)
    slack = 1e-9
    if won >= needed - slack:
        return True
    return None if won + open_ >= needed - slack else False


def _leaf(leaf: Leaf, facts: Facts) -> Check:
    label = ""
    found = Finding(False, "an answer", f"no call {leaf.said.on}" if leaf.said.on else "no answer")
    for name, finding in _findings(leaf, facts):
        label, found = name, finding
        if finding.passed is not True:
            break
    obstacle = found.obstacle if found.passed is None else None
    return Check(
        type=leaf.name,
        passed=found.passed,
        gate=leaf.said.gate,
        metric=leaf.said.metric or "",
        code=leaf.code,
        expected=f"not {found.expected}" if leaf.negated else found.expected,
        actual=found.actual,
        label=label,
        obstacle=obstacle,
        value=found.value,
    )


def _findings(leaf: Leaf, facts: Facts) -> Iterator[tuple[str, Finding]]:
    """Yield what an assertion finds on each answer it means, negation applied; nothing where there is no answer."""
    said, kind = leaf.said, leaf.kind
    if isinstance(said, Judged):
        yield "", _votes(kind, said, facts.sample)
        return
    if kind in _OVER_ALL or kind == "embedding":
        over = measured(kind, said, _meant(said.on, facts.sample, default="all"), facts)
        if over is not None:
            yield "", _turned(over, negated=leaf.negated)
        return
    for reply in _meant(said.on, facts.sample):
        found = (
            grade_compaction(kind, facts)
            or grade_wire(kind, said, reply, facts)
            or grade_tools(kind, said, reply, facts)
            or grade_text(kind, said, reply, facts)
        )
        if found is not None:
            yield reply.label, _turned(found, negated=leaf.negated)


def _turned(found: Finding, *, negated: bool) -> Finding:
    if not negated or found.passed is None:
        return found
    return Finding(not found.passed, found.expected, found.actual, value=found.value)


def _votes(kind: str, said: Judged, sample: Sample) -> Finding:
    """Return what the votes of this kind come to; without a majority of valid ones nothing is told."""
    wanted = (kind, said.rubric, said.on)
    votes = next((item for item in sample.votes if (item.kind, item.rubric, item.on) == wanted), None)
    if votes is None or votes.score is None:
        why = "" if votes is None else votes.problem
        return untold("no_votes", why or "no judge, or fewer than a majority of valid votes")
    if said.gate and votes.trusted is False:
        return untold("judge_untrusted", f"{votes.judge} is no better than chance on pairs (`eval judge-check`)")
    got = f"{votes.score:+.2f} ({votes.positive}+ {votes.negative}- of {votes.total})"
    return Finding(votes.score >= said.min, f"score >= {said.min:g}", got, value=votes.score)


def codes(scenario: Scenario) -> Mapping[str, str]:
    """Return each fail code a scenario's own gates can give and what it means, for `eval list`."""
    return {node.code: ", ".join(leaf.name for leaf in leaves(node)) for node in scenario.asserts if node.said.gate}
