"""The report as a page without scripts, links or anything fetched, and the matrix as SVG."""

from __future__ import annotations

from html import escape
from typing import Final

from routerconsole.domain.visible import cells, visible

from .render_json import iso
from .render_text import TITLE, capability_rows, interval, outcome
from .report import separation_text
from .report_types import RunReport, ScenarioReport, TargetReport
from .types import Status

_FILL: Final[dict[Status, str]] = {
    Status.PASS: "#1b7f3b",
    Status.FAIL: "#b3261e",
    Status.TRUNCATED: "#8a6d00",
    Status.REFUSED: "#8a6d00",
    Status.INCONCLUSIVE: "#5f6368",
    Status.ERROR: "#8e4ec6",
    Status.RATE_LIMITED: "#8e4ec6",
    Status.UNSUPPORTED: "#5f6368",
    Status.SKIPPED: "#5f6368",
}
_GLYPH: Final[dict[Status, str]] = {
    Status.PASS: "✓",
    Status.FAIL: "✗",
    Status.ERROR: "!",
    Status.RATE_LIMITED: "!",
    Status.TRUNCATED: "…",
    Status.REFUSED: "∅",
}
_STYLE: Final = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1f1f1f;background:#fff}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top}th{background:#f4f4f4}td.v{font-weight:600}pre{margin:0;white-space:pre-wrap;max-width:40rem}"
)
_GREY: Final = "#5f6368"
_FOUND: Final = {"verified": "#1b7f3b", "refuted": "#b3261e", "flaky": "#8a6d00"}
_ROW: Final = 24
_GAP: Final = 10
_HEAD: Final = 40
"""Characters of a target's name above its column."""
_CHAR: Final = 7.3
_COLUMN: Final = 130


def html(report: RunReport) -> str:
    """Return one self-contained page; a content policy inside it forbids scripts and fetching."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{TITLE}</title><style>{_STYLE}</style></head><body><h1>{TITLE}</h1>",
        f"<p>Run {_text(report.run_id)}, {report.state}, started {iso(report.started_at)}</p>",
        svg(report),
    ]
    words = capability_rows(report)
    if words:
        parts += ["<h2>Capabilities</h2><p>What was there, whatever else was wrong with the answer.</p><table>"]
        parts += [_cells("th", ["capability", *(column.id for column in report.targets)])]
        parts += [*(_cells("td", [word, *said]) for word, said in words.items()), "</table>"]
    for column in report.targets:
        parts += [f"<h2>{_text(column.id)}</h2>", _standing(column), "<table><tr>"]
        heads = ("scenario", "verdict", "k/n", "95 %", "latency ms", "TTFT ms", "USD", "expected", "actual")
        parts += [*(f"<th>{head}</th>" for head in heads), "</tr>", *(_line(square) for square in column.scenarios)]
        parts.append("</table>")
    if report.pairs:
        parts += ["<h2>Columns compared</h2><ul>"]
        parts += [f"<li>{_text(separation_text(pair), 400)}</li>" for pair in report.pairs] + ["</ul>"]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _cells(kind: str, texts: list[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{_text(text)}</{kind}>' for text in texts)}</tr>"


def _text(text: str, limit: int = 256) -> str:
    return escape(visible(text, limit))


def _standing(column: TargetReport) -> str:
    served = "–" if column.availability is None else f"{column.availability:.0%}"
    return f"<p>{column.k} of {column.n} passed (95 % {interval(column.n, column.ci)}), availability {served}</p>"


def _line(square: ScenarioReport) -> str:
    cost = "–" if square.cost_usd is None else f"{square.cost_usd:.6f}"
    numbers = ["–" if value is None else f"{value:.0f}" for value in (square.latency_ms, square.ttft_ms)]
    plain = [f"{square.k}/{square.n}", interval(square.n, square.ci), *numbers, cost]
    told = [square.expected, outcome(square)]
    return "".join(
        [
            f"<tr><td>{_text(square.scenario_id)}</td>",
            f'<td class="v" style="color:{_FILL[square.status]}">{_text(square.summary)}</td>',
            *(f"<td>{value}</td>" for value in plain),
            *(f"<td><pre>{_text(value, 1000)}</pre></td>" for value in told),
            "</tr>",
        ]
    )


def svg(report: RunReport) -> str:
    """Return the matrix: a row per scenario and below them per capability, a column per target, each with k/n."""
    known = (ref.id for ref in report.scenarios)
    rows = list(dict.fromkeys([*known, *(s.scenario_id for c in report.targets for s in c.scenarios)]))
    words = list(capability_rows(report))
    left = max((cells(visible(row)) for row in (*rows, *words)), default=8) * _CHAR + 24
    heads = [visible(column.id, _HEAD) for column in report.targets]
    wide = max(_COLUMN, *(cells(head) * _CHAR + 16 for head in heads)) if heads else _COLUMN
    below = _ROW * (len(rows) + 1) + _GAP
    width, height = left + wide * len(heads) + 8, below + _ROW * len(words) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="monospace" font-size="12" role="img" '
        f'aria-label="{TITLE}"><rect width="100%" height="100%" fill="#ffffff"/>'
    ]
    places = {row: _ROW * y for y, row in enumerate(rows, start=1)}
    abilities = {word: below + _ROW * y for y, word in enumerate(words)}
    parts += [f'<text x="8" y="{y + 16}" fill="#1f1f1f">{_text(row)}</text>' for row, y in places.items()]
    parts += [
        f'<text x="8" y="{y + 16}" fill="#1f1f1f" font-style="italic">{_text(word)}</text>'
        for word, y in abilities.items()
    ]
    for x, column in enumerate(report.targets):
        at = left + wide * x
        parts.append(f'<text x="{at:.0f}" y="16" fill="#1f1f1f">{escape(heads[x])}</text>')
        for square in column.scenarios:
            said = f"{square.k}/{square.n}" if square.n else str(square.status)
            mark = f"{_GLYPH.get(square.status, '·')} {said}"
            y = places[square.scenario_id]
            parts.append(_tile((at, y, wide), _FILL[square.status], mark, square.summary))
        for each in column.capabilities:
            finding, said = each.finding or "open", f"{each.finding or 'open'} {each.k}/{each.n}"
            parts.append(_tile((at, abilities[each.capability], wide), _FOUND.get(finding, _GREY), said, said))
    return "\n".join([*parts, "</svg>"])


def _tile(place: tuple[float, int, float], fill: str, mark: str, title: str) -> str:
    x, y, wide = place
    return (
        f'<rect x="{x:.0f}" y="{y + 1}" width="{wide - 8:.0f}" height="{_ROW - 3}" rx="3" fill="{fill}"/>'
        f'<text x="{x + 6:.0f}" y="{y + 16}" fill="#ffffff">{_text(mark)}<title>{_text(title)}</title></text>'
    )
