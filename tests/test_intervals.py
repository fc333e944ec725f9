"""Oracles of the AUC's variance and score interval."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from mia_jax.risk import intervals


@pytest.mark.parametrize(
    ("auc", "n", "expected"), [(0.75, 64, 0.00182303797), (0.9, 128, 0.000352782)]
)
def test_variance_golden_values(auc, n, expected):
    assert intervals.variance(auc, n, n) == pytest.approx(
        expected, rel=2e-6
    )  # printed digits


def test_variance_at_one_half_is_the_null_variance():
    for n_in, n_out in ((8, 8), (5, 20), (1, 1)):
        expected = (n_in + n_out + 1) / (12 * n_in * n_out)
        assert intervals.variance(0.5, n_in, n_out) == pytest.approx(expected)


@pytest.mark.parametrize("auc", [0.6, 0.9, 0.99])
def test_variance_with_unequal_counts_is_the_integral(auc):
    """Q = P(one IN beats two OUT) by quadrature instead of Owen's T."""
    n_in, n_out = 7, 19
    d = np.sqrt(2) * scipy.stats.norm.ppf(auc)
    q, _ = scipy.integrate.quad(
        lambda x: scipy.stats.norm.pdf(x - d) * scipy.stats.norm.cdf(x) ** 2, -9, 12
    )
    covariance = (n_in + n_out - 2) * (q - auc**2)
    expected = (auc * (1 - auc) + covariance) / (n_in * n_out)
    assert intervals.variance(auc, n_in, n_out) == pytest.approx(expected, rel=1e-8)


def test_variance_of_blocks_is_that_of_the_weighted_mean():
    n_in, n_out = np.array([4, 10]), np.array([6, 12])
    share = n_in * n_out / (n_in * n_out).sum()
    single = [intervals.variance(0.8, *sides) for sides in zip(n_in, n_out)]
    expected = (share**2 * single).sum()
    assert intervals.variance(0.8, n_in, n_out) == pytest.approx(expected)
    per_column = intervals.variance(
        [0.8, 0.8], *(np.stack([a, a], 1) for a in (n_in, n_out))
    )
    np.testing.assert_allclose(per_column, expected)


def test_variance_is_zero_at_the_ends():
    np.testing.assert_array_equal(intervals.variance([0.0, 1.0], 8, 8), 0)


def test_score_interval_golden_values():
    low, high = intervals.score_interval([0.5, 0.7, 0.9, 1.0], 64, 64)
    # Five digits as printed.
    np.testing.assert_allclose(low, [0.40204, 0.60226, 0.83025, 0.98200], atol=6e-6)
    np.testing.assert_allclose(high, [0.59796, 0.77922, 0.93898, 1.0], atol=6e-6)


def test_score_interval_is_symmetric_and_not_clipped():
    low, high = intervals.score_interval([0.3, 0.0], 20, 30)
    mirror_low, mirror_high = intervals.score_interval([0.7, 1.0], 20, 30)
    np.testing.assert_allclose(low, 1 - mirror_high, atol=1e-10)
    np.testing.assert_allclose(high, 1 - mirror_low, atol=1e-10)
    assert low[0] < 0.3 < high[0] < 0.5


def test_a_higher_level_is_wider_column_by_column():
    level = np.array([0.95, 1 - 0.05 / 5000])
    low, high = intervals.score_interval([0.8, 0.8], 64, 64, level)
    assert low[1] < low[0] < 0.8 < high[0] < high[1]
    assert low[0] == intervals.score_interval(0.8, 64, 64)[0]


def test_interval_covers_and_the_wald_interval_does_not():
    """20,000 normal patients, A = .98, 32 + 32 models; s.e. of a coverage .0015."""
    generator = np.random.default_rng(0)
    n, auc = 32, 0.98
    x = generator.standard_normal((20000, n)) + np.sqrt(2) * scipy.stats.norm.ppf(auc)
    y = np.sort(generator.standard_normal((20000, n)), 1)
    wins = np.array([np.searchsorted(b, a).sum() for a, b in zip(x, y)])
    measured = wins / n**2
    low, high = intervals.score_interval(measured, n, n)
    coverage = ((low <= auc) & (auc <= high)).mean()
    wald = 1.96 * np.sqrt(intervals.variance(measured, n, n))
    assert 0.93 <= coverage <= 0.965
    assert (np.abs(measured - auc) <= wald).mean() < 0.92
