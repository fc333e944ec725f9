"""Attack success against one patient: the leave-pair-out AUC of the joint score.

For a model i trained on the patient (IN) and a model j of the same block that was not
(OUT), both fits leave the pair out: IN normals from IN without i, OUT normals from OUT
without j. W_ij = 1 if the log-likelihood ratio of x_i is the larger one, 1/2 if equal;
the AUC is the mean of W. Exchanging i and j flips the sign of the difference, and the
fits ignore both, so the mean is exactly 1/2 where nothing leaks. Plain leave-one-out
falls below that: the target is missing from one of the two fits only.

Here patients are laid out in few static shapes; `pair_wins.py` has the formulas.

Reference: leave-pair-out cross-validation, Airola et al. 2011,
https://doi.org/10.1016/j.csda.2010.11.018; the score is the online LiRA of Carlini et
al. 2022, section VI, https://arxiv.org/abs/2112.03570, summed over records.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mia_jax import validate
from mia_jax.risk import pair_wins

VARIANCES = pair_wins.VARIANCES
NU0 = 100.0

# Bytes of one float32 per pair of a chunk of patients. Changes no result.
_BYTES_IN_FLIGHT = 16 * 2**20


class _Layout(NamedTuple):
    """Which models are IN and OUT, for blocks of equal size.

    Attributes:
      models: [blocks, models of a block] int, ids.
      num_in, num_out: the largest over patients and blocks.
    """

    models: np.ndarray
    num_in: int
    num_out: int


class _Chunk(NamedTuple):
    """Patients whose pairs are compared in one call, padded to a static shape.

    Attributes:
      patients: [size] int; those from `count` on repeat others and are dropped.
      count: how many are real.
      rows: [size, bucket] int, records.
      weight: [size, bucket] float32, 1 = a record of the patient, 0 = padding.
    """

    patients: np.ndarray
    count: int
    rows: np.ndarray
    weight: np.ndarray


def auc(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    variance: str = "shrunk",
    nu0: float = NU0,
    unit_of_patient: np.ndarray | None = None,
) -> np.ndarray:
    """Leave-pair-out AUC of every patient, unclipped.

    Args:
      z: [models, records] float32, statistics standardised over all models (mean 0,
        variance 1; 0 where constant), finite.
      member_mask: [models, patients] bool, any numbers of members.
      patient_of_record: [records] int, in any order; every patient has a record.
      block_of_model: [models] int.
      variance: of each side and record. "shrunk" (default): towards the mean over the
        patient's records, with `nu0` prior degrees of freedom; for a patient with one
        or two records towards the mean over all other patients. Keeps the shared
        IN/OUT ratio without the noise of single variances. "own": as it is.
        "pooled": 1, the best choice where only the mean moves.
      nu0: degrees of freedom of the prior of "shrunk".
      unit_of_patient: [patients] int; patients of one unit share their masks, so "all
        other patients" leaves out the unit. None: every patient alone.

    Returns:
      [patients] float64. 1/2 where fewer than two models are IN or OUT: no fit.

    Raises:
      InputError: for an unknown variance.
    """
    validate.one_of("variance", variance, VARIANCES)
    num_patients = member_mask.shape[1]
    records = np.argsort(patient_of_record, kind="stable")
    num_records = np.bincount(patient_of_record, minlength=num_patients)
    layouts = _layouts(member_mask, block_of_model)
    cohort = np.zeros((2, num_patients), np.float32)
    if variance == "shrunk":
        unit = np.arange(num_patients) if unit_of_patient is None else unit_of_patient
        cohort = _cohort_variance(z, member_mask, patient_of_record, unit)
        # Constant records count for nothing, not for being one of three either.
        varying = np.bincount(patient_of_record, z.any(0), num_patients)
        cohort[:, varying > 2] = 0
    fraction = np.empty(num_patients)
    running = []  # dispatched, not waited for: the next chunk is gathered meanwhile
    for chunk in _chunks(records, num_records, layouts):
        patients = chunk.patients
        x = z[:, chunk.rows.ravel()].T.reshape(*chunk.rows.shape, len(z))
        blocks = [_pairs(x, member_mask[:, patients], one) for one in layouts]
        prior = cohort[:, patients], np.float32(nu0)
        twice = pair_wins.twice_wins(blocks, chunk.weight, *prior, variance=variance)
        num_pairs = sum((b.is_in.sum(-1) * b.is_out.sum(-1)).sum(-1) for b in blocks)
        running.append((chunk, num_pairs, twice))
    for chunk, num_pairs, twice in running:
        mean = np.where(
            num_pairs, np.asarray(twice) / (2 * np.maximum(num_pairs, 1)), 0.5
        )
        fraction[chunk.patients[: chunk.count]] = mean[: chunk.count]
    return fraction


def _layouts(member_mask: np.ndarray, block_of_model: np.ndarray) -> list[_Layout]:
    """Blocks of equal size together, so that 256 pairs of models are one array."""
    blocks = [np.flatnonzero(block_of_model == b) for b in np.unique(block_of_model)]
    layouts = []
    for size in sorted({len(models) for models in blocks}):
        models = np.stack([models for models in blocks if len(models) == size])
        num_in = np.stack([member_mask[block].sum(0) for block in models])
        largest_out = size - num_in.min()
        layouts.append(_Layout(models, int(num_in.max()), int(largest_out)))
    return layouts


def _cohort_variance(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    unit_of_patient: np.ndarray,
) -> np.ndarray:
    """Mean variance of IN and OUT over the records of all other units.

    A unit's own records are left out: their variances depend on its mask, and the
    exchange of i and j must change nothing but the pair. 0 if there are no others.

    Returns:
      [2, patients] float32.
    """
    num_units = unit_of_patient.max() + 1
    unit_of_record = unit_of_patient[patient_of_record]
    sums = np.zeros((2, num_units))
    counts = np.zeros(num_units)
    for start in range(0, z.shape[1], 1024):  # cache-sized
        columns = slice(start, start + 1024)
        x, units = z[:, columns], unit_of_record[columns]
        varies = x.any(0)
        counts += np.bincount(units, varies, num_units)
        member = member_mask[:, patient_of_record[columns]]
        for side, weight in enumerate((member, ~member)):
            n, total = weight.sum(0), (x * weight).sum(0, dtype=np.float64)
            squares = (x * x * weight).sum(0, dtype=np.float64)
            v = (squares - total**2 / np.maximum(n, 1)) / np.maximum(n - 1, 1)
            sums[side] += np.bincount(units, np.maximum(v, 0) * varies, num_units)
    others = np.maximum(counts.sum() - counts, 1)
    mean = np.maximum(sums.sum(1, keepdims=True) - sums, 0) / others
    return mean[:, unit_of_patient].astype(np.float32)


def _bucket(num_records: int) -> int:
    """The next static number of records: 1, 2, 3, 4, 5, 8, 16, 32, ..."""
    return num_records if num_records <= 5 else 1 << (num_records - 1).bit_length()


def _chunks(
    records: np.ndarray, num_records: np.ndarray, layouts: list[_Layout]
) -> Iterator[_Chunk]:
    """Patients with about as many records, in few static shapes.

    Args:
      records: [records] int, sorted by patient.
      num_records: [patients] int.
      layouts: of all blocks.
    """
    first = np.cumsum(num_records) - num_records
    buckets = np.array([_bucket(int(k)) for k in num_records])
    num_pairs = sum(len(one.models) * one.num_in * one.num_out for one in layouts)
    num_models = sum(one.models.size for one in layouts)
    for bucket in np.unique(buckets).tolist():
        members = np.flatnonzero(buckets == bucket)
        fitting = max(1, _BYTES_IN_FLIGHT // (4 * max(num_pairs, bucket * num_models)))
        size = 1 << min(fitting.bit_length() - 1, (len(members) - 1).bit_length())
        for start in range(0, len(members), size):
            real = members[start : start + size]
            patients = np.resize(real, size)
            is_record = np.arange(bucket) < num_records[patients, None]
            rows = np.where(is_record, first[patients, None] + np.arange(bucket), 0)
            weight = is_record.astype(np.float32)
            yield _Chunk(patients, len(real), records[rows], weight)


def _pairs(x: np.ndarray, member_mask: np.ndarray, layout: _Layout) -> pair_wins.Pairs:
    """Values of a chunk, [patients, records, models], as IN and OUT of every block."""
    member = np.moveaxis(
        member_mask[layout.models], -1, 0
    )  # [patients, blocks, models]
    order = np.argsort(~member, axis=-1, kind="stable")  # IN first, OUT from the end
    ordered = np.take_along_axis(x[:, :, layout.models], order[:, None], -1)
    n_in = member.sum(-1, keepdims=True)
    return pair_wins.Pairs(
        x_in=ordered[..., : layout.num_in],
        is_in=np.arange(layout.num_in) < n_in,
        x_out=ordered[..., ::-1][..., : layout.num_out],
        is_out=np.arange(layout.num_out) < member.shape[-1] - n_in,
    )
