"""The statistics agree with published values and with SciPy 1.17.1 and statsmodels 0.15.0, kept here as a table."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.evals.statistics import (
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


# statsmodels.stats.proportion.proportion_confint(k, n, method="wilson"); 81/263 and 1/29 are Newcombe's (1998),
# published as .2553-.3662 and .0061-.1718.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 1, 0.0, 0.7934506856227627),
        (1, 1, 0.2065493143772374, 1.0),
        (0, 3, 0.0, 0.5614970317550455),
        (3, 3, 0.43850296824495444, 1.0),
        (2, 3, 0.2076596008020477, 0.9385080552796037),
        (5, 8, 0.3057423946026273, 0.8631557141764027),
        (10, 10, 0.7224672001371106, 1.0),
        (81, 263, 0.2552885198782742, 0.36620957698280004),
        (1, 29, 0.006113214292762667, 0.17175521879320294),
        (50, 100, 0.4038315303659956, 0.5961684696340044),
        (199, 200, 0.9722262956021069, 0.9991168312843989),
    ],
)
def test_wilson_agrees_with_statsmodels(k: int, n: int, low: float, high: float) -> None:
    """Wilson's 95 % interval is the published one."""
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-12)


def test_E08_nothing_graded_is_the_whole_range() -> None:
    """Zero of zero is no share: the interval says that nothing is known, and nothing is NaN."""
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_an_impossible_share_is_refused(k: int, n: int) -> None:
    """More passes than repeats is a bug, not an interval."""
    with pytest.raises(ValueError, match="no share"):
        wilson(k, n)


# statsmodels.stats.contingency_tables.mcnemar([[10, b], [c, 10]], exact=True).pvalue
@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (6, 0, 0.03125),
        (1, 7, 0.0703125),
        (3, 3, 1.0),
        (2, 9, 0.0654296875),
        (10, 25, 0.016673847800120715),
    ],
)
def test_mcnemar_agrees_with_statsmodels(b: int, c: int, p: float) -> None:
    """The exact two-sided p on the discordant pairs is the published one."""
    assert mcnemar(b, c) == pytest.approx(p, abs=1e-12)


# statsmodels.stats.multitest.multipletests(ps, method="holm")[1]
@pytest.mark.parametrize(
    ("ps", "corrected"),
    [
        ((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)),
        ((0.01, 0.04, 0.03, 0.005), (0.03, 0.06, 0.06, 0.02)),
        ((0.5, 0.6, 0.9), (1.0, 1.0, 1.0)),
        ((0.04, 0.04), (0.08, 0.08)),
        ((0.2,), (0.2,)),
        ((), ()),
    ],
)
def test_holm_agrees_with_statsmodels(ps: tuple[float, ...], corrected: tuple[float, ...]) -> None:
    """Step-down correction, monotone and in the order given."""
    assert holm(ps) == pytest.approx(corrected, abs=1e-12)


# 1 - comb(n-c, k)/comb(n, k) and comb(c, k)/comb(n, k) with scipy.special.comb(exact=True)
@pytest.mark.parametrize(
    ("n", "c", "k", "some", "every"),
    [
        (10, 3, 1, 0.3, 0.3),
        (10, 3, 5, 0.9166666666666666, 0.0),
        (3, 3, 3, 1.0, 1.0),
        (3, 0, 3, 0.0, 0.0),
        (5, 4, 2, 1.0, 0.6),
        (200, 37, 10, 0.8773745673794602, 1.5515124900677956e-08),
    ],
)
def test_pass_at_k_and_pass_hat_k(n: int, c: int, k: int, some: float, every: float) -> None:
    """One of k and all of k, unbiased from n repeats."""
    assert pass_at_k(n, c, k) == pytest.approx(some, abs=1e-12)
    assert pass_hat_k(n, c, k) == pytest.approx(every, rel=1e-9)


# numpy.percentile([1, 2, 3, 4, 10, 15, 7.5], q)
@pytest.mark.parametrize(("q", "value"), [(0, 1.0), (25, 2.5), (50, 4.0), (90, 12.0), (95, 13.5), (100, 15.0)])
def test_percentiles_agree_with_numpy(q: float, value: float) -> None:
    """Linear interpolation between the ranks."""
    assert percentile([1, 2, 3, 4, 10, 15, 7.5], q) == pytest.approx(value)


# scipy.stats.bootstrap((d,), numpy.mean, method="percentile", n_resamples=200_000), where every cluster has one value.
BOOTSTRAP = ([1.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 1.0, 1.0, 0.0], 0.0, 0.8)


def test_the_bootstrap_agrees_with_scipy_on_clusters_of_one() -> None:
    """The mean difference and, within the resampling error, the percentile interval."""
    values, low, high = BOOTSTRAP
    found = cluster_bootstrap([[value] for value in values], Random(1))
    assert found is not None
    mean, interval = found
    assert mean == pytest.approx(0.4)
    assert interval == pytest.approx((low, high), abs=0.11)


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
