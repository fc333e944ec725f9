"""The exact signed-rank test of membership for complementary pairs of models.

In such a pair one model was trained on the patient and the other was not: d = score of
IN - score of OUT. Where training on the patient changes nothing, which of the two is IN
is a fair coin, whatever the scores: given all |d|, the signs are independent coins. W,
the sum of the ranks of |d| over the pairs with d > 0, then has one exact law, and what
the two models of a pair share with each other or with all patients does not matter.

Zeros are dropped with their pair, as Wilcoxon did (their sign decides nothing). Ties of
|d| get mid-ranks and the law given these mid-ranks. Both keep the test exact.

Reference: Wilcoxon 1945, https://doi.org/10.2307/3001968; zeros and ties as in Pratt
  1959, https://doi.org/10.1080/01621459.1959.10501526, section 1 (his own ranking of
  zeros is not used).
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from scipy import optimize, special

from mia_jax.risk import exact


class RankSums(NamedTuple):
    """Signed-rank statistics of every column.

    Attributes:
      w: [columns] float64, sum of the (mid-)ranks of the positive differences.
      num_pairs: [columns] int, pairs whose difference is not 0.
      tied: [ties] int, columns in which some |d| are equal.
      tied_ranks: [ties, pairs] int, twice their mid-ranks; 0 where d = 0.
    """

    w: np.ndarray
    num_pairs: np.ndarray
    tied: np.ndarray
    tied_ranks: np.ndarray


def differences(z: np.ndarray, member: np.ndarray) -> np.ndarray:
    """d = z(IN) - z(OUT) of every pair of models.

    Args:
      z: [2, pairs, columns] float, mask-free scores of both models of each pair.
      member: [2, pairs, columns] bool.

    Returns:
      [pairs, columns] float64; 0 (says nothing) where both or none are members.
    """
    sign = member[0].astype(np.float64) - member[1]
    return sign * np.subtract(z[0], z[1], dtype=np.float64)


def rank_sums(d: np.ndarray) -> RankSums:
    """W of every column.

    Args:
      d: [pairs, columns] float64, finite; pairs >= 1.
    """
    d = np.ascontiguousarray(d.T)
    size = np.abs(d)
    order = np.argsort(size, axis=1)
    ordered = np.take_along_axis(size, order, 1)
    positive = np.take_along_axis(d > 0, order, 1)
    num_zeros = (size == 0).sum(1)
    w = positive @ np.arange(1.0, d.shape[1] + 1) - num_zeros * positive.sum(1)
    is_tie = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)
    tied = np.flatnonzero(is_tie.any(1))
    ranks = np.zeros((len(tied), d.shape[1]))
    if len(tied):
        ranks = scipy.stats.rankdata(size[tied], axis=1) - num_zeros[tied, None]
        ranks[size[tied] == 0] = 0
        w[tied] = (ranks * (d[tied] > 0)).sum(1)
    return RankSums(w, d.shape[1] - num_zeros, tied, np.rint(2 * ranks).astype(int))


def p_values(sums: RankSums) -> np.ndarray:
    """One-sided exact p-values P(W >= w): [columns] float64 in (0, 1]."""
    p = np.empty(len(sums.w))
    for n in np.unique(sums.num_pairs).tolist():
        columns = np.flatnonzero(sums.num_pairs == n)
        # Mid-ranks of ties need not be whole: these columns follow below.
        p[columns] = survival(n)[np.floor(sums.w[columns]).astype(int)]
    for column, ranks in zip(sums.tied, sums.tied_ranks):
        p[column] = _tail_of_ranks(ranks, int(2 * sums.w[column]))
    return np.clip(p, exact.SMALLEST, 1.0)


@functools.lru_cache(maxsize=512)
def survival(num_pairs: int) -> np.ndarray:
    """P(W >= w) for w = 0..n (n + 1) / 2 without ties: float64, read-only.

    The law of the sum of independent i * coin, i = 1..n; only positive terms are added,
    so the relative error is rounding in the tail too (n * 1e-16).
    """
    tail = _survival_of(np.arange(1, num_pairs + 1))
    tail.flags.writeable = False
    return tail


def survival_of_ranks(twice_ranks: np.ndarray) -> np.ndarray:
    """P(2 W >= v) for v = 0, 1, ... given mid-ranks: [sum of `twice_ranks`, + 1].

    Args:
      twice_ranks: [pairs] int, twice the mid-ranks; 0 for dropped pairs.
    """
    return _survival_of(twice_ranks[twice_ranks > 0])


def _survival_of(ranks: np.ndarray) -> np.ndarray:
    pmf = _pmf(ranks, int(ranks.sum()) + 1)
    return np.minimum(np.add.accumulate(pmf[::-1])[::-1], 1.0)


def _pmf(ranks: np.ndarray, size: int) -> np.ndarray:
    """P(sum of the ranks of heads = v), v < size: a fair coin for every rank."""
    pmf = np.zeros(size)
    pmf[0] = 1
    for rank in np.sort(ranks).tolist():
        head = pmf[: max(size - rank, 0)] / 2
        pmf /= 2
        pmf[rank:] += head
    return pmf


def _tail_of_ranks(twice_ranks: np.ndarray, v: int) -> float:
    """P(2 W >= v) given mid-ranks: the shorter side of the symmetric law only."""
    ranks = twice_ranks[twice_ranks > 0]
    total = int(ranks.sum())
    if v == 0:
        return 1.0
    if 2 * v > total:
        return float(_pmf(ranks, total - v + 1).sum())
    return float(1 - _pmf(ranks, v).sum())


def share_of_auc(auc: float, num_pairs: int) -> tuple[float, float]:
    """Mean and standard deviation of W / (n (n + 1) / 2), differences normal.

    Args:
      auc: P(d > 0).
      num_pairs: n.

    Reference: Lehmann 1975, Nonparametrics, section 2.3: from P(d > 0), P(d + d' > 0)
      and P(d + d' > 0, d + d'' > 0); the last in closed form by Owen's T.
    """
    n, h = num_pairs, math.sqrt(2) * special.ndtri(auc)
    two = special.ndtr(h)
    three = two - 2 * special.owens_t(h, 1 / math.sqrt(3))
    largest = n * (n + 1) / 2
    mean = n * auc + n * (n - 1) / 2 * two
    variance = n * auc * (1 - auc) + n * (n - 1) * (n - 2) * (three - two**2)
    variance += n * (n - 1) / 2 * (2 * (auc - two) ** 2 + 3 * two * (1 - two))
    return mean / largest, math.sqrt(max(variance, 0.0)) / largest


def auc_of_share(share: float, num_pairs: int) -> float:
    """The AUC whose mean signed rank is `share` of the largest."""
    if not 0.5 < share < 1:
        return share if share >= 1 else 0.5
    excess_fn = lambda auc: share_of_auc(auc, num_pairs)[0] - share
    return float(optimize.brentq(excess_fn, 0.5, 1.0, xtol=1e-12))
