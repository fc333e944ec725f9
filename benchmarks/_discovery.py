"""Proven patients on planted cohorts: how many of the exposed, how many by mistake.

A cohort has 3,000 patients, of whom 2 % are planted: every record of theirs is raised
in the models trained on them, so much that the best attack has the AUC .8. Statistics
are normal, a patient's records correlated by .3. With a shock every model adds a number
of its own, N(0, 1), to all patients: times .5 to 1.5, drawn once for every record, so
that it is not the same for all.

The whole test is that of an audit with its default settings (`patients.audit`). "Mean
kept" tests the same cohort without removing the models' means. Cohorts without a leak
are drawn anew, and say how often anybody is proven where nobody is exposed.
"""

import argparse
import itertools
import math
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _joint, _report
from mia_jax import masks
from mia_jax.risk import multiplicity, patients

_NUM_PATIENTS = 3000
_PLANTED = 0.02
_AUC = 0.8
_RHO = 0.3
_LOADINGS = 0.5, 1.5
_LEVEL = 0.05
_METHODS = ("bh", "holm", "storey")
_SHOCKS = {"none": 0.0, "1 sd": 1.0}


class Kind(NamedTuple):
    """What cohorts of one row have in common."""

    models: int
    records: int
    shock: str


class Cohort(NamedTuple):
    """What `patients.audit` takes, in this order."""

    statistic: np.ndarray
    member_mask: np.ndarray
    patient_of_record: np.ndarray
    block_of_model: np.ndarray


def planted(args: argparse.Namespace) -> dict[str, Any]:
    """Shares of planted patients found and of false discoveries, for every kind."""
    num_patients = args.patients or _NUM_PATIENTS
    models, num_cohorts = args.models, args.cohorts
    if args.quick:
        num_patients, models, num_cohorts = 300, [64], 2
    begin, rows = time.perf_counter(), []
    for kind in itertools.starmap(
        Kind, itertools.product(models, args.records, _SHOCKS)
    ):
        runs = [measure(kind, num_patients, seed) for seed in range(num_cohorts)]
        rows.append({**kind._asdict(), **_collected(runs)})
    title = (
        f"**Discovery at level {_LEVEL}**; {num_patients:,} patients, {_PLANTED:.0%}"
        f" planted with AUC {_AUC}; {num_cohorts} cohorts a row, as many without a"
        f" leak; {time.perf_counter() - begin:.0f} s"
    )
    _show(title, rows)
    _show_total(rows)
    return {"num_patients": num_patients, "cohorts": num_cohorts, "rows": rows}


def draw(kind: Kind, num_patients: int, seed: int, is_leaky: np.ndarray) -> Cohort:
    """A cohort whose patients `is_leaky` [patients] are planted."""
    generator = np.random.default_rng([seed, *_numbers(kind)])
    shape = kind.models, num_patients, kind.records
    mask = masks.draw(kind.models, num_patients, int(generator.integers(2**31)), 0)
    x = math.sqrt(1 - _RHO) * generator.standard_normal(shape, np.float32)
    x += math.sqrt(_RHO) * generator.standard_normal((*shape[:2], 1), np.float32)
    loading = generator.uniform(*_LOADINGS, shape[1:]).astype(np.float32)
    shock = generator.standard_normal((kind.models, 1, 1), np.float32)
    x += np.float32(_SHOCKS[kind.shock]) * shock * loading
    shift = _joint.common_shift(_AUC, _RHO, kind.records)
    x += np.float32(shift) * (mask & is_leaky)[..., None]
    record = np.repeat(np.arange(num_patients), kind.records)
    block = np.zeros(kind.models, np.int32)
    return Cohort(x.reshape(kind.models, -1), mask, record, block)


def _numbers(kind: Kind) -> tuple[int, int, int]:
    return kind.models, kind.records, list(_SHOCKS).index(kind.shock)


