"""Attack success against one patient: the leave-pair-out AUC of the joint score.

For a model i trained on the patient (IN) and a model j of the same block that was not
(OUT), both fits leave the pair out: IN normals from IN without i, OUT normals from OUT
without j. W_ij = 1 if the log-likelihood ratio of x_i is the larger one, 1/2 if equal;
the AUC is the mean of W. Exchanging i and j flips the sign of the difference, and the
fits ignore both, so the mean is exactly 1/2 where nothing leaks. Plain leave-one-out
falls below that: the target is missing from one of the two fits only.

How a patient's records are joined (`score`):

- "llr" (default): sum over records of the log-likelihood ratios, variances of IN and
  OUT apart and shrunk towards the patient's mean. It loses little anywhere: about .01
  of AUC against pooled variances where only the mean moves; is ahead by .07 where
  members vary less; and sees a single leaky record among ten (.76), which the plain sum
  does not (.59).
- "lda": Fisher's linear discriminant with the shrunk total covariance of the patient's
  records, no mask in it (`covariance.py`). Best if few of many correlated records leak
  (.85 against .75); behind by .03 where all of them do, by .02 with heavy tails, and
  blind to a change of variance.
- "selected": the record whose means differ most, chosen without the pair, for a "worst
  record". Best if one of independent records leaks (.80), far behind if all do (.59
  against .71).
- "sum": plain sum of z, the score of the exact test. Nothing is learnt, so nothing is
  lost: best where many records leak weakly. Assumes that membership raises all of them.

None is best everywhere (128 models, ten records: `python -m benchmarks.power`). One is
chosen beforehand, as the largest of several AUCs is biased upwards. None replaces the
exact test: a direction that is learnt has a skewed null, which costs it power.

Here patients are laid out in few static shapes; `pair_wins.py` has the formulas.

Reference: leave-pair-out cross-validation, Airola et al. 2011,
https://doi.org/10.1016/j.csda.2010.11.018; the score is the online LiRA of Carlini et
al. 2022, section VI, https://arxiv.org/abs/2112.03570, summed over records.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mia_jax import validate
from mia_jax.risk import covariance, design, exact, pair_wins, record_sums

VARIANCES = pair_wins.VARIANCES
SCORES = (*pair_wins.SCORES, "sum")
NU0 = 100.0

# Bytes of one float32 per pair of a chunk of patients. Changes no result.
_BYTES_IN_FLIGHT = 16 * 2**20


class _Layout(NamedTuple):
    """Which models are IN and OUT, for blocks of equal size.

    Attributes:
      models: [blocks, models of a block] int, ids.
      num_in, num_out: at least the largest over patients and blocks.
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
    score: str = "llr",
) -> np.ndarray:
    """Leave-pair-out AUC of every patient, unclipped.

    Args:
      z: [models, records] float32, statistics standardised over all models (mean 0,
        variance 1; 0 where constant), finite.
      member_mask: [models, patients] bool, any numbers of members.
      patient_of_record: [records] int, in any order; every patient has a record.
      block_of_model: [models] int.
      variance: of "llr", of each side and record. "shrunk" (default): towards the mean
        over the patient's records, with `nu0` prior degrees of freedom; for a patient
        with one or two records towards the mean over all other patients. "own": as it
        is. "pooled": 1. Other scores need none.
      nu0: degrees of freedom of the prior of "shrunk".
      unit_of_patient: [patients] int; patients of one unit share their masks, so "all
        other patients" leaves out the unit. None: every patient alone.
      score: how records are joined, see above: "llr", "lda", "selected" or "sum".

    Returns:
      [patients] float64. 1/2 where fewer than two models are IN or OUT: no fit ("sum"
      needs one of each).

    Raises:
      InputError: for an unknown variance or score.
    """
    validate.one_of("variance", variance, VARIANCES)
    validate.one_of("score", score, SCORES)
    if score == "sum":
        return _rank_auc(z, member_mask, patient_of_record, block_of_model)
    variance = variance if score == "llr" else "pooled"
    num_patients = member_mask.shape[1]
    records = np.argsort(patient_of_record, kind="stable")
    num_records = np.bincount(patient_of_record, minlength=num_patients)
    layouts = _layouts(member_mask, block_of_model)
    cohort = np.zeros((2, num_patients), np.float32)
    if variance == "shrunk":
        unit = np.arange(num_patients) if unit_of_patient is None else unit_of_patient
        cohort = _prior(z, member_mask, patient_of_record, unit)
    fraction = np.empty(num_patients)
    running = []  # dispatched, not waited for: the next chunk is gathered meanwhile
    for chunk in _chunks(records, num_records, layouts):
        patients = chunk.patients
        x = z[:, chunk.rows.ravel()].T.reshape(*chunk.rows.shape, len(z))
        blocks = [_pairs(x, member_mask[:, patients], one) for one in layouts]
        inputs = chunk.weight, cohort[:, patients], np.float32(nu0)
        if score == "lda":
            x = x * chunk.weight[:, :, None]  # padding repeats a record
            inputs += (covariance.precision(x).astype(np.float32),)
        twice = pair_wins.twice_wins(blocks, *inputs, variance=variance, score=score)
        num_pairs = sum((b.is_in.sum(-1) * b.is_out.sum(-1)).sum(-1) for b in blocks)
        running.append((chunk, num_pairs, twice))
    for chunk, num_pairs, twice in running:
        mean = np.where(
            num_pairs, np.asarray(twice) / (2 * np.maximum(num_pairs, 1)), 0.5
        )
        fraction[chunk.patients[: chunk.count]] = mean[: chunk.count]
    return fraction


