"""The filter language as SQL over the request log; it finds what `RowFilter.matches` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from routerconsole.domain.query import Field, RowFilter, Term

_ROW: Final = "CAST(row AS TEXT)"  # newer SQLite takes a blob for its binary JSON


def _of(name: str) -> str:
    return f"json_extract({_ROW}, '$.{name}')"


_PROMPT, _COMPLETION = _of("prompt_tokens"), _of("completion_tokens")
_FIGURES: Final[Mapping[Field, str]] = {
    Field.LATENCY: _of("total_ms"),
    Field.TTFT: _of("ttft_ms"),
    Field.HOPS: _of("attempts"),
    Field.COST: _of("cost_usd"),
    Field.TOKENS: (
        f"CASE WHEN coalesce({_PROMPT}, {_COMPLETION}) IS NOT NULL"
        f" THEN coalesce({_PROMPT}, 0) + coalesce({_COMPLETION}, 0) END"
    ),
}
_NEEDS: Final = "EXISTS (SELECT 1 FROM json_each(CAST(row AS TEXT), '$.needed') WHERE value = ?)"
_SERVED = _of("served_model")
_HTTP = f"CAST({_of('http_status')} AS TEXT)"  # a number never equals a text


def where(wanted: RowFilter, *, now: float) -> tuple[list[str], list[object]]:
    """Return conditions and their values; `now` is UTC epoch seconds. Of letters only ASCII case is ignored."""
    clauses: list[str] = []
    values: list[object] = []
    for term in wanted.terms:
        clause, used = _clause(term, now)
        # a comparison with NULL is neither true nor false: what is unknown does not match, and its negation does
        clauses.append(f"coalesce({clause}, 0) = {0 if term.negated else 1}")
        values += used
    if wanted.inverted:
        return [f"NOT ({' AND '.join(clauses)})"], values
    return clauses, values


def _clause(term: Term, now: float) -> tuple[str, list[object]]:
    value = term.value
    if isinstance(value, float):
        if term.field is Field.LAST:
            return "at >= ?", [now - value]
        return f"({_FIGURES[term.field]}) {term.op} ?", [value]
    match term.field:
        case Field.TEXT:
            places = ("id", "model", "provider", _SERVED, "chain")
            found = " OR ".join(f"instr(lower(coalesce({place}, '')), ?) > 0" for place in places)
            return f"({found})", [value] * len(places)
        case Field.FAILED_OVER:
            return f"({_FIGURES[Field.HOPS]}) > 1", []
        case Field.ERROR:
            return "status IN ('failed', 'truncated')", []
        case Field.CAPABILITY:
            return _NEEDS, [value]
        case Field.PROVIDER:
            failed = "instr(lower(' › ' || chain), ' › ' || ? || '✗') > 0"
            return f"(coalesce(lower(provider), '') = ? OR {failed})", [value, value]
        case Field.MODEL:
            found = " OR ".join(f"instr(lower(coalesce({place}, '')), ?) > 0" for place in ("model", _SERVED))
            return f"({found})", [value, value]
        case Field.AGENT:
            return f"lower(coalesce({_of('agent')}, '')) = ?", [value]
        case Field.CODE:
            return _code(value)
        case Field.STATUS:
            return "status = ?", [value]
        case _:
            return "origin = ?", [value]


def _code(code: str) -> tuple[str, list[object]]:
    clause = f"(coalesce({_HTTP}, 'None') = ? OR coalesce(error_code, '') = ? OR instr(lower(chain), '✗' || ?) > 0"
    values: list[object] = [code, code, code]
    if len(code) == 3 and code.endswith("xx"):
        clause += f" OR coalesce({_HTTP}, '') LIKE ? OR instr(chain, '✗' || ?) > 0"
        values += [f"{code[0]}%", code[0]]
    return f"{clause})", values
