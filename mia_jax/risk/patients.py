"""Risk of every patient: how well membership is recognised, and if it is proven."""

from typing import NamedTuple

import numpy as np
from statsmodels.stats import multitest

from mia_jax import validate
from mia_jax.risk import design, exact, intervals, leave_pair_out

# Records standardised at a time: 512 models x 1024 records in float64 are 4 MB.
_COLUMNS = 1024
# Intervals are given only below this p-value: near .5 they cover less than they say.
_DISTINGUISHABLE = 0.05


class PatientRisk(NamedTuple):
    """Risk of every patient; all arrays [patients], AUCs unclipped.

    Attributes:
      num_records: int, records of the patient.
      num_in, num_out: int, models trained with and without the patient.
      auc: leave-pair-out AUC of the joint score (`leave_pair_out.auc`): the success of
        an attacker who has all the other models.
      auc_mask_free: rank AUC of the sum of the standardised statistics.
      auc_low, auc_high: 95 % score interval of `auc_mask_free`; NaN where p_value is
        .05 or more: not distinguishable from .5.
      p_value: exact, one-sided.
      q_value: Benjamini-Hochberg.
      p_holm: Holm.
      is_proven: q_value <= fdr.
      is_proven_holm: p_holm <= fdr.
    """

    num_records: np.ndarray
    num_in: np.ndarray
    num_out: np.ndarray
    auc: np.ndarray
    auc_mask_free: np.ndarray
    auc_low: np.ndarray
    auc_high: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    p_holm: np.ndarray
    is_proven: np.ndarray
    is_proven_holm: np.ndarray


class _Test(NamedTuple):
    """The mask-free rank test: AUC of the sum and p-value, [patients] float64."""

    auc: np.ndarray
    p_value: np.ndarray


def audit(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    fdr: float = 0.05,
    unit_of_patient: np.ndarray | None = None,
) -> PatientRisk:
    """Measures and tests every patient.

    Args:
      statistic: [models, records] float32, higher = more like a member; finite.
      member_mask: [models, patients] bool, True = trained on.
      patient_of_record: [records] int, in any order; every patient has a record.
      block_of_model: [models] int; masks are drawn independently in every block.
      fdr: share of false discoveries that is accepted among the proven patients.
      unit_of_patient: [patients] int, patients with equal numbers share their masks;
        None: every patient alone.

    Returns:
      The risk of every patient.

    Raises:
      InputError: shapes that do not fit, values that are not finite, patients without
        records, or complementary pairs of models that are not the blocks.
    """
    patient_of_record = np.asarray(patient_of_record)
    block_of_model = np.asarray(block_of_model)
    _check(statistic, member_mask, patient_of_record, block_of_model)
    n_in, n_out = design.counts(member_mask, block_of_model)
    z = standardise(statistic)
    arrays = z, member_mask, patient_of_record, block_of_model
    auc, p_value = _rank_test(*arrays, n_in, n_out)
    low, high = intervals.score_interval(auc, n_in, n_out)
    is_null = p_value >= _DISTINGUISHABLE
    is_proven, q_value, *_ = multitest.multipletests(p_value, fdr, "fdr_bh")
    is_proven_holm, p_holm, *_ = multitest.multipletests(p_value, fdr, "holm")
    return PatientRisk(
        num_records=np.bincount(patient_of_record, minlength=len(auc)),
        num_in=n_in.sum(0),
        num_out=n_out.sum(0),
        auc=leave_pair_out.auc(*arrays, unit_of_patient=unit_of_patient),
        auc_mask_free=auc,
        auc_low=np.where(is_null, np.nan, low),
        auc_high=np.where(is_null, np.nan, high),
        p_value=p_value,
        q_value=q_value,
        p_holm=p_holm,
        is_proven=is_proven,
        is_proven_holm=is_proven_holm,
    )


