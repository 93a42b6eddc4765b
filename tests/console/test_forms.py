"""Forms, staged edits and the words of an impact, as pure state."""

from __future__ import annotations

import pytest
from tests.console.registry_scene import model

from routerconsole.console.downloads import KEPT, Downloads
from routerconsole.console.forms import Field, Form, Kind, Step, shown_value
from routerconsole.console.model_form import edit_form, register_command, register_form, update_command
from routerconsole.console.render.cells import plain
from routerconsole.console.render.form import HEAD, form_lines
from routerconsole.console.render.impact import impact_text
from routerconsole.console.render.notes import changes
from routerconsole.console.staging import Staging
from routerconsole.control.registry_commands import ApplyEdits, RegisterModel, UpdateModel
from routerconsole.control.registry_views import Impact, Move, PoolShift
from routerconsole.domain.events import Event, EventType


def typed(form: Form, *keys: str) -> Step:
    """Press keys; one character is itself."""
    step = Step.ON
    for key in keys:
        step = form.key(key, key if len(key) == 1 else None)
    return step


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.WHOLE, "8192", 8192),
        (Kind.WHOLE, "8_192", 8192),
        (Kind.WHOLE, " ", None),
        (Kind.NUMBER, "0.5", 0.5),
        (Kind.NUMBER, "", None),
        (Kind.WORDS, "a, b,, a ", ["a", "b"]),
        (Kind.WORDS, "", []),
        (Kind.TEXT, " x ", "x"),
        (Kind.TEXT, "", None),
        (Kind.CHOICE, "yes", True),
        (Kind.CHOICE, "unknown", None),
        (Kind.CHOICE, "deep", "deep"),
    ],
)
def test_what_is_typed_becomes_json(kind: Kind, text: str, value: object) -> None:
    """Each kind reads its texts; an empty one unsets."""
    field = Field("x", kind, ("yes", "no", "unknown", "deep"))
    assert field.problem(text) == ""
    assert field.value(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Kind.WHOLE, "-1"), (Kind.WHOLE, "1.5"), (Kind.WHOLE, "²"), (Kind.NUMBER, "nan"), (Kind.NUMBER, "1e999"),
     (Kind.NUMBER, "-0.1"), (Kind.NUMBER, "x"), (Kind.CHOICE, "maybe")],
)  # fmt: skip
def test_what_is_none_of_a_kind_says_so(kind: Kind, text: str) -> None:
    """Wrong texts have a reason, keep the form open and are not among the changes."""
    field = Field("x", kind, ("yes", "no"))
    form = Form("t", [field], {"x": "yes"}, texts={"x": text})
    assert form.problem(field)
    assert typed(form, "enter") is Step.ON
    assert form.changed() == {}


def test_choices_turn_with_arrows_and_first_letters() -> None:
    """Left and right go round, a letter jumps, others do nothing; a paste is no choice."""
    form = edit_form(model("a", "m"), {}, "t")
    form.restore("tier")
    for keys, now in (
        (["right"], "deep"),
        (["right"], "exploratory"),
        (["left"], "deep"),
        (["s"], "standard"),
        (["q"], "standard"),
    ):
        typed(form, *keys)
        assert form.texts["tier"] == now
    form.paste("deep")
    assert form.texts["tier"] == "standard"


def test_a_form_reads_back_only_what_differs() -> None:
    """Unchanged fields stay out, of an object all of it goes along, a field back to what it was is none."""
    limits = {"rpm": 60, "rpd": None, "tpm": None, "tpd": None}
    seen = model("a", "m", limits=limits, context_window=8192, free=True)
    form = edit_form(seen, {}, "t")
    assert update_command(form, seen) is None
    form.texts |= {"limits.tpm": "9000", "context_window": "", "free": "unknown"}
    told = {"limits": {"rpm": 60, "tpm": 9000}, "context_window": None, "free": None}
    assert update_command(form, seen) == UpdateModel("a", "m", told)
    form.texts |= {"limits.tpm": "", "limits.rpm": "", "context_window": "8192", "free": "yes"}
    assert update_command(form, seen) == UpdateModel("a", "m", {"limits": None})


def test_a_refusal_stands_at_its_field_until_that_is_edited() -> None:
    """The engine names the field, also inside an object or a list; what names none stands above the form."""
    form = edit_form(model("a", "m"), {}, "t")
    for message, name in (
        ("Invalid limits.rpm -1: must be more", "limits.rpm"),
        ("Invalid tags.0 'x y': no spaces", "tags"),
        ("Invalid path: format gguf needs the file.", "path"),
    ):
        form.refuse(message)
        assert form.refused == {name: message}
    typed(form, "x")
    assert form.refused == {}
    form.refuse("The disk is full.")
    assert (form.refused, form.note) == ({}, "The disk is full.")


