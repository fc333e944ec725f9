"""The masks of the audit's own control."""

import numpy as np

from mia_jax.risk import design, null_check


def test_permuted_masks_keep_counts_and_blocks():
    generator = np.random.default_rng(11)
    mask, block = generator.random((30, 5000)) < 0.3, np.repeat([0, 1], [10, 20])
    moved = null_check.permute(mask, block, seed=1)
    for before, after in zip(design.counts(mask, block), design.counts(moved, block)):
        np.testing.assert_array_equal(after, before)
    assert 0.3 < (moved != mask).mean() < 0.5  # 2 x .3 x .7 = .42
    np.testing.assert_array_equal(moved, null_check.permute(mask, block, seed=1))
    assert (moved != null_check.permute(mask, block, seed=2)).any()
    overlap = np.corrcoef(moved[:, :50].T)[np.triu_indices(50, 1)]
    assert abs(overlap.mean()) < 0.05  # patients independently


def test_patients_of_a_unit_share_the_permutation():
    generator = np.random.default_rng(12)
    unit = generator.integers(0, 50, 200)
    mask = (generator.random((24, 50)).argsort(0) < 12)[:, unit]
    moved = null_check.permute(mask, np.zeros(24, int), 0, unit)
    by_unit = np.stack(
        [moved[:, np.flatnonzero(unit == u)[0]] for u in np.unique(unit)]
    )
    np.testing.assert_array_equal(
        moved, by_unit.T[:, np.searchsorted(np.unique(unit), unit)]
    )
