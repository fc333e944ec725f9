"""Two normal laws, of the IN and the OUT models, leave-one-out in closed form.

Every model is the target once and all others are its shadows; deleting the target from
its side's mean and squares is a rank-one update, so nothing is refitted.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Smallest variance, in squared units of the statistic: a saturated side stays finite.
TINY = 1e-10
# Where one target carries more than this share of its side's squares, subtracting it
# cancels in float32, and the rest is summed directly. Of 3 or more models on a side at
# most one can: two would need n / (n - 1) / 2 > 3/4, so n < 3.
_DOMINANT = 0.75
# Half the log of 2 pi: the constant of a normal log density.
HALF_LOG_2_PI = 0.9189385332046727


class Side(NamedTuple):
    """The IN or the OUT models of every record, without the target.

    Attributes:
      deviation: [models, records(, channels)] float32, target minus the side's mean.
      squares: the same shape, sum of squares about that mean.
      total: [1, records(, 1)] float32, models on the side, the target included.
      is_own: [models, records(, 1)] bool, the target is on this side.
    """

    deviation: jax.Array
    squares: jax.Array
    total: jax.Array
    is_own: jax.Array

    @property
    def count(self) -> jax.Array:
        """Models on the side without the target."""
        return self.total - self.is_own

    @property
    def variance(self) -> jax.Array:
        """Variance of the side (`ddof=0`) without the target."""
        return self.squares / jnp.maximum(self.count, 1.0)


def leave_one_out(x: jax.Array, member: jax.Array) -> tuple[Side, Side]:
    """The IN and the OUT side of every target.

    Args:
      x: [models, records] or [models, records, channels] float32.
      member: [models, records] or [models, records, 1] bool.
    """
    return without_target(centered(x), member, ~member)


def centered(x: jax.Array) -> jax.Array:
    """Less the median of three models' values, mask-free.

    So float32 loses nothing to a large common offset; nor, as by the mean, to a single
    large outlier.
    """
    # A sort, not minima and maxima: those would be fused into every later pass.
    three = jnp.sort(jnp.stack([x[0], x[len(x) // 2], x[-1]]), 0)
    return x - three[1][None]


def without_target(x: jax.Array, *sides: jax.Array) -> tuple[Side, ...]:
    """Some sides of every target; an empty side has mean 0 and count 0.

    Args:
      x: [models, records(, channels)] float32, about 0.
      *sides: [models, records(, 1)] bool each, the models on a side.
    """
    fits = [_fit(x, side) for side in sides]
    outliers = [
        side & (fit.factor * fit.deviation**2 > _DOMINANT * fit.squares)
        for side, fit in zip(sides, fits, strict=True)
    ]
    # Almost never true with many models: then nothing is computed.
    has_outlier = functools.reduce(jnp.maximum, outliers).any()
    rests = jax.lax.cond(has_outlier, _rests, _no_rests, x, list(sides), outliers)
    return tuple(_delete(*parts) for parts in zip(sides, fits, outliers, rests))


class _Fit(NamedTuple):
    """A side with the target: [1, records(, channels)] but for the deviation."""

    deviation: jax.Array
    squares: jax.Array
    total: jax.Array
    factor: jax.Array


def _fit(x, side):
    total = side.sum(0, keepdims=True, dtype=x.dtype)
    deviation = x - jnp.where(side, x, 0.0).sum(0, keepdims=True) / jnp.maximum(
        total, 1
    )
    squares = jnp.where(side, deviation**2, 0.0).sum(0, keepdims=True)
    return _Fit(deviation, squares, total, total / jnp.maximum(total - 1.0, 1.0))


def _delete(side, fit, is_outlier, rest_of_outlier):
    rest = fit.squares - fit.factor * fit.deviation**2
    rest = jnp.where(is_outlier, rest_of_outlier, rest)
    return Side(
        jnp.where(side, fit.factor * fit.deviation, fit.deviation),
        jnp.where(side, rest, fit.squares),
        fit.total,
        side,
    )


def _rests(x, sides, outliers):
    """Squares about the mean of a side without its outlier; it has one at most."""
    found = []
    for side, is_outlier in zip(sides, outliers, strict=True):
        keep = side & ~is_outlier
        count = jnp.maximum(keep.sum(0, keepdims=True, dtype=x.dtype), 1.0)
        mean = jnp.where(keep, x, 0.0).sum(0, keepdims=True) / count
        squares = jnp.where(keep, (x - mean) ** 2, 0.0)
        found.append(squares.sum(0, keepdims=True))
    return found


def _no_rests(x, sides, outliers):
    del outliers
    return [jnp.zeros_like(x[:1]) for _ in sides]


def log_ratio(
    deviations: tuple[jax.Array, jax.Array], variances: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """Log of the IN over the OUT normal density, given for (IN, OUT) each."""
    in_, out = (jnp.maximum(variance, TINY) for variance in variances)
    squares = deviations[0] ** 2 / in_ - deviations[1] ** 2 / out
    return -0.5 * (squares + jnp.log(in_ / out))


def tail_score(deviation: jax.Array, variance: jax.Array, tail: str) -> jax.Array:
    """How unlikely the OUT law makes a deviation: minus log tail, or log density."""
    variance = jnp.maximum(variance, TINY)
    if tail == "two_sided":
        square = deviation**2 / variance
        return HALF_LOG_2_PI + 0.5 * (square + jnp.log(variance))
    return -log_upper_tail(deviation / jnp.sqrt(variance))


def log_upper_tail(x: jax.Array) -> jax.Array:
    """log P(N > x) of a standard normal; finite for every finite x."""
    limit = 1e18  # beyond it x**2 overflows float32
    return jax.scipy.special.log_ndtr(-jnp.clip(x, -limit, limit))
