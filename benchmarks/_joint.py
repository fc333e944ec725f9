"""Joint scores of a patient's records: mean AUC and power on planted cohorts.

Statistics of 128 models are normal (or t4) with one common factor over a patient's
records. "all": every record leaks alike, so much that the best attack on normal records
of equal noise has the AUC .75. "one": a single record leaks, 1.2 standard deviations.
"unequal noise": the leak is that of "all", the noise of a record exp(.5 N(0, 1)) of it.
"IN sd .7": members also vary less.

Power is measured at half the leak, as at the full one nearly all patients are found:
the share of patients above the .99 quantile of the same score in a cohort of the same
kind without a leak. The exact test needs no such cohort: its p-value is at most .01.
"""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from benchmarks import _report
from mia_jax import masks, predictions
from mia_jax.risk import leave_pair_out, patients

_NUM_MODELS = 128
_NUM_PATIENTS = 2000  # a cohort
_LEVEL = 0.01
_IDEAL = 0.75  # AUC of the best attack where all records leak
_ONE_RECORD = 1.2
_UNEQUAL = 0.5  # sd of the log of a record's noise

SCORES: dict[str, dict[str, Any]] = {
    "sum": {"score": "sum"},
    "llr, shrunk (default)": {"variance": "shrunk"},
    "llr, own": {"variance": "own"},
    "llr, pooled": {"variance": "pooled"},
    "lda": {"score": "lda"},
    "selected record": {"score": "selected"},
}


class Kind(NamedTuple):
    """A planted cohort.

    Attributes:
      rho: correlation of a patient's records.
      is_single: one record leaks; else all of them alike.
      noise: sd over records of the log of the noise.
      sd_in: noise of members over that of others.
      df: degrees of freedom of the noise; inf: normal.
    """

    rho: float = 0.3
    is_single: bool = False
    noise: float = 0.0
    sd_in: float = 1.0
    df: float = np.inf


KINDS = {
    "all, rho 0": Kind(rho=0.0),
    "all, rho .5": Kind(rho=0.5),
    "one, rho 0": Kind(rho=0.0, is_single=True),
    "one, rho .5": Kind(rho=0.5, is_single=True),
    "unequal noise": Kind(noise=_UNEQUAL),
    "IN sd .7": Kind(sd_in=0.7),
    "t4": Kind(df=4.0),
}


class Cohort(NamedTuple):
    """What is audited: z [models, records], mask [models, patients], indices."""

    z: np.ndarray
    member_mask: np.ndarray
    patient_of_record: np.ndarray
    block_of_model: np.ndarray


def planted(args: argparse.Namespace) -> dict[str, Any]:
    """Mean AUC and power by number of records, kind of cohort and score."""
    num_patients = 50 if args.quick else args.patients or _NUM_PATIENTS
    found = {}
    for k in [3] if args.quick else args.records:
        begin = time.perf_counter()
        found[k] = {
            name: compare(kind, k, num_patients) for name, kind in KINDS.items()
        }
        show(k, num_patients, found[k], time.perf_counter() - begin)
    return found


def draw(kind: Kind, k: int, num_patients: int, leak: float, seed: int) -> Cohort:
    """A cohort of one kind: k records a patient; leak 1 = full, 0 = none."""
    generator = np.random.default_rng([seed, k])
    shape = _NUM_MODELS, num_patients, k
    mask = masks.draw(_NUM_MODELS, num_patients, seed, 0)
    x = np.sqrt(1 - kind.rho) * generator.standard_normal(shape, np.float32)
    x += np.sqrt(kind.rho) * generator.standard_normal((*shape[:2], 1), np.float32)
    if np.isfinite(kind.df):  # one draw for all records of a patient: multivariate t
        x /= np.sqrt(generator.chisquare(kind.df, (*shape[:2], 1)) / kind.df)
    x *= np.exp(kind.noise * generator.standard_normal(shape[1:], np.float32))
    sd_in = 1 + leak * (kind.sd_in - 1)
    x *= np.where(mask, np.float32(sd_in), np.float32(1))[..., None]
    x += mask[..., None] * np.float32(leak) * shift(kind, k)
    z = patients.standardise(x.reshape(_NUM_MODELS, -1))
    record = np.repeat(np.arange(num_patients), k)
    return Cohort(z, mask, record, np.zeros(_NUM_MODELS, np.int32))


