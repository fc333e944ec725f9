"""Risk of every patient: how well membership is recognised, and if it is proven."""

from typing import NamedTuple

import numpy as np

from mia_jax import validate
from mia_jax.risk import (
    design,
    intervals,
    leave_pair_out,
    mask_test,
    model_means,
    multiplicity,
    record_sums,
)

MODEL_MEANS = ("removed", "kept")

# Records standardised at a time: 512 models x 1024 records in float64 are 4 MB.
_COLUMNS = 1024
# Intervals are given only below this p-value, so also this choice is allowed for.
_DISTINGUISHABLE = 0.05
# Standard deviation of the models' shares of patients, beyond chance. At .05 p-values
# come up to twice too small where scores follow the shares, at .2 two hundred times.
_UNEQUAL_SHARES = 0.03


class PatientRisk(NamedTuple):
    """Risk of every patient; all arrays [patients], AUCs unclipped.

    Attributes:
      num_records: int, records of the patient.
      num_in, num_out: int, models trained with and without the patient.
      auc: leave-pair-out AUC of the joint score (`leave_pair_out.auc`): the success of
        an attacker who has all the other models.
      auc_mask_free: rank AUC of the sum of the standardised statistics, models
        compared within blocks (`mask_test.aucs`).
      auc_low, auc_high: score interval of `auc_mask_free`; NaN for patients that are
        neither proven nor have a p_value below .05: not distinguishable from .5.
      interval_level: confidence level of that interval. 5 % of the proven patients'
        intervals are expected to miss, and 5 % of all that are given: the choice is
        allowed for (`multiplicity.interval_level`).
      p_value: exact, one-sided.
      q_value: Benjamini-Hochberg.
      q_storey: q_value times the estimated share of patients that do not leak
        (`multiplicity.null_share`): less cautious where many leak. Like any q-value it
        says how many false ones stand before a patient, and may lie below p_value.
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
    interval_level: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    q_storey: np.ndarray
    p_holm: np.ndarray
    is_proven: np.ndarray
    is_proven_holm: np.ndarray


class Test(NamedTuple):
    """The mask-free rank test of every patient.

    Attributes:
      auc: [patients] float64, rank AUC of the sum over records.
      p_value: [patients] float64, of the patient.
      p_sum: [patients] float64, of the sum alone.
      p_record: [records] float64, of every record alone.
    """

    auc: np.ndarray
    p_value: np.ndarray
    p_sum: np.ndarray
    p_record: np.ndarray


def audit(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    fdr: float = 0.05,
    unit_of_patient: np.ndarray | None = None,
    model_mean: str = "removed",
    joint: str = "llr",
) -> PatientRisk:
    """Measures and tests every patient.

    Args:
      statistic: [models, records] float32, higher = more like a member; finite.
      member_mask: [models, patients] bool, True = trained on.
      patient_of_record: [records] int, in any order; every patient has a record.
      block_of_model: [models] int; masks are drawn independently in every block.
      fdr: share of false discoveries that is accepted among the proven patients.
      unit_of_patient: [patients] int, patients with equal numbers share their masks;
        None: every patient alone. p-values are per patient all the same.
      model_mean: "removed" takes the model's mean score over all other patients out of
        a patient's scores (`model_means.remove`), "kept" does not. A model that was
        trained on more patients than others raises all scores and holds each patient
        more often: "kept" would take that for leaks, so it needs models alike.
      joint: how `auc` joins the records of a patient (`leave_pair_out.auc`).

    Returns:
      The risk of every patient.

    Raises:
      InputError: shapes that do not fit, values that are not finite, patients without
        records, complementary pairs of models that are not blocks, models that share
        one mask, models of unequal shares of patients with "kept", or an unknown
        `model_mean`.
    """
    patient_of_record = np.asarray(patient_of_record)
    block_of_model = np.asarray(block_of_model)
    _check(statistic, member_mask, patient_of_record, block_of_model)
    if model_mean == "kept":
        _check_shares(member_mask, block_of_model, unit_of_patient)
    design_of = patient_of_record, block_of_model
    z = scores(statistic, *design_of, unit_of_patient, model_mean)
    auc, p_value, *_ = test(z, member_mask, *design_of)
    adjusted = multiplicity.adjust(p_value)
    is_proven = adjusted.bh <= fdr
    is_given = is_proven | (p_value < _DISTINGUISHABLE)
    levels = [multiplicity.interval_level(chosen) for chosen in (is_proven, is_given)]
    level = np.where(is_proven, *levels)
    n_in, n_out = design.counts(member_mask, block_of_model)
    low, high = intervals.score_interval(auc, n_in, n_out, level)
    return PatientRisk(
        num_records=np.bincount(patient_of_record, minlength=len(auc)),
        num_in=n_in.sum(0),
        num_out=n_out.sum(0),
        auc=leave_pair_out.auc(
            z,
            member_mask,
            *design_of,
            unit_of_patient=unit_of_patient,
            score=joint,
        ),
        auc_mask_free=auc,
        auc_low=np.where(is_given, low, np.nan),
        auc_high=np.where(is_given, high, np.nan),
        interval_level=level,
        p_value=p_value,
        q_value=adjusted.bh,
        q_storey=adjusted.storey,
        p_holm=adjusted.holm,
        is_proven=is_proven,
        is_proven_holm=adjusted.holm <= fdr,
    )


def scores(
    statistic: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    unit_of_patient: np.ndarray | None = None,
    model_mean: str = "removed",
) -> np.ndarray:
    """The mask-free z that patients are measured and tested on.

    Args: as in `audit`.

    Returns:
      [models, records] float32, mean 0 and variance 1 over models; 0 where constant.
    """
    validate.one_of("model_mean", model_mean, MODEL_MEANS)
    z = standardise(statistic)
    if model_mean == "kept":
        return z
    unit = patient_of_record
    if unit_of_patient is not None:
        unit = np.asarray(unit_of_patient)[patient_of_record]
    return model_means.remove(z, unit, block_of_model)


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


def test(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
) -> Test:
    """p = min(1, 2 min(p of the sum, k min over records p_r)); with k = 1 it is p_1.

    The sum finds what all records share, the best record what one leaks; both tests are
    exact, and Bonferroni holds however they depend on each other.

    Args:
      z: [models, records] float32, mask-free.
      member_mask, patient_of_record, block_of_model: as in `audit`.
    """
    where = member_mask, block_of_model
    num_patients = member_mask.shape[1]
    k = np.bincount(patient_of_record, minlength=num_patients)
    single = mask_test.ranks(_columns(z, patient_of_record), *where)
    p_record = mask_test.p_values(single, *where)
    smallest, auc = np.ones(num_patients), np.empty(num_patients)
    np.minimum.at(smallest, patient_of_record, p_record)
    auc[patient_of_record] = mask_test.aucs(single, *where)
    p_sum = smallest.copy()
    if (k > 1).any():  # of one record the sum is the record
        chunks = record_sums.chunks(z, patient_of_record, (k > 1)[patient_of_record])
        joint = mask_test.ranks(((c.sums, c.patients) for c in chunks), *where)
        p_sum[joint.patient] = mask_test.p_values(joint, *where)
        auc[joint.patient] = mask_test.aucs(joint, *where)
    p_both = np.minimum(1, 2 * np.minimum(p_sum, k * smallest))
    return Test(auc, np.where(k == 1, smallest, p_both), p_sum, p_record)


def _columns(z: np.ndarray, patient_of_record: np.ndarray) -> mask_test.Chunks:
    """Chunks of records with their patients."""
    for start in range(0, z.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        yield z[:, columns], patient_of_record[columns]


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
    _check_design(member_mask, block_of_model)


def _check_design(member_mask: np.ndarray, block_of_model: np.ndarray) -> None:
    """Raises InputError where masks are no independent draws within the blocks."""
    same = design.same_masks(member_mask)
    validate.require(
        not same,
        f"models {validate.listing(same[0] if same else ())} have the same mask",
        "the test takes the masks of a block for independent draws",
        "average the statistics of such models, or leave all but one out",
    )
    pair = design.detect_pairs(member_mask, block_of_model)
    validate.require(
        pair is None or _is_same_partition(pair, block_of_model),
        f"{len(member_mask)} models, some in pairs with opposite masks",
        "each pair must be a block: over all models the rank-sum test is wrong",
        "pass block_of_model=design.detect_pairs(member_mask, block_of_model)",
    )


def _check_shares(member_mask, block_of_model, unit_of_patient) -> None:
    """Raises InputError where models of a block hold unequal shares of the patients."""
    excess = design.excess_of_shares(member_mask, block_of_model, unit_of_patient)
    validate.require(
        excess <= _UNEQUAL_SHARES,
        f"models of a block hold shares of the patients that differ by {excess:.2f}"
        " (standard deviation) more than by chance",
        'with model_mean="kept" the masks of a block must be draws of one kind',
        'use "removed", or give models of each share a block of their own',
    )


def _is_same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of labels put the same models together."""
    both = np.unique(np.stack([a, b]), axis=1).shape[1]
    return both == len(np.unique(a)) == len(np.unique(b))
