"""Does an attack exceed what the guarantee allows? If so, the code has a bug.

Under (epsilon, delta)-privacy P(score > t | member) - e^epsilon P(score > t | not) is
delta at most, for every threshold, epsilon, and mixture over patients. The alarm pools
all patients and tests over models, as the patients of one model are dependent; the test
of single patients is much weaker and only shows where to look.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mia_jax.dp import ceiling

EPSILONS = (0.0, 0.5, 1.0, 2.0)
FPRS = (0.02, 0.1, 0.3)
LEVEL = 0.001  # false alarms of a whole audit
_FEWEST_MODELS = 8


class Violation(NamedTuple):
    """Result of both tests.

    Attributes:
      is_violated: whether the pooled test rejects the guarantee at `level`.
      level: false-alarm rate of the pooled test, over all its parts.
      p_value: the smallest of the parts, times their number.
      epsilon, fpr: of that part: the epsilon, and the share of non-members above its
        threshold.
      excess: how far it lies above delta, in probability; negative = below.
      num_tests: parts.
      is_flagged: [units] bool, units above the ceiling by their own counts; family-wise
        level .05.
    """

    is_violated: bool
    level: float
    p_value: float
    epsilon: float
    fpr: float
    excess: float
    num_tests: int
    is_flagged: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """As summary.json holds it."""
        rest = self._asdict()
        flagged = rest.pop("is_flagged")
        return {**rest, "num_units_flagged": int(flagged.sum())}


def test(
    score: np.ndarray,
    member_mask: np.ndarray,
    curve: ceiling.Curve,
    level: float = LEVEL,
) -> Violation | None:
    """Tests the pooled inequality over models, and every unit by itself.

    Args:
      score: [models, units] float, of units that the guarantee protects; higher = more
        like a member; a model's own mask must not enter its scores.
      member_mask: [models, units] bool.
      curve: the ceiling, overflow included.
      level: of the pooled test.

    Returns:
      The result; None with fewer than 8 models.
    """
    if len(score) < _FEWEST_MODELS:
        return None
    parts = []
    is_flagged = np.zeros(score.shape[1], bool)
    for fpr in FPRS:
        is_above = score > _thresholds(score, member_mask, fpr)[:, None]
        is_flagged |= _flag(is_above, member_mask, curve, len(FPRS))
        for epsilon in EPSILONS:
            excess = _excess(is_above, member_mask, epsilon)
            excess -= ceiling.delta_at(curve, epsilon)
            parts.append((_p_value(excess), epsilon, fpr, float(excess.mean())))
    p_value, epsilon, fpr, excess = min(parts)
    p_value = min(1.0, p_value * len(parts))
    return Violation(
        p_value < level, level, p_value, epsilon, fpr, excess, len(parts), is_flagged
    )


def _thresholds(score: np.ndarray, member_mask: np.ndarray, fpr: float) -> np.ndarray:
    """[models] float64: the mean of the other models' quantiles of non-members."""
    own = np.array(
        [
            np.quantile(row[~member], 1 - fpr)
            for row, member in zip(score, member_mask, strict=True)
        ]
    )
    return (own.sum() - own) / (len(own) - 1)


def _excess(is_above: np.ndarray, member_mask: np.ndarray, epsilon: float):
    """[models] float64, mean over units; each side weighted to have expectation P.

    A unit is a member of `share` of the models, so 1/share and 1/(1 - share) make the
    two sums unbiased for probabilities given membership.
    """
    share = member_mask.mean(0)
    weight_in = np.divide(1, share, out=np.zeros_like(share), where=share > 0)
    weight_out = np.divide(1, 1 - share, out=np.zeros_like(share), where=share < 1)
    inside = (is_above & member_mask) @ weight_in
    outside = (is_above & ~member_mask) @ weight_out
    return (inside - math.exp(epsilon) * outside) / is_above.shape[1]


def _p_value(excess: np.ndarray) -> float:
    """One-sided t-test of a mean above 0."""
    sd = excess.std(ddof=1)
    if sd == 0:
        return float(excess[0] <= 0)
    t = excess.mean() / (sd / math.sqrt(len(excess)))
    return float(stats.t.sf(t, len(excess) - 1))


def _flag(is_above, member_mask, curve: ceiling.Curve, num_thresholds: int):
    """[units] bool: TPR's lower limit above the ceiling at FPR's upper limit."""
    alpha = 0.05 / (is_above.shape[1] * num_thresholds) / 2
    n_in = member_mask.sum(0)
    n_out = len(member_mask) - n_in
    hits = (is_above & member_mask).sum(0)
    alarms = (is_above & ~member_mask).sum(0)
    low = np.where(hits > 0, stats.beta.ppf(alpha, hits, n_in - hits + 1), 0.0)
    high = stats.beta.ppf(1 - alpha, alarms + 1, np.maximum(n_out - alarms, 1e-9))
    high = np.where(alarms < n_out, high, 1.0)
    return low > ceiling.tpr_at(curve, high)
