"""Confidences of a target and of its reference models, leave-one-out, in logarithms.

An attack gets the statistic s = log p / (1 - p). Then log p = -softplus(-s) and
log (1 - p) = -softplus(s), exactly. A mean of confidences is carried as the log odds of
the mean, from the logs of the mean of p and of the mean of 1 - p: so a reference of
1 - 1e-12 keeps its digits in float32, and one of exp(-10,000) is no zero.
"""

import functools

import jax
import jax.numpy as jnp

from mia_jax.attacks import _first_models

# Where one model carries more than this share of a sum, subtracting it cancels in
# float32, and the rest is summed directly. At most one model can: above one half.
_DOMINANT = 0.75
_LOG_2 = 0.6931471805599453
_TRIM = 5  # one in so many is cut at each end: 20 %, as the authors of RMIA do


def log_confidence(statistic: jax.Array) -> jax.Array:
    """log p of the label: -softplus(-s), shaped like the statistic."""
    return -jax.nn.softplus(-statistic)


def reference_online(
    statistic: jax.Array,
    member_mask: jax.Array,
    center: str,
    size: jax.Array | None = None,
) -> jax.Array:
    """log p_ref over reference models that saw the record and such that did not.

    Args:
      statistic: [models, records] float32.
      member_mask: [models, records] bool.
      center: mean: half the mean of each side, so that the sides weigh the same with
        the target taken out of its own; trimmed: 20 % cut from each end of all
        reference models together; trimmed_even: the same of the first so many models of
        each side.
      size: [models, 1] int, how many of each side, only for "trimmed_even".

    Returns:
      [models, records] float32, every model once the target and no reference.
    """
    if center == "trimmed":
        return _log_p(*_trimmed_means(statistic, jnp.ones_like(member_mask)))
    if center == "trimmed_even":
        sides = member_mask, ~member_mask
        return _log_p(*_even_trimmed_means(statistic, sides, size))
    inside = _log_means(statistic, member_mask)
    outside = _log_means(statistic, ~member_mask)
    both = zip(inside, outside, strict=True)
    return _log_p(*(jnp.logaddexp(i, o) - _LOG_2 for i, o in both))


def reference_offline(
    statistic: jax.Array,
    member_mask: jax.Array,
    center: str,
    a: jax.Array | float = 1.0,
    size: jax.Array | None = None,
) -> jax.Array:
    """log p_ref over reference models that did not see the record.

    p_ref = ((1 + a) p_out + (1 - a)) / 2: half of p_out and half of the guess
    a p_out + (1 - a) at the confidence of models that saw it.

    Args:
      statistic: [models, records] float32.
      member_mask: [models, records] bool.
      center: mean, trimmed or trimmed_even, see `reference_online`.
      a: in (0, 1], a number or [models, 1]; 1 = p_out itself.
      size: as `reference_online`.

    Returns:
      [models, records] float32.
    """
    if center == "trimmed_even":
        log_p, log_q = _even_trimmed_means(statistic, (~member_mask,), size)
    else:
        means = _trimmed_means if center == "trimmed" else _log_means
        log_p, log_q = means(statistic, ~member_mask)
    a = jnp.asarray(a, statistic.dtype)
    half = jnp.log1p(a) - _LOG_2
    # Scalars and [models, 1] both stretch to the shape of the means.
    half, rest = (jnp.broadcast_to(x, log_p.shape) for x in (half, jnp.log1p(-a)))
    return _log_p(jnp.logaddexp(half + log_p, rest - _LOG_2), half + log_q)


def reference_all(statistic: jax.Array) -> jax.Array:
    """log p_ref over all reference models, whatever they saw: one plain mean."""
    return _log_p(*_log_means(statistic, jnp.ones_like(statistic, bool)))


