"""Reading the model lists of upstreams, which are untrusted: bounded in number and length, oddities counted, left out.

Here is what every dialect's lists share; what a server's fields mean stands with its dialect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from typing import Any, Final

from routerconsole.domain.capability import NODE_OF, Tri, Word
from routerconsole.domain.listing import ListedModel
from routerconsole.providers.dialect import Page, Undecodable

MAX_LISTING: Final = 16 << 20
"""Bytes of a listing; OpenRouter's, the longest known, is under one megabyte."""
MAX_DETAIL: Final = 4 << 20
"""Bytes of one detail; Ollama's `show` of a model with a long licence and all its tensors is under one megabyte."""
MAX_MODELS: Final = 10_000
MAX_ID: Final = 512
_MAX_TOKENS: Final = 1_000_000_000
_MAX_USD: Final = 1_000_000.0
_MAX_NAME: Final = 200
_MAX_TEXT: Final = 500
_CUT: Final = "…"
_PER_MTOK: Final = 1_000_000

Object = Mapping[str, Any]


@dataclass(slots=True)
class Entries:
    """The entries of a listing with a sane id, each id once; `left_out` counts the others."""

    rows: dict[str, Object] = field(default_factory=dict)
    left_out: int = 0
    cut: bool = False

    def page(self, models: Iterable[ListedModel], *, more: bool = False, **said: Any) -> Page:
        """Return the page with these models; `more` says that the server has further ones."""
        notes = []
        if self.left_out:
            many = "entry has" if self.left_out == 1 else "entries have"
            notes.append(f"{self.left_out} {many} no usable id and stays out")
        if self.cut:
            notes.append(f"only the first {MAX_MODELS} models are taken")
        found = {model.id: model for model in models}
        return Page(models=found, complete=not (self.cut or more), note="; ".join(notes), **said)


def entries(data: Any, key: str, *names: str) -> Entries:
    """Return the objects under `key` by their id, the first of `names` present; raise Undecodable if it is no list."""
    listed = data.get(key) if isinstance(data, dict) else data or None  # Together answers with the bare list
    if not isinstance(listed, list):
        raise Undecodable("the answer is not a model listing")
    found = Entries(cut=len(listed) > MAX_MODELS)
    for entry in listed[:MAX_MODELS]:
        value = next((entry[name] for name in names if entry.get(name)), None) if isinstance(entry, dict) else None
        if isinstance(value, str) and is_id(value):
            found.rows.setdefault(value, entry)
        else:
            found.left_out += 1
    return found


def is_id(value: str) -> bool:
    """Whether a text can be a model id: short, printable (no control or direction characters), no blank at its ends.

    Nor a step out of a folder: the id becomes part of paths.
    """
    return 0 < len(value) <= MAX_ID and value.isprintable() and value == value.strip() and ".." not in value.split("/")


def objects(value: Any) -> Object:
    """Return an object, empty where it is none."""
    return value if isinstance(value, dict) else {}


def words(value: Any) -> frozenset[str]:
    """Return the texts of a list."""
    return frozenset(item for item in value[:1000] if isinstance(item, str)) if isinstance(value, list) else frozenset()


def tokens(*values: Any) -> int | None:
    """Return the first of these that is a number of tokens."""
    for value in values:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _MAX_TOKENS:
            return number
    return None


def usd_per_mtok(per_token: Any) -> float | None:
    """Return a price per token (text or number) in USD per million; None where it is none, or not fixed (negative)."""
    if isinstance(per_token, bool) or not isinstance(per_token, str | int | float) or len(str(per_token)) > _MAX_NAME:
        return None
    try:
        price = float(Decimal(str(per_token)) * _PER_MTOK)
    except (DecimalException, OverflowError, ValueError):
        return None
    return price if 0 <= price <= _MAX_USD else None


def is_free(price_in: float | None, price_out: float | None) -> bool | None:
    """Say that a model is free when both prices are 0; anything else is not for the listing to say."""
    return True if price_in == 0 and price_out == 0 else None


def shown(value: Any, limit: int = _MAX_NAME) -> str | None:
    """Return a text as it may be shown: on one line, without control characters, cut; None where nothing is left."""
    if not isinstance(value, str):
        return None
    parts = "".join(char if char.isprintable() else " " for char in value[: 4 * limit]).split()
    text = " ".join(parts)
    return (text if len(text) <= limit else text[: limit - 1] + _CUT) or None


def prose(value: Any) -> str | None:
    """Return a description."""
    return shown(value, _MAX_TEXT)


def said(pairs: Iterable[tuple[Word | str, bool | None]]) -> dict[str, Tri]:
    """Return words or nodes with what is said of them; None says nothing."""
    return {
        NODE_OF.get(word, str(word)): Tri.YES if value else Tri.NO for word, value in pairs if isinstance(value, bool)
    }


def flags(source: Object, names: Mapping[str, Word]) -> Iterator[tuple[Word, bool | None]]:
    """Yield the words of a table of flags with the flags that are there."""
    for name, word in names.items():
        value = source.get(name)
        yield word, value if isinstance(value, bool) else None