def test_a_new_model_needs_provider_and_id() -> None:
    """Without them nothing is registered, and nothing is called wrong before one tried."""
    form = register_form("lab", "lab, groq")
    assert not any(form.problem(each) for each in form.fields)
    assert register_command(form) is None
    assert typed(form, "enter") is Step.ON
    assert form.problem(form.current) == "must not be empty"
    assert typed(form, "m", "1", "enter") is Step.ACCEPTED
    assert register_command(form) == RegisterModel("lab", "m1", {})


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_every_line_of_a_form_fits_and_keeps_its_place(width: int) -> None:
    """Whatever is typed, the head has as many lines and the cursor is in sight."""
    form = edit_form(model("a", "m"), {}, "t")
    form.restore("description")
    form.paste("名前 " * 200 + "\x1b[31m")
    for message in ("", "Invalid description: " + "long " * 100):
        form.refuse(message)
        lines = form_lines(form, width)
        assert len(lines) == HEAD + len(form.fields)
        assert "▏" in plain(lines[HEAD + form.cursor])


def test_staging_compares_with_what_is_there_and_knows_who_was_faster() -> None:
    """One command for one model, one for several; a model that is another version is overtaken."""
    first, second, staging = model("a", "m1"), model("b", "m2", version=4), Staging()
    assert staging.command() is None
    staging.stage(first, {"tags": ["x"], "tier": "standard"})
    assert [change.key for change in staging.changes] == ["a/m1 tags"]
    assert staging.command() == UpdateModel("a", "m1", {"tags": ["x"]}, 1)
    staging.stage(second, {"limits": {"rpm": 1}})
    assert staging.command() == ApplyEdits(
        (UpdateModel("a", "m1", {"tags": ["x"]}, 1), UpdateModel("b", "m2", {"limits": {"rpm": 1}}, 4))
    )
    assert staging.overtaken({"a/m1": first, "b/m2": model("b", "m2", version=5)}) == ["b/m2"]
    assert staging.overtaken({"a/m1": first}) == ["b/m2"]
    staging.restage(model("b", "m2", version=5))
    assert staging.seen("b/m2") == 5
    staging.stage(first, {"tags": []})
    assert staging.models == ("b/m2",)
    staging.clear()
    assert staging.command() is None


def test_downloads_are_bounded_and_those_that_run_stay() -> None:
    """The oldest that ended give way; nonsense in an event is no number."""
    loads = Downloads()
    for number in range(3 * KEPT):
        state = "running" if number == 0 else "done"
        data = {"provider": "o", "model": f"m{number}", "state": state, "percent": "x", "total": None}
        loads.take([Event(number, 0.0, EventType.PULL_PROGRESS, data)])
    assert len(loads.all()) == KEPT
    assert [each.key for each in loads.running()] == ["o/m0"]
    assert loads.put_away()
    assert not loads.put_away()


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        (Impact(0, 0, 0, 0, 0), ["no request to try it on yet", "no pool changes"]),
        (Impact(0, 9, 0, 0, 0), ["takes too long"]),
        (Impact(1, 1, 0, 0, 0), ["none of the last request would"]),
        (
            Impact(500, 500, 14, 2, 0, (Move("a/m", "b/m", 12, "r"), Move("a/m", None, 2, "r"))),
            ["14 of the last 500 requests would have gone elsewhere, 2 by NOBODY", "12 a/m → b/m, 2 a/m → NOBODY"],
        ),
        (
            Impact(1, 1, 1, 0, 1, (Move(None, "b/m", 1, "r"),), (PoolShift("tools", ("b/m",), ()),)),
            ["1 served that were not", "1 nobody → b/m", "pool tools +b/m"],
        ),
        (
            Impact(1, 1, 0, 0, 0, (), tuple(PoolShift(each, ("b/m",), ()) for each in "ac")),
            ["pools a, c +b/m"],
        ),
        (
            Impact(1, 1, 0, 0, 0, (), (PoolShift("d", (), ("x", "y", "z")),)),
            ["pool d -3 models"],
        ),
    ],
)  # fmt: skip
def test_an_impact_is_one_sentence(told: Impact, parts: list[str]) -> None:
    """It says how many, from whom to whom, who is lost, and which pools change."""
    for part in parts:
        assert part in impact_text(told)


def test_receipts_are_told_flat_without_what_undo_keeps() -> None:
    """Nested pictures become dotted names, lists words, pools signs; versions and slots stay out."""
    before = {"tags": [], "version": 1, "operator": {"field.tags": None}, "a/m": {"tier": "deep", "version": 1}}
    after = {
        "tags": ["x", "y"], "version": 2, "operator": {"field.tags": ["x"]}, "pools": {"added": ["t"], "removed": []},
        "a/m": {"tier": "standard", "version": 2, "pools": {"added": [], "removed": ["v"]}},
    }  # fmt: skip
    assert changes(before, after) == "tags – → x,y, a/m.tier deep → standard, pools +t, a/m.pools -v"
    assert changes({"version": 1}, {"version": 2}) == "nothing changes"
    assert shown_value({"rpm": 60, "rpd": None}) == "rpm 60"
