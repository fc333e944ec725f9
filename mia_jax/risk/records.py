"""Risk of every record, and the published maximum over a patient's records."""

from typing import NamedTuple

import numpy as np

from mia_jax.risk import design, exact, intervals


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
    counts = design.counts(member_mask, np.asarray(block_of_model))
    n_in, n_out = (count[:, patient_of_record] for count in counts)
    u = exact.rank_sums(statistic, member_mask, block_of_model, patient_of_record)
    auc = exact.rank_auc(u, n_in, n_out)
    return RecordRisk(auc, np.sqrt(intervals.variance(auc, n_in, n_out)))


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
