"""The filter language of the request log: one parser for the console, `requests list --filter` and the API.

Free words are looked for in id, model, provider and chain; `fo`, `err`, `cap:tools`, `prov:groq`, `model:`, `agent:`,
`code:429`, `status:`, `origin:`, `lat>2s`, `ttft>500ms`, `hops>=2`, `tok>1000`, `cost>0.01`, `last:5m` narrow down.
`-` in front negates a term, double quotes keep spaces; all terms must hold. A lone `!` means the opposite of the whole.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MAX_TERMS = 32
"""Terms of one filter; each costs a look at every row."""
INVERT = "!"


class Field(StrEnum):
    """What a term looks at, by its name in the language."""

    TEXT = "text"
    FAILED_OVER = "fo"
    ERROR = "err"
    CAPABILITY = "cap"
    PROVIDER = "prov"
    MODEL = "model"
    AGENT = "agent"
    CODE = "code"
    STATUS = "status"
    ORIGIN = "origin"
    LATENCY = "lat"
    TTFT = "ttft"
    HOPS = "hops"
    TOKENS = "tok"
    COST = "cost"
    LAST = "last"


FLAGS = frozenset({Field.FAILED_OVER, Field.ERROR})
NAMED = frozenset({Field.CAPABILITY, Field.PROVIDER, Field.MODEL, Field.AGENT, Field.CODE, Field.STATUS, Field.ORIGIN})
NUMBERS = frozenset({Field.LATENCY, Field.TTFT, Field.HOPS, Field.TOKENS, Field.COST})
_TIMES = frozenset({Field.LATENCY, Field.TTFT})
_FIELDS: Mapping[str, Field] = {field.value: field for field in Field if field is not Field.TEXT} | {
    "provider": Field.PROVIDER,
    "needs": Field.CAPABILITY,
    "latency": Field.LATENCY,
    "tokens": Field.TOKENS,
}
_BAD = ("failed", "truncated")
"""Statuses that `err` means."""


class Row(Protocol):
    """What the language reads of a row of the log (a RequestRow has it)."""

    @property
    def id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def served_model(self) -> str | None: ...
    @property
    def chain(self) -> str: ...
    @property
    def agent(self) -> str | None: ...
    @property
    def needed(self) -> Sequence[str]: ...
    @property
    def http_status(self) -> int | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def total_ms(self) -> float | None: ...
    @property
    def ttft_ms(self) -> float | None: ...
    @property
    def prompt_tokens(self) -> int | None: ...
    @property
    def completion_tokens(self) -> int | None: ...
    @property
    def cost_usd(self) -> float | None: ...


class FilterError(ValueError):
    """A term that means nothing; the text names it and what would be right."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: `value` is folded text, or a number in milliseconds, counts or USD (seconds for `last`)."""

    field: Field
    value: str | float = ""
    op: str = "="
    negated: bool = False
    chip: str = ""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """All terms of a filter; without any it passes everything. `inverted`: what does not pass them all passes."""

    terms: tuple[Term, ...] = ()
    inverted: bool = False

    @property
    def looks_at_age(self) -> bool:
        """Whether a term asks when a row came in."""
        return any(term.field is Field.LAST for term in self.terms)

    def matches(self, row: Row, *, age_s: float = 0.0) -> bool:
        """Say whether a row passes; `age_s` is how long ago it came in."""
        return all(_holds(term, row, age_s) is not term.negated for term in self.terms) is not self.inverted


def parse_filter(text: str) -> RowFilter:
    """Return the filter a text means; raise FilterError naming the term that means nothing."""
    words = [match[0] for match in _WORD.finditer(text)]
    if len(words) > MAX_TERMS:
        raise FilterError(f"a filter has at most {MAX_TERMS} terms, not {len(words)}")
    terms = tuple(term for word in words if word != INVERT and (term := _term(word)) is not None)
    return RowFilter(terms, inverted=bool(terms) and words.count(INVERT) % 2 == 1)


def inverted(text: str) -> str:
    """Return the text of the opposite filter."""
    words = _WORD.findall(text)
    return " ".join(word for word in words if word != INVERT) if INVERT in words else f"{INVERT} {text}".strip()


