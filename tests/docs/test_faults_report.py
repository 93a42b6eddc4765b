"""docs/faults.md says what the tests' names say, and no name carries an id nobody knows."""

from __future__ import annotations

import pytest
from tests.docs.faults_report import REPORT, Row, Section, catalogue, ids_in, named_by_id, report


def test_the_fault_report_is_not_stale() -> None:
    """What is in the repository is what `make docs` would write now."""
    assert REPORT.read_text(encoding="utf-8") == report(catalogue(), named_by_id()), "run `make docs`"


def test_every_id_in_a_test_name_is_in_the_catalogue() -> None:
    """A mistyped id would look like proof of nothing."""
    known = {row.id for section in catalogue() for row in section.rows}
    assert {name: listed for name, listed in named_by_id().items() if name not in known} == {}


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_U13_one", ["U13"]),
        ("test_S01_S02_several", ["S01", "S02"]),
        ("test_C1_19_U36_mixed", ["C1-19", "U36"]),
        ("test_C1_C01_alike", ["C01"]),
        ("test_none_at_all", []),
    ],
)
def test_ids_are_read_from_names(name: str, ids: list[str]) -> None:
    """One or several ids a name; `C1_19` is the case C1-19, `C01` the fault."""
    assert ids_in(name) == ids


def test_a_row_shows_its_tests_or_who_owns_it() -> None:
    """Tested rows name their tests, open ones the issue."""
    sections = (Section("Part", (Row("U01", 0, "refused", 2), Row("T01", 1, "sizes", 4))),)
    made = report(sections, {"U01": ["e2e/test_x.py::test_U01_y"]})
    assert "| U01 | gate | refused | tested | `e2e/test_x.py::test_U01_y` |" in made
    assert "| T01 | before 1.0 | sizes | open (issue 4) |  |" in made
    assert "| Part | 1 of 1 | 0 of 1 |" in made


def test_a_catalogue_that_is_not_understood_is_refused() -> None:
    """Ids given twice and rows of another shape are errors, not gaps."""
    with pytest.raises(ValueError, match="U01"):
        catalogue("sections: [{title: x, issue: 2, rows: {U01: [9, odd]}}]")
    with pytest.raises(ValueError, match="twice"):
        catalogue("sections: [{title: x, issue: 2, rows: {U01: [0, a]}}, {title: y, issue: 2, rows: {U01: [0, a]}}]")
