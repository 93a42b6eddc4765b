"""What operators decided outlives the process, together with the audit of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.state import AuditEntry, Record, StateStore, _json, _text

from .conftest import NOW, Open, change, locked_by_another_process

ODD = [
    "nul\x00nul",
    "\ud800 lone",
    "😀 emoji",
    "'; DROP TABLE audit; --",
    '"quoted"',
    "%_\\",
    "\u202e bidi",
    "x" * 10_000_000,
]


async def test_C0_38_an_inactive_model_is_still_known_after_reopening(open_db: Open) -> None:
    """A model set inactive is still there after a restart, inactive, and can be enabled again."""
    db = await open_db()
    key = ("p", "main", "m")
    await StateStore(db).commit_change(change()[0], [Record(key, "admin", {"active": False})])
    await db.aclose()
    store = StateStore(await open_db())
    assert (await store.load()).of("admin") == {key: {"active": False}}
    await store.commit_change(change()[0], [Record(key, "admin", {"active": True})])
    assert (await store.load()).of("admin") == {key: {"active": True}}


async def test_records_are_kept_by_kind_and_key(open_db: Open) -> None:
    """One key holds one object of each kind; writing replaces, None removes, the time of saving comes back."""
    store = StateStore(await open_db())
    route, provider = ("p", None, "m"), ("p",)
    await store.save_records(
        [Record(route, "breaker", {"n": 1}), Record(route, "gate", {"n": 2}), Record(provider, "breaker", {"n": 3})],
        NOW,
    )
    await store.save_records([Record(route, "breaker", {"n": 4}), Record(route, "gate", None)], NOW + 5)
    state = await store.load()
    assert state.of("breaker") == {route: {"n": 4}, provider: {"n": 3}}
    assert state.of("gate") == {}
    assert state.saved_at == {("breaker", route): NOW + 5, ("breaker", provider): NOW}


async def test_a_change_and_its_audit_are_one(open_db: Open) -> None:
    """A refused change leaves neither its audit row nor its state."""
    db = await open_db(busy_timeout_s=0.1)
    store = StateStore(db)
    with locked_by_another_process(db.path), pytest.raises(StorageUnavailable):
        await store.commit_change(*change(1))
    assert await store.audit() == []
    assert (await store.load()).records == {}
    with pytest.raises(ValueError, match="JSON compliant"):
        await store.commit_change(change(1)[0], [Record(("p",), "admin", {"x": float("nan")})])
    assert await store.audit() == []


async def test_D18_the_audit_is_ordered_by_number_not_by_clock(open_db: Open) -> None:
    """With the clock set back a day the newest change is still first."""
    store = StateStore(await open_db())
    for at, name in ((NOW, "first"), (NOW - 86_400, "second"), (NOW - 1, "third")):
        await store.commit_change(AuditEntry(at, "a", "c", name, {}, {}))
    rows = await store.audit(2)
    assert [(r.id, r.entry.target, r.undone) for r in rows] == [(3, "third", False), (2, "second", False)]


@pytest.mark.parametrize("text", ODD, ids=["nul", "surrogate", "emoji", "sql", "quotes", "like", "bidi", "10MB"])
async def test_D16_any_text_is_stored_as_data(open_db: Open, text: str) -> None:
    """Text of any kind in any place is stored and comes back; nothing of it is run."""
    store = StateStore(await open_db())
    audit = AuditEntry(NOW, text[:1000], "c", text[:1000], {text[:50]: text}, {"a": text})
    await store.commit_change(audit, [Record((text[:1000], None), "kind" + text[:50], {"v": text})])
    [row] = await store.audit()
    assert row.entry.after == {"a": text}
    assert row.entry.before == {text[:50]: text}
    [((kind, key), data)] = (await store.load()).records.items()
    assert (key, data) == ((text[:1000], None), {"v": text})
    assert kind.encode("utf-8") == ("kind" + text[:50]).encode("utf-8", "backslashreplace")


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters(codec=None))))
def test_D16_stored_text_is_always_valid_utf8(data: dict[str, str]) -> None:
    """Whatever the text, what goes to SQLite encodes."""
    assert _json(data).isascii()
    for text in data.values():
        _text(text).encode("utf-8")
