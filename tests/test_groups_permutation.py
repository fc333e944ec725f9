"""Counts, ranks, units under permutation: enumeration, reference libraries, nulls."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from mia_jax.risk import disparity, permutation, unit_permutation


def simple_law(n: int, k: int, t: int) -> permutation.Law:
    """One stratum: k of n patients in the group, t events."""
    return permutation.law(np.arange(n) < k, np.arange(n) < t, np.zeros(n, int))


def strata_cohort(seed: int, num_patients: int = 400):
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, 4, num_patients)
    is_group = rng.random(num_patients) < 0.1 + 0.2 * stratum
    is_event = rng.random(num_patients) < 0.05 + 0.05 * stratum
    return is_group, is_event, stratum


def naive_pmf(is_group, is_event, stratum) -> np.ndarray:
    """Convolution of scipy's hypergeometric laws, from count 0."""
    pmf = np.ones(1)
    for s in np.unique(stratum):
        here = stratum == s
        n, k, t = here.sum(), (is_group & here).sum(), (is_event & here).sum()
        pmf = np.convolve(pmf, stats.hypergeom.pmf(np.arange(min(k, t) + 1), n, k, t))
    return pmf


def test_strata_of_the_number_of_records():
    given = [1, 2, 3, 4, 5, 9, 10, 92]
    assert permutation.record_strata(given).tolist() == [0, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("seed", range(4))
def test_tails_are_those_of_the_convolution(seed):
    cohort = strata_cohort(seed)
    law, pmf = permutation.law(*cohort), naive_pmf(*cohort)
    x = np.arange(len(pmf))
    assert np.isclose(law.mean, x @ pmf, rtol=1e-10)
    for count in range(law.lowest - 1, law.highest + 2):
        upper, lower = pmf[x >= count].sum(), pmf[x <= count].sum()
        assert np.isclose(permutation.upper_tail(law, count), upper, rtol=1e-8)
        assert np.isclose(permutation.lower_tail(law, count), lower, rtol=1e-8)
        is_far = np.abs(x - law.mean) >= abs(count - law.mean) - 1e-9
        if law.lowest <= count <= law.highest:
            both = permutation.two_sided_p(law, count)
            assert np.isclose(both, min(1, pmf[is_far].sum()), rtol=1e-8)


def test_far_tail_keeps_its_relative_precision():
    law = simple_law(5000, 1000, 400)
    for count in (150, 250, 400):
        expected = stats.hypergeom.logsf(count - 1, 5000, 1000, 400)
        assert np.isclose(np.log(permutation.upper_tail(law, count)), expected, 1e-9)
    # 1 - cdf, the wrong way, has lost it.
    assert 1 - stats.hypergeom.cdf(249, 5000, 1000, 400) == 0


def test_all_relabellings_of_a_small_cohort():
    """Counted: every way to give the labels of the group within strata."""
    stratum = np.array([0] * 5 + [1] * 4)
    is_group = np.array([1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    is_event = np.array([1, 1, 0, 0, 1, 1, 0, 0, 1], bool)
    counts = [
        is_event[list(first)].sum() + is_event[5 + second]
        for first in itertools.combinations(range(5), 2)
        for second in range(4)
    ]
    law, count = permutation.law(is_group, is_event, stratum), 3
    share = np.mean(np.abs(np.array(counts) - law.mean) >= count - law.mean - 1e-9)
    assert np.isclose(permutation.two_sided_p(law, count), share)
    # Without strata the p-value is another one.
    pooled = permutation.law(is_group, is_event, stratum * 0)
    assert not np.isclose(permutation.two_sided_p(pooled, count), share, rtol=0.1)


def test_golden_top_set():
    law = simple_law(5000, 1000, 50)
    assert abs(permutation.enrichment_p(law, 20) - 0.000877178) < 5e-10
    assert np.allclose(
        permutation.odds_ratio(law, 20), (2.7, 1.4466, 4.9382), atol=5e-5
    )


@pytest.mark.parametrize("table", [(3, 97, 10, 900), (1, 9, 60, 40), (30, 5, 20, 70)])
def test_odds_ratio_is_scipys(table):
    a, b, c, d = table
    law = simple_law(a + b + c + d, a + b, a + c)
    ours = permutation.odds_ratio(law, a)
    reference = stats.contingency.odds_ratio([[a, b], [c, d]])
    interval = reference.confidence_interval(0.95)
    assert np.allclose(ours, (reference.statistic, *interval), rtol=1e-5)


def test_odds_ratio_of_strata_agrees_with_mantel_and_haenszel():
    is_group, is_event, stratum = strata_cohort(7, 40_000)
    tables = np.array(
        [
            [
                [
                    ((is_group == g) & (is_event == e) & (stratum == s)).sum()
                    for e in (1, 0)
                ]
                for g in (1, 0)
            ]
            for s in range(4)
        ],
        float,
    )
    reference = contingency_tables.StratifiedTable(np.moveaxis(tables, 0, 2))
    law = permutation.law(is_group, is_event, stratum)
    count = int((is_group & is_event).sum())
    ratio, low, high = permutation.odds_ratio(law, count)
    # Two estimates of one ratio; at 40,000 patients they differ by far less than se.
    assert np.isclose(ratio, reference.oddsratio_pooled, rtol=2e-3)
    assert np.allclose((low, high), reference.oddsratio_pooled_confint(), rtol=1e-2)
    p_value = reference.test_null_odds(correction=True).pvalue
    assert np.isclose(permutation.two_sided_p(law, count), p_value, rtol=0.02)
    crude = stats.contingency.odds_ratio(tables.sum(0).astype(int)).statistic
    assert abs(crude - ratio) > 0.1  # the confounding is real


def test_edges_of_the_support():
    law = simple_law(100, 10, 5)
    assert permutation.odds_ratio(law, 0)[:2] == (0.0, 0.0)
    assert np.isfinite(permutation.odds_ratio(law, 0)[2])
    ratio, low, high = permutation.odds_ratio(law, 5)
    assert np.isnan(ratio) and low > 1 and np.isnan(high)
    for n, k, t in ((50, 10, 0), (50, 10, 50), (50, 50, 7)):
        fixed = simple_law(n, k, t)
        assert np.isnan(permutation.two_sided_p(fixed, fixed.lowest))
        assert np.isnan(permutation.enrichment_p(fixed, fixed.lowest))
        assert np.isnan(permutation.odds_ratio(fixed, fixed.lowest)).all()


def test_large_cohorts_are_normal():
    law = simple_law(200_000, 60_000, 100_000)
    sd = np.sqrt(0.25 * 60_000 * 140_000 / 199_999)
    for z in (2.0, 5.0):
        count = 30_000 + round(z * sd)
        expected = 2 * stats.norm.sf((count - 0.5 - 30_000) / sd)
        assert np.isclose(permutation.two_sided_p(law, count), expected, rtol=0.01)


def alone(stratum):
    return unit_permutation.blocks(stratum, None, np.ones(len(stratum)))


def test_rank_test_of_one_stratum_is_mann_whitney():
    rng = np.random.default_rng(1)
    auc = np.round(rng.normal(0.5, 0.1, 300), 2)
    is_group, stratum = rng.random(300) < 0.2, np.zeros(300, int)
    ranks = unit_permutation.ranks_within(auc, stratum)
    found = unit_permutation.rank_test(alone(stratum), is_group, ranks, stratum)
    reference = stats.mannwhitneyu(
        auc[is_group], auc[~is_group], use_continuity=False, method="asymptotic"
    )
    pairs = is_group.sum() * (~is_group).sum()
    assert np.allclose(found, (reference.statistic / pairs, reference.pvalue))


def test_rank_test_does_not_accuse_a_group_of_its_number_of_records():
    """AUCs rise with the stratum alone; the group is mostly of the last."""
    rng = np.random.default_rng(2)
    stratum = rng.integers(0, 4, 2000)
    is_group = rng.random(2000) < 0.05 + 0.2 * stratum
    auc = rng.normal(0.5 + 0.05 * stratum, 0.05)
    p_values = []
    for used in (stratum, stratum * 0):
        ranks = unit_permutation.ranks_within(auc, used)
        p_values.append(
            unit_permutation.rank_test(alone(used), is_group, ranks, used)[1]
        )
    assert p_values[0] > 0.05 and p_values[1] < 1e-20


def test_moments_are_those_of_all_permutations_of_units():
    """Four households of two: 24 ways to change places."""
    rng = np.random.default_rng(3)
    is_group, score = rng.random(8) < 0.5, rng.normal(size=8)
    unit = np.repeat(np.arange(4), 2)
    design = unit_permutation.blocks(np.zeros(8, int), unit, np.ones(8))
    sums = [
        (is_group.reshape(4, 2)[list(order)] * score.reshape(4, 2)).sum()
        for order in itertools.permutations(range(4))
    ]
    found = unit_permutation.moments(design, is_group, score)
    assert np.allclose(found[1:], (np.mean(sums), np.var(sums)))


def test_units_of_other_sizes_or_strata_do_not_change_places():
    unit = np.array([0, 0, 1, 1, 2, 3, 4, 4])
    stratum = np.array([0, 1, 1, 0, 0, 0, 1, 1])
    design = unit_permutation.blocks(stratum, unit, np.array([1, 2, 2, 1, 1, 1, 2, 2]))
    found = {tuple(sorted(map(tuple, rows.tolist()))) for rows in design.members}
    # Members with more records first.
    assert found == {((4,), (5,)), ((1, 0), (2, 3))}
    assert design.fixed.tolist() == [6, 7]  # nobody else has two members like these


def household_cohort(seed: int, num_units: int = 600):
    """No effect: risk and group are both of the household, apart from each other."""
    rng = np.random.default_rng(seed)
    unit = np.arange(num_units).repeat(3)
    is_group = (rng.random(num_units) < 0.2)[unit]
    is_event = (rng.random(num_units) < 0.1)[unit]
    return unit, is_group, is_event, rng


def test_whole_households_are_permuted():
    """100 null cohorts: 5 % rejections; patients taken as independent: far more."""
    by_unit, by_patient = [], []
    for seed in range(100):
        unit, is_group, is_event, _ = household_cohort(seed)
        stratum = np.zeros(len(unit), int)
        design = unit_permutation.blocks(stratum, unit, np.ones(len(unit)))
        found = unit_permutation.moments(design, is_group, is_event * 1.0)
        z = (found[0] - found[1]) / np.sqrt(found[2])
        by_unit.append(2 * stats.norm.sf(abs(z)))
        law = permutation.law(is_group, is_event, stratum)
        count = int((is_group & is_event).sum())
        by_patient.append(permutation.two_sided_p(law, count))
    rejected = np.mean(np.array([by_unit, by_patient]) < 0.05, axis=1)
    # Binomial (100, .05): 12 or more has chance .004.
    assert rejected[0] < 0.12 and rejected[1] > 0.15


def test_permuted_p_values_of_single_patients_are_the_exact_ones():
    is_group, is_event, stratum = strata_cohort(5)
    law = permutation.law(is_group, is_event, stratum)
    rows = np.stack([is_group, ~is_group])
    two_sided, upper = unit_permutation.count_p_values(
        alone(stratum), rows, is_event, seed=0
    )
    count = int((is_group & is_event).sum())
    expected = permutation.two_sided_p(law, count), permutation.upper_tail(law, count)
    # Standard error of 9,999 permutations: .005.
    assert np.allclose((two_sided[0], upper[0]), expected, atol=0.02)
    assert np.isclose(two_sided[0], two_sided[1])  # a group and its rest are one test
    again = unit_permutation.count_p_values(alone(stratum), rows, is_event, seed=0)
    assert np.array_equal(again, (two_sided, upper))


def test_units_without_a_partner_count_as_they_are():
    rng = np.random.default_rng(9)
    unit = np.r_[np.arange(60), 60, 60, 60]  # 60 alone, and one household of three
    is_group, is_event = rng.random(63) < 0.4, rng.random(63) < 0.4
    is_group[60:] = is_event[60:] = True
    design = unit_permutation.blocks(np.zeros(63, int), unit, np.ones(63))
    found = unit_permutation.count_p_values(design, is_group[None], is_event, 0)
    law = permutation.law(is_group[:60], is_event[:60], np.zeros(60, int))
    count = int((is_group & is_event).sum()) - 3
    expected = permutation.two_sided_p(law, count), permutation.upper_tail(law, count)
    assert np.allclose(np.ravel(found), expected, atol=0.02)
    moments = unit_permutation.moments(design, is_group, is_event * 1.0)
    assert np.isclose(moments[1], law.mean + 3)


def test_large_counts_of_units_are_normal():
    unit, is_group, is_event, _ = household_cohort(1, num_units=9000)
    design = unit_permutation.blocks(np.zeros(len(unit), int), unit, np.ones(len(unit)))
    two_sided, _ = unit_permutation.count_p_values(design, is_group[None], is_event, 0)
    count, mean, variance = unit_permutation.moments(design, is_group, is_event * 1.0)
    assert variance > 100
    expected = 2 * stats.norm.sf((abs(count - mean) - 0.5) / np.sqrt(variance))
    assert np.isclose(two_sided[0], expected)


def test_nothing_to_permute():
    unit, is_event = np.arange(6), np.zeros(6, bool)
    design = unit_permutation.blocks(unit, None, np.ones(6))  # a stratum each
    found = unit_permutation.count_p_values(design, unit[None] < 3, is_event, 0)
    assert np.isnan(found).all()


def test_design_effect_of_copies_is_their_number():
    _, is_group, is_event, _ = household_cohort(3)
    unit = np.arange(600).repeat(3)
    assert np.isclose(disparity.design_effect(is_group, is_event, unit), 3)
    assert disparity.design_effect(is_group, is_event, np.arange(1800)) == 1
    assert disparity.design_effect(is_group, is_event & ~is_group, unit) == 1
