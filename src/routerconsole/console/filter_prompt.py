"""The line a filter is typed into: the list narrows with every letter, what means nothing is told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.domain.query import FilterError, parse_filter

from .prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable

HISTORY: Final = 50
_TERMS: Final = (
    "fo", "err", "cap:", "prov:", "model:", "agent:", "code:", "status:", "origin:", "lat>", "ttft>", "hops>=", "tok>",
    "cost>", "last:",
)  # fmt: skip


def filter_prompt(
    before: str, *, narrow: Callable[[str], None], accept: Callable[[str], None], history: list[str]
) -> Prompt:
    """Return the prompt; `narrow` hears every edit, Esc puts back what was in force before."""

    def accepted(text: str) -> None:
        if text.strip():
            history[:] = [*[each for each in history if each != text][-HISTORY:], text]
        accept(text)

    return Prompt(
        "/",
        accepted,
        before,
        problem=filter_problem,
        complete=filter_completions,
        changed=narrow,
        cancelled=lambda: narrow(before),
        history=history,
    )


def filter_problem(text: str) -> str:
    """Return what is wrong with a filter, empty where nothing is."""
    try:
        parse_filter(text)
    except FilterError as error:
        return str(error)
    return ""


def filter_completions(text: str) -> list[str]:
    """Return the text with its last word completed to a term of the language."""
    before, _, last = text.rpartition(" ")
    negated = "-" if last.startswith("-") else ""
    stem = last.removeprefix("-")
    lead = f"{before} " if before else ""
    return [f"{lead}{negated}{term}" for term in _TERMS if stem and term.startswith(stem) and term != stem]
