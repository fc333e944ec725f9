"""RMIA's offline coefficient `a`, chosen without the target's membership.

The authors choose it with models whose training sets they know, other code by the
target's own members, which an attacker has not. Here the models are cut in two halves:
what suits the models of one half among themselves is used against those of the other.
"""

import numpy as np

from mia_jax import metrics

# From "models that saw a record are no surer of it" down to nearly sure: p_in is taken
# for a p_out + 1 - a. In this order a tie goes to the plainest, p_out itself.
_GRID = np.linspace(1.0, 0.1, 10)
_TINY = np.finfo(np.float64).tiny  # a mean of confidences of 0 has a log, too
_MOST_TARGETS = 16  # per half; a mean of their AUCs moves by less than the grid's steps


def by_other_half(statistic: np.ndarray, member_mask: np.ndarray) -> np.ndarray:
    """The best coefficient for each target among the models of the other half.

    Halves are the first and the last models, so models of a complementary pair, which
    know each other's members, stay together.

    Args:
      statistic: [models, records] float32.
      member_mask: [models, records] bool.

    Returns:
      [models, 1] float32.
    """
    middle = len(statistic) // 2
    log_odds = np.asarray(statistic, np.float64)
    first, last = (
        _best(log_odds[half], member_mask[half])
        for half in (slice(None, middle), slice(middle, None))
    )
    out = np.empty((len(statistic), 1), np.float32)
    out[:middle], out[middle:] = last, first
    return out


def _best(log_odds: np.ndarray, member: np.ndarray) -> float:
    """The value of the grid with the largest mean AUC over models as targets."""
    targets = np.arange(len(log_odds))
    if len(targets) > _MOST_TARGETS:
        targets = np.linspace(0, len(targets) - 1, _MOST_TARGETS).astype(int)
    log_q = -np.logaddexp(0.0, log_odds)
    # Of all models that did not see a record: their number, sums of p and of 1 - p.
    values = np.ones_like(log_q), np.exp(log_q + log_odds), np.exp(log_q)
    values = [np.where(member, 0.0, value) for value in values]
    sums = [value.sum(0) for value in values]
    aucs = []
    for t in targets:
        rest = [total - value[t] for total, value in zip(sums, values, strict=True)]
        aucs.append(_aucs(log_odds[t] + log_q[t], member[t], *rest))
    aucs = [found for found in aucs if not np.isnan(found).any()]
    # Too few models to attack one by the others: p_out as it is.
    return float(_GRID[np.argmax(np.mean(aucs, axis=0))]) if aucs else 1.0


def _aucs(log_p, is_member, count, sum_p, sum_q) -> list[float]:
    """AUC of one target over records, by each value of the grid.

    Args:
      log_p: [records] of the target.
      is_member: [records] bool.
      count, sum_p, sum_q: [records] of other models that did not see the record.
    """
    seen = count > 0
    p_out, q_out = (np.maximum(s[seen] / count[seen], _TINY) for s in (sum_p, sum_q))
    found = []
    for a in _GRID:
        log_ref = np.log(((1 + a) * p_out + (1 - a)) / 2)
        # Near 1 by what is missing to it: 1 - p_ref = (1 + a) (1 - p_out) / 2.
        rest = np.minimum((1 + a) / 2 * q_out, 0.5)
        log_ref = np.where(rest < 0.5, np.log1p(-rest), log_ref)
        found.append(metrics.auc(log_p[seen] - log_ref, is_member[seen]))
    return found
