"""A run's report as people read it on a terminal: the matrix, what each column can do, who is told apart, what failed.

Only text comes out; every cell has been made visible, and nothing is cut where the output is no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Final

from routerconsole.cli.output import Item, table, text
from routerconsole.domain.visible import BLOCK_LIMIT, cells, visible

Json = Mapping[str, Any]
_ENOUGH: Final = 12
"""Columns that can be told by a letter; more are numbered."""
_WHY: Final = 160
_ROOMY: Final = 100
_BRIEF: Final = {"verified": "yes", "refuted": "no"}


def report_lines(report: Json, width: int | None) -> list[str]:
    """Return the whole report as lines of `width` terminal cells, None for as long as they need to be."""
    targets: Sequence[Json] = report["targets"]
    heads, legend = _heads(report, width)
    lines = [visible(f"{report['run_id']}: {report['state']}, seed {report['seed']}"), *legend]
    rows = [_row("scenario", name, heads, said) for name, said in _squares(targets, width, heads).items()]
    lines += ["", *table(rows, width=width, named=True)] if rows else ["nothing was run"]
    able = [_row("capability", word, heads, said) for word, said in _capabilities(targets, width).items()]
    if able:
        lines += ["", "What was there, whatever else was wrong with the answer:", *table(able, width=width, named=True)]
    lines += _apart(report["pairs"])
    wrong = list(_wrong(targets, heads))
    if wrong:
        lines += ["", "What did not pass:", *table(wrong, width=width)]
    return lines


def square_items(report: Json) -> Iterator[Item]:
    """Yield each square by itself, for a screen reader or a script."""
    for column in report["targets"]:
        for square in column["scenarios"]:
            low, high = square["ci"]
            yield {
                "target": column["id"],
                "scenario": square["scenario_id"],
                "status": square["status"],
                "passed": f"{square['k']}/{square['n']}",
                "interval": f"{low:.2f} to {high:.2f}" if square["n"] else None,
                "ttft_ms": square["ttft_ms"],
                "latency_ms": square["latency_ms"],
                "cost_usd": square["cost_usd"],
                "note": None if square["status"] == "pass" else _why(square),
            }


def _heads(report: Json, width: int | None) -> tuple[dict[str, str], list[str]]:
    """Return what each column is headed with: its id, or a letter and the legend where the ids do not fit."""
    ids = [str(column["id"]) for column in report["targets"]]
    plain = {name: text(name) for name in ids}
    squares = _squares(report["targets"], None, plain)
    left = max((cells(text(name)) for name in squares), default=8)
    across = [max([cells(plain[name]), *(cells(said[name]) for said in squares.values())]) + 2 for name in ids]
    if width is None or left + sum(across) <= width:
        return plain, []
    letters = [ascii_uppercase[n] if len(ids) <= _ENOUGH else str(n + 1) for n in range(len(ids))]
    return dict(zip(ids, letters, strict=True)), [
        f"  {letter} = {plain[name]}" for letter, name in zip(letters, ids, strict=True)
    ]


def _short(width: int | None) -> bool:
    """Whether there is room for what matters most only."""
    return width is not None and width < _ROOMY


def _row(kind: str, name: str, heads: Mapping[str, str], said: Mapping[str, str]) -> Item:
    return {kind: name, **{head: said[target] for target, head in heads.items()}}


def _squares(targets: Sequence[Json], width: int | None, heads: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return per scenario what stands under each column, with the code where that fits."""
    names = dict.fromkeys(square["scenario_id"] for column in targets for square in column["scenarios"])
    short = _short(width)
    found: dict[str, dict[str, str]] = {name: dict.fromkeys(heads, "") for name in names}
    for column in targets:
        for square in column["scenarios"]:
            word = f"{square['status']} {square['k']}/{square['n']}" if square["n"] else str(square["status"])
            code = "" if short or square["status"] != "fail" else _codes(square)
            found[square["scenario_id"]][column["id"]] = f"{word} {code}".rstrip()
    return found


def _codes(square: Json) -> str:
    """Return the first fail code of a summary, `0/3 passed, fail(no_call) x3`."""
    _, _, rest = str(square["summary"]).partition("fail(")
    return rest.partition(")")[0]


def _capabilities(targets: Sequence[Json], width: int | None) -> dict[str, dict[str, str]]:
    words = dict.fromkeys(each["capability"] for column in targets for each in column["capabilities"])
    found: dict[str, dict[str, str]] = {word: {column["id"]: "" for column in targets} for word in words}
    for column in targets:
        for each in column["capabilities"]:
            said = each["finding"] or "open"
            word = _BRIEF.get(said, said) if _short(width) else said
            found[each["capability"]][column["id"]] = f"{word} {each['k']}/{each['n']}"
    return found


def _apart(pairs: Sequence[Json]) -> list[str]:
    """Return who is better than whom, then who cannot be told apart, in one line each."""
    from routerconsole.evals.report import unseparated

    better = [
        f"{pair['winner']} is better than {pair['b'] if pair['winner'] == pair['a'] else pair['a']}: "
        f"{pair['a_only']} only {pair['a']}, {pair['b_only']} only {pair['b']}, p {pair['p_corrected']:.3f}"
        for pair in pairs
        if pair["winner"]
    ]
    close = [pair for pair in pairs if not pair["winner"] and pair["a_only"] + pair["b_only"]]
    alike = sum(1 for pair in pairs if not pair["winner"]) - len(close)
    told = [f"{pair['a']} and {pair['b']} ({pair['a_only']} to {pair['b_only']})" for pair in close]
    lines = [f"{unseparated(pair['p'], pair['p_corrected'])}: {each}" for pair, each in zip(close, told, strict=True)]
    if alike:
        count = "1 pair passed" if alike == 1 else f"{alike} pairs passed"
        lines.append(f"{unseparated(1.0, 1.0)}: {count} the same wherever both were graded")
    return ["", *(visible(line, BLOCK_LIMIT) for line in (*better, *lines))] if pairs else []


def _wrong(targets: Sequence[Json], heads: Mapping[str, str]) -> Iterator[Item]:
    for column in targets:
        for square in column["scenarios"]:
            if square["status"] != "pass":
                yield {
                    "target": heads[column["id"]],
                    "scenario": square["scenario_id"],
                    "verdict": _codes(square) or square["status"],
                    "why": _why(square),
                }


def _why(square: Json) -> str:
    if square["n"] and square["expected"]:
        return f"wanted {square['expected'][:_WHY]}, got {square['actual'][:_WHY] or 'nothing'}"
    return str(square["error"] or square["summary"])
