"""Student-t predictive laws from shrunk variances, leave-one-out.

A record's variance under few shadow models is uncertain; a scaled inverse chi-square
prior, fitted to the cohort (`_priors.py`), makes the predictive law a Student t (Smyth
2004, "Linear models and empirical Bayes methods", section 3,
https://doi.org/10.2202/1544-6115.1027). Two things are added to that model:

- a normal prior of the leak, delta = mean IN minus mean OUT in units of the standard
  deviation: each side's mean then borrows from the other side's;
- a log-normal prior of the ratio of the IN to the OUT variance, so that one variance
  per record can be pooled over both sides and a change of spread is still seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from mia_jax.attacks import _gaussian

# Gauss-Legendre nodes and weights on [0, 1] for the tail integral; 16 leave 1e-7.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
# exp(-20) is below float32's resolution of the integral.
_LAST_EXPONENT = 20.0
# Smallest argument of f(h) / h: the limit at 0 without a branch.
_SMALL = 1e-30


class Prior(NamedTuple):
    """Priors of a record's laws, fitted to the cohort without the target's mask.

    Each is [models, 1] or [models, 1, channels] float32.

    Attributes:
      log_ratio: mean of log(IN variance / OUT variance).
      log_ratio_variance: its variance over records; 0 = one ratio for all.
      inverse_freedom: 1 / nu0 of the variance's prior; 0 = one variance for all.
      variance: s0^2 of the variance's prior, of OUT models.
      mean: of delta / standard deviation of OUT models.
      mean_variance: of the same; infinite = no prior, each side has its own mean.
    """

    log_ratio: jax.Array
    log_ratio_variance: jax.Array
    inverse_freedom: jax.Array
    variance: jax.Array
    mean: jax.Array
    mean_variance: jax.Array


class _Law(NamedTuple):
    """A Student t law: the target's deviation, squared scale, 1 / nu."""

    deviation: jax.Array
    scale: jax.Array
    inverse_freedom: jax.Array

    @property
    def square(self) -> jax.Array:
        """z^2 of the scaled deviation z."""
        return self.deviation**2 / self.scale

    @property
    def stretched(self) -> jax.Array:
        """nu log(1 + z^2 / nu); z^2 where nu is infinite."""
        small = jnp.maximum(self.square * self.inverse_freedom, _SMALL)
        return self.square * (jnp.log1p(small) / small)


def log_ratio(in_: _gaussian.Side, out: _gaussian.Side, prior: Prior) -> jax.Array:
    """Log density of the target's statistic as a member over that as a non-member.

    Args:
      in_, out: the two sides of every target, [models, records(, channels)].
      prior: of the cohort.

    Returns:
      [models, records(, channels)] float32.
    """
    ratio = variance_ratio(in_, out, prior)
    freedom = len(in_.deviation) - 3.0  # of the other models, less two means
    squares = in_.squares / ratio + out.squares
    variance, inverse_freedom = _posterior(squares, freedom, prior)
    # Precisions of the two sides' means, in units of the variance; then as seen from
    # the other side, through the prior of the leak.
    own_in, own_out = in_.count / ratio, out.count
    far_in = 1.0 / (ratio / in_.count + prior.mean_variance)
    far_out = 1.0 / (1.0 / out.count + prior.mean_variance)
    leak = prior.mean * jnp.sqrt(variance)
    sum_in, sum_out = own_in + far_out, own_out + far_in
    law_in = _Law(
        (own_in * in_.deviation + far_out * (out.deviation - leak)) / sum_in,
        variance * (ratio + 1.0 / sum_in),
        inverse_freedom,
    )
    law_out = _Law(
        (own_out * out.deviation + far_in * (in_.deviation + leak)) / sum_out,
        variance * (1.0 + 1.0 / sum_out),
        inverse_freedom,
    )
    power = 0.5 * (1.0 + inverse_freedom) * _stretched_difference(law_out, law_in)
    return power + 0.5 * jnp.log(law_out.scale / law_in.scale)


def _stretched_difference(a: _Law, b: _Law) -> jax.Array:
    """a.stretched - b.stretched by one logarithm: nothing cancels in the far tail."""
    low = jnp.minimum(a.square, b.square)
    high = jnp.maximum(a.square, b.square)
    gap = (high - low) / (1.0 + a.inverse_freedom * low)
    small = jnp.maximum(gap * a.inverse_freedom, _SMALL)
    found = gap * (jnp.log1p(small) / small)
    return jnp.where(a.square > b.square, found, -found)


