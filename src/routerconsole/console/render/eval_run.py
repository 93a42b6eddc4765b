"""A run of evaluations as lines: columns with intervals, who is told apart, what it offers; two runs compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.counted import counted

from . import quantity
from .cells import Line, Role, fit, labelled, wrap
from .evals import ENDED, done, squares

if TYPE_CHECKING:
    from routerconsole.control.eval_views import EvalMeasured, EvalRun

Json = Any
"""A JSON value; `Any` because that is what a report is made of."""
PAD: Final = 10
MAX_FLIPS: Final = 40
MAX_CHANGES: Final = 60
_NAME: Final = 26
_GLYPH: Final = {"verified": ("✓", Role.OK), "refuted": ("✗", Role.BAD), "flaky": ("~", Role.WARN)}


def run_detail(run: EvalRun, report: Mapping[str, Json] | None, width: int) -> list[Line]:
    """Return a run: how far it is, each target's share with its interval, pairs of them, what was measured."""
    lines: list[Line] = [((fit(visible(run.id, 60), width), Role.TITLE),)]
    lines += labelled("state", _state(run, report), width, pad=PAD)
    lines += labelled(
        "asks", f"{counted(len(run.scenarios), 'scenario')} × {counted(len(run.targets), 'target')}", width, pad=PAD
    )
    if report is None:
        return [*lines, (), *wrap("reading its report…", width, role=Role.DIM)]
    lines += [(), (("Targets", Role.TITLE),), ((_heads(width), Role.DIM),)]
    lines += [_column(column, width) for column in _list(report.get("targets"))]
    if run.pairs:
        lines += [(), (("Told apart", Role.TITLE),)]
        for pair in run.pairs:
            said = visible(pair.finding, 200).replace(">=", "≥")
            lines += wrap(f"{visible(pair.first, 60)} and {visible(pair.second, 60)}: {said}", width, indent=2)
    return [*lines, *measured_lines(run.measured, width)]


def measured_lines(measured: Sequence[EvalMeasured], width: int) -> list[Line]:
    """Return what a run offers to be accepted."""
    if not measured:
        return []
    lines: list[Line] = [(), (("Measured", Role.TITLE), ("  a accepts what is beyond doubt", Role.DIM))]
    for each in measured:
        glyph, role = _GLYPH.get(each.finding, ("·", Role.TEXT))
        leaf = visible(each.node.rpartition(".")[2], 40)
        text = f"{glyph} {visible(each.finding, 12)} {each.k}/{each.n}  {leaf}  {_model(each)}"
        lines += wrap(text, width, indent=2, role=role)
    return lines


def _model(each: EvalMeasured) -> str:
    return f"{visible(each.provider, 40)}/{visible(each.model, 60)}"


def offer_text(each: EvalMeasured | None) -> str:
    """Return what was measured of one capability in a few words, nothing where nothing was."""
    if each is None:
        return ""
    act = "neither yes nor no" if each.finding == "flaky" else "a accepts"
    return f"{visible(each.node.rpartition('.')[2], 40)} {visible(each.evidence, 120)} · {act}"


def _state(run: EvalRun, report: Mapping[str, Json] | None) -> str:
    begun, over = quantity.moment(run.started_at), quantity.moment(run.completed_at or "")
    took = f" after {quantity.span((over - begun).total_seconds())}" if begun is not None and over is not None else ""
    seed = f", seed {report.get('seed')}" if report is not None else ""
    far = "" if run.state == "completed" else f", {done(run)} of {squares(run)} cells"
    more = "; R goes on with it" if run.state in ENDED and done(run) < squares(run) else ""
    return f"{run.state}{took}{far}{seed}{more}"


def _heads(width: int) -> str:
    return fit(f"{fit('target', _room(width))} {fit('passed', 7, 'right')} {fit('95 %', 10, 'right')} answered", width)


def _room(width: int) -> int:
    """Return the columns of a target's name beside its figures."""
    return max(12, min(_NAME, width - 28))


def _column(column: Mapping[str, Json], width: int) -> Line:
    n, (low, high) = int(column["n"]), column["ci"]
    share = f"{column['k']}/{n}" if n else quantity.NONE
    interval = f"{low:.0%}–{high:.0%}" if n else quantity.NONE
    availability = column.get("availability")
    answered = quantity.NONE if availability is None else f"{availability:.0%}"
    shown = fit(visible(str(column["id"]), 80), _room(width))
    text = f"{shown} {fit(share, 7, 'right')} {fit(interval, 10, 'right')} {fit(answered, 8, 'right')}"
    return ((fit(text, width), Role.TEXT),)


