"""Risk of every record, and of the worst record of every patient.

The largest of a patient's record AUCs is biased upwards. Two unbiased numbers stand
beside it: `worst`, the record selected anew for every pair of models, and
`cross_fitted`, the record selected on half of the models and measured on the other.
Both are 1/2 on average where nothing leaks, whatever the number of records. They beat
the joint score only where a single record leaks, else they are the lower numbers.
"""

from typing import Any, NamedTuple

import numpy as np

from mia_jax.risk import design, exact, halves, intervals, leave_pair_out

_SHARES_ABOVE = (0.6, 0.7, 0.8, 0.9)


class RecordRisk(NamedTuple):
    """Risk of every record.

    Attributes:
      auc: [records] float64, mask-free rank AUC over models, unclipped.
      auc_se: [records] float64, its standard error at that AUC (`intervals.variance`).
    """

    auc: np.ndarray
    auc_se: np.ndarray


def audit(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
) -> RecordRisk:
    """Measures every record by itself.

    Args:
      statistic: [models, records] float, higher = more like a member; finite.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int.
      block_of_model: [models] int.

    Returns:
      The risk of every record.
    """
    arrays = statistic, member_mask, patient_of_record, np.asarray(block_of_model)
    auc, pairs, overlap = _rank_auc(*arrays)
    variance = intervals.variance_of_pairs(auc, pairs, overlap)
    return RecordRisk(auc, np.sqrt(variance))


def _rank_auc(statistic, member_mask, patient_of_record, block_of_model):
    """Rank AUC of every record, and the `intervals.weights` of its patient."""
    weights = intervals.weights(*design.counts(member_mask, block_of_model))
    pairs, overlap = (weight[patient_of_record] for weight in weights)
    u = exact.rank_sums(statistic, member_mask, block_of_model, patient_of_record)
    return exact.rank_auc(u, pairs), pairs, overlap


def largest(auc: np.ndarray, patient_of_record: np.ndarray) -> np.ndarray:
    """The largest record AUC of every patient, as published audits report it.

    Biased: without any leak it still lies above .5, the higher the more records. Set it
    beside the same number under permuted masks (`null_check.run`).

    Args:
      auc: [records] float.
      patient_of_record: [records] int; every patient has a record.

    Returns:
      [patients] float64.
    """
    best = np.full(np.max(patient_of_record) + 1, -np.inf)
    np.maximum.at(best, patient_of_record, auc)
    return best


def worst(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
) -> np.ndarray:
    """Leave-pair-out AUC of each patient's worst record, selected without the pair.

    For every pair of an IN and an OUT model that record is compared whose means of IN
    and OUT differ most over all other models; unbiased, see `leave_pair_out`.

    Args:
      z: [models, records] float32, standardised over all models.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int; every patient has a record.
      block_of_model: [models] int.

    Returns:
      [patients] float64, unclipped.
    """
    arrays = z, member_mask, patient_of_record, block_of_model
    return leave_pair_out.auc(*arrays, score="selected")


def cross_fitted(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Rank AUC of each patient's worst record, selected on the other half of models.

    Both halves select once and measure once; the mean of the two, unbiased. Selected
    with half of the models, so below `worst` where few models are trained.

    Args:
      statistic: [models, records] float, higher = more like a member; finite.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int; every patient has a record.
      block_of_model: [models] int.
      seed: of the division into halves.

    Returns:
      [patients] float64, unclipped.
    """
    block_of_model = np.asarray(block_of_model)
    is_first = halves.split(block_of_model, seed)
    one, other = (
        _rank_auc(statistic[h], member_mask[h], patient_of_record, block_of_model[h])[0]
        for h in (is_first, ~is_first)
    )
    there = other[_index_of_largest(one, patient_of_record)]
    back = one[_index_of_largest(other, patient_of_record)]
    return (there + back) / 2


def _index_of_largest(auc: np.ndarray, patient_of_record: np.ndarray) -> np.ndarray:
    """[patients] int, each patient's record with the largest AUC; the first of ties."""
    order = np.lexsort((-auc, patient_of_record))
    first = np.diff(patient_of_record[order], prepend=-1) > 0
    return order[first]


def summary(worst_auc: np.ndarray, null_auc: np.ndarray | None) -> dict[str, Any]:
    """What summary.json says about `worst`.

    Args:
      worst_auc: [patients] float64.
      null_auc: the same with permuted masks; None: not measured, 1/2 is expected.

    Returns:
      mean, null_mean, share_above (by threshold), floats.
    """
    return {
        "mean": float(np.mean(worst_auc)),
        "null_mean": 0.5 if null_auc is None else float(np.mean(null_auc)),
        "share_above": {
            f"{threshold:g}": float(np.mean(worst_auc > threshold))
            for threshold in _SHARES_ABOVE
        },
    }