def measure(kind: Kind, num_patients: int, seed: int) -> dict[str, float]:
    """One cohort with planted patients, and one without."""
    is_leaky = np.arange(num_patients) < round(_PLANTED * num_patients)
    cohort = draw(kind, num_patients, 2 * seed, is_leaky)
    risk = patients.audit(*cohort, fdr=_LEVEL)
    found = {
        "auc": float(risk.auc_mask_free[is_leaky].mean()),
        "pair_auc": float(risk.auc[is_leaky].mean()),
    }
    for name, q in zip(_METHODS, (risk.q_value, risk.p_holm, risk.q_storey)):
        is_found = q <= _LEVEL
        num_false = int((is_found & ~is_leaky).sum())
        found[f"{name}_found"] = float(is_found[is_leaky].mean())
        found[f"{name}_false"] = num_false / max(int(is_found.sum()), 1)
    if _SHOCKS[kind.shock]:
        kept = _adjusted(cohort, "kept").bh <= _LEVEL
        found["kept_found"] = float(kept[is_leaky].mean())
    null = _adjusted(draw(kind, num_patients, 2 * seed + 1, np.zeros_like(is_leaky)))
    for name in _METHODS:
        found[f"{name}_null"] = float((getattr(null, name) <= _LEVEL).any())
    return found


def _adjusted(cohort: Cohort, model_mean: str = "removed") -> multiplicity.Adjusted:
    """The p-values of `patients.audit`, without the AUCs that it measures as well."""
    design_of = cohort.patient_of_record, cohort.block_of_model
    z = patients.scores(cohort.statistic, *design_of, model_mean=model_mean)
    return multiplicity.adjust(patients.test(z, cohort.member_mask, *design_of).p_value)


def _collected(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [run[name] for run in runs] for name in runs[0]}


def _pooled(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The cohorts of several rows together."""
    names = [name for name in rows[0] if name.endswith(("_false", "_null"))]
    return {name: list(itertools.chain(*(r[name] for r in rows))) for name in names}


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.2f}"


def _with_error(values: list[float]) -> str:
    """Mean over cohorts and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} ({error:.3f})"


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    header = [
        *("models", "records", "shock", "AUC of planted, by pairs"),
        *("BH: found", "mean kept", "FDP (s.e.)", "Holm: found", "any false"),
        *("Storey: found", "FDP (s.e.)", "no leak: any proven"),
    ]
    cells = [
        [
            *(str(row[name]) for name in Kind._fields),
            f"{np.mean(row['auc']):.3f}, {np.mean(row['pair_auc']):.3f}",
            _mean(row["bh_found"]),
            _mean(row["kept_found"]) if "kept_found" in row else "-",
            _with_error(row["bh_false"]),
            _mean(row["holm_found"]),
            _mean(np.sign(row["holm_false"])),
            _mean(row["storey_found"]),
            _with_error(row["storey_false"]),
            f"{sum(row['bh_null']):.0f} of {len(row['bh_null'])}",
        ]
        for row in rows
    ]
    _report.table(title, header, cells)


def _show_total(rows: list[dict[str, Any]]) -> None:
    """Error rates over all rows of a size, as single rows have too few cohorts."""
    sizes = sorted({row["models"] for row in rows})
    cells = []
    for name, chosen in [*((str(size), [size]) for size in sizes), ("all", sizes)]:
        runs = _pooled([row for row in rows if row["models"] in chosen])
        cells.append(
            [
                name,
                str(len(runs["bh_null"])),
                _with_error(runs["bh_false"]),
                _with_error(runs["storey_false"]),
                _with_error(np.sign(runs["holm_false"])),
                *(_with_error(runs[f"{method}_null"]) for method in _METHODS),
            ]
        )
    header = [
        *("models", "cohorts", "BH: FDP", "Storey: FDP", "Holm: any false"),
        *(f"no leak, any proven: {name}" for name in ("BH", "Holm", "Storey")),
    ]
    _report.table("Error rates over all rows, mean (s.e.)", header, cells)
