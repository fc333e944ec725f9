"""One variance per side for all records, from residuals, leave-one-out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax.attacks import _gaussian


class Spread(NamedTuple):
    """Residual sums over records, by which the fixed variance is pooled.

    Each is [models, 1(, channels)]: what remains of all records' sums when the model
    is left out.
    """

    squares_in: jax.Array
    freedom_in: jax.Array
    squares_out: jax.Array
    freedom_out: jax.Array


def sums(in_: _gaussian.Side, out: _gaussian.Side) -> Spread:
    """Sums over the records given; those of several chunks add up."""
    parts = []
    for side in (in_, out):
        freedom = jnp.maximum(side.count - 1.0, 0.0)
        parts += [part.sum(1, keepdims=True) for part in (side.squares, freedom)]
    return Spread(*parts)


def variances(spread: Spread) -> tuple[jax.Array, jax.Array]:
    """IN and OUT variance, [models, 1(, channels)], unbiased."""
    return (
        spread.squares_in / jnp.maximum(spread.freedom_in, 1.0),
        spread.squares_out / jnp.maximum(spread.freedom_out, 1.0),
    )