_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_SHAPE = re.compile(r"(?P<name>[a-z_]+)(?P<op>>=|<=|>|<|:|=)(?P<value>.*)", re.IGNORECASE | re.DOTALL)
_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)(?P<unit>ms|s|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _term(word: str) -> Term | None:
    negated = word.startswith("-")
    bare = word.removeprefix("-")
    if not bare.strip('"'):
        return None
    shape = _SHAPE.fullmatch(bare)
    name = shape["name"].lower() if shape else bare.lower()
    field = _FIELDS.get(name)
    if field is None or (shape is None and field not in FLAGS) or (shape is not None and field in FLAGS):
        return Term(Field.TEXT, bare.replace('"', "").casefold(), negated=negated, chip=word)
    if shape is None:
        return Term(field, negated=negated, chip=word)
    value, op = shape["value"].replace('"', ""), shape["op"].replace(":", "=")
    if not value:
        raise FilterError(f"{word!r} has no value, e.g. {_EXAMPLES[field]}")
    if field is Field.LAST:
        return Term(field, _seconds(value, word, field), negated=negated, chip=word)
    if field in NUMBERS:
        number = _seconds(value, word, field) * 1000 if field in _TIMES else _number(value, word, field)
        return Term(field, number, op, negated, word)
    if op != "=":
        raise FilterError(f"{word!r}: `{field}` is compared with `:` only, e.g. {_EXAMPLES[field]}")
    return Term(field, value.casefold(), negated=negated, chip=word)


_EXAMPLES: Mapping[Field, str] = {
    Field.CAPABILITY: "cap:tools",
    Field.PROVIDER: "prov:groq",
    Field.MODEL: "model:llama",
    Field.AGENT: "agent:researcher",
    Field.CODE: "code:429",
    Field.STATUS: "status:failed",
    Field.ORIGIN: "origin:http",
    Field.LATENCY: "lat>2s",
    Field.TTFT: "ttft>500ms",
    Field.HOPS: "hops>=2",
    Field.TOKENS: "tok>1000",
    Field.COST: "cost>0.01",
    Field.LAST: "last:5m",
}


def _seconds(value: str, word: str, field: Field) -> float:
    found = _QUANTITY.fullmatch(value)
    if found is None:
        raise FilterError(f"{word!r}: a time is a number with ms, s, m, h or d, e.g. {_EXAMPLES[field]}")
    return float(found["number"]) * _SECONDS[(found["unit"] or "s").lower()]


def _number(value: str, word: str, field: Field) -> float:
    found = _QUANTITY.fullmatch(value)
    if found is None or found["unit"]:
        raise FilterError(f"{word!r} needs a number, e.g. {_EXAMPLES[field]}")
    return float(found["number"])


_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def _holds(term: Term, row: Row, age_s: float) -> bool:
    value = term.value
    if isinstance(value, float):
        number = age_s if term.field is Field.LAST else _figure(term.field, row)
        if term.field is Field.LAST:
            return number is not None and number <= value
        return number is not None and _COMPARE[term.op](number, value)
    match term.field:
        case Field.TEXT:
            return any(
                value in place.casefold()
                for place in (row.id, row.model, row.provider, row.served_model, row.chain)
                if place
            )
        case Field.FAILED_OVER:
            return row.attempts > 1
        case Field.ERROR:
            return row.status in _BAD
        case Field.CAPABILITY:
            return value in row.needed
        case Field.PROVIDER:
            return value == (row.provider or "").casefold() or f" › {value}✗" in f" › {row.chain.casefold()}"
        case Field.MODEL:
            return any(value in name.casefold() for name in (row.model, row.served_model) if name)
        case Field.AGENT:
            return value == (row.agent or "").casefold()
        case Field.CODE:
            return _has_code(row, value)
        case Field.STATUS:
            return value == row.status
        case _:
            return value == row.origin


def _figure(field: Field, row: Row) -> float | None:
    match field:
        case Field.LATENCY:
            return row.total_ms
        case Field.TTFT:
            return row.ttft_ms
        case Field.HOPS:
            return row.attempts
        case Field.COST:
            return row.cost_usd
        case _:
            known = [count for count in (row.prompt_tokens, row.completion_tokens) if count is not None]
            return sum(known) if known else None


def _has_code(row: Row, code: str) -> bool:
    """A code is the answer's status or error code, or the cause of a failed attempt in the chain; `5xx` any of them."""
    if code in (str(row.http_status), row.error_code or "") or f"✗{code}" in row.chain.casefold():
        return True
    family = code[0] if len(code) == 3 and code.endswith("xx") else ""
    return bool(family) and (str(row.http_status or "").startswith(family) or f"✗{family}" in row.chain)
