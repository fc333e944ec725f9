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
