"""The statistics agree with what was published, with SciPy and with statsmodels (see statistics_reference.py)."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.evals.statistics import (
    ALPHA,
    MOST_PROBES,
    ONE_SIDED,
    Probe,
    cluster_bootstrap,
    holm,
    mcnemar,
    pass_at_k,
    pass_hat_k,
    percentile,
    separate,
    sprt,
    wilson,
)

REFERENCE: dict[str, Any] = json.loads(Path(__file__).with_name("statistics_reference.json").read_text())
"""SciPy 1.17.1, statsmodels 0.15.0, NumPy 2.4.6; the file names them too."""


@pytest.mark.parametrize("table", ["wilson", "wilson_by_scipy"])
def test_wilson_agrees_with_statsmodels_and_scipy(table: str) -> None:
    """Wilson's 95 % interval of every share, from 0 of 1 to 20,000 of 20,000."""
    for k, n, low, high in REFERENCE[table]:
        assert wilson(k, n) == pytest.approx((low, high), abs=1e-12), (k, n)


# Newcombe (1998), Statistics in Medicine 17, 857-872, method 3.
@pytest.mark.parametrize(("k", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                                                      (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)])  # fmt: skip
def test_wilson_agrees_with_what_was_published(k: int, n: int, low: float, high: float) -> None:
    """The four digits that are printed."""
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_E08_nothing_graded_is_the_whole_range() -> None:
    """Zero of zero is no share: the interval says that nothing is known, and nothing is NaN."""
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_an_impossible_share_is_refused(k: int, n: int) -> None:
    """More passes than repeats is a bug, not an interval."""
    with pytest.raises(ValueError, match="no share"):
        wilson(k, n)


def test_mcnemar_agrees_with_statsmodels() -> None:
    """The exact two-sided p on the discordant pairs, also of a thousand of them."""
    for b, c, p in REFERENCE["mcnemar"]:
        assert mcnemar(b, c) == pytest.approx(p, rel=1e-9, abs=1e-300), (b, c)


def test_six_on_one_side_are_the_fewest_that_separate() -> None:
    """What `cannot separate (needs >= 6 one-sided)` says."""
    assert next(n for n in range(12) if mcnemar(0, n) < ALPHA) == ONE_SIDED


def test_holm_agrees_with_statsmodels() -> None:
    """Step-down correction, monotone and in the order given, ties and empty families too."""
    for ps, corrected in REFERENCE["holm"]:
        assert holm(ps) == pytest.approx(tuple(corrected), abs=1e-12), ps


@pytest.mark.parametrize("p", [float("nan"), -0.1, 1.1, float("inf")])
def test_E08_what_is_no_p_is_refused(p: float) -> None:
    """NaN has no place in an order, so a family with one has no correction."""
    with pytest.raises(ValueError, match="p value"):
        holm([0.01, p, 0.2])


def test_pass_at_k_agrees_with_scipy() -> None:
    """One of k and all of k, unbiased from n repeats, by binomials and the hypergeometric law; k = n too."""
    for (n, c, k, some), (*_, also) in zip(REFERENCE["pass_at_k"], REFERENCE["some_of_k"], strict=True):
        assert pass_at_k(n, c, k) == pytest.approx(some, abs=1e-12), (n, c, k)
        assert pass_at_k(n, c, k) == pytest.approx(also, abs=1e-9), (n, c, k)
    for n, c, k, every in REFERENCE["pass_hat_k"]:
        assert pass_hat_k(n, c, k) == pytest.approx(every, rel=1e-8, abs=1e-300), (n, c, k)


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (3, 4, 1), (3, -1, 1), (3, 2, 4), (3, 2, 0)])
def test_E08_what_cannot_be_drawn_is_refused(n: int, c: int, k: int) -> None:
    """None of nothing, more than there are, none at all."""
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match="cannot draw"):
            estimate(n, c, k)


def test_percentiles_agree_with_numpy() -> None:
    """Linear interpolation between the ranks."""
    for values, q, value in REFERENCE["percentile"]:
        assert percentile(values, q) == pytest.approx(value), (values, q)


@pytest.mark.parametrize("values", [[], [1.0, float("nan"), 2.0]])
def test_E08_percentiles_of_nothing_or_of_no_number_are_refused(values: list[float]) -> None:
    """NaN would be sorted anywhere."""
    with pytest.raises(ValueError, match="no values"):
        percentile(values, 50)


