"""What no attack can exceed: the trade-off curve of a mechanism.

The privacy loss of the run, composed over its steps, gives by the lemma of Neyman and
Pearson the best test between "the patient was a member" and "was not"; every attack on
one model lies on its curve or below (Dong et al. 2022, arXiv:1905.02383). Much tighter
than what (epsilon, delta) alone allows.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from mia_jax.dp import accounting

_STEP = 1e-3  # of the grid of privacy losses, rounded to the patient's disadvantage


class Curve(NamedTuple):
    """The best true-positive rate at every false-positive rate.

    Attributes:
      fpr: [points] float64, ascending from 0 to 1.
      tpr: [points] float64, ascending to 1; straight lines between the points.
    """

    fpr: np.ndarray
    tpr: np.ndarray


@functools.lru_cache
def curve(mechanism: accounting.Mechanism, step: float = _STEP) -> Curve:
    """The trade-off curve of a whole training run.

    Args:
      mechanism: with noise.
      step: of the grid of privacy losses; coarser = a higher curve.

    Returns:
      An upper bound, "member" being the positive. Telling non-members from members is
      the same test, its curve this one reflected: (FPR, TPR) -> (1 - TPR, 1 - FPR).
    """
    grid = step * max(1.0, mechanism.noise_multiplier**-2 / 10)
    loss, probability, endless = _losses(mechanism, grid)
    order = np.argsort(-loss)
    with np.errstate(over="ignore"):
        shares = probability[order], probability[order] * np.exp(-loss[order])
    tpr, fpr = (np.cumsum(share) for share in shares)
    fpr = np.r_[0.0, np.minimum(fpr, 1.0), 1.0]
    tpr = np.r_[endless, np.minimum(tpr + endless, 1.0), 1.0]
    return Curve(fpr, np.maximum.accumulate(tpr))


def _losses(mechanism, step) -> tuple[np.ndarray, np.ndarray, float]:
    """Losses, their probabilities for a member, and the probability of an endless one.

    dp-accounting offers no public way to them; the tests compare with one that is
    public, but takes an epsilon at a time.
    """
    found = accounting.accountant(mechanism, step)._pld._pmf_remove.to_dense_pmf()
    place = found._lower_loss + np.arange(len(found._probs))
    return place * found._discretization, found._probs, float(found._infinity_mass)


def with_delta(given: Curve, delta: float) -> Curve:
    """The curve of a mechanism that fails with a probability, by overflow say."""
    return Curve(given.fpr, np.minimum(given.tpr + delta, 1.0))


def tpr_at(given: Curve, fpr: np.ndarray | float) -> np.ndarray:
    """The highest true-positive rate at some false-positive rates, float64."""
    return np.interp(fpr, given.fpr, given.tpr)


def auc(given: Curve) -> float:
    """The highest area under an attack's ROC curve."""
    return float(np.trapezoid(given.tpr, given.fpr))


def advantage(given: Curve) -> float:
    """The highest difference of true- and false-positive rate."""
    return delta_at(given, 0.0)


def ppv(given: Curve, prior: float, fpr: float) -> float:
    """The highest positive predictive value at a false-positive rate.

    Args:
      given: the curve.
      prior: share of members among those the attacker asks about.
      fpr: above 0.
    """
    hits = prior * float(tpr_at(given, fpr))
    return hits / (hits + (1 - prior) * fpr)


def delta_at(given: Curve, epsilon: float) -> float:
    """The delta at an epsilon: largest tpr - e^epsilon fpr, at least 0."""
    return max(0.0, float(np.max(given.tpr - math.exp(epsilon) * given.fpr)))