def standardise(statistic: np.ndarray) -> np.ndarray:
    """Mask-free z: minus the mean, over the standard deviation, over all models.

    Two passes in float64 and block by block: a mean of 1000 with a deviation of .1
    loses nothing.

    Args:
      statistic: [models, records] float, finite.

    Returns:
      [models, records] float32, mean 0 and variance 1 (ddof 1) over models; 0 where
      the statistic is constant.
    """
    z = np.empty(statistic.shape, np.float32)
    for start in range(0, statistic.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        x = np.asarray(statistic[:, columns], np.float64)
        x = x - x.mean(0)
        sd = x.std(0, ddof=1)
        z[:, columns] = x / np.where(sd > 0, sd, 1)
    return z


def _rank_test(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    n_in: np.ndarray,
    n_out: np.ndarray,
) -> _Test:
    """p = min(1, 2 min(p of the sum, k min over records p_r)); with k = 1 it is p_1.

    The sum finds what all records share, the best record what one leaks; both tests are
    exact, and Bonferroni holds however they depend on each other.
    """
    num_patients = member_mask.shape[1]
    u_record = exact.rank_sums(z, member_mask, block_of_model, patient_of_record)
    u_best = np.zeros(num_patients)
    np.maximum.at(u_best, patient_of_record, u_record)
    u_sum = exact.rank_sums(
        _sums(z, patient_of_record, num_patients), member_mask, block_of_model
    )
    k = np.bincount(patient_of_record, minlength=num_patients)
    p_sum = exact.p_values(u_sum, n_in, n_out)
    p_best = k * exact.p_values(u_best, n_in, n_out)
    p_both = np.minimum(1, 2 * np.minimum(p_sum, p_best))
    p_value = np.where(k == 1, np.minimum(1, p_best), p_both)
    return _Test(exact.rank_auc(u_sum, n_in, n_out), p_value)


def _sums(z: np.ndarray, patient_of_record: np.ndarray, num_patients: int):
    """Sum of each patient's records: [models, patients] float64."""
    order = np.argsort(patient_of_record, kind="stable")
    first = np.searchsorted(patient_of_record[order], np.arange(num_patients))
    sums = np.empty((len(z), num_patients))
    for row, total in zip(z, sums):
        total[:] = np.add.reduceat(row[order], first, dtype=np.float64)
    return sums


def _check(statistic, member_mask, patient_of_record, block_of_model) -> None:
    """Raises InputError unless the arrays fit and the blocks are the design."""
    models, patients = member_mask.shape
    given = statistic.shape, block_of_model.shape, patient_of_record.shape
    validate.require(
        given == ((models, statistic.shape[1]), (models,), (statistic.shape[1],)),
        f"statistic, block_of_model, patient_of_record have shapes {given}",
        f"member_mask is {member_mask.shape}, [models, patients]: they do not fit",
        "give [models, records], [models] and [records]",
    )
    is_finite = np.isfinite(statistic).all(0)
    validate.require(
        bool(is_finite.all()),
        f"statistic of records {validate.listing(np.flatnonzero(~is_finite))}",
        "must be finite",
        "look for models that diverged, or leave these records out",
    )
    counts = np.bincount(patient_of_record, minlength=patients)
    validate.require(
        len(counts) == patients and bool((counts > 0).all()),
        f"patients {validate.listing(np.flatnonzero(counts[:patients] == 0))}"
        f" of {patients}",
        "every patient of member_mask has a record, no record has another patient",
        "drop their columns from member_mask",
    )
    pair = design.detect_pairs(member_mask)
    validate.require(
        pair is None or _is_same_partition(pair, block_of_model),
        f"{models} models in {models // 2} pairs with opposite masks",
        "each pair must be a block: over all models the rank-sum test is wrong",
        "pass block_of_model=design.detect_pairs(member_mask)",
    )


def _is_same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of labels put the same models together."""
    both = np.unique(np.stack([a, b]), axis=1).shape[1]
    return both == len(np.unique(a)) == len(np.unique(b))
