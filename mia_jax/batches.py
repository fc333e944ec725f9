"""Batches by random access: which members a step trains on, from the step number alone.

The order of an epoch is a keyed bijection of the positions 0..count-1 (a Feistel
network with cycle walking), evaluated for one batch at a time: no table, no sort, and a
resumed run needs nothing but its step. Positions run on over the end of an epoch, so
every member is met exactly once an epoch, whatever the batch size.
"""

import jax
import jax.numpy as jnp
from jax import lax

from mia_jax import contracts

_ROUNDS = 6  # even: both halves are moved three times


def num_steps(epochs: float, expected_members: float, batch_size: int) -> int:
    """Steps of every model: `epochs` passes over the expected number of members."""
    return max(1, round(epochs * expected_members / batch_size))


def of_step(
    key: jax.Array, members: contracts.Members, step: jax.Array, batch_size: int
) -> jax.Array:
    """The members of one step's batch.

    Args:
      key: the model's key for batches.
      members: the model's units; `members.count` must be at least `batch_size`.
      step: int32 scalar.
      batch_size: static.

    Returns:
      [batch_size] int32, unit numbers, without repetition within an epoch.
    """
    count = members.count.astype(jnp.uint32)
    start = step.astype(jnp.uint32) * jnp.uint32(batch_size)
    first = start // count
    position = start - first * count + jnp.arange(batch_size, dtype=jnp.uint32)
    # A batch touches at most two epochs, as it is no larger than an epoch.
    keys_of = lambda epoch: jax.random.bits(jax.random.fold_in(key, epoch), (_ROUNDS,))
    keys = jnp.where(
        (position < count)[None, :],
        keys_of(first)[:, None],
        keys_of(first + 1)[:, None],
    )
    return members.index[permute(_wrapped(position, count), keys, count)]


def permute(position: jax.Array, keys: jax.Array, count: jax.Array) -> jax.Array:
    """A pseudo-random bijection of 0..count-1, evaluated at some positions.

    Args:
      position: [n] uint32, each below `count`.
      keys: [6, n] uint32, round keys of each position.
      count: uint32 scalar, size of the domain, below 2^31.

    Returns:
      [n] int32, each below `count`.
    """
    width = jnp.ceil(jnp.sqrt(count.astype(jnp.float32))).astype(jnp.uint32)
    height = (count + width - 1) // width  # width * height >= count for any width

    def scramble(x):
        right = x // width
        left = x - right * width
        for i in range(0, _ROUNDS, 2):
            left = _wrapped(left + _below(width, _hash(right, keys[i])), width)
            right = _wrapped(right + _below(height, _hash(left, keys[i + 1])), height)
        return right * width + left

    walk = lambda x: jnp.where(x >= count, scramble(x), x)
    is_outside = lambda x: jnp.any(x >= count)
    return lax.while_loop(is_outside, walk, scramble(position)).astype(jnp.int32)


def _wrapped(x: jax.Array, size: jax.Array) -> jax.Array:
    """x modulo size, of x below twice the size."""
    return jnp.where(x >= size, x - size, x)


def _below(size: jax.Array, word: jax.Array) -> jax.Array:
    """floor(word * size / 2^32): a 32-bit word as a number below size, at most 2^16.

    As even as a remainder, but without a division, which no CPU does on vectors. In two
    halves, as there is no 64-bit product: the sum stays below 2^32.
    """
    low = (word & 0xFFFF) * size >> 16
    return (word >> 16) * size + low >> 16


def _hash(x: jax.Array, key: jax.Array) -> jax.Array:
    """A multiply-xorshift mixer of 32-bit words."""
    x = (x ^ key) * jnp.uint32(0x9E3779B1)
    x = (x ^ (x >> 15)) * jnp.uint32(0x85EBCA77)
    return x ^ (x >> 13)