# -- two runs ------------------------------------------------------------------------------------------------------


def comparison_lines(told: Mapping[str, Json] | str | None, base: str, run: str, width: int) -> list[Line]:
    """Return a run against its baseline: the verdict, flips, what cannot be compared, what changed square by square."""
    lines: list[Line] = [((fit(f"{visible(run, 40)} against {visible(base, 40)}", width), Role.TITLE),)]
    if told is None:
        return [*lines, *wrap("comparing…", width, role=Role.DIM)]
    if isinstance(told, str):
        return [*lines, *wrap(f"not compared: {visible(told, 300)}", width, role=Role.WARN)]
    regression = bool(told.get("regression"))
    verdict = str(told.get("verdict", "")).replace(base, "the baseline").replace(run, "this run").replace(">=", "≥")
    lines += wrap(f"{'✗ ' if regression else ''}{visible(verdict, 300)}", width, role=_role(told))
    lines += _difference(told, width)
    flips = _list(told.get("flips"))
    lines += [(), (("Flips", Role.TITLE), (f"  {len(flips)}" if flips else "  none", Role.DIM))]
    for flip in flips[:MAX_FLIPS]:
        where = (
            f"{visible(str(flip['scenario_id']), 60)} #{int(flip['repeat']) + 1} on {visible(str(flip['target']), 80)}"
        )
        change = f"{visible(str(flip['before']), 60)} → {visible(str(flip['after']), 60)}"
        text = f"{'✗' if flip['worse'] else '✓'} {where}: {change}"
        lines += wrap(text, width, indent=2, role=Role.BAD if flip["worse"] else Role.OK)
    if len(flips) > MAX_FLIPS:
        lines += wrap(f"and {len(flips) - MAX_FLIPS} more", width, indent=2, role=Role.DIM)
    lines += _apart(told, width)
    return [*lines, *_changes(_list(told.get("squares")), width)]


def _role(told: Mapping[str, Json]) -> Role:
    return Role.BAD if told.get("regression") else Role.INFO if told.get("winner") else Role.TEXT


def _difference(told: Mapping[str, Json], width: int) -> list[Line]:
    difference, interval = told.get("difference"), told.get("interval")
    if difference is None or interval is None:
        return []
    text = (
        f"passed {difference:+.0%} (95 % {interval[0]:+.0%} to {interval[1]:+.0%}), exact McNemar p {told.get('p'):.3f}"
    )
    return wrap(text, width, role=Role.DIM)


def _apart(told: Mapping[str, Json], width: int) -> list[Line]:
    """Return what is in one run only, or differs too much to be compared."""
    lines: list[Line] = []
    for key, text in (
        ("not_comparable", "not comparable, the scenario changed"),
        ("only_in_a", "only in the baseline"),
        ("only_in_b", "only in this run"),
    ):
        names = [visible(str(name), 60) for name in _list(told.get(key))]
        if names:
            lines += wrap(f"{text}: {', '.join(names)}", width, indent=2, role=Role.WARN)
    return [(), *lines] if lines else []


def _changes(found: Sequence[Mapping[str, Json]], width: int) -> list[Line]:
    """Return every square that is in both, the ones that changed first."""
    if not found:
        return []
    lines: list[Line] = [(), (("Squares", Role.TITLE), ("  before → after, change of latency and cost", Role.DIM))]
    ordered = sorted(found, key=lambda each: (not each["regressed"], each["before"] == each["after"]))
    for each in ordered[:MAX_CHANGES]:
        before, after = each["before"], each["after"]
        mark = "✗" if each["regressed"] else "→" if (before["k"], before["n"]) != (after["k"], after["n"]) else " "
        where = f"{visible(str(each['scenario_id']), 60)} on {visible(str(each['target']), 60)}"
        shares = f"{before['k']}/{before['n']} → {after['k']}/{after['n']}"
        deltas = f"{_change(each.get('latency_ms'))}{_price(each.get('cost_usd'))}"
        lines += wrap(
            f"{mark} {where}: {shares}{deltas}", width, indent=2, role=Role.BAD if each["regressed"] else Role.TEXT
        )
    return lines


def _change(value: float | None) -> str:
    if value is None:
        return ""
    return f", {'-' if value < 0 else '+'}{quantity.ms(abs(value))}"


def _price(value: float | None) -> str:
    return "" if not value else f", {'-' if value < 0 else '+'}{quantity.cost(abs(value))}"


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, (list, tuple)) else ()
