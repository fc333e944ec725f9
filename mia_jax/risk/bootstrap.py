"""AUC and true-positive rates over patients of one model, by resampling patients."""

from typing import NamedTuple

import numpy as np

from mia_jax import metrics

_LEVELS = (0.025, 0.975)


class Estimate(NamedTuple):
    """A number and its interval of 95 %."""

    value: float
    low: float
    high: float


def estimates(
    scores: np.ndarray,
    is_member: np.ndarray,
    fprs: tuple[float, ...],
    seed: int = 0,
    num_resamples: int = 1000,
) -> tuple[Estimate, dict[float, Estimate]]:
    """AUC, and TPR at each false-positive rate, with percentile intervals.

    Members and non-members are drawn anew, each among themselves, so every resample
    has the sizes of the sample. The TPR is that of the step ROC, as in `metrics`.
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

    Args:
      scores: [patients] float, higher = member.
      is_member: [patients] bool, with at least one of each.
      fprs: false-positive rates in 0..1.
      seed: of the resampling.
      num_resamples: number of resamples.

    Returns:
      The AUC, and the TPR by false-positive rate.
    """
    generator = np.random.default_rng(seed)
    distinct, rank = np.unique(scores, return_inverse=True)
    sides = rank[is_member], rank[~is_member]
    drawn = np.empty((num_resamples, 1 + len(fprs)))
    for row in drawn:
        counts = (
            np.bincount(side[generator.integers(len(side), size=len(side))])
            for side in sides
        )
        row[:] = _measures(*(_padded(c, len(distinct)) for c in counts), fprs)
    low, high = np.quantile(drawn, _LEVELS, axis=0)
    values = [metrics.auc(scores, is_member)]
    values += [float(metrics.tpr_at_fpr(scores, is_member, fpr)) for fpr in fprs]
    rows = zip(values, low, high, strict=True)
    found = [Estimate(*map(float, row)) for row in rows]
    return found[0], dict(zip(fprs, found[1:], strict=True))


def _padded(counts: np.ndarray, length: int) -> np.ndarray:
    return np.pad(counts, (0, length - len(counts)))


def _measures(members, others, fprs) -> list[float]:
    """AUC and TPRs of counts by distinct score, in rising order."""
    num_members, num_others = members.sum(), others.sum()
    below = np.cumsum(others) - 0.5 * others
    auc = (members * below).sum() / (num_members * num_others)
    hits = np.r_[0, np.cumsum(members[::-1])]
    alarms = np.r_[0, np.cumsum(others[::-1])]
    # Of the steps that raise no more alarms than allowed the last one hits most.
    last = [np.flatnonzero(alarms / num_others <= fpr)[-1] for fpr in fprs]
    return [auc, *(hits[last] / num_members)]
