"""Many patients tested at once: what may be called proven, and how sure intervals are.

Benjamini-Hochberg decides who is proven; Holm (no false claim at all) and Storey (less
cautious where many leak) are printed beside it. The p-values are positively dependent
at most, through models that patients share.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats import multitest

from mia_jax.risk import intervals

# Intervals of proven patients miss the truth in this share of them.
MISSES = 0.05
# p-values above count as null in Storey's estimate. A half: few exposed patients have
# such p-values, half of all others do; and there is no choice to make after the fact.
_LAMBDA = 0.5


class Adjusted(NamedTuple):
    """p-values adjusted for the number of patients, [patients] float64 each.

    Attributes:
      bh: Benjamini-Hochberg; reject <= q for a false discovery rate of q.
      storey: `bh` times the estimated share of patients that do not leak; 1 for
        p-values above .5, which the estimate takes for null.
      holm: reject <= a for a probability of a of any false discovery.
    """

    bh: np.ndarray
    storey: np.ndarray
    holm: np.ndarray


class Worst(NamedTuple):
    """The patient with the highest AUC.

    Attributes:
      patient: its number.
      auc: its measured AUC, too high by the choice.
      lower_limit: of its true AUC; holds for all patients at once.
    """

    patient: int
    auc: float
    lower_limit: float


def adjust(p_value: np.ndarray) -> Adjusted:
    """Adjusts exact p-values.

    Args:
      p_value: [patients] float64 in (0, 1].

    Reference: Benjamini & Hochberg 1995, https://www.jstor.org/stable/2346101; Holm
      1979, https://www.jstor.org/stable/4615733; Storey, Taylor & Siegmund 2004, eq. 8,
      https://doi.org/10.1111/j.1467-9868.2004.00439.x.
    """
    bh = multitest.fdrcorrection(p_value)[1]
    storey = np.where(p_value > _LAMBDA, 1.0, null_share(p_value) * bh)
    return Adjusted(bh, storey, _holm(p_value))


def _holm(p_value: np.ndarray) -> np.ndarray:
    """Largest (N - i) p_(i) so far, i = 0, 1, ..."""
    order = np.argsort(p_value, kind="stable")
    steps = np.arange(len(p_value), 0, -1) * p_value[order]
    holm = np.empty(len(p_value))
    holm[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return holm


def null_share(p_value: np.ndarray) -> float:
    """Storey's pi0: the estimated share of patients whose training leaves no trace.

    (1 + #{p > .5}) / (N (1 - .5)), at most 1. An upper estimate: exact p-values of
    several records are larger than uniform, and the 1 in the numerator keeps the false
    discovery rate of `Adjusted.storey` below its level in finite samples.

    Args:
      p_value: [patients] float64.
    """
    num_above = np.count_nonzero(p_value > _LAMBDA)
    return min(1.0, (1 + num_above) / (len(p_value) * (1 - _LAMBDA)))


def interval_level(is_chosen: np.ndarray) -> float:
    """Confidence level of the intervals of the patients that a rule has chosen.

    1 - .05 R / N for R chosen among N: of their intervals 5 % are expected to miss, in
    spite of the choice (false coverage rate). .95 if nobody is chosen.

    Args:
      is_chosen: [patients] bool, e.g. proven.

    Reference: Benjamini & Yekutieli 2005, section 3,
      https://doi.org/10.1198/016214504000001907.
    """
    return 1 - MISSES * float(np.mean(is_chosen) if np.any(is_chosen) else 1)


def worst(auc: np.ndarray, n_in: ArrayLike, n_out: ArrayLike) -> Worst:
    """The highest AUC, with a lower limit that allows for the choice among all.

    The lower end of its score interval of level 1 - .05 / N (Bonferroni).

    Args:
      auc: [patients] float64, mask-free rank AUC.
      n_in, n_out: [blocks, patients] int, models with and without each patient.
    """
    patient = int(np.argmax(auc))
    sides = (np.asarray(side)[:, [patient]] for side in (n_in, n_out))
    level = 1 - MISSES / len(auc)
    low, _ = intervals.score_interval(auc[[patient]], *sides, level=level)
    return Worst(patient, float(auc[patient]), float(low[0]))
