"""Intervals of a share whose counts depend on each other through rows and columns."""

import numpy as np
import scipy.special


def clopper_pearson(
    count: int, total: int, design_effect: float = 1.0, level: float = 0.95
) -> tuple[float, float]:
    """Exact binomial interval; of dependent counts, of the effective ones.

    Args:
      count: of `total`.
      total: at least 1.
      design_effect: variance of the count over that of independent draws; both counts
        are divided by it.
      level: confidence.

    Reference: Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404; with
      effective counts: Korn & Graubard 1998, Survey Methodology 24, 193-201 (without
      their small-sample factor).
    """
    k, n, tail = count / design_effect, total / design_effect, (1 - level) / 2
    low = scipy.special.betaincinv(k, n - k + 1, tail) if count > 0 else 0.0
    high = scipy.special.betaincinv(k + 1, n - k, 1 - tail) if count < total else 1.0
    return float(low), float(high)


def with_design_effect(event: np.ndarray, possible: np.ndarray) -> tuple[int, float]:
    """Number of events and its design effect.

    Pairs that share a model, or a patient, are dependent: the variance is that of
    two-way clusters, rows plus columns minus single pairs (Cameron, Gelbach & Miller
    2011, https://doi.org/10.1198/jbes.2010.07136, equation 2.11), each sum of squares
    with the usual factor G / (G - 1). Without variation (no event, or only events) the
    effective number is that of models.

    Args:
      event, possible: [models, patients] bool, event only where possible.
    """
    count, total = int(event.sum()), int(possible.sum())
    if count in (0, total):
        return count, max(total / max(possible.any(1).sum(), 1), 1.0)
    p = count / total
    variance = -total * p * (1 - p)
    for axis in (0, 1):
        n = possible.sum(axis)
        excess = event.sum(axis) - p * n
        groups = np.count_nonzero(n)
        variance += (excess**2).sum() * groups / max(groups - 1, 1)
    return count, float(max(variance / (total * p * (1 - p)), 1.0))
