"""Exact tests of a count of patients within strata: no sampling, no normal curve.

Are the patients of a group among the proven (or the most exposed) more often than
chance, given how many records they have? Permuting the group's label within strata of
the number of records makes the count a sum of independent hypergeometric variables. Its
distribution is their convolution, computed here to full relative precision in the tail:
each stratum is tilted (Esscher) until the wanted count is in the middle, and the tilt
is divided out again. The tilt is an odds ratio common to all strata, so the same law
gives the conditional estimate and interval of that odds ratio.

Reference: Agresti 2013, "Categorical Data Analysis", 3rd ed., sections 7.3.5 and
16.6.2 (exact conditional inference for K 2x2 tables).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

# Strata of the number of records: 1, 2, 3-4, 5-9, 10 and more.
RECORD_EDGES = (2, 3, 5, 10)
# Tilted terms below this share of the largest add less than rounding does.
_NEGLIGIBLE_LOG = -45.0
_LARGEST_LOG_ODDS = 60.0
_LEVEL = 0.95


class Law(NamedTuple):
    """A count under permutation within strata.

    Attributes:
      firsts: smallest count of every stratum.
      logs: per stratum, log probability of `firsts`, `firsts` + 1, ...
      mean: expected total.
    """

    firsts: tuple[int, ...]
    logs: tuple[np.ndarray, ...]
    mean: float

    @property
    def lowest(self) -> int:
        """Smallest possible total."""
        return sum(self.firsts)

    @property
    def highest(self) -> int:
        """Largest possible total."""
        return sum(f + len(log) - 1 for f, log in zip(self.firsts, self.logs))


def record_strata(num_records: np.ndarray) -> np.ndarray:
    """Stratum of each patient by number of records: 1, 2, 3-4, 5-9, 10+ -> 0..4."""
    return np.digitize(num_records, RECORD_EDGES)


@functools.lru_cache(maxsize=4)
def _log_factorials(largest: int) -> np.ndarray:
    return special.gammaln(np.arange(largest + 1) + 1.0)


def law(is_group: np.ndarray, is_event: np.ndarray, stratum: np.ndarray) -> Law:
    """The law of the number of events in a group, given all margins of the strata.

    Args:
      is_group: [patients] bool.
      is_event: [patients] bool, e.g. proven.
      stratum: [patients] int, 0 and up.

    Returns:
      The law of the sum over strata of hypergeometric counts.
    """
    total = np.bincount(stratum)
    size = len(total)
    group = np.bincount(stratum[is_group], minlength=size)
    events = np.bincount(stratum[is_event], minlength=size)
    firsts, logs, mean = [], [], 0.0
    factorial = _log_factorials(len(stratum))
    for n, k, t in zip(total.tolist(), group.tolist(), events.tolist(), strict=True):
        if n:
            firsts.append(max(0, k + t - n))
            logs.append(_hypergeometric(factorial, n, k, t))
            mean += k * t / n
    return Law(tuple(firsts), tuple(logs), mean)


def _hypergeometric(factorial: np.ndarray, n: int, k: int, t: int) -> np.ndarray:
    """Log probability of x of t events among k of n, x = max(0, k+t-n)..min(k, t)."""
    low, high = max(0, k + t - n), min(k, t)
    rising = lambda first: factorial[first : first + high - low + 1]
    falling = lambda last: factorial[last - (high - low) : last + 1][::-1]
    log = -rising(low) - falling(k - low) - falling(t - low) - rising(n - k - t + low)
    return log - special.logsumexp(log)


def _tilted_mean(counts: Law, log_odds: float) -> float:
    total = float(counts.lowest)
    for log in counts.logs:
        steps = np.arange(len(log))
        tilted = log + log_odds * steps
        weight = np.exp(tilted - tilted.max())
        total += float(weight @ steps / weight.sum())
    return total


def _tilted(counts: Law, log_odds: float) -> tuple[int, np.ndarray, float]:
    """Law of the total at an odds ratio: first count, probabilities, log of the sum."""
    first, pmf, log_sum = 0, np.ones(1), 0.0
    for low, log in zip(counts.firsts, counts.logs, strict=True):
        tilted = log + log_odds * (low + np.arange(len(log)))
        largest = tilted.max()
        kept = np.flatnonzero(tilted - largest > _NEGLIGIBLE_LOG)
        weight = np.exp(tilted[kept[0] : kept[-1] + 1] - largest)
        total = weight.sum()
        first, log_sum = first + low + int(kept[0]), log_sum + largest + np.log(total)
        pmf = np.convolve(pmf, weight / total)
    return first, pmf, log_sum


def upper_tail(counts: Law, count: int) -> float:
    """P(total >= count), to a relative precision of about 1e-9 however small."""
    if count <= counts.lowest:
        return 1.0
    if count > counts.highest:
        return 0.0
    log_odds = max(0.0, _odds_with_mean(counts, count))
    first, pmf, log_sum = _tilted(counts, log_odds)
    x = first + np.arange(len(pmf))
    chosen = (x >= count) & (pmf > 0)
    log = np.log(pmf[chosen]) - log_odds * x[chosen] + log_sum
    return float(min(1.0, np.exp(special.logsumexp(log)))) if chosen.any() else 0.0


def lower_tail(counts: Law, count: int) -> float:
    """P(total <= count)."""
    ends = [f + len(log) - 1 for f, log in zip(counts.firsts, counts.logs)]
    mirrored = Law(
        tuple(-end for end in ends),
        tuple(log[::-1] for log in counts.logs),
        -counts.mean,
    )
    return upper_tail(mirrored, -count)


def two_sided_p(counts: Law, count: int) -> float:
    """P(|total - mean| >= |count - mean|): what permuting labels without end gives.

    Returns:
      The p-value; NaN where the margins leave a single possible count.
    """
    if counts.lowest == counts.highest:
        return np.nan
    distance = abs(count - counts.mean)
    slack = 1e-9 * max(1.0, abs(counts.mean))  # ties must count as ties
    above = int(np.ceil(counts.mean + distance - slack))
    below = int(np.floor(counts.mean - distance + slack))
    if above <= below:
        return 1.0
    return min(1.0, upper_tail(counts, above) + lower_tail(counts, below))


def enrichment_p(counts: Law, count: int) -> float:
    """One-sided P(total >= count); NaN where the margins leave one possible count."""
    if counts.lowest == counts.highest:
        return np.nan
    return upper_tail(counts, count)


def odds_ratio(counts: Law, count: int) -> tuple[float, float, float]:
    """Conditional estimate and 95 % interval of the odds ratio common to all strata.

    The estimate makes the observed count the expected one; each limit leaves 2.5 %
    beyond it (Cornfield's exact interval, as in scipy.stats.contingency.odds_ratio).

    Returns:
      ratio, low, high; NaN where infinite, or the margins leave one possible count.
    """
    if counts.lowest == counts.highest:
        return (np.nan,) * 3
    beyond = (1 - _LEVEL) / 2
    is_lowest, is_highest = count == counts.lowest, count == counts.highest
    middle = np.clip(count, counts.lowest + 0.5, counts.highest - 0.5)
    estimate = _odds_with_mean(counts, float(middle))
    first, pmf, _ = _tilted(counts, estimate)
    # Both limits lie a few errors off, well within the kept part of this one law.
    x = np.arange(len(pmf)) + (first - count)
    at_least = lambda shift: _share(pmf, x, x >= 0, shift) - beyond
    above = lambda shift: _share(pmf, x, x >= 1, shift) - (1 - beyond)
    ratio = 0.0 if is_lowest else np.nan if is_highest else float(np.exp(estimate))
    low = 0.0 if is_lowest else float(np.exp(estimate + _root(at_least)))
    high = np.nan if is_highest else float(np.exp(estimate + _root(above)))
    return ratio, low, high


def _share(pmf: np.ndarray, x: np.ndarray, chosen: np.ndarray, shift: float) -> float:
    """Probability of the chosen counts when the log odds ratio is shifted."""
    log = np.log(np.maximum(pmf, 1e-300)) + shift * x
    weight = np.exp(log - log.max())
    return float(weight[chosen].sum() / weight.sum())


def _odds_with_mean(counts: Law, count: int) -> float:
    return _root(lambda log_odds: _tilted_mean(counts, log_odds) - count)


def _root(function: Callable[[float], float]) -> float:
    """Root of an increasing function of the log odds ratio, clipped at +-60."""
    low, high = -0.5, 0.5
    at_low, at_high = function(low), function(high)
    while at_low > 0 and low > -_LARGEST_LOG_ODDS:
        high, at_high, low = low, at_low, 2 * low
        at_low = function(low)
    while at_high < 0 and high < _LARGEST_LOG_ODDS:
        low, at_low, high = high, at_high, 2 * high
        at_high = function(high)
    if at_low > 0:
        return low
    return high if at_high < 0 else optimize.brentq(function, low, high, xtol=1e-9)