def sums(z: np.ndarray, patient_of_record: np.ndarray) -> np.ndarray:
    """Sum over each patient's records: [models, patients] float64.

    Args:
      z: [models, records] float.
      patient_of_record: [records] int, in any order; every patient has a record.
    """
    total = np.empty((len(z), patient_of_record.max() + 1))
    for chunk in record_sums.chunks(z, patient_of_record):
        total[:, chunk.patients] = chunk.sums
    return total


def _rank_auc(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
) -> np.ndarray:
    """AUC of the mask-free sum: nothing is fitted, so no pair has to be left out."""
    u = exact.rank_sums(sums(z, patient_of_record), member_mask, block_of_model)
    n_in, n_out = design.counts(member_mask, block_of_model)
    return exact.rank_auc(u, (n_in * n_out).sum(0))


def _layouts(member_mask: np.ndarray, block_of_model: np.ndarray) -> list[_Layout]:
    """Blocks of equal size together, so that 256 pairs of models are one array."""
    blocks = [np.flatnonzero(block_of_model == b) for b in np.unique(block_of_model)]
    layouts = []
    for size in sorted({len(models) for models in blocks}):
        models = np.stack([models for models in blocks if len(models) == size])
        num_in = np.stack([member_mask[block].sum(0) for block in models])
        sides = num_in.max(), size - num_in.min()
        # Rounded up: halves of a run then share one compiled program.
        step = max(1, size // 16)
        sides = (min(size, -(-int(n) // step) * step) for n in sides)
        layouts.append(_Layout(models, *sides))
    return layouts


def _prior(
    z: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    unit_of_patient: np.ndarray,
) -> np.ndarray:
    """[2, patients] float32, the cohort's variance; 0 = the patient's own records."""
    arrays = z, member_mask, patient_of_record
    cohort = _cohort_variance(*arrays, unit_of_patient)
    # Constant records count for nothing, not for being one of three either.
    varying = np.bincount(patient_of_record, z.any(0), member_mask.shape[1])
    cohort[:, varying > 2] = 0
    return cohort


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
        numbers = max(num_pairs, bucket * max(num_models, bucket))
        fitting = max(1, _BYTES_IN_FLIGHT // (4 * numbers))
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
