"""One request in full: its plan, the waterfall of its attempts, why each candidate was tried or not, and how it ended.

`╌` connect, `─` waiting, `━` streaming, `┄` backoff; `●` served, `✗` failed, `▶` still running.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Line, Role, Run, cut, fit, labelled, line_width, merge, plain, width_of, wrap
from .requests import client, needs, short_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.views import AttemptView, CandidateView, RequestDetail

_PATH: Final = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
_TICKS: Final = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    2000.0,
    5000.0,
)
PAD: Final = 7
TWO_COLUMNS: Final = 92
"""Columns from which the reasons stand beside the waterfall instead of below it."""
MAX_ASKED: Final = 6
MAX_OUT: Final = 4
"""Candidates the plan names; the reasons below it name all."""
_OUT: Final = frozenset({"skipped", "dropped"})


@dataclass(frozen=True, slots=True)
class _Scale:
    """Milliseconds to cells: `width` cells show `span_ms`."""

    span_ms: float
    width: int

    def cell(self, at_ms: float | None) -> int:
        """Return the cell of a moment, inside the bar whatever the moment."""
        if at_ms is None or not math.isfinite(at_ms):
            return 0
        return min(max(round(at_ms / self.span_ms * (self.width - 1)), 0), self.width - 1)


def _finite(*values: float | None) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value) and value >= 0]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened `at_ms` after the request began, in words."""

    at_ms: float
    text: str
    role: Role


def moments(detail: RequestDetail) -> list[Moment]:
    """Return what happened to a request's attempts, in order."""
    found: list[Moment] = []
    for attempt in detail.attempts_detail:
        who = f"{attempt.n} {visible(attempt.provider, 40)}"
        told = (
            (attempt.started_ms, f"asked for {visible(attempt.model, 80)}, circuit {visible(attempt.circuit_before)}"),
            (attempt.connect_ms, "connected"),
            (attempt.first_byte_ms, "first byte"),
            (attempt.first_token_ms, "first token"),
        )
        found.extend(Moment(at, f"{who}: {text}", Role.INFO) for at, text in told if at is not None)
        if attempt.ended_ms is not None:
            outcome, role = _outcome(attempt, None)
            said = f": {visible(attempt.detail, 2000)}" if attempt.detail else ""
            ended = "served" if attempt.class_ == "ok" else "failed"
            found.append(Moment(attempt.ended_ms, f"{who}: {ended}, {outcome}{said}", role))
    return sorted((moment for moment in found if _finite(moment.at_ms)), key=lambda moment: moment.at_ms)


def title(detail: RequestDetail, elapsed_ms: float | None, width: int) -> list[Line]:
    """Return what was asked and how it stands."""
    record = detail.row
    path = _PATH.get(record.endpoint, visible(record.endpoint, 40))
    model = visible(record.model or "(none)", 60)
    asked = f"{short_id(record.id)} {path} model={model} need={needs(record)} client={client(record)}"
    by = f" via {visible(record.provider, 40)}/{visible(record.served_model, 80)}" if record.provider else ""
    if record.status == "in_flight":
        ended, role = f"▶ running for {quantity.ms(elapsed_ms)}{by}", Role.INFO
    else:
        code = f" {record.http_status}" if record.http_status is not None else ""
        word = {"ok": "●", "failed": "✗ failed", "truncated": "✗ cut mid-stream", "cancelled": "– cancelled"}.get(
            record.status, visible(record.status, 20)
        )
        error = f" {visible(record.error_code, 60)}" if record.error_code else ""
        ended = f"{word}{code}{error} in {quantity.ms(record.total_ms)}{by}"
        role = Role.OK if record.status == "ok" else Role.DIM if record.status == "cancelled" else Role.BAD
    return [*wrap(asked, width, role=Role.TITLE), *wrap(ended, width, role=role)]


def plan_words(candidates: Sequence[CandidateView]) -> str:
    """Return candidates in order: who is asked first and next, then who is out and why; the rest as a number."""
    counts = Counter(candidate.provider for candidate in candidates)
    asked = [_candidate_word(each, whole=counts[each.provider] > 1) for each in candidates if each.decision not in _OUT]
    out = [_candidate_word(each, whole=counts[each.provider] > 1) for each in candidates if each.decision in _OUT]
    shown = [
        *asked[:MAX_ASKED],
        *([f"{len(asked) - MAX_ASKED} more"] if len(asked) > MAX_ASKED else ()),
        *out[:MAX_OUT],
        *([f"{len(out) - MAX_OUT} more out"] if len(out) > MAX_OUT else ()),
    ]
    return " > ".join(shown) or "no candidate"


