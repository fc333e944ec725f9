"""The test that fits the design: against all masks of small designs, and in power."""

import itertools

import numpy as np
import pytest
import scipy.stats

from mia_jax.risk import exact, mask_test, signed_rank


def run(z, mask, block, columns=None):
    patient = np.arange(mask.shape[1]) if columns is None else columns
    found = mask_test.ranks([(z, patient)], mask, block)
    return mask_test.p_values(found, mask, block), mask_test.aucs(found, mask, block)


def pairs_and_block(num_pairs, size):
    """Blocks of `num_pairs` pairs, then one of `size` models, and all their masks."""
    coins = itertools.product([True, False], repeat=num_pairs)
    halves = itertools.combinations(range(size), size // 2)
    masks = [
        np.r_[[m for c in coin for m in (c, not c)], np.isin(np.arange(size), half)]
        for coin, half in itertools.product(list(coins), list(halves))
    ]
    block = np.r_[np.repeat(np.arange(num_pairs), 2), np.full(size, num_pairs)]
    return np.array(masks, bool).T, block


def paired_masks(generator, num_pairs, num_patients):
    first = generator.random((num_pairs, num_patients)) < 0.5
    mask = np.stack([first, ~first], 1).reshape(2 * num_pairs, num_patients)
    return mask, np.repeat(np.arange(num_pairs), 2)


def test_names():
    assert mask_test.name(np.zeros(8, int)) == "rank sum"
    assert mask_test.name(np.repeat([0, 1], 4)) == "rank sum within blocks"
    assert mask_test.name(np.repeat([0, 1, 2], 2)) == "signed rank of pairs"
    assert mask_test.name(np.r_[0, 0, 1, 1, 2]) == "signed rank of pairs"
    assert mask_test.name(np.r_[0, 0, 1, 1, 1]) == mask_test.PAIRS_AND_BLOCKS


def test_pairs_are_scipys_signed_rank_in_any_order_of_models():
    generator = np.random.default_rng(0)
    mask, block = paired_masks(generator, 10, 60)
    z = generator.standard_normal(mask.shape).astype(np.float32)
    z[:, 40:] = np.round(z[:, 40:])  # ties and zeros
    order = generator.permutation(20)
    p, auc = run(z, mask, block)
    moved = run(z[order], mask[order], block[order])
    np.testing.assert_array_equal(moved, (p, auc))
    first, second = z[0::2].astype(float), z[1::2].astype(float)
    d = np.where(mask[0::2], first - second, second - first)
    expected = scipy.stats.wilcoxon(d[:, :40], alternative="greater", method="exact")
    np.testing.assert_allclose(p[:40], expected.pvalue, rtol=1e-12)
    np.testing.assert_allclose(auc, ((d > 0) + 0.5 * (d == 0)).mean(0))


def test_larger_blocks_are_the_rank_sum():
    generator = np.random.default_rng(1)
    z = generator.standard_normal((24, 50))
    block = np.repeat([0, 1], [8, 16])
    mask = generator.random((24, 50)) < 0.5
    p, auc = run(z, mask, block)
    u = exact.rank_sums(z, mask, block)
    n_in = np.stack([mask[block == b].sum(0) for b in (0, 1)])
    n_out = np.array([[8], [16]]) - n_in
    np.testing.assert_array_equal(p, exact.p_values(u, n_in, n_out))
    np.testing.assert_array_equal(auc, exact.rank_auc(u, (n_in * n_out).sum(0)))


@pytest.mark.parametrize(("num_pairs", "size"), [(3, 4), (1, 6), (5, 3), (6, 4)])
@pytest.mark.parametrize("kind", ["distinct", "tied pairs", "shifted"])
def test_pairs_with_a_block_have_exactly_their_law(num_pairs, size, kind):
    """All masks, whatever the scores: P(p <= a) = a at every p that occurs."""
    mask, block = pairs_and_block(num_pairs, size)
    z = np.random.default_rng(2).standard_normal(len(mask))
    if kind == "tied pairs":
        z[: 2 * num_pairs] = np.arange(2 * num_pairs) ** 2 // 3
    if kind == "shifted":
        z[2 * num_pairs :] += 9
    p, _ = run(np.tile(z[:, None], mask.shape[1]), mask, block)
    for value in np.unique(p):
        assert (p <= value).mean() == pytest.approx(value, rel=1e-9)


def test_unequal_counts_of_the_block_are_conditioned_on():
    """Single models with fair coins, as if their partners were lost: P(p <= a) <= a."""
    generator = np.random.default_rng(3)
    mask, block = paired_masks(generator, 6, 40000)
    mask = np.concatenate([mask, generator.random((7, 40000)) < 0.5])
    block = np.r_[block, np.full(7, 6)]
    z = np.tile(generator.standard_normal((19, 1)), 40000)
    p, _ = run(z, mask, block)
    for level in (0.1, 0.01, 1e-3):
        # One-sided binomial bound, false alarm 1e-4 each.
        bound = scipy.stats.binom.ppf(1 - 1e-4, 40000, level)
        assert (p <= level).sum() <= bound


def test_together_they_find_more_than_either_alone():
    generator = np.random.default_rng(4)
    mask, block = paired_masks(generator, 32, 4000)
    mask = np.concatenate([mask, generator.random((64, 4000)) < 0.5])
    block = np.r_[block, np.full(64, 32)]
    z = generator.standard_normal(mask.shape) + 0.6 * mask
    both = (run(z, mask, block)[0] < 1e-3).mean()
    alone = [
        (run(z[s], mask[s], block[s])[0] < 1e-3).mean()
        for s in (block < 32, block == 32)
    ]
    assert both > max(alone) + 0.1  # s.e. .008
    # Equal weights would drown the pairs' 528 ranks in the block's 1,024.
    a, b = mask_test.weights(32, [64])
    assert (a, b) == (1, 1) or a / b == pytest.approx(np.sqrt(2), rel=0.3)


def test_weights_are_whole_and_follow_the_sizes():
    assert mask_test.weights(128, [8])[1] > 10
    assert mask_test.weights(4, [256])[0] > 10
    assert min(mask_test.weights(40, [20, 60])) == 1


def test_a_model_alone_says_nothing():
    generator = np.random.default_rng(5)
    mask, block = paired_masks(generator, 8, 30)
    z = generator.standard_normal(mask.shape)
    more = np.concatenate([mask, mask[:1]]), np.append(block, 99)
    np.testing.assert_array_equal(
        run(np.concatenate([z, z[:1]]), *more), run(z, mask, block)
    )


def test_patients_in_both_or_no_model_of_a_pair():
    """Fair coins per model in blocks of two: such pairs drop out, the rest is exact."""
    generator = np.random.default_rng(6)
    mask = generator.random((12, 200)) < 0.5
    z, block = generator.standard_normal((12, 200)), np.repeat(np.arange(6), 2)
    p, auc = run(z, mask, block)
    for column in range(200):
        sides = mask[0::2, column], mask[1::2, column]
        split = sides[0] != sides[1]
        d = (z[0::2, column] - z[1::2, column])[split] * np.where(
            sides[0][split], 1, -1
        )
        if not split.any():
            assert p[column] == 1 and auc[column] == 0.5
            continue
        expected = signed_rank.p_values(signed_rank.rank_sums(d[:, None]))[0]
        assert p[column] == expected
        assert auc[column] == pytest.approx((d > 0).mean())


def test_chunks_change_nothing():
    generator = np.random.default_rng(7)
    mask, block = paired_masks(generator, 6, 40)
    mask, block = np.concatenate([mask, mask[:5] ^ True]), np.r_[block, [9] * 5]
    z = generator.integers(0, 5, (17, 40)).astype(float)
    whole = run(z, mask, block)
    parts = [(z[:, i : i + 7], np.arange(40)[i : i + 7]) for i in range(0, 40, 7)]
    found = mask_test.ranks(parts, mask, block)
    np.testing.assert_array_equal(mask_test.p_values(found, mask, block), whole[0])
    np.testing.assert_array_equal(mask_test.aucs(found, mask, block), whole[1])
