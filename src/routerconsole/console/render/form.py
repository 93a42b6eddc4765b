"""A form as lines: what is wrong or meant on top, then one line per field with the cursor in the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.forms import Kind
from routerconsole.console.safe_text import visible

from .cells import Line, Role, cut, fit, merge, width_of, wrap

if TYPE_CHECKING:
    from routerconsole.console.forms import Field, Form

LABEL: Final = 20
HEAD: Final = 3
"""Lines above the fields; always as many, so that nothing moves while one types."""
MAX_TEXT: Final = 2000


def form_lines(form: Form, width: int) -> list[Line]:
    """Return the form; line `HEAD + form.cursor` is the current field's."""
    fields = [_field_line(form, place, width) for place in range(len(form.fields))]
    return [*_head(form, width), *fields]


def _head(form: Form, width: int) -> list[Line]:
    """Return what the current field means, or what is wrong with it, in exactly so many lines."""
    each = form.current
    problem = form.problem(each)
    if form.warned:
        lines = wrap("✗ Esc once more drops what was typed here.", width, role=Role.WARN)
    elif problem:
        named = "" if each.name.partition(".")[0] in problem else f"{visible(each.name, 40)}: "
        lines = wrap(f"✗ {named}{visible(problem, 300)}", width, role=Role.BAD)
    elif form.note:
        lines = wrap(visible(form.note, 400), width, role=Role.INFO)
    else:
        lines = wrap(visible(each.hint, 300), width, role=Role.DIM)
    return [*lines[: HEAD - 1], *[()] * (HEAD - 1 - len(lines)), (("─" * width, Role.DIM),)]


def _field_line(form: Form, place: int, width: int) -> Line:
    each = form.fields[place]
    here, changed = place == form.cursor, form.texts[each.name] != form.original[each.name]
    wrong = bool(form.problem(each))
    mark = "✗" if wrong else "●" if changed else " "
    label = f"{'▶' if here else ' '}{mark} {fit(each.name, min(LABEL, max(6, width * 2 // 5)))}"
    room = max(4, width - width_of(label))
    role = Role.BAD if wrong else Role.INFO if changed else Role.TEXT
    if here:
        return ((fit(label + _typed(form, each, room), width), Role.CURSOR),)
    text = visible(form.texts[each.name], MAX_TEXT)
    was = f"  was {visible(form.original[each.name], 60) or '–'}" if changed else ""
    return cut(
        merge([(label, Role.DIM if not (wrong or changed) else role), (text or "–", role), (was, Role.DIM)]), width
    )


def _typed(form: Form, each: Field, room: int) -> str:
    """Return the current field's text with the cursor in sight, or its choices with the chosen one in brackets."""
    text = form.texts[each.name]
    if each.kind is Kind.CHOICE:
        return "  ".join(f"[{choice}]" if choice == text else choice for choice in each.choices)
    before, after = visible(text[: form.at], MAX_TEXT), visible(text[form.at :], MAX_TEXT)
    while before and width_of(before) > room - 2:
        before = "…" + before[max(2, width_of(before) - room + 3) :]
    return f"{before}▏{after}"
