"""LiRA, the likelihood-ratio attack, leave-one-out over all models in closed form.

Carlini et al. 2022, "Membership Inference Attacks From First Principles", section V and
algorithm 1 (arXiv:2112.03570). Every model is the target once and all others are its
shadows; deleting the target from its side's mean and variance is a rank-one update, so
nothing is refitted. Where public code differs from ours: it uses medians, cuts every
record to the smallest side count, and takes the raw (not residual) standard deviation
for the fixed variance; our means, full counts and residuals use all data and are what
the paper's formulas say.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax import validate

_MODES = ("online", "offline")
_VARIANCES = ("record", "fixed")
# Smallest variance, in squared units of the statistic: a saturated side stays finite.
_TINY = 1e-10
# Where one target carries more than this share of its side's squares, subtracting it
# cancels in float32, and the rest is summed directly. Of 3 or more models on a side at
# most one can: two would need n / (n - 1) / 2 > 3/4, so n < 3.
_DOMINANT = 0.75


class Sides(NamedTuple):
    """The target's own side (without the target) and the other side.

    Each array is [models, records]; deviations are from the side's mean.
    """

    own_deviation: jax.Array
    own_variance: jax.Array
    other_deviation: jax.Array
    other_variance: jax.Array


class Spread(NamedTuple):
    """Residual sums over records, by which the fixed variance is pooled.

    Each is [models, 1]: what remains of all records' sums when the model is left out.
    """

    squares_in: jax.Array
    freedom_in: jax.Array
    squares_out: jax.Array
    freedom_out: jax.Array


def scores(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "record",
    cohort: Spread | None = None,
) -> jax.Array:
    """Leave-one-out LiRA scores of every model.

    Args:
      statistic: [models, records] float32, higher = more confident in the label.
      member_mask: [models, records] bool; at least 3 models on each side.
      mode: online: log ratio of the IN and the OUT Gaussian; offline: minus the log of
        the chance that an OUT model is as confident (one-sided, OUT models only).
      variance: record: each record's own, per side; fixed: residuals pooled over all
        records, per side (better with few models).
      cohort: sums over all records for "fixed"; computed from `statistic` if not given.

    Returns:
      [models, records] float32, higher = member.
    """
    validate.one_of("attack.mode", mode, _MODES)
    validate.one_of("attack.variance", variance, _VARIANCES)
    sides = _leave_one_out(statistic, member_mask)
    if variance == "fixed":
        total = cohort_sums(statistic, member_mask) if cohort is None else cohort
        sides = _with_fixed_variance(sides, member_mask, total)
    if mode == "offline":
        return _tail(sides, member_mask)
    own = _log_density(sides.own_deviation, sides.own_variance)
    other = _log_density(sides.other_deviation, sides.other_variance)
    return jnp.where(member_mask, own - other, other - own)


def cohort_sums(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "fixed",
) -> Spread | None:
    """Residual sums of some records (`Spread`); sums of several chunks add up.

    Args: as `scores`. None where the variance is not fixed: nothing is needed.
    """
    del mode
    if variance != "fixed":
        return None
    sides = _leave_one_out(statistic, member_mask)
    count_in = member_mask.sum(0, keepdims=True) - member_mask - 1.0
    count_out = (~member_mask).sum(0, keepdims=True) - ~member_mask - 1.0
    own_count = jnp.where(member_mask, count_in, count_out) + 1.0
    other_count = jnp.where(member_mask, count_out, count_in) + 1.0
    own, other = sides.own_variance * own_count, sides.other_variance * other_count
    parts = (
        jnp.where(member_mask, own, other),
        count_in,
        jnp.where(member_mask, other, own),
        count_out,
    )
    return Spread(*(part.sum(1, keepdims=True) for part in parts))


def _leave_one_out(x: jax.Array, member: jax.Array) -> Sides:
    """Closed form for all targets at once (statistics on `ddof=0`)."""
    x = x - x.mean(0)[None, :]  # keeps float32 exact for a large common offset
    count_in, mean_in = _side(x, member)
    count_out, mean_out = _side(x, ~member)
    own = x - jnp.where(member, mean_in, mean_out)
    other = x - jnp.where(member, mean_out, mean_in)
    # Both sums directly: one as a difference would spoil the other models' scores.
    squares_in = jnp.where(member, own**2, 0.0).sum(0, keepdims=True)
    squares_out = jnp.where(member, 0.0, own**2).sum(0, keepdims=True)
    count = jnp.where(member, count_in, count_out)
    total = jnp.where(member, squares_in, squares_out)
    factor = count / (count - 1.0)
    rest = total - factor * own**2
    is_dominant = factor * own**2 > _DOMINANT * total
    rest = jnp.where(is_dominant, _rest_of_outlier(x, member, is_dominant), rest)
    other_variance = jnp.where(member, squares_out / count_out, squares_in / count_in)
    return Sides(factor * own, rest / (count - 1.0), other, other_variance)


def _side(x, member):
    count = member.sum(0, keepdims=True).astype(x.dtype)
    return count, jnp.where(member, x, 0.0).sum(0, keepdims=True) / count


def _rest_of_outlier(x, member, is_outlier):
    """Squares about the mean of a side without its outlier; one at most has one."""

    def rest(side):
        keep = side & ~is_outlier
        _, mean = _side(x, keep)
        return jnp.where(keep, (x - mean) ** 2, 0.0).sum(0, keepdims=True)

    return jnp.where(member, rest(member), rest(~member))


def _with_fixed_variance(sides: Sides, member: jax.Array, cohort: Spread) -> Sides:
    variance_in = cohort.squares_in / cohort.freedom_in
    variance_out = cohort.squares_out / cohort.freedom_out
    own = jnp.where(member, variance_in, variance_out)
    other = jnp.where(member, variance_out, variance_in)
    return sides._replace(own_variance=own, other_variance=other)


def _log_density(deviation: jax.Array, variance: jax.Array) -> jax.Array:
    """Log of the Gaussian density, without the constant."""
    variance = jnp.maximum(variance, _TINY)
    return -0.5 * (deviation**2 / variance + jnp.log(variance))


def _tail(sides: Sides, member: jax.Array) -> jax.Array:
    deviation = jnp.where(member, sides.other_deviation, sides.own_deviation)
    variance = jnp.where(member, sides.other_variance, sides.own_variance)
    return -log_upper_tail(deviation / jnp.sqrt(jnp.maximum(variance, _TINY)))


def log_upper_tail(x: jax.Array) -> jax.Array:
    """log P(N > x) of a standard normal; finite for every finite x."""
    limit = 1e18  # beyond it x**2 overflows float32
    return jax.scipy.special.log_ndtr(-jnp.clip(x, -limit, limit))