def shift(kind: Kind, k: int) -> np.ndarray:
    """[k] what membership adds, in sd of a record's noise."""
    if kind.is_single:
        return np.r_[_ONE_RECORD, np.zeros(k - 1)].astype(np.float32)
    return np.full(k, common_shift(_IDEAL, kind.rho, k), np.float32)


def common_shift(auc: float, rho: float, k: int) -> float:
    """What membership adds to each of k records so that the best attack has an AUC.

    Equal normal noise of sd 1, correlation rho: the squared distance of IN and OUT over
    all records is s^2 1' R^-1 1 = s^2 k / (1 + (k - 1) rho), and AUC = Phi(it / sqrt 2)
    of the distance.
    """
    distance = np.sqrt(2) * scipy.special.ndtri(auc)
    return float(distance * np.sqrt((1 + (k - 1) * rho) / k))


def compare(kind: Kind, k: int, num_patients: int) -> dict[str, dict[str, float]]:
    """Mean AUC and power of every score, and of the exact test."""
    leaky = draw(kind, k, num_patients, 1.0, 0)
    weak = draw(kind, k, num_patients, 0.5, 1)
    # The .99 quantile moves the power: its null gets four times the patients.
    null = draw(kind, k, 4 * num_patients, 0.0, 2)
    found = {}
    for name, options in SCORES.items():
        full, half, no = (
            leave_pair_out.auc(*cohort, **options) for cohort in (leaky, weak, null)
        )
        found[name] = {
            "auc": float(full.mean()),
            "null_auc": float(no.mean()),
            "power": float(np.mean(half > np.quantile(no, 1 - _LEVEL))),
        }
    p_value = patients.audit(*weak).p_value
    found["exact test"] = {"power": float(np.mean(p_value <= _LEVEL))}
    return found


def show(k: int, num_patients: int, found: dict[str, Any], seconds: float) -> None:
    """Prints mean AUC and power of one number of records."""
    cell = lambda one: (
        f"{one['auc']:.3f} / {one['power']:.2f}"
        if "auc" in one
        else f"- / {one['power']:.2f}"
    )
    rows = [
        [name, *(cell(found[kind][name]) for kind in KINDS)]
        for name in (*SCORES, "exact test")
    ]
    title = (
        f"**Records a patient: {k}**; mean AUC / power at half the leak and level"
        f" {_LEVEL}; {num_patients:,} patients, {seconds:.0f} s"
    )
    _report.table(title, ["score", *KINDS], rows)


def measured(given: predictions.Predictions) -> dict[str, dict[str, float]]:
    """The scores on a run, as it is audited: AUC, share above .7, correlation."""
    design_of = given.patient_of_record, given.block_of_model
    unit = given.unit_of_patient
    z = patients.scores(given.statistic, *design_of, unit)
    arrays = z, given.member_mask, *design_of
    aucs = {
        name: leave_pair_out.auc(*arrays, unit_of_patient=unit, **options)
        for name, options in SCORES.items()
    }
    default = aucs["llr, shrunk (default)"]
    found = {
        name: {
            "auc": float(auc.mean()),
            "share_above_.7": float(np.mean(auc > 0.7)),
            "correlation": float(np.corrcoef(auc, default)[0, 1]),
        }
        for name, auc in aucs.items()
    }
    title = f"**{given.about['title']}**, {len(z)} models, {len(default):,} patients"
    rows = [
        [name, f"{auc:.4f}", f"{100 * share:.2f} %", f"{correlation:.3f}"]
        for name, (auc, share, correlation) in (
            (name, one.values()) for name, one in found.items()
        )
    ]
    header = ["score", "mean AUC", "share above .7", "correlation with the default"]
    _report.table(title, header, rows)
    return found
