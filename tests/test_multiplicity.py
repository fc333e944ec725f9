"""Oracles of the corrections for many patients."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import multitest

from mia_jax.risk import intervals, multiplicity


def p_values(seed=0, num=2000, share=0.2):
    generator = np.random.default_rng(seed)
    p = generator.random(num)
    p[: int(share * num)] **= 8
    return p


def test_adjusted_p_values_are_statsmodels():
    p = p_values()
    adjusted = multiplicity.adjust(p)
    for values, method in ((adjusted.bh, "fdr_bh"), (adjusted.holm, "holm")):
        for level in (0.01, 0.05, 0.2):
            reject, expected, *_ = multitest.multipletests(p, level, method)
            np.testing.assert_allclose(values, expected, rtol=1e-14)
            np.testing.assert_array_equal(values <= level, reject)


def test_storeys_q_values_are_their_definition():
    """min over t >= p of pi0 N t / #{p <= t}, in a loop; 1 above lambda."""
    p = p_values(1, 300)
    pi0 = (1 + (p > 0.5).sum()) / (300 * 0.5)
    expected = [
        1.0 if x > 0.5 else min(pi0 * 300 * t / (p <= t).sum() for t in p[p >= x])
        for x in p
    ]
    assert multiplicity.null_share(p) == pi0 < 1
    np.testing.assert_allclose(multiplicity.adjust(p).storey, expected, rtol=1e-12)


def test_null_share():
    assert multiplicity.null_share(np.ones(50)) == 1
    assert multiplicity.null_share(np.full(100, 1e-9)) == 1 / 50
    # Standard error of 2 x a share of 20,000: .007.
    share = multiplicity.null_share(p_values(2, 20000, 0.2))
    assert 0.78 < share < 0.87


def test_storeys_false_discoveries_stay_below_the_level():
    """400 cohorts, 300 of 500 exposed: share of false discoveries.

    Its standard error is .001; BH alone gives .4 x .1 = .04. A share twelve times
    smaller than one must be found out.
    """
    generator = np.random.default_rng(3)
    false = {"bh": [], "storey": [], "too much": []}
    for _ in range(400):
        p = generator.random(500)
        p[:300] **= 6
        adjusted = multiplicity.adjust(p)
        q = adjusted.bh / 12
        for name, values in zip(false, (adjusted.bh, adjusted.storey, q), strict=True):
            found = values <= 0.1
            false[name].append(found[300:].sum() / max(found.sum(), 1))
    means = {name: np.mean(values) for name, values in false.items()}
    assert means["bh"] == pytest.approx(0.04, abs=0.005)
    assert means["bh"] < means["storey"] < 0.1
    assert means["too much"] > 0.11


def test_interval_level():
    assert multiplicity.interval_level(np.arange(200) < 10) == 1 - 0.05 * 10 / 200
    assert multiplicity.interval_level(np.ones(5, bool)) == 0.95
    assert multiplicity.interval_level(np.zeros(5, bool)) == 0.95


def test_intervals_of_discovered_patients_cover():
    """z-scores of 100 cohorts x 1,000 patients, 5 % exposed: coverage of the found.

    About 4,000 intervals found: standard error .0035. Plain 95 % intervals fail.
    """
    generator = np.random.default_rng(4)
    covered, plain = [], []
    for _ in range(100):
        mu = np.where(np.arange(1000) < 50, 3.0, 0.0)
        z = mu + generator.standard_normal(1000)
        adjusted = multiplicity.adjust(stats.norm.sf(z))
        found = adjusted.bh <= 0.05
        half = stats.norm.isf((1 - multiplicity.interval_level(found)) / 2)
        covered.append((np.abs(z - mu) <= half)[found])
        plain.append((np.abs(z - mu) <= 1.96)[found])
    assert np.concatenate(covered).mean() >= 0.95 - 3 * 0.0035
    assert np.concatenate(plain).mean() < 0.93


def test_worst_patient_is_the_interval_at_bonferronis_level():
    auc = np.array([0.5, 0.9, 0.7])
    sides = np.full((1, 3), 32), np.full((1, 3), 40)
    worst = multiplicity.worst(auc, *sides)
    low, _ = intervals.score_interval(0.9, 32, 40, level=1 - 0.05 / 3)
    assert worst == (1, 0.9, pytest.approx(float(low), abs=1e-12))
    assert worst.lower_limit < intervals.score_interval(0.9, 32, 40)[0]
