"""One attack over all records together: ROC curves of every target model."""

import concurrent.futures
from typing import NamedTuple

import numpy as np

from mia_jax import metrics, predictions
from mia_jax.risk import leave_pair_out, thresholds

# Step ROC curves are drawn on this grid of false-positive rates.
FPR_GRID = np.r_[0.0, np.geomspace(1e-4, 1.0, 81)]
FPRS = (0.001, 0.01, 0.1)
# Fewer false alarms than this say nothing about a rate.
_FEWEST_FALSE_ALARMS = 10
_THREADS = 4  # sorting releases the interpreter's lock; more gain nothing


class Pooled(NamedTuple):
    """What an attack reaches against each target model.

    Attributes:
      aucs: [targets] float64, attack AUC over records.
      roc: median, low and high (80 % band over targets) of the TPR on `FPR_GRID`; NaN
        without targets.
      tpr: false-positive rate -> [targets] true-positive rates, or None: too few
        non-members to tell.
    """

    aucs: np.ndarray
    roc: tuple[np.ndarray, np.ndarray, np.ndarray]
    tpr: dict[float, np.ndarray | None]


def measure(given: predictions.Predictions, scores: np.ndarray) -> Pooled:
    """Measures every target model that has members and non-members.

    Args:
      given: the predictions.
      scores: [models, records] float32, leave-one-out, higher = member.
    """
    mask = given.member_mask
    # A model trained on everybody, or on nobody, is no target of a pooled curve.
    targets = np.flatnonzero(mask.any(1) & ~mask.all(1))
    if not len(targets):
        nothing = np.full(len(FPR_GRID), np.nan)
        return Pooled(np.empty(0), (nothing,) * 3, dict.fromkeys(FPRS))
    grid = np.r_[FPR_GRID, FPRS]

    def one(target: int) -> tuple[float, np.ndarray, int]:
        member = mask[target, given.patient_of_record]
        tpr = metrics.tpr_at_fpr(scores[target], member, grid)
        return metrics.auc(scores[target], member), tpr, int((~member).sum())

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        aucs, curves, non_members = zip(*pool.map(one, targets), strict=True)
    curves, fewest = np.stack(curves), min(non_members)
    roc, points = curves[:, : len(FPR_GRID)], curves[:, len(FPR_GRID) :]
    low, median, high = np.quantile(roc, (0.1, 0.5, 0.9), axis=0)
    is_few = [fpr * fewest < _FEWEST_FALSE_ALARMS for fpr in FPRS]
    values = [None if few else v for few, v in zip(is_few, points.T, strict=True)]
    tpr = dict(zip(FPRS, values, strict=True))
    return Pooled(np.array(aucs), (median, low, high), tpr)


class Scored(NamedTuple):
    """One attack's scores, measured.

    Attributes:
      pooled: over all records.
      rates: what thresholds on the patients' summed scores realise.
    """

    pooled: Pooled
    rates: list[thresholds.Rate]


def scored(given: predictions.Predictions, scores: np.ndarray) -> Scored:
    """Measures leave-one-out scores over records and over patients.

    Args:
      given: the predictions.
      scores: [models, records] float32, higher = member.
    """
    total = leave_pair_out.sums(scores, given.patient_of_record)
    rates = thresholds.measure(total, given.member_mask)
    return Scored(measure(given, scores), rates)