def _log_p(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """log p again, from the logs of p and of 1 - p, with the digits of both."""
    return log_confidence(log_p - log_q)


def _log_means(statistic, included) -> tuple[jax.Array, jax.Array]:
    """Logs of the mean of p and of 1 - p over the included models but the target."""
    return tuple(
        _log_mean(log_confidence(sign * statistic), included) for sign in (1.0, -1.0)
    )


def _log_mean(values, included):
    """log of the mean of exp(values) over the included models but the target."""
    count = included.sum(0, keepdims=True) - included
    peak, weights = _scaled(values, included)
    total = weights.sum(0, keepdims=True)
    is_dominant = weights > _DOMINANT * total
    rest_peak, rest = _scaled(values, included & ~is_dominant)
    log_rest = rest_peak + jnp.log(rest.sum(0, keepdims=True))
    others = jnp.where(is_dominant, 1.0, total - weights)
    log_sum = jnp.where(is_dominant, log_rest, peak + jnp.log(others))
    return log_sum - jnp.log(count.astype(values.dtype))


def _scaled(values, included):
    """The largest included value, and exp(values - largest), 0 where not included."""
    peak = jnp.where(included, values, -jnp.inf).max(0, keepdims=True)
    return peak, jnp.where(included, jnp.exp(jnp.minimum(values - peak, 0.0)), 0.0)


def _trimmed_means(statistic, included) -> tuple[jax.Array, jax.Array]:
    """As `_log_means`, a fifth of the models cut at each end (scipy's `trim_mean`).

    Taking the target out of a sorted side shifts the cut by one place: where it lay in
    a cut end the other end's next model falls away, else the target itself does.
    """
    key = jnp.where(included, statistic, jnp.inf)
    order = jnp.argsort(key, axis=0)
    rank = jnp.argsort(order, axis=0)
    ranked = jnp.take_along_axis(key, order, axis=0)
    place = jnp.broadcast_to(jnp.arange(len(key))[:, None], key.shape)
    count = included.sum(0, keepdims=True)
    cut_all, cut = count // _TRIM, (count - 1) // _TRIM

    def between(values, low, high):
        return jax.nn.logsumexp(
            jnp.where((low <= place) & (place < high), values, -jnp.inf),
            axis=0,
            keepdims=True,
        )

    def log_mean(sign):
        values = log_confidence(sign * ranked)
        own = jnp.where(included, log_confidence(sign * statistic), -jnp.inf)
        middle = between(values, cut, count - cut)
        # At either end of the middle the target may be nearly all of it, so both ends
        # are summed directly; between them a larger model stays.
        share = jnp.minimum(jnp.exp(own - middle), 0.5)
        rest = middle + jnp.log1p(-share)
        rest = jnp.where(rank <= cut, between(values, cut + 1, count - cut), rest)
        above = rank >= count - 1 - cut
        rest = jnp.where(above, between(values, cut, count - 1 - cut), rest)
        rest = rest - jnp.log((count - 1 - 2 * cut).astype(rest.dtype))
        every = between(values, cut_all, count - cut_all)
        every = every - jnp.log((count - 2 * cut_all).astype(rest.dtype))
        return jnp.where(included, rest, every)

    return log_mean(1.0), log_mean(-1.0)


def _even_trimmed_means(statistic, sides, size) -> tuple[jax.Array, jax.Array]:
    """As `_trimmed_means`, of the first so many models of each side but the target.

    Args:
      statistic: [models, records] float32.
      sides: [models, records] bool each.
      size: [models, 1] int, models that are left on each side for each target; over
        the targets it takes two neighbouring values at most.
    """
    least = size.min()
    is_more = jnp.broadcast_to(size > least, statistic.shape)
    fewer = _of_even_size(statistic, sides, least)
    more = jax.lax.cond(
        (size > least).any(),
        lambda: _of_even_size(statistic, sides, least + 1),
        lambda: fewer,
    )
    return tuple(jnp.where(is_more, b, a) for a, b in zip(fewer, more, strict=True))


def _of_even_size(statistic, sides, size) -> tuple[jax.Array, jax.Array]:
    """Where `size` models are left on each side, whichever the target is on."""
    places = [_first_models.place(side) for side in sides]
    first = [side & (p < size) for side, p in zip(sides, places, strict=True)]
    chosen = functools.reduce(jnp.logical_or, first)
    found = _trimmed_means(statistic, chosen)
    for side, place in zip(sides, places, strict=True):
        # A target among the first makes room for the next of its side.
        is_first = side & (place <= size)
        with_next = _trimmed_means(statistic, chosen | is_first)
        pairs = zip(with_next, found, strict=True)
        found = tuple(jnp.where(is_first, new, old) for new, old in pairs)
    return found