def _candidate_word(candidate: CandidateView, *, whole: bool) -> str:
    """Return a candidate's name, with its model where the provider alone does not tell it, and why it is out."""
    name = visible(candidate.provider, 40) + (f"/{visible(candidate.model, 40)}" if whole else "")
    name += f"#{visible(candidate.account, 20)}" if candidate.account else ""
    reason = visible(candidate.reasons[0], 60) if candidate.reasons else ""
    if candidate.decision == "eligible":
        return name
    return f"{name}{'▼' if candidate.decision == 'demoted' else '⊘'}{reason}"


def plan(detail: RequestDetail, width: int) -> list[Line]:
    """Return how the model name resolved and why, and the candidates in order, with why some were out."""
    count = f"({len(detail.candidates)})" if len(detail.candidates) > 1 else ""
    text = f"{visible(detail.row.resolved, 80)}{count}: {plan_words(detail.candidates)}"
    why = "; ".join(visible(line, 200) for line in detail.because)
    return [*(labelled("why", why, width, pad=PAD) if why else ()), *labelled("plan", text, width, pad=PAD)]


def _axis(scale: _Scale, indent: int) -> Line:
    """Return the time axis with ticks at round seconds, ending in the span itself."""
    seconds = scale.span_ms / 1000
    step = next((tick for tick in _TICKS if seconds / tick <= max(1, scale.width // 10)), seconds)
    end = quantity.ms(scale.span_ms)
    cells = [" "] * scale.width
    free = 0
    for number in range(int(seconds / step) + 1):
        at = number * step
        text = _tick(at, step)
        cell = scale.cell(at * 1000)
        if cell >= free and cell + len(text) < scale.width - len(end) - 1:
            cells[cell : cell + len(text)] = text
            free = cell + len(text) + 2
    cells[max(0, scale.width - len(end)) :] = end[-scale.width :]
    return ((" " * indent + "".join(cells[: scale.width]), Role.DIM),)


def _tick(at: float, step: float) -> str:
    if step < 0.1:
        return f"{at * 1000:.0f}ms"
    if step < 1:
        return f"{at:.1f}s"
    return quantity.span(at) if at >= 100 else f"{at:.0f}s"


def _bar(attempt: AttemptView, previous_end: float | None, scale: _Scale) -> str:
    """Return one attempt's bar: backoff, connect, waiting, streaming, and its end."""
    cells = [" "] * scale.width
    start = scale.cell(attempt.started_ms)
    running = attempt.ended_ms is None
    end = scale.width - 1 if running else max(start, scale.cell(attempt.ended_ms))
    connected = scale.cell(attempt.connect_ms) if attempt.connect_ms is not None else (start if not running else end)
    streaming = scale.cell(attempt.first_token_ms) if attempt.first_token_ms is not None else end + 1
    if previous_end is not None:
        for cell in range(min(scale.cell(previous_end) + 1, start), start):
            cells[cell] = "┄"
    for cell in range(start, end + 1):
        cells[cell] = "╌" if cell < connected else "─" if cell < streaming else "━"
    cells[end] = "▶" if running else "●" if attempt.class_ == "ok" else "✗"
    return "".join(cells)


def _outcome(attempt: AttemptView, tokens: int | None, room: int = 200) -> Run:
    """Return how an attempt ended in `room` cells: its duration, status and cause; of the one that served its speed.

    `tokens` are those of the answer; what there is no room for is left out from the end.
    """
    if attempt.ended_ms is None:
        return "running" if attempt.first_token_ms is None else "streaming", Role.INFO
    took = quantity.ms(attempt.ended_ms - attempt.started_ms)
    if attempt.class_ == "ok":
        first, told = attempt.first_token_ms, [took]
        told += [f"ttft {quantity.ms(first - attempt.started_ms)}"] if first is not None else []
        told += [f"{quantity.count(tokens)} tok"] if tokens else []
        if first is not None and tokens and attempt.ended_ms > first:
            told.append(f"{quantity.rate(tokens * 1000 / (attempt.ended_ms - first))} t/s")
        texts = [" ".join(told[:end]) for end in range(1, len(told) + 1)]
        return max((text for text in texts if width_of(text) <= room), key=len, default=took), Role.OK
    status = f" {attempt.status}" if attempt.status is not None else ""
    cause = visible(attempt.cause or attempt.class_, 16)
    return f"{took}{status}" + (f" {cause}" if cause != str(attempt.status) else ""), Role.BAD


def bars(detail: RequestDetail, elapsed_ms: float | None, width: int, *, moment: Moment | None = None) -> list[Line]:
    """Return the time axis and one bar per attempt; the right edge is the end, or now; a moment is pointed at."""
    attempts = detail.attempts_detail
    if not attempts:
        text = "no upstream was asked" if detail.row.status != "in_flight" else "no upstream asked yet"
        return [((text, Role.DIM),)]
    longest = max(width_of(visible(attempt.provider, 40)) for attempt in attempts)
    name_width = min(longest, 14, max(6, width // 5))
    room = max(16, width * 3 // 10)
    outcomes = [_outcome(attempt, detail.row.completion_tokens, room) for attempt in attempts]
    info_width = min(room, max(12, *(width_of(text) for text, _ in outcomes)))
    indent = 3 + name_width + 1
    bar_width = max(8, width - indent - info_width - 1)
    ends = [
        end for attempt in attempts for end in _finite(attempt.started_ms, attempt.ended_ms, attempt.first_token_ms)
    ]
    total = detail.row.total_ms if detail.row.total_ms is not None else elapsed_ms
    scale = _Scale(max([1.0, *ends, *_finite(total)]), bar_width)
    lines = [_axis(scale, indent)]
    previous: float | None = None
    for attempt, (outcome, role) in zip(attempts, outcomes, strict=True):
        head = f"{attempt.n:>2} {fit(visible(attempt.provider, 40), name_width)} "
        lines.append(
            merge([(head, Role.TEXT), (_bar(attempt, previous, scale) + " ", role), (fit(outcome, info_width), role)])
        )
        previous = attempt.ended_ms
    if moment is not None:
        cell = scale.cell(moment.at_ms)
        lines.append(((" " * (indent + cell) + "▲", Role.INFO),))
        lines.extend(labelled("at", f"{quantity.ms(moment.at_ms)}  {moment.text}", width, role=moment.role, pad=PAD))
    return lines


def _reason(candidate: CandidateView, first: AttemptView | None, detail: RequestDetail) -> tuple[str, Role]:
    """Return in words why one candidate was tried when it was, or why it was not."""
    given = visible("; ".join(candidate.reasons), 400) if candidate.reasons else ""
    more = f"; {given}" if given else ""
    if first is not None:
        before = next((attempt for attempt in detail.attempts_detail if attempt.n == first.n - 1), None)
        if before is None:
            return f"first in order{more}", Role.DIM
        return f"next after {visible(before.provider, 40)} {visible(before.cause or before.class_, 16)}{more}", Role.DIM
    if candidate.decision == "eligible":
        return ("not reached yet" if detail.row.status == "in_flight" else "not needed") + more, Role.DIM
    return f"{visible(candidate.decision, 12)}: {given or 'no reason given'}", Role.WARN


def _attempt_lines(attempt: AttemptView, tokens: int | None, width: int) -> list[Line]:
    """Return how one attempt went: outcome and the upstream's own words first, then times and circuit."""
    outcome, role = _outcome(attempt, tokens)
    glyph = "▶" if attempt.ended_ms is None else "●" if attempt.class_ == "ok" else "✗"
    named = f" {visible(attempt.class_, 20)}" if attempt.class_ and attempt.class_ != "ok" else ""
    said = f": {visible(attempt.detail, 2000)}" if attempt.detail else ""
    circuit = visible(attempt.circuit_before, 12)
    if attempt.circuit_after != attempt.circuit_before:
        circuit += f" → {visible(attempt.circuit_after, 12)}"
    reached = (
        ("connect", attempt.connect_ms),
        ("first byte", attempt.first_byte_ms),
        ("first token", attempt.first_token_ms),
    )
    times = "".join(f"{word} {quantity.ms(at - attempt.started_ms)} · " for word, at in reached if at is not None)
    other = f"answered as {visible(attempt.served_as, 120)}, asked for {visible(attempt.model, 120)}"
    return [
        *wrap(f"{glyph} {outcome}{named}{said}", width, indent=4, role=role),
        *(wrap(other, width, indent=6, role=Role.WARN) if attempt.served_as else ()),
        *wrap(f"{times}circuit {circuit.replace('_', ' ')}", width, indent=6, role=Role.DIM),
    ]


def _taken(candidate: CandidateView, left: dict[tuple[str, str], list[AttemptView]]) -> list[AttemptView]:
    """Take a candidate's attempts out of those of its route; a candidate without an account has them all."""
    of_route = left.get((candidate.provider, candidate.model), [])
    mine = [attempt for attempt in of_route if candidate.account in {None, attempt.account}]
    of_route[:] = [attempt for attempt in of_route if candidate.account not in {None, attempt.account}]
    return mine


def why(detail: RequestDetail, width: int) -> list[Line]:
    """Return one entry per candidate in order: tried and how that went, not needed, skipped or dropped and why."""
    lines: list[Line] = [(("Why", Role.TITLE),)]
    if not detail.candidates and not detail.attempts_detail:
        lines.extend(wrap("nothing was a candidate for this model and these needs", width, indent=2))
    left: dict[tuple[str, str], list[AttemptView]] = {}
    for attempt in detail.attempts_detail:
        left.setdefault((attempt.provider, attempt.model), []).append(attempt)
    for candidate in detail.candidates:
        mine = _taken(candidate, left)
        text, role = _reason(candidate, mine[0] if mine else None, detail)
        mark = ",".join(str(attempt.n) for attempt in mine) or ("·" if candidate.decision == "eligible" else "⊘")
        account = candidate.account or (mine[0].account if mine else None)
        name = f"{visible(candidate.provider, 40)}/{visible(candidate.model, 80)}" + (
            f"#{visible(account, 20)}" if account else ""
        )
        first, *rest = wrap(f"{name}  {text}", width, indent=4)
        head = plain(first)[4:]
        shown = min(len(name), len(head))
        lines.append(merge([(f"{mark:>2}  ", Role.TITLE), (head[:shown], Role.TEXT), (head[shown:], role)]))
        lines.extend(((plain(line), role),) for line in rest)
        for attempt in mine:
            lines.extend(_attempt_lines(attempt, detail.row.completion_tokens, width))
    for attempt in sorted((each for some in left.values() for each in some), key=lambda each: each.n):
        lines.extend(wrap(f"{attempt.n:>2}  {visible(attempt.provider, 40)}/{visible(attempt.model, 80)}", width))
        lines.extend(_attempt_lines(attempt, detail.row.completion_tokens, width))
    return lines


def ending(detail: RequestDetail, width: int) -> list[Line]:
    """Return what it came to: finish reason, tokens, cost, our own share of the time."""
    record = detail.row
    if record.status == "in_flight":
        return []
    usage = f"{quantity.count(record.prompt_tokens)} in, {quantity.count(record.completion_tokens)} out"
    usage += f" ({visible(record.usage_source, 20)})"
    text = (
        f"finish {visible(detail.finish_reason, 30)} · stream end {visible(detail.terminal, 20)} · tokens {usage}"
        f" · cost {quantity.cost(record.cost_usd)} · router {quantity.ms(detail.router_ms)}"
    )
    return labelled("end", text, width, pad=PAD)


def request_detail(
    detail: RequestDetail, elapsed_ms: float | None, width: int, *, moment: Moment | None = None
) -> list[Line]:
    """Return the whole request as lines of `width` cells, in two columns where there is room."""
    if width < TWO_COLUMNS:
        return [
            *title(detail, elapsed_ms, width),
            *plan(detail, width),
            (),
            *bars(detail, elapsed_ms, width, moment=moment),
            (),
            *why(detail, width),
            *ending(detail, width),
        ]
    left = width * 11 // 20
    drawn = [
        *title(detail, elapsed_ms, left),
        *plan(detail, left),
        (),
        *bars(detail, elapsed_ms, left, moment=moment),
        (),
        *ending(detail, left),
    ]
    return abreast(drawn, why(detail, width - left - 3), left)


def abreast(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Return two pages beside each other, the left one `width` cells wide."""
    lines: list[Line] = []
    for one, other in zip_longest(left, right, fillvalue=()):
        shown = cut(one, width)
        lines.append(merge([*shown, (" " * (width - line_width(shown)) + " │ ", Role.DIM), *other]))
    return lines
