"""Sides cut to the first so many models, leave-one-out: medians, spreads, sums.

The authors' 2022 code gives every record the same number of IN (and of OUT) models: the
smallest that any record has, the first in model order. Without the target, that is the
side's first c models where the target is not among them, and else the first c + 1 less
the target. Over the targets c takes two neighbouring values at most.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax.attacks import _gaussian


class Cut(NamedTuple):
    """What all records say of one side, leave-one-out; those of chunks add up.

    Attributes:
      num_records: [models, models + 1] float32, records in which so many others are on
        the side.
      sums: [models, models + 1] float32, sum of the first so many others' statistics
        over records and channels; zeros where not needed.
      squares: the same of squares. About 0, as in the authors' code; in float32 their
        spread has a relative error of 1e-7 times (mean / spread)^2.
    """

    num_records: jax.Array
    sums: jax.Array
    squares: jax.Array

    @property
    def size(self) -> jax.Array:
        """[models, 1] int, others on the side in every record."""
        return jnp.argmax(self.num_records > 0, 1)[:, None]

    def spread(self, num_channels: int) -> jax.Array:
        """[models, 1] standard deviation (`ddof=0`) of all values that are left."""
        count = self.num_records.sum(1, keepdims=True) * self.size * num_channels
        at_size = (jnp.take_along_axis(s, self.size, 1) for s in self[1:])
        mean, square = (s / jnp.maximum(count, 1.0) for s in at_size)
        return jnp.sqrt(jnp.maximum(square - mean**2, 0.0))


def place(side: jax.Array) -> jax.Array:
    """Each model's place on its side in model order, from 0; shaped like `side`."""
    return jnp.cumsum(side, 0) - 1


def cut(x: jax.Array, side: jax.Array, has_sums: bool) -> Cut:
    """Counts and sums over the records given.

    Args:
      x: [models, records(, channels)] float32.
      side: [models, records(, 1)] bool.
      has_sums: whether sums are needed; they cost a pass for each number of models.
    """
    flat = side.reshape(side.shape[:2])
    num_models, total = len(flat), flat.sum(0)
    num_records = (~flat).astype(x.dtype) @ jax.nn.one_hot(total, num_models + 1)
    num_records += flat.astype(x.dtype) @ jax.nn.one_hot(total - 1, num_models + 1)
    if not has_sums:
        return Cut(num_records, *(jnp.zeros_like(num_records),) * 2)
    order, axes = place(side), tuple(range(1, x.ndim))

    def sums(size):
        first, one_more = side & (order < size), side & (order <= size)
        # Subtracting a target that is most of a sum would cancel: the rest is summed.
        all_squares = jnp.where(one_more, x**2, 0.0).sum(0, keepdims=True)
        is_most = one_more & (x**2 > 0.5 * all_squares)

        def total_of(values):
            def over(models):
                return jnp.where(models, values, 0.0).sum(0, keepdims=True)

            less = jnp.where(
                is_most, over(one_more & ~is_most), over(one_more) - values
            )
            return jnp.where(first, less, over(first)).sum(axes)

        return total_of(x), total_of(x**2)

    found = jax.lax.map(sums, jnp.arange(num_models + 1))
    return Cut(num_records, *(part.T for part in found))


def deviation_and_spread(
    x: jax.Array, side: jax.Array, size: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Target minus median, and standard deviation (`ddof=0`), of a cut side without it.

    Args:
      x: [models, records(, channels)] float32.
      side: [models, records(, 1)] bool.
      size: [models, 1] int, models that are left for each target.

    Returns:
      Two arrays like `x`.
    """
    least = size.min()
    is_more = (size > least).reshape(-1, *(1,) * (x.ndim - 1))
    fewer, more = (_of_size(x, side, least + extra) for extra in (0, 1))
    return tuple(jnp.where(is_more, b, a) for a, b in zip(fewer, more, strict=True))


def _of_size(x, side, size):
    """Deviation and spread where `size` models are left for every target."""
    order = place(side)
    first, one_more = side & (order < size), side & (order <= size)
    ranks = _ranks_without_target(x, first, one_more)
    # Medians are found by comparing: only values as given are equal to themselves
    # after a compiler has fused the arithmetic. So are constant sides, whose squares
    # are rounding.
    middle = ranks((size - 1) // 2), ranks(size // 2)
    deviation = 0.5 * ((x - middle[0]) + (x - middle[1]))
    is_constant = ranks(0) == ranks(size - 1)
    x, count = _gaussian.centered(x), jnp.maximum(size, 1).astype(x.dtype)
    mean = jnp.where(first, x, 0.0).sum(0, keepdims=True) / count
    squares = jnp.where(first, (x - mean) ** 2, 0.0).sum(0, keepdims=True)
    (deleted,) = _gaussian.without_target(x, one_more)
    squares = jnp.where(first, deleted.squares, squares)
    return deviation, jnp.where(is_constant, 0.0, jnp.sqrt(squares / count))


def _ranks_without_target(x, first, one_more):
    """By rank: values of `first`, or of `one_more` less a target that is in `first`."""
    values, longer = _sorted(x, first), _sorted(x, one_more)

    def rank(index):
        at, after = _row(longer, index), _row(longer, index + 1)
        # Deleting a smaller or equal value moves the next one to this place.
        deleted = jnp.where(at < x, at, after)
        return jnp.where(first, deleted, _row(values, index))

    return rank


def _sorted(x, side):
    return jnp.sort(jnp.where(side, x, jnp.inf), 0)


def _row(values, index):
    return jnp.take(values, jnp.clip(index, 0, len(values) - 1), axis=0)[None]
