import numpy as np

from mia_jax import masks
from mia_jax.risk import design, intervals


def _mask(sizes):
    blocks = [masks.draw(size, 50, 0, b) for b, size in enumerate(sizes)]
    return np.concatenate(blocks), masks.block_of_model(sizes)


def test_one_block_counts_as_it_is():
    assert design.typical_counts(*_mask([16])) == (8.0, 8.0)


def test_pairs_have_the_null_variance_of_their_sign_test():
    n, _ = design.typical_counts(*_mask([2] * 64))
    np.testing.assert_allclose((2 * n + 1) / (12 * n**2), 0.25 / 64, rtol=1e-9)


def test_several_blocks_count_by_their_precision():
    """The single block of that many models has the blocks' variance, within 2 %."""
    n_in, n_out = design.typical_counts(*_mask([64, 192]))
    sides = np.array([32, 96])
    for auc in (0.5, 0.7, 0.9):
        blocks = intervals.variance(auc, sides, sides)
        one = intervals.variance(auc, n_in, n_out)
        np.testing.assert_allclose(one, blocks, rtol=0.02)
        total = intervals.variance(auc, 128, 128)
        assert total < 0.95 * blocks  # the sum of all models promises too much


def _pairs(num_pairs, num_patients, seed=0):
    first = np.random.default_rng(seed).random((num_pairs, num_patients)) < 0.5
    return np.concatenate([first, ~first])


def test_pairs_that_lost_models_are_found_and_the_others_are_one_block():
    mask = _pairs(20, 100)[:35]  # the last five partners are lost
    block = design.detect_pairs(mask)
    singles = np.arange(15, 20)
    assert len(np.unique(block[singles])) == 1
    for model in range(15):
        np.testing.assert_array_equal(
            np.flatnonzero(block == block[model]), [model, model + 20]
        )
    np.testing.assert_array_equal(np.unique(block), np.arange(16))


def test_other_models_keep_their_blocks():
    rest = np.random.default_rng(1).random((12, 100)).argsort(0) < 6
    mask = np.concatenate([_pairs(4, 100), rest])
    known = np.repeat([0, 1, 2], [8, 5, 7])
    block = design.detect_pairs(mask, known)
    assert np.unique(block).tolist() == list(range(6))
    assert len(np.unique(block[8:13])) == len(np.unique(block[13:])) == 1
    assert block[8] != block[13]
    again = design.detect_pairs(mask, block)
    np.testing.assert_array_equal(again, block)


def test_patients_in_all_or_no_models_do_not_hide_pairs():
    mask = np.c_[_pairs(8, 60), np.ones((16, 3), bool), np.zeros((16, 2), bool)]
    block = design.detect_pairs(mask)
    np.testing.assert_array_equal(block, np.tile(np.arange(8), 2))


def test_chance_makes_no_pairs():
    """A thousand small designs: opposites arise, but are not taken for the design."""
    generator = np.random.default_rng(2)
    seen = 0
    for _ in range(1000):
        mask = generator.random((16, 6)).argsort(0) < 8
        opposite = (mask[:, None] != mask).all(2).any()
        seen += opposite
        assert design.detect_pairs(mask) is None
    assert seen > 900


def test_households_are_one_draw():
    """Twelve households of ten patients are twelve draws: opposites may be chance."""
    generator = np.random.default_rng(3)
    mask = generator.random((16, 12)).argsort(0) < 8
    mask[1] = ~mask[0]
    mask = mask.repeat(10, 1)
    assert design.detect_pairs(mask) is None
    assert design.same_masks(mask) == []


def test_same_masks():
    mask = np.random.default_rng(4).random((20, 80)) < 0.5
    assert design.same_masks(mask) == []
    mask[5], mask[9], mask[11] = mask[2], mask[2], mask[3]
    assert design.same_masks(mask) == [[2, 5, 9], [3, 11]]
    mostly = np.random.default_rng(5).random((40, 6)) < 0.9
    assert design.same_masks(mostly) == []  # few patients, most in all models
