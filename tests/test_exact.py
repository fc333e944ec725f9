"""Oracles of the exact rank-sum test: tables, SciPy, and all masks of small designs."""

import itertools
import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from mia_jax.risk import design, exact


def table_recursion(n_in, n_out):
    """The classical float64 table, additions only: how many masks give each U."""
    size = n_in * n_out + 1
    f = np.zeros((n_in + 1, size))
    f[0, 0] = 1
    for m in range(1, n_in + n_out + 1):
        for j in range(min(m, n_in), max(1, m - n_out) - 1, -1):
            f[j, m - j :] += f[j - 1, : size - (m - j)]
        if m % 32 == 0:
            f /= f.sum()
    tail = f[n_in][::-1].cumsum()[::-1]
    return tail / tail[0]


def block_masks(sizes):
    """All masks with half of the models of every block: [models, masks]."""
    halves = []
    for size in sizes:
        chosen = itertools.combinations(range(size), size // 2)
        halves.append([np.isin(np.arange(size), c) for c in chosen])
    return np.array([np.concatenate(m) for m in itertools.product(*halves)]).T


@pytest.mark.parametrize(
    ("n", "u", "p"),
    [
        (8, 36, 0.3604506605),
        (32, 600, 0.1209347036),
        (32, 800, 3.359231773e-5),
        (128, 11500, 6.623545e-9),
    ],
)
def test_survival_golden_values(n, u, p):
    # Digits as printed in the reference table; the worst case is 7 digits.
    assert exact.survival(n, n)[u] == pytest.approx(p, rel=1e-7)


def test_normal_approximation_is_rejected_in_the_tail():
    n, u = 128, 11500
    normal = scipy.stats.norm.sf((u - n * n / 2) / np.sqrt(n * n * (2 * n + 1) / 12))
    assert normal > 1.5 * exact.survival(n, n)[u]


@pytest.mark.parametrize("n", [1, 8, 64, 256])
def test_last_value_is_one_mask_among_all(n):
    assert exact.survival(n, n)[-1] == 1 / math.comb(2 * n, n)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (3, 7), (8, 8), (40, 24), (0, 3)])
def test_survival_is_the_table_recursion(n_in, n_out):
    expected = table_recursion(n_in, n_out)
    np.testing.assert_allclose(exact.survival(n_in, n_out), expected, rtol=1e-12)


def test_p_values_of_very_many_models_do_not_round_to_zero():
    counts = np.full((18, 1), 32)  # 1 / C(64, 32)^18 is about 1e-329
    p = exact.p_values(np.array([18 * 32.0**2]), counts, counts)
    assert 0 < p[0] < 1e-300


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 4), (5, 3), (3, 6)])
def test_p_value_is_scipys_exact_one(n_in, n_out):
    z = np.random.default_rng(0).standard_normal((n_in + n_out, 20))
    mask = np.zeros((len(z), 20), bool)
    mask[:n_in] = True
    block = np.zeros(len(z), int)
    u = exact.rank_sums(z, mask, block)
    expected = scipy.stats.mannwhitneyu(
        z[:n_in], z[n_in:], alternative="greater", method="exact"
    )
    np.testing.assert_array_equal(u, expected.statistic)
    p = exact.p_values(u, *design.counts(mask, block))
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-12)


def test_rank_sums_with_ties_are_scipys_midranks():
    z = np.random.default_rng(1).integers(0, 5, (30, 50)).astype(np.float32)
    z[:, :10] += np.random.default_rng(2).random((30, 10), np.float32)  # no ties
    mask = np.random.default_rng(3).random((30, 50)) < 0.4
    u = exact.rank_sums(z, mask, np.zeros(30, int))
    for column in range(50):
        member = mask[:, column]
        x, y = z[member, column], z[~member, column]
        assert u[column] == scipy.stats.mannwhitneyu(x, y).statistic


def law_of_midranks(sizes, n_in):
    """U and its chances over all masks, given the sizes of the groups of equal scores.

    Coefficients of prod (1 + x q^(2 rank))^size at x^n_in, group by group.
    """
    twice = 2 * np.cumsum(sizes) - np.asarray(sizes) + 1
    ways = np.zeros((n_in + 1, 2 * n_in * sum(sizes) + 1))
    ways[0, 0] = 1
    for size, rank in zip(sizes, twice.tolist(), strict=True):
        more = np.zeros_like(ways)
        for i in range(min(size, n_in) + 1):
            kept = ways[: n_in + 1 - i, : ways.shape[1] - i * rank]
            more[i:, i * rank :] += math.comb(size, i) * kept
        ways = more
    w = np.flatnonzero(ways[n_in])
    return w / 2 - n_in * (n_in + 1) / 2, ways[n_in, w] / math.comb(sum(sizes), n_in)


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 4), (16, 16), (32, 32), (3, 29)])
def test_p_values_of_tied_columns_are_valid(n_in, n_out):
    """P(p <= a) <= a at every p that occurs; without the doubling it is not."""
    generator = np.random.default_rng(8)
    models, worst = n_in + n_out, []
    for num_values in (2, 3, 4, 6, models - 2):
        for _ in range(4):
            cuts = 1 + generator.choice(models - 1, num_values - 1, replace=False)
            sizes = np.diff([0, *np.sort(cuts), models]).tolist()
            u, chance = law_of_midranks(sizes, n_in)
            counts = np.full((1, len(u)), n_in), np.full((1, len(u)), n_out)
            truth = np.add.accumulate(chance[::-1])[::-1]
            p = exact.p_values(u, *counts, np.ones(len(u), bool))
            assert (truth <= p * (1 + 1e-9)).all()
            worst.append((truth / exact.p_values(u, *counts)).max())
    assert max(worst) > 1.3


