"""The report as Markdown and as JUnit XML. Text of models stands in neither as anything but text."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from routerconsole.domain.visible import visible

from .render_json import iso
from .report import separation_text
from .report_types import RunReport, ScenarioReport, TargetReport
from .types import Status

TITLE: Final = "Model Evaluation Report"
_CELL: Final = 160
_ERRORS: Final = frozenset({Status.ERROR, Status.RATE_LIMITED, Status.TRUNCATED, Status.REFUSED, Status.INCONCLUSIVE})
"""What JUnit calls an error: there was no answer to judge. A wrong answer is a failure."""
_MARKUP: Final = str.maketrans(
    {"|": "\\|", "`": "\\`", "<": "&lt;", ">": "&gt;", "&": "&amp;", "*": "\\*", "_": "\\_", "[": "\\[", "]": "\\]"}
    | {"\\": "\\\\", "#": "\\#", "!": "\\!", "~": "\\~"}
)


def markdown_cell(text: str, limit: int = _CELL) -> str:
    """Return text that cannot leave its table cell nor act as markup."""
    return visible(text, limit).translate(_MARKUP) if text else ""


def markdown(report: RunReport) -> str:
    """Return the report titled "Model Evaluation Report"."""
    lines = [f"# {TITLE}", "", f"Run {markdown_cell(report.run_id)}, {report.state}, started {iso(report.started_at)}"]
    lines[-1] += f", completed {iso(report.completed_at)}." if report.completed_at is not None else "."
    lines += ["", "## Matrix", ""]
    names = [markdown_cell(column.id) for column in report.targets]
    lines += [_row(["scenario", *names]), _row(["---"] * (len(names) + 1))]
    squares = {(column.id, square.scenario_id): square for column in report.targets for square in column.scenarios}
    for name in _rows(report):
        found = [squares.get((column.id, name)) for column in report.targets]
        lines.append(_row([markdown_cell(name), *("" if square is None else _square(square) for square in found)]))
    words = capability_rows(report)
    if words:
        lines += ["", "## Capabilities", "", "What was there, whatever else was wrong with the answer.", ""]
        lines += [_row(["capability", *names]), _row(["---"] * (len(names) + 1))]
        lines += [_row([markdown_cell(word), *(markdown_cell(text) for text in said)]) for word, said in words.items()]
    for column in report.targets:
        lines += ["", *_column(column)]
    if report.pairs:
        lines += ["", "## Columns compared", ""]
        lines += [f"- {markdown_cell(separation_text(pair), 400)}" for pair in report.pairs]
    return "\n".join(lines) + "\n"


def capability_rows(report: RunReport) -> dict[str, list[str]]:
    """Return per capability what each column showed of it, `verified 3/3`; empty where it was not graded."""
    words = dict.fromkeys(each.capability for column in report.targets for each in column.capabilities)
    found: dict[str, list[str]] = {word: [] for word in words}
    for column in report.targets:
        said = {each.capability: f"{each.finding or 'open'} {each.k}/{each.n}" for each in column.capabilities}
        for word, row in found.items():
            row.append(said.get(word, ""))
    return found


def interval(n: int, ci: tuple[float, float]) -> str:
    """Return an interval, a dash where nothing was graded: of nothing, nothing is known."""
    return f"{ci[0]:.2f}–{ci[1]:.2f}" if n else "–"


def outcome(square: ScenarioReport) -> str:
    """Return what stands against a square: the wrong answer, or why there is none."""
    if square.status is Status.FAIL:
        return square.actual or "(empty)"
    return square.error or square.actual


def _rows(report: RunReport) -> list[str]:
    seen = [ref.id for ref in report.scenarios]
    return list(dict.fromkeys([*seen, *(s.scenario_id for c in report.targets for s in c.scenarios)]))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _square(square: ScenarioReport) -> str:
    return f"{square.status} {square.k}/{square.n}" if square.n else str(square.status)


def _column(column: TargetReport) -> list[str]:
    served = "–" if column.availability is None else f"{column.availability:.0%}"
    head = f"{column.k} of {column.n} passed (95 % {interval(column.n, column.ci)}), availability {served}."
    rows = ["scenario", "verdict", "k/n", "95 %", "latency ms", "TTFT ms", "tokens in/out", "USD", "expected", "actual"]
    lines = [f"## {markdown_cell(column.id)}", "", head, "", _row(rows), _row(["---"] * len(rows))]
    for square in column.scenarios:
        lines.append(
            _row(
                [
                    markdown_cell(square.scenario_id),
                    markdown_cell("; ".join([square.summary, *(f"{k}: {v}" for k, v in square.metrics.items())])),
                    f"{square.k}/{square.n}",
                    interval(square.n, square.ci),
                    _number(square.latency_ms),
                    _number(square.ttft_ms),
                    f"{_number(square.input_tokens)}/{_number(square.output_tokens)}",
                    "–" if square.cost_usd is None else f"{square.cost_usd:.6f}",
                    markdown_cell(square.expected),
                    markdown_cell(outcome(square)),
                ]
            )
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


# ---- JUnit


def junit(report: RunReport) -> str:
    """Return the report as JUnit XML: a suite per column, a case per scenario."""
    suites = [_suite(column, report) for column in report.targets]
    squares = [square for column in report.targets for square in column.scenarios]
    counts = _counts(squares)
    head = f'<testsuites name={_attribute(TITLE)} {counts} time="{_seconds(squares):.3f}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>"]) + "\n"


def _counts(squares: list[ScenarioReport]) -> str:
    failures = sum(square.status is Status.FAIL for square in squares)
    errors = sum(square.status in _ERRORS for square in squares)
    skipped = sum(square.status in (Status.SKIPPED, Status.UNSUPPORTED) for square in squares)
    return f'tests="{len(squares)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'


def _seconds(squares: list[ScenarioReport]) -> float:
    return sum((square.latency_ms or 0.0) * square.total for square in squares) / 1000


def _suite(column: TargetReport, report: RunReport) -> str:
    squares = list(column.scenarios)
    head = f"<testsuite name={_attribute(column.id)} {_counts(squares)} "
    head += f'time="{_seconds(squares):.3f}" timestamp={_attribute(iso(report.started_at))}>'
    return "\n".join([head, *(_case(column, square) for square in squares), "</testsuite>"])


def _case(column: TargetReport, square: ScenarioReport) -> str:
    head = f"<testcase classname={_attribute(column.id)} name={_attribute(square.scenario_id)}"
    head += f' time="{_seconds([square]):.3f}"'
    if square.status is Status.PASS:
        return f"{head}/>"
    if square.status in (Status.SKIPPED, Status.UNSUPPORTED):
        return f"{head}><skipped message={_attribute(square.summary)}/></testcase>"
    word = "failure" if square.status is Status.FAIL else "error"
    body = escape(visible(f"expected: {square.expected}; actual: {outcome(square)}", 1000))
    kind = _attribute(str(square.status))
    return f"{head}><{word} type={kind} message={_attribute(square.summary)}>{body}</{word}></testcase>"


def _attribute(text: str) -> str:
    """Return a quoted attribute; what XML cannot hold has been spelt out."""
    return quoteattr(visible(text, 400))
