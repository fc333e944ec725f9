"""Are the statistics of a record normal, as the Gaussian attack assumes?

Within each side (models with and without the patient) skewness and kurtosis are tested.
The exact test of patients needs no normal law, nor does the leave-pair-out AUC to be
unbiased; but attacks lose power, and binormal intervals and model-based true-positive
rates their level, where many records are far from it.

The chi-squared law of D'Agostino & Pearson is too liberal in the tail that a test of
100,000 records lives in: with 32 to 128 models a side p < .0001 comes 11 to 14 times
too often. So p-values come from 50,000 simulated normal records with the same numbers
of models; the statistics do not depend on mean and variance.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from statsmodels.stats import multitest

from mia_jax import rng

_COLUMNS = 1024  # records at a time, to stay in the cache
# Resolves p-values to .00002: a share of non-normal records of .04 % can be seen.
_SIMULATED, _DRAWS = 50_000, 50
# The approximations of skewness and kurtosis start here.
_FEWEST = 8
# A ceiling that half of the models reach is no tail of a normal law.
_SATURATED_SHARE = 0.5


class _Shape(NamedTuple):
    """Statistics that are large where a record is not normal; [records] float64."""

    both: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray


def check(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    fdr: float = 0.05,
) -> dict[str, Any]:
    """Shares of records whose statistic is not normal within a side.

    Args:
      statistic: [models, records] float, finite; any location and scale.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int.
      fdr: false-discovery rate over records (Benjamini-Hochberg).

    Returns:
      share_rejected: of the tested records, skewness and kurtosis of both sides
        together; share_skewed and share_heavy_tailed: each alone, at the same rate.
        None if no record could be tested.
      num_records_tested: with eight models and two values at least on either side.
      fdr.
      share_saturated: of all records, those with distinct values for at most half of
        the models; share_tied: those with two equal values (rounding to float32 alone
        ties 4 of 10,000 normal records of 256 models).
      note: what follows, a sentence.
    """
    shape, distinct, is_tested = _measure(statistic, member_mask, patient_of_record)
    found: dict[str, Any] = dict.fromkeys(
        ("share_rejected", "share_skewed", "share_heavy_tailed")
    )
    if is_tested.any():
        n_in = member_mask.sum(0)[patient_of_record[is_tested]]
        counts = int(np.median(n_in)), int(np.median(len(statistic) - n_in))
        null = _null(*counts)
        for name, values, simulated in zip(found, shape, null, strict=True):
            p_value = _p_values(values[is_tested], simulated)
            is_rejected = multitest.multipletests(p_value, fdr, "fdr_bh")[0]
            found[name] = float(is_rejected.mean())
    saturated = distinct <= _SATURATED_SHARE * len(statistic)
    return {
        "share_rejected": found["share_rejected"],
        "num_records_tested": int(is_tested.sum()),
        "fdr": fdr,
        "share_saturated": float(saturated.mean()),
        "share_tied": float((distinct < len(statistic)).mean()),
        "share_skewed": found["share_skewed"],
        "share_heavy_tailed": found["share_heavy_tailed"],
        "note": _note(found["share_rejected"]),
    }


def _measure(statistic, member_mask, patient_of_record):
    """Shape and distinct values of every record, and which can be tested."""
    num_records = statistic.shape[1]
    shape = _Shape(*np.zeros((3, num_records)))
    distinct = np.empty(num_records, int)
    is_tested = np.empty(num_records, bool)
    for start in range(0, num_records, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        x = np.asarray(statistic[:, columns])
        ordered = np.sort(np.ascontiguousarray(x.T), axis=1)
        distinct[columns] = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
        member = member_mask[:, patient_of_record[columns]]
        found, is_tested[columns] = _shape(x.astype(np.float64), member)
        for values, chunk in zip(shape, found, strict=True):
            values[columns] = chunk
    return shape, distinct, is_tested


def _shape(x: np.ndarray, member: np.ndarray) -> tuple[_Shape, np.ndarray]:
    """Both sides of some records together, [models, records] each."""
    weight = member.astype(np.float64)
    skewness, kurtosis, usable = [], [], np.ones(x.shape[1], bool)
    n_in = weight.sum(0)
    for side, n in ((weight, n_in), (1 - weight, len(x) - n_in)):
        mean = np.einsum("mr,mr->r", x, side) / np.maximum(n, 1)
        e = (x - mean) * side
        squares = e * e
        m2 = squares.sum(0) / np.maximum(n, 1)
        m3 = np.einsum("mr,mr->r", squares, e) / np.maximum(n, 1)
        m4 = np.einsum("mr,mr->r", squares, squares) / np.maximum(n, 1)
        # Constant but for the rounding of the mean.
        varies = (n >= _FEWEST) & (np.sqrt(m2) > 1e-7 * np.abs(mean))
        n, m2 = np.where(varies, n, _FEWEST), np.where(varies, m2, 1)
        skewness.append(_z_skewness(m3 / m2**1.5, n))
        kurtosis.append(_z_kurtosis(m4 / m2**2, n))
        usable &= varies
    both = sum(z * z for z in (*skewness, *kurtosis))
    return _Shape(both, sum(z * z for z in skewness), sum(kurtosis)), usable


def _z_skewness(g: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Skewness as a normal deviate.

    Reference: D'Agostino 1970, https://doi.org/10.1093/biomet/57.3.679, equations 3-9.
    """
    y = g * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n * n + 27 * n - 70) * (n + 1) * (n + 3)
    beta = beta / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = np.sqrt(2 * (beta - 1)) - 1
    return np.arcsinh(y * np.sqrt((w2 - 1) / 2)) / np.sqrt(np.log(w2) / 2)


def _z_kurtosis(b: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Kurtosis (3 for a normal law) as a normal deviate.

    Reference: Anscombe & Glynn 1983, https://doi.org/10.1093/biomet/70.1.227.
    """
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (b - mean) / np.sqrt(variance)
    root = 6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9))
    root = root * np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / root * (2 / root + np.sqrt(1 + 4 / root**2))
    ratio = (1 - 2 / a) / np.abs(1 + x * np.sqrt(2 / (a - 4)))
    cube = np.sign(1 + x * np.sqrt(2 / (a - 4))) * np.cbrt(ratio)
    return (1 - 2 / (9 * a) - cube) / np.sqrt(2 / (9 * a))


@functools.lru_cache(maxsize=4)
def _null(n_in: int, n_out: int) -> _Shape:
    """The statistics of normal records, each sorted."""
    generator = rng.host(0, "gaussian check", n_in, n_out)
    size = _SIMULATED // _DRAWS
    member = np.repeat(np.arange(n_in + n_out)[:, None] < n_in, size, 1)
    parts = [
        _shape(generator.standard_normal(member.shape), member)[0]
        for _ in range(_DRAWS)
    ]
    return _Shape(*(np.sort(np.concatenate(values)) for values in zip(*parts)))


def _p_values(values: np.ndarray, simulated: np.ndarray) -> np.ndarray:
    """Share of simulated values that are as large, the record itself counted in."""
    larger = len(simulated) - np.searchsorted(simulated, values, side="left")
    return (larger + 1) / (len(simulated) + 1)


def _note(share: float | None) -> str:
    if share is None:
        return (
            "Not tested: eight models with and eight without the patient are needed,"
            " and a statistic that varies."
        )
    return (
        f"The statistic of {100 * share:.1f} % of the tested records is not normal"
        " within models with, or without, the patient. Proof of exposure does not rest"
        " on it; intervals and true-positive rates of single patients do."
    )
