"""Durations and ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.config.fields import DAY, check_id, check_profile_id, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), (45, 45), (0.25, 0.25), ("24h", DAY), ("1.5s", 1.5)],
)
def test_durations_read_as_seconds(written: object, seconds: float) -> None:
    """Numbers are seconds; a text carries its unit."""
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        "0s",
        "-5s",
        "25h",
        86_401,
        True,
        None,
        [],
        "30",
        "s",
        "12:30:00",
        "5 minutes",
        "1d",
        float("nan"),
        float("inf"),
        10**400,
        "9" * 500 + "s",
        "1e3s",
        "５s",
    ],
)
def test_durations_outside_the_rule_are_refused(written: object) -> None:
    """More than 0, at most 24 h, and no other forms."""
    with pytest.raises(ValueError, match=r"duration|more than 0"):
        parse_duration(written)


@given(st.floats(min_value=0.001, max_value=86_400), st.sampled_from(["ms", "s", "m", "h"]))
def test_a_duration_text_means_its_number_times_its_unit(number: float, unit: str) -> None:
    """Every accepted text is its number in its unit; every refused one would be out of range."""
    factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
    written = f"{number:.6f}{unit}"
    seconds = float(f"{number:.6f}") * factor
    if 0 < seconds <= DAY:
        assert parse_duration(written) == pytest.approx(seconds)
    else:
        with pytest.raises(ValueError, match="more than 0"):
            parse_duration(written)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a__b", "router", "LLMProxy", "ä", "a/b", "A", "a\n", "x" * 200])
def test_bad_provider_ids_are_refused(name: str) -> None:
    """Ids follow the pattern, hold no `__`, and are not reserved."""
    with pytest.raises(ValueError, match=r"id|lower|reserved|must not"):
        check_id(name)


@pytest.mark.parametrize("name", ["", "a b", "a__b", "Router", "a\u200bb", "a\x1b"])
def test_bad_profile_ids_are_refused(name: str) -> None:
    """Profiles may be any text without spaces, but not the reserved ones."""
    with pytest.raises(ValueError, match=r"profile|reserved|must not"):
        check_profile_id(name)


def test_profile_ids_may_look_like_models() -> None:
    """`gpt-4o-mini` and the like work as an alias."""
    assert check_profile_id("GPT-4o/mini:latest") == "GPT-4o/mini:latest"
