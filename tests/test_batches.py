import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import batches, contracts

# Every small size; squares and their neighbours, primes and large sizes.
SMALL = range(1, 2001)
LARGE = (4095, 4096, 4097, 10007, 65536, 99856, 131071, 316969, 1 << 20)


def _members(count, padded=None):
    index = 10 + np.arange(padded or count, dtype=np.int32)
    return contracts.Members(jnp.asarray(index), jnp.int32(count))


def _stream(count, batch_size, num_steps, seed=0):
    key = jax.random.key(seed)
    step_fn = lambda step: batches.of_step(
        key, _members(count, count + 5), step, batch_size
    )
    return np.asarray(jax.vmap(step_fn)(jnp.arange(num_steps))).ravel()


def _permuted(count, keys, num_positions):
    """Where the first positions go; those beyond the count are repeated from 0 on."""
    position = jnp.arange(num_positions, dtype=jnp.uint32) % count.astype(jnp.uint32)
    keys = jnp.tile(keys[:, None], num_positions)
    return batches.permute(position, keys, count.astype(jnp.uint32))


def test_permute_is_a_bijection_of_every_small_size():
    keys = jax.random.bits(jax.random.key(1), (6,))
    every_size = jax.jit(
        lambda counts: jax.lax.map(lambda c: _permuted(c, keys, 2000), counts)
    )
    found = np.asarray(every_size(jnp.array(SMALL)))
    for count, row in zip(SMALL, found, strict=True):
        np.testing.assert_array_equal(np.sort(row[:count]), np.arange(count))


@pytest.mark.parametrize("count", LARGE)
def test_permute_is_a_bijection_of_large_sizes(count):
    keys = jax.random.bits(jax.random.key(2), (6,))
    permute = jax.jit(_permuted, static_argnums=2)
    found = np.asarray(permute(jnp.int32(count), keys, 1 << 20))[:count]
    assert np.bincount(found, minlength=count).tolist() == [1] * count


def test_turns_are_exact_where_a_32_bit_product_would_overflow():
    words = np.random.default_rng(0).integers(0, 1 << 32, 10000, np.uint64)
    words[:3] = 0, (1 << 32) - 1, 1 << 31
    for size in (1, 2, 3, 1000, 46341, 65535, 65536):
        found = batches._below(jnp.uint32(size), jnp.asarray(words, jnp.uint32))
        np.testing.assert_array_equal(found, words * np.uint64(size) >> np.uint64(32))


def test_the_largest_sizes_stay_in_range():
    """2^31 - 1: a few positions, met once each, all below the size."""
    count, keys = jnp.int32(2**31 - 1), jax.random.bits(jax.random.key(3), (6,))
    found = np.asarray(_permuted(count, keys, 20000))
    assert found.min() >= 0 and len(np.unique(found)) == 20000
    # Spread over the whole range: 20 equal parts, chi-square of 19 below 1 in 10^5.
    parts = np.bincount(found // (2**31 // 20 + 1), minlength=20)
    assert ((parts - 1000) ** 2 / 1000).sum() < 55


@pytest.mark.parametrize("count", [30, 1000])
def test_every_position_goes_everywhere_equally_often(count):
    """Chi-square over many keys, by position; false alarm once in a million each."""
    num_keys = 400 * count // 30
    keys = jax.random.bits(jax.random.key(4), (num_keys, 6))
    permute = jax.jit(jax.vmap(lambda k: _permuted(jnp.int32(count), k, count)))
    found = np.asarray(permute(keys))
    for position in (0, 1, count // 2, count - 1):
        counts = np.bincount(found[:, position], minlength=count)
        expected = num_keys / count
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert 1e-6 < scipy.stats.chi2.sf(statistic, count - 1) < 1 - 1e-6


def test_an_uneven_turn_would_be_noticed():
    """The same test rejects numbers below 97 made of 8 bits of the words."""
    words = jax.random.bits(jax.random.key(5), (20000,))
    for bits, is_even in ((32, True), (8, False)):
        numbers = (np.asarray(words, np.uint64) >> (32 - bits)) * 97 >> bits
        counts = np.bincount(numbers.astype(int), minlength=97)
        statistic = ((counts - 20000 / 97) ** 2 / (20000 / 97)).sum()
        assert (scipy.stats.chi2.sf(statistic, 96) > 1e-6) == is_even


@pytest.mark.parametrize(("count", "batch_size"), [(24, 8), (25, 8), (23, 23), (9, 1)])
def test_every_member_is_met_once_an_epoch_also_across_batches(count, batch_size):
    num_epochs = 3
    num_steps = -(-num_epochs * count // batch_size)
    records = _stream(count, batch_size, num_steps)[: num_epochs * count]
    epochs = np.sort(records.reshape(num_epochs, count), axis=1)
    np.testing.assert_array_equal(epochs, np.tile(10 + np.arange(count), (3, 1)))


@pytest.mark.slow
def test_epochs_and_keys_have_different_orders():
    first, second = _stream(64, 8, 16).reshape(2, 64)
    assert (first != second).any()
    assert (first != _stream(64, 8, 8, seed=1)).any()


@pytest.mark.slow
def test_pairs_share_a_batch_as_often_as_in_a_shuffle():
    """chi2/df of pair counts over 600 epochs; a shuffle gives .97, a lattice 10."""
    count, batch_size, num_epochs = 64, 8, 600
    records = _stream(count, batch_size, num_epochs * count // batch_size) - 10
    together = np.zeros((count, count))
    for batch in records.reshape(-1, batch_size):
        together[np.ix_(batch, batch)] += 1
    expected = num_epochs * (batch_size - 1) / (count - 1)
    pairs = together[np.triu_indices(count, 1)]
    ratio = ((pairs - expected) ** 2 / expected).mean() / (1 - 1 / count)
    assert 0.85 < ratio < 1.15
