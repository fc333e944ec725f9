import numpy as np
import pytest

from mia_jax import masks, validate


def test_balanced_puts_every_unit_in_exactly_half_of_the_models():
    mask = masks.draw(10, 5000, seed=1, block=0)
    assert mask.shape == (10, 5000) and mask.dtype == bool
    np.testing.assert_array_equal(mask.sum(0), 5)


def test_units_are_independent():
    """Overlap of two columns is hypergeometric; 3,000 pairs, 4 s.e. (p < 1e-4)."""
    mask = masks.draw(16, 6000, seed=2, block=0)
    overlap = (mask[:, ::2] & mask[:, 1::2]).sum(0)
    assert abs(overlap.mean() - 4) < 4 * np.sqrt(16 / 15 / 3000)
    assert abs(overlap.var() - 16 / 15) < 0.12


def test_bernoulli_is_a_fair_coin():
    mask = masks.draw(9, 4000, seed=2, block=0, design="bernoulli")
    assert abs(mask.mean() - 0.5) < 4 * 0.5 / np.sqrt(mask.size)
    assert len(np.unique(mask.sum(0))) > 3


def test_seed_and_block_change_the_mask_and_nothing_else_does():
    first = masks.draw(8, 50, seed=1, block=0)
    np.testing.assert_array_equal(first, masks.draw(8, 50, seed=1, block=0))
    assert (first != masks.draw(8, 50, seed=1, block=1)).any()
    assert (first != masks.draw(8, 50, seed=2, block=0)).any()


def test_golden_mask():
    """The bits of a stored run: a change here breaks every resume."""
    mask = masks.draw(4, 5, seed=0, block=0)
    assert masks.fingerprint(mask) == GOLDEN


GOLDEN = "8df48bb024c2a342171ee1d0c99bada2f98f115d756aaec35cf08aa5f039ce39"


def test_odd_block_is_refused_unless_bernoulli():
    masks.check_block(3, "bernoulli")
    with pytest.raises(validate.InputError, match="even"):
        masks.check_block(3, "balanced")


def test_block_of_model():
    np.testing.assert_array_equal(masks.block_of_model([2, 3]), [0, 0, 1, 1, 1])
