"""Oracles of the exact signed-rank test: SciPy, all signs of small designs, moments."""

import itertools

import numpy as np
import pytest
import scipy.stats

from mia_jax.risk import signed_rank


def signs(num_pairs):
    """All signs: [pairs, 2^pairs]."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=num_pairs))).T


@pytest.mark.parametrize("n", [1, 2, 3, 8, 20])
def test_p_value_is_scipys_exact_one(n):
    d = np.random.default_rng(0).standard_normal((n, 200)) + 0.3
    p = signed_rank.p_values(signed_rank.rank_sums(d))
    expected = scipy.stats.wilcoxon(d, alternative="greater", method="exact")
    # Additions of positive terms on both sides: rounding alone.
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 64, 256])
def test_last_value_is_one_draw_among_all(n):
    tail = signed_rank.survival(n)
    assert tail[-1] == 2.0**-n
    assert tail[-2] == 2.0 ** (1 - n)
    assert tail[0] == pytest.approx(1, abs=1e-12) and tail.max() <= 1


def test_far_tail_is_that_of_whole_numbers():
    """Counts of subsets as Python's integers; float64 keeps 13 digits everywhere."""
    n, counts = 60, [1] + [0] * (60 * 61 // 2)
    for rank in range(1, n + 1):
        for v in range(len(counts) - 1, rank - 1, -1):
            counts[v] += counts[v - rank]
    above = list(itertools.accumulate(reversed(counts)))[::-1]
    exactly = np.array([a / 2**n for a in above])
    np.testing.assert_allclose(signed_rank.survival(n), exactly, rtol=1e-13)


@pytest.mark.parametrize(
    "size",
    [
        (1.0, 2, 3, 4, 5, 6),
        (1.0, 1, 2, 2, 2, 3),
        (0.0, 1, 2, 0, 2, 3),
        (0.0, 0, 0, 0, 0, 0),
        (0.0, 0, 0, 0, 0, 2),
        (1.0, 1, 1, 1, 1, 1),
    ],
)
def test_law_is_exact_whatever_ties_and_zeros(size):
    """All signs of given |d|: P(p <= a) = a at every p-value that occurs."""
    d = np.array(size)[:, None] * signs(6)
    p = signed_rank.p_values(signed_rank.rank_sums(d))
    for value in np.unique(p):
        assert (p <= value).mean() == pytest.approx(value, rel=1e-12)


def test_law_without_ties_is_rejected_where_there_are_ties():
    d = np.ones(10)[:, None] * signs(10)
    sums = signed_rank.rank_sums(d)
    claimed = signed_rank.survival(10)[np.floor(sums.w).astype(int)]
    assert max((claimed <= a).mean() / a for a in np.unique(claimed)) > 1.02
    given = signed_rank.survival_of_ranks(sums.tied_ranks[0])
    coins = scipy.stats.binom.sf(np.arange(11) - 1, 10, 0.5)
    np.testing.assert_allclose(given[::11], coins, rtol=1e-12)


def test_mid_ranks_are_scipys():
    d = np.random.default_rng(1).integers(-4, 6, (25, 100)).astype(float)
    sums = signed_rank.rank_sums(d)
    for column in range(100):
        x = d[:, column]
        expected = scipy.stats.wilcoxon(
            x[x != 0], alternative="greater", method="asymptotic"
        )
        assert sums.w[column] == expected.statistic
        assert sums.num_pairs[column] == np.count_nonzero(x)
    p = signed_rank.p_values(sums)
    for row, column in enumerate(sums.tied[:20]):
        tail = signed_rank.survival_of_ranks(sums.tied_ranks[row])
        assert p[column] == pytest.approx(tail[int(2 * sums.w[column])], rel=1e-12)


def test_order_of_pairs_changes_nothing():
    generator = np.random.default_rng(2)
    d = generator.integers(-3, 5, (16, 50)).astype(float)
    p = signed_rank.p_values(signed_rank.rank_sums(d))
    shuffled = signed_rank.p_values(signed_rank.rank_sums(d[generator.permutation(16)]))
    np.testing.assert_array_equal(p, shuffled)


def test_differences_take_members_first():
    z = np.array([[[3.0, 3, 3]], [[1.0, 1, 1]]], np.float32)
    member = np.array([[[True, False, True]], [[False, True, True]]])
    np.testing.assert_array_equal(signed_rank.differences(z, member), [[2, -2, 0]])


@pytest.mark.parametrize("auc", [0.5, 0.7, 0.9])
def test_moments_of_the_share(auc):
    """Against 40,000 simulated patients of 12 pairs: five standard errors."""
    n = 12
    d = np.random.default_rng(3).standard_normal((n, 40000)) + scipy.stats.norm.ppf(auc)
    share = signed_rank.rank_sums(d).w / (n * (n + 1) / 2)
    mean, sd = signed_rank.share_of_auc(auc, n)
    assert share.mean() == pytest.approx(mean, abs=5 * sd / 200)
    assert share.std() == pytest.approx(sd, rel=5 / np.sqrt(2 * 40000) * 1.2)
    assert signed_rank.auc_of_share(mean, n) == pytest.approx(auc, abs=1e-9)


def test_variance_without_leak_is_the_textbooks():
    for n in (1, 2, 9):
        sd = signed_rank.share_of_auc(0.5, n)[1] * n * (n + 1) / 2
        assert sd**2 == pytest.approx(n * (n + 1) * (2 * n + 1) / 24)