@pytest.mark.parametrize("case", range(len(REFERENCE["bootstrap"])))
def test_the_bootstrap_agrees_with_scipy_on_clusters_of_one(case: int) -> None:
    """The mean difference exactly; the percentile interval of 20,000 resamples to half a step of the mean."""
    _, values, mean, (low, high) = REFERENCE["bootstrap"][case]
    found = cluster_bootstrap([[value] for value in values], Random(1), resamples=20_000)
    assert found is not None
    assert found[0] == pytest.approx(mean)
    assert found[1] == pytest.approx((low, high), abs=0.5 / len(values) + 1e-9)


def test_E08_a_difference_that_is_no_number_is_refused() -> None:
    """NaN among differences would be an interval of nothing."""
    with pytest.raises(ValueError, match="finite"):
        cluster_bootstrap([[1.0, float("nan")], [0.0]], Random(1))


def test_the_bootstrap_resamples_whole_scenarios() -> None:
    """Ten repeats of a scenario that always agree are one observation, so the interval is wider than of ten."""
    together = cluster_bootstrap([[1.0] * 10, [0.0] * 10, [1.0] * 10], Random(3))
    apart = cluster_bootstrap([[value] for value in [1.0] * 20 + [0.0] * 10], Random(3))
    assert together is not None
    assert apart is not None
    assert together[1][1] - together[1][0] > 2 * (apart[1][1] - apart[1][0])


def test_the_bootstrap_is_seeded() -> None:
    """The same dice give the same interval."""
    clusters = [[1.0, 0.0], [0.0], [-1.0, 1.0, 1.0]]
    assert cluster_bootstrap(clusters, Random(7)) == cluster_bootstrap(clusters, Random(7))


def test_E08_one_scenario_or_none_gives_no_false_certainty() -> None:
    """Nothing to compare is None; a single scenario's interval is the widest there is."""
    assert cluster_bootstrap([], Random(1)) is None
    assert cluster_bootstrap([[]], Random(1)) is None
    assert cluster_bootstrap([[1.0, 1.0, 1.0]], Random(1)) == (1.0, (-1.0, 1.0))


def test_E08_ties_have_no_p_below_one() -> None:
    """Two columns that agree on everything have no discordant pair and a difference of nothing."""
    found = separate([[(True, True), (False, False)], [(True, True)]], Random(1))
    assert (found.a_only, found.b_only, found.p, found.difference) == (0, 0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ("", Probe.OPEN),
        ("P", Probe.OPEN),
        ("PP", Probe.OPEN),
        ("PPP", Probe.VERIFIED),
        ("F", Probe.OPEN),
        ("FF", Probe.REFUTED),
        ("PF", Probe.OPEN),
        ("FPFF", Probe.REFUTED),
        ("FPPP", Probe.OPEN),
        ("FPPPPP", Probe.VERIFIED),
        ("PFPFPPFP", Probe.FLAKY),
        ("PFPPFPPF", Probe.FLAKY),
    ],
)
def test_sprt_stops_where_wald_says(outcomes: str, said: Probe) -> None:
    """Three straight passes verify, two straight failures refute, eight probes without a word are flaky."""
    assert sprt([letter == "P" for letter in outcomes]) is said


@given(st.lists(st.booleans(), max_size=20))
def test_sprt_stops_at_the_first_bound_wald_gives(outcomes: list[bool]) -> None:
    """The sum of the likelihood ratios' logarithms against the reference's bounds, eight probes at most."""
    wald = REFERENCE["sprt"]
    total, said = 0.0, Probe.FLAKY if len(outcomes) >= MOST_PROBES else Probe.OPEN
    for passed in outcomes[:MOST_PROBES]:
        total += wald["passed"] if passed else wald["failed"]
        if not wald["lower"] < total < wald["upper"]:
            said = Probe.VERIFIED if total > 0 else Probe.REFUTED
            break
    assert sprt(outcomes) is said


@given(n=st.integers(1, 300), data=st.data())
def test_wilson_holds_its_share(n: int, data: st.DataObject) -> None:
    """The interval lies in 0…1 and holds the share it is made from."""
    k = data.draw(st.integers(0, n))
    low, high = wilson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises(ps: list[float]) -> None:
    """A corrected p is never below the raw one nor above 1."""
    assert all(raw <= shown <= 1.0 for raw, shown in zip(ps, holm(ps), strict=True))