def test_ties_are_seen_within_blocks_whatever_the_mask():
    z = np.array(
        [[1.0, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 2], [1, 4, 3, 5], [4, 5, 5, 5]]
    )
    generator = np.random.default_rng(9)
    for block in ([0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 1, 1, 0, 2]):
        for _ in range(5):
            mask = generator.random(z.shape) < 0.5
            u, is_tied = exact.rank_sums_and_ties(z, mask, np.array(block))
            np.testing.assert_array_equal(u, exact.rank_sums(z, mask, np.array(block)))
            expected = [
                any(
                    z[i, c] == z[j, c] and block[i] == block[j]
                    for i, j in itertools.combinations(range(5), 2)
                )
                for c in range(4)
            ]
            np.testing.assert_array_equal(is_tied, expected)


def test_complementary_pairs_are_the_sign_test():
    tail = exact.survival_of_blocks(((1, 1),) * 20)
    expected = scipy.stats.binom.sf(np.arange(21) - 1, 20, 0.5)
    np.testing.assert_allclose(tail, expected, rtol=1e-12)


def test_convolution_keeps_the_tail_exact():
    tail = exact.survival_of_blocks(((32, 32), (16, 16)))
    exactly = 1 / (math.comb(64, 32) * math.comb(32, 16))
    assert tail[-1] == pytest.approx(exactly, rel=1e-12)
    pmfs = [-np.diff(exact.survival(n, n), append=0) for n in (32, 16)]
    fourier = scipy.signal.fftconvolve(*pmfs)[-1]
    assert abs(fourier / exactly - 1) > 100  # what an FFT leaves there


def test_p_values_in_blocks_are_the_full_convolution():
    counts = np.array([[5, 4, 5], [3, 3, 2]])
    sizes = np.array([[10], [6]])
    u = np.array([30.5, 20.0, 24.0])
    p = exact.p_values(u, counts, sizes - counts)
    for column in range(3):
        law = exact.survival_of_blocks(
            tuple(zip(counts[:, column], (sizes - counts)[:, column], strict=True))
        )
        assert p[column] == pytest.approx(law[int(u[column])], rel=1e-12)


@pytest.mark.parametrize("sizes", [(8,), (4, 4), (2, 2, 2, 2), (6, 2)])
def test_every_design_has_exactly_its_law(sizes):
    """All masks of a small design, whatever the scores: P(p <= a) is the law's."""
    masks = block_masks(sizes)
    z = np.random.default_rng(4).standard_normal(len(masks))
    z[: sizes[0]] += 1  # models of the first block differ: only their ranks may not
    block = np.repeat(np.arange(len(sizes)), sizes)
    u = exact.rank_sums(np.tile(z[:, None], masks.shape[1]), masks, block)
    tail = exact.survival_of_blocks(tuple((s // 2, s // 2) for s in sizes))
    seen = (u[:, None] >= np.arange(len(tail))).mean(0)
    np.testing.assert_allclose(seen, tail, rtol=1e-12)


def test_overall_rank_sum_is_not_exact_in_blocks():
    """Two blocks of four, best two of each block the best four: 1/36, not 1/70."""
    masks = block_masks((4, 4))
    z = np.array([8.0, 7, 1, 2, 6, 5, 3, 4])[:, None] + np.zeros(masks.shape[1])
    u = exact.rank_sums(z, masks, np.zeros(8, int))
    claimed = exact.p_values(u, *(np.full((1, len(u)), 4),) * 2)
    assert claimed.min() == pytest.approx(1 / 70)
    assert (claimed <= 1 / 70).mean() == pytest.approx(1 / 36)


def test_wilcoxon_over_all_models_is_rejected_for_complementary_pairs():
    """A shock per model, opposite within a pair, shared by all patients.

    So it is when statistics grow with the number of members: a pair has N of them
    together. 50 cohorts x 200 null patients at level .001: binomial s.e. .0003 for the
    sign test; the rank-sum test over all models makes several times too many claims.
    """
    generator = np.random.default_rng(5)
    num_models, patients, cohorts = 64, 200, 50
    pair, one = np.repeat(np.arange(32), 2), np.zeros(num_models, int)
    claims = {"pairs": [], "all": []}
    for _ in range(cohorts):
        z = generator.standard_normal((num_models, patients))
        shock = generator.standard_normal((32, 1, 1)) * np.array([[[1.0], [-1.0]]])
        z += shock.reshape(num_models, 1)
        first = generator.random((32, patients)) < 0.5
        mask = np.stack([first, ~first], 1).reshape(num_models, patients)
        for name, block in (("pairs", pair), ("all", one)):
            u = exact.rank_sums(z, mask, block)
            claims[name].append(exact.p_values(u, *design.counts(mask, block)))
    share = {name: (np.concatenate(p) <= 1e-3).mean() for name, p in claims.items()}
    assert share["pairs"] < 0.002
    assert share["all"] > 0.004


def test_opposite_models_are_detected():
    first = np.random.default_rng(6).random((16, 40)) < 0.5
    mask = np.concatenate([first, ~first[::-1]])
    pair = design.detect_pairs(mask)
    for number in range(16):
        a, b = np.flatnonzero(pair == number)
        np.testing.assert_array_equal(mask[a], ~mask[b])


def test_independent_masks_are_not_taken_for_pairs():
    generator = np.random.default_rng(7)
    mask = generator.random((32, 200)).argsort(0) < 16
    assert design.detect_pairs(mask) is None
    assert design.detect_pairs(mask[:, :1]) is None  # one patient: cannot be told
