"""Priors of the Student-t attack, fitted to the cohort by moments, on the host.

Smyth 2004, section 6.2 (https://doi.org/10.2202/1544-6115.1027), for the variance;
the priors of the variance ratio and of the leak are moments too. Everything is
leave-one-out: what target t uses comes from the masks of the other models only.
"""

from typing import NamedTuple

import numpy as np
import scipy.special

from mia_jax.attacks import _gaussian, _student

# Smallest variance of the leak, in squared standard deviations: a cohort in which
# nothing leaks keeps a proper prior.
_SMALLEST_MEAN_VARIANCE = 1e-4
# Of float64, times the number of models.
_ROUNDING = 1e-12


class Moments(NamedTuple):
    """What the priors need of every target and record, float64.

    Attributes:
      squares_in, squares_out: [models, records(, channels)] sums of squares.
      difference: the same shape, mean IN minus mean OUT.
      count_in, count_out: [models, records(, 1)] models on a side.
    """

    squares_in: np.ndarray
    squares_out: np.ndarray
    difference: np.ndarray
    count_in: np.ndarray
    count_out: np.ndarray


def moments(x: np.ndarray, member: np.ndarray) -> Moments:
    """Moments of the two sides of every target, the target deleted in closed form.

    Args:
      x: [models, records(, channels)] float32 or float64.
      member: [models, records(, 1)] bool.
    """
    x = x.astype(np.float64)
    x -= x.mean(0)
    squares_in, mean_in, count_in = _without_target(x, member)
    squares_out, mean_out, count_out = _without_target(x, ~member)
    return Moments(squares_in, squares_out, mean_in - mean_out, count_in, count_out)


def _without_target(x, side):
    """Squares, mean and count of a side without each target."""
    total = side.sum(0, keepdims=True)
    mean = np.where(side, x, 0.0).sum(0, keepdims=True) / np.maximum(total, 1)
    deviation = np.where(side, x - mean, 0.0)
    squares = (deviation**2).sum(0, keepdims=True)
    left = np.maximum(total - 1, 1)
    rest = squares - deviation**2 * (total / left)
    # Less than rounding of a single outlier: the others are constant.
    rest = np.where(rest > _ROUNDING * squares, rest, 0.0)
    return rest, mean - deviation / left, total - side


def online(found: Moments, has_ratio: bool, has_mean: bool) -> _student.Prior:
    """Priors of the log ratio of both laws.

    Args:
      found: moments of the sample.
      has_ratio: whether IN and OUT variance may differ; else the ratio is 1.
      has_mean: whether the leak has a prior; else each side keeps its own mean.

    Returns:
      Priors, [models, 1] or [models, 1, channels] each.
    """
    freedom = len(found.squares_in) - 3  # of the other models, less two means
    center, spread = _ratio_prior(found)
    if not has_ratio:
        center, spread = np.zeros_like(center), np.zeros_like(spread)
    ratio = _ratio(found, center, spread)
    squares = found.squares_in / ratio + found.squares_out
    fitted = variance_prior(squares, np.asarray(freedom))
    prior = _with_variance(_nothing_known(squares), *fitted)
    prior = prior._replace(
        log_ratio=_float32(center), log_ratio_variance=_float32(spread)
    )
    if not has_mean:
        return prior
    variance, total_freedom = _posterior(squares, freedom, *fitted)
    center, spread = _mean_prior(found, ratio, variance, total_freedom)
    return prior._replace(mean=_float32(center), mean_variance=_float32(spread))


def offline(found: Moments) -> _student.Prior:
    """Prior of the OUT variances alone: an offline attacker has no IN models."""
    freedom = np.maximum(found.count_out - 1.0, 0.0)
    fitted = variance_prior(found.squares_out, freedom)
    return _with_variance(_nothing_known(found.squares_out), *fitted)