def variance_ratio(in_: _gaussian.Side, out: _gaussian.Side, prior: Prior) -> jax.Array:
    """IN over OUT variance of every record, shrunk to the cohort's on the log scale."""
    tables = freedom_tables(len(in_.deviation))
    bias, noise = ([_by_count(table, side) for side in (in_, out)] for table in tables)
    observed = jnp.log(
        jnp.maximum(in_.squares, _gaussian.TINY)
        / jnp.maximum(out.squares, _gaussian.TINY)
    )
    observed = observed - (bias[0] - bias[1])
    weight = prior.log_ratio_variance / (prior.log_ratio_variance + noise[0] + noise[1])
    return jnp.exp(prior.log_ratio + weight * (observed - prior.log_ratio))


def freedom_tables(num_models: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of log(squares / sigma^2), by the number of models on a side.

    Returns:
      Two arrays [num_models + 1] float64: digamma(f / 2) + log 2 and trigamma(f / 2)
      with f = count - 1; where f < 1, 0 and infinity: nothing is observed.
    """
    half = np.maximum(np.arange(num_models + 1) - 1, 1) / 2
    has_freedom = np.arange(num_models + 1) > 1
    mean = np.where(has_freedom, scipy.special.digamma(half) + np.log(2), 0.0)
    variance = np.where(has_freedom, scipy.special.polygamma(1, half), np.inf)
    return mean, variance


def _by_count(table: np.ndarray, side: _gaussian.Side) -> jax.Array:
    """Looks up once a record, with and without the target, not once a model."""
    total = side.total.astype(jnp.int32)
    table = jnp.asarray(table, jnp.float32)
    without = table[jnp.maximum(total - 1, 0)]
    return jnp.where(side.is_own, without, table[total])


def _posterior(squares, freedom, prior):
    """Posterior variance and 1 / nu; exact in the limit of infinite nu0."""
    inverse = prior.inverse_freedom
    scale = 1.0 + freedom * inverse
    variance = (prior.variance + squares * inverse) / scale
    return jnp.maximum(variance, _gaussian.TINY), inverse / scale


def tail_score(out: _gaussian.Side, prior: Prior, tail: str) -> jax.Array:
    """How unlikely the OUT models alone make the target's statistic.

    Args:
      out: the OUT side of every target, [models, records(, channels)].
      prior: of the cohort's OUT models.
      tail: one_sided: minus log of the chance to be as high; two_sided: minus log
        density.

    Returns:
      [models, records(, channels)] float32, higher = member.
    """
    freedom = jnp.maximum(out.count - 1.0, 0.0)
    variance, inverse_freedom = _posterior(out.squares, freedom, prior)
    scale = variance * (1.0 + 1.0 / jnp.maximum(out.count, 1.0))
    law = _Law(out.deviation, scale, inverse_freedom)
    if tail == "two_sided":
        power = 0.5 * (1.0 + law.inverse_freedom) * law.stretched
        return power + 0.5 * jnp.log(scale) - _log_peak(law.inverse_freedom)
    return -_log_upper_tail(law)


def _log_upper_tail(law: _Law) -> jax.Array:
    """log P(T > z), exact to 1e-6, also where the chance underflows float32.

    With u = sign(z) sqrt(nu log(1 + z^2 / nu)) the tail is an integral of the normal
    density times a smooth factor that tends to 1 as nu grows:
    P = c * integral from u of exp(-v^2 / 2) / sqrt((1 - exp(-h)) / h), h = v^2 / nu.
    """
    stretched = law.stretched
    root = jnp.sqrt(stretched)
    length = 2.0 * _LAST_EXPONENT / (root + jnp.sqrt(stretched + 2 * _LAST_EXPONENT))
    integral = jnp.zeros_like(root)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        step = node * length
        small = jnp.maximum((root + step) ** 2 * law.inverse_freedom, _SMALL)
        factor = jax.lax.rsqrt(-jnp.expm1(-small) / small)
        integral += weight * jnp.exp(-step * (root + 0.5 * step)) * factor
    upper = _log_peak(law.inverse_freedom) - 0.5 * stretched
    upper += jnp.log(integral * length)
    upper = jnp.minimum(upper, -jnp.log(2.0))  # z = 0: one half, not a rounding more
    return jnp.where(law.deviation > 0, upper, jnp.log1p(-jnp.exp(upper)))


def _log_peak(inverse_freedom: jax.Array) -> jax.Array:
    """Log of the Student t density at 0, without cancelling gamma functions.

    Gamma(a + 1/2) / Gamma(a) with a = nu / 2 is moved to a + 8 by the recurrence and
    taken from Stirling's series there (DLMF 5.11.13): error below 1e-9.
    """
    twice = 2.0 * inverse_freedom  # 1 / a
    far = twice / (1.0 + 8.0 * twice)  # 1 / (a + 8)
    found = -far / 8.0 + far**3 / 192.0 + 0.5 * jnp.log1p(8.0 * twice)
    for i in range(8):
        found += jnp.log1p(-0.5 * twice / (1.0 + (i + 0.5) * twice))
    return found - _gaussian.HALF_LOG_2_PI
