"""Fingerprints of servers: what is compared, what tells nothing, what untrusted text can do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.fingerprint import differs, facts_of, fingerprint, merged

FACTS = st.dictionaries(st.sampled_from(["build", "digest", "system"]), st.lists(st.text(max_size=100), max_size=3))


@given(FACTS, FACTS)
def test_any_text_stays_within_its_fact(one: dict[str, list[str]], other: dict[str, list[str]]) -> None:
    """No value becomes another fact, what is made can be read back, and nothing differs from itself."""
    a, b = fingerprint(one), fingerprint(other)
    assert facts_of(a).keys() <= one.keys()
    assert a.isprintable()
    assert fingerprint(facts_of(a)) == merged(a) == a
    assert not differs(a, a)
    assert differs(a, b) is differs(b, a)
    assert not differs(merged(a, b), b)


def test_only_what_both_sides_say_is_compared() -> None:
    """A digest against a build tells nothing; of several values one in common is the same server."""
    assert not differs("digest=a", "build=b")
    assert not differs("", "digest=a")
    assert differs("digest=a; build=x", "digest=b; build=x")
    assert not differs("system=fp1|fp2", "system=fp2")
    assert differs("system=fp1|fp2", "system=fp3")
