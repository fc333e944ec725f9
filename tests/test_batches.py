import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax import batches, contracts


def _members(count, padded=None):
    index = 10 + np.arange(padded or count, dtype=np.int32)
    return contracts.Members(jnp.asarray(index), jnp.int32(count))


def _stream(count, batch_size, num_steps, seed=0):
    key = jax.random.key(seed)
    step_fn = lambda step: batches.member_records(
        key, _members(count, count + 5), step, batch_size
    )
    return np.asarray(jax.vmap(step_fn)(jnp.arange(num_steps))).ravel()


@pytest.mark.parametrize("count", [1, 2, 7, 97, 1000, 10000, 10001, 15393])
def test_permute_is_a_bijection(count):
    keys = jnp.tile(jax.random.bits(jax.random.key(1), (6,))[:, None], count)
    position = jnp.arange(count, dtype=jnp.uint32)
    permuted = batches.permute(position, keys, jnp.uint32(count))
    np.testing.assert_array_equal(np.sort(permuted), np.arange(count))


@pytest.mark.parametrize(("count", "batch_size"), [(24, 8), (25, 8), (23, 23), (9, 1)])
def test_every_member_is_met_once_an_epoch_also_across_batches(count, batch_size):
    num_epochs = 3
    num_steps = -(-num_epochs * count // batch_size)
    records = _stream(count, batch_size, num_steps)[: num_epochs * count]
    epochs = np.sort(records.reshape(num_epochs, count), axis=1)
    np.testing.assert_array_equal(epochs, np.tile(10 + np.arange(count), (3, 1)))


def test_epochs_and_keys_have_different_orders():
    first, second = _stream(64, 8, 16).reshape(2, 64)
    assert (first != second).any()
    assert (first != _stream(64, 8, 8, seed=1)).any()


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