def variance_prior(
    squares: np.ndarray, freedom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(nu0, s0^2) of the scaled inverse chi-square prior, by moments of log variances.

    Args:
      squares: [models, records, ...] sums of squares; constant records (0) are left
        out, as their logarithm says nothing of the others.
      freedom: whole numbers that broadcast to it, degrees of freedom.

    Returns:
      [models, 1, ...] each; nu0 = infinity where the variances differ by chance only.
    """
    count = freedom.astype(int) + 1
    expected, noise = (
        np.broadcast_to(table[count], squares.shape)
        for table in _student.freedom_tables(int(count.max()))
    )
    is_used = np.isfinite(noise) & (squares > _gaussian.TINY)
    log_variance = np.log(np.where(is_used, squares, 1.0)) - expected
    mean, variance = _mean_and_variance(log_variance, is_used)
    noise, _ = _mean_and_variance(np.where(is_used, noise, 0.0), is_used)
    half = inverse_trigamma(variance - noise)
    finite = np.where(np.isfinite(half), half, 1.0)
    shift = scipy.special.digamma(finite) - np.log(finite)
    return 2 * half, np.exp(mean + np.where(np.isfinite(half), shift, 0.0))


def inverse_trigamma(value: np.ndarray) -> np.ndarray:
    """y with trigamma(y) = value, by Newton's method; infinity where value <= 0.

    Newton on 1 / trigamma, which is convex and nearly linear: it converges from
    below for every start 1/2 + 1/value (Smyth 2004, appendix).
    """
    value = np.asarray(value, np.float64)
    is_finite = value > 1e-7  # below it y > 1e7: a Student t law that is normal
    known = np.where(is_finite, value, 1.0)
    y = 0.5 + 1.0 / known
    for _ in range(50):
        trigamma = scipy.special.polygamma(1, y)
        step = trigamma * (1.0 - trigamma / known) / scipy.special.polygamma(2, y)
        y = y + step
        if np.all(np.abs(step) < 1e-10 * y):
            break
    return np.where(is_finite, y, np.inf)


def _nothing_known(like: np.ndarray) -> _student.Prior:
    """Equal variances of both sides, and no prior of the leak."""
    shape = (like.shape[0], 1, *like.shape[2:])
    zero = np.zeros(shape, np.float32)
    return _student.Prior(zero, zero, zero, zero, zero, np.full_like(zero, np.inf))


def _with_variance(prior, freedom, scale) -> _student.Prior:
    return prior._replace(
        inverse_freedom=_float32(1.0 / freedom), variance=_float32(scale)
    )


def _posterior(squares, freedom, prior_freedom, scale):
    """Posterior variance and its degrees of freedom."""
    inverse = 1.0 / prior_freedom
    weight = 1.0 + freedom * inverse
    variance = (scale + squares * inverse) / weight
    return np.maximum(variance, _gaussian.TINY), freedom + prior_freedom


def _ratio_prior(found: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over records of log(IN variance / OUT variance)."""
    observed, noise = _observed_ratio(found)
    is_used = np.isfinite(noise)
    is_used &= np.minimum(found.squares_in, found.squares_out) > _gaussian.TINY
    mean, variance = _mean_and_variance(observed, is_used)
    expected, _ = _mean_and_variance(np.where(is_used, noise, 0.0), is_used)
    return mean, np.maximum(variance - expected, 0.0)


def _observed_ratio(found: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased log ratio of every record and the variance of its error."""
    bias, noise = _student.freedom_tables(len(found.squares_in))
    count_in, count_out = found.count_in.astype(int), found.count_out.astype(int)
    squares_in = np.maximum(found.squares_in, _gaussian.TINY)
    squares_out = np.maximum(found.squares_out, _gaussian.TINY)
    observed = np.log(squares_in / squares_out) - (bias[count_in] - bias[count_out])
    return observed, np.broadcast_to(noise[count_in] + noise[count_out], observed.shape)


def _ratio(found: Moments, center: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Variance ratio of every record, shrunk as `_student.variance_ratio` does it."""
    observed, noise = _observed_ratio(found)
    return np.exp(center + spread / (spread + noise) * (observed - center))


def _mean_prior(found, ratio, variance, freedom) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the leak in standard deviations of the OUT models."""
    has_both = (found.count_in > 0) & (found.count_out > 0)
    is_used = has_both & (found.squares_in + found.squares_out > _gaussian.TINY)
    scaled = np.where(is_used, found.difference, 0.0) / np.sqrt(variance)
    mean, spread = _mean_and_variance(scaled, is_used)
    count_in, count_out = (np.maximum(c, 1) for c in (found.count_in, found.count_out))
    noise, _ = _mean_and_variance(ratio / count_in + 1.0 / count_out, is_used)
    # nu / (nu - 2); with nu <= 2 the law has no variance and all spread is noise.
    excess = np.maximum(1.0 - 2.0 / freedom, 1e-9)
    return mean, np.maximum(spread - noise / excess, _SMALLEST_MEAN_VARIANCE)


def _mean_and_variance(x: np.ndarray, is_used: np.ndarray):
    """Over records (axis 1), of the used ones, `ddof=1`; 0 where none is used."""
    is_used = np.broadcast_to(is_used, x.shape)
    count = is_used.sum(1, keepdims=True)
    mean = np.where(is_used, x, 0.0).sum(1, keepdims=True) / np.maximum(count, 1)
    squares = np.where(is_used, (x - mean) ** 2, 0.0).sum(1, keepdims=True)
    return mean, squares / np.maximum(count - 1, 1)


def _float32(x) -> np.ndarray:
    return np.asarray(x, np.float32)
