"""Stage 3: attacks predictions; measures risk of records, patients and groups."""

import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import threadpoolctl
from absl import logging

from mia_jax import (
    config,
    leave_one_out,
    metrics,
    predictions,
    provenance,
    results,
)
from mia_jax.risk import design, distribution, groups, null_check, patients, records
from mia_jax.stages import curves, summary

# Step ROC curves are drawn on this grid of false-positive rates.
FPR_GRID = np.r_[0.0, np.geomspace(1e-4, 1.0, 81)]
FPRS = (0.001, 0.01, 0.1)
# Fewer false alarms than this say nothing about a rate.
_FEWEST_FALSE_ALARMS = 10


class Found(NamedTuple):
    """Everything the attack stage measured.

    Attributes:
      given: the predictions.
      fdr: false-discovery rate of "proven".
      seed: of permuted masks and resampling.
      aucs: [models] float64, attack AUC of each target model over records.
      roc: tpr median, low and high on `FPR_GRID`.
      tpr: false-positive rate -> [models] true-positive rates, or None: too few
        non-members.
      risk: of every patient.
      record_risk: of every record.
      auc_max_record: [patients] the largest record AUC of each patient.
      groups: table of groups.
      true_risk: denoised distribution of the true AUC.
      is_denoised: whether it rests on enough patients and models to be printed.
      null: the patient test on permuted masks.
    """

    given: predictions.Predictions
    fdr: float
    seed: int
    aucs: np.ndarray
    roc: tuple[np.ndarray, np.ndarray, np.ndarray]
    tpr: dict[float, np.ndarray | None]
    risk: patients.PatientRisk
    record_risk: records.RecordRisk
    auc_max_record: np.ndarray
    groups: pd.DataFrame
    true_risk: distribution.Distribution
    is_denoised: bool
    null: null_check.Null


def run(
    source: pathlib.Path,
    folder: pathlib.Path,
    attack: config.Plugin,
    fdr: float = 0.05,
    seed: int = 0,
) -> dict[str, Any]:
    """Audits a folder of predictions.

    Args:
      source: folder in the layout of `predictions.py`.
      folder: made if absent; gets scores.npy, summary.json, the pickles and tables.
      attack: for the pooled ROC curve; patients are always tested jointly over records.
      fdr: false-discovery rate of "proven".
      seed: of permuted masks and of resampling.

    Returns:
      The summary, as in summary.json.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "attack"):
        given = _with_pairs(predictions.read(source))
        folder.mkdir(parents=True, exist_ok=True)
        pooled = _pooled(given, _scores(given, folder, attack))
    # Small matrix products gain nothing from BLAS threads, and on a busy machine their
    # spinning makes them ten times slower.
    with _timed(seconds, "risk"), threadpoolctl.threadpool_limits(1, "blas"):
        found = Found(given, fdr, seed, *pooled, *_risk(given, fdr, seed))
        facts = provenance.collect()
        content = summary.build(found, attack, facts)
    # Training counts the wall time of every worker.
    names = {"train": "train_seconds", "score": "score_seconds"}
    before = {k: given.about[v] for k, v in names.items() if v in given.about}
    content["wall_seconds"] = {**before, **seconds}
    _write(folder, found, content, facts)
    return content


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 2)


def _with_pairs(given: predictions.Predictions) -> predictions.Predictions:
    """Takes complementary pairs of models as blocks of two: the exact test needs it."""
    pair = design.detect_pairs(given.member_mask)
    if pair is None:
        return given
    logging.info("models come in pairs with opposite masks: each pair is a block")
    about = {**given.about, "design": "complementary pairs"}
    return given._replace(block_of_model=pair.astype(np.int32), about=about)


def _scores(given, folder: pathlib.Path, attack: config.Plugin) -> np.ndarray:
    """Leave-one-out scores of every model and record; also in `scores.npy`."""
    scores = leave_one_out.scores(
        config.find("attacks", attack.name),
        given.statistic,
        given.member_mask,
        given.patient_of_record,
        **attack.options,
    )
    results.write_array(folder / "scores.npy", scores)
    return scores


def _pooled(given, scores: np.ndarray) -> tuple[Any, ...]:
    """AUC and ROC curve of each target model over all records."""
    member = given.member_mask[:, given.patient_of_record]
    # A model trained on everybody, or on nobody, is no target of a pooled curve.
    has_both = member.any(1) & ~member.all(1)
    scores, member = scores[has_both], member[has_both]
    fewest = (~member).sum(1).min(initial=len(given.labels))
    points = {}
    for fpr in FPRS:
        rows = zip(scores, member, strict=True)
        is_few = not len(scores) or fpr * fewest < _FEWEST_FALSE_ALARMS
        values = None if is_few else [metrics.tpr_at_fpr(*row, fpr) for row in rows]
        points[fpr] = None if values is None else np.array(values)
    nothing = (np.full(len(FPR_GRID), np.nan),) * 3
    roc = metrics.roc_band(scores, member, FPR_GRID) if len(scores) else nothing
    return metrics.aucs_by_model(scores, member), roc, points


def _risk(given, fdr: float, seed: int) -> tuple[Any, ...]:
    """Risk of patients, records and groups, and the same test where nothing leaks."""
    arrays = given.statistic, given.member_mask, given.patient_of_record
    units = given.unit_of_patient
    risk = patients.audit(*arrays, given.block_of_model, fdr, units)
    record_risk = records.audit(*arrays, given.block_of_model)
    largest = records.largest(record_risk.auc, given.patient_of_record)
    null = null_check.run(*arrays, given.block_of_model, units, fdr, seed)
    counts = design.typical_counts(given.member_mask, given.block_of_model)
    is_denoised = distribution.is_reportable(len(risk.auc), *counts)
    true_risk = distribution.fit(risk.auc_mask_free, *counts, seed=seed)
    by_group = groups.table(
        given.groups, risk.is_proven, risk.auc_mask_free, *counts, seed=seed
    )
    return risk, record_risk, largest, by_group, true_risk, is_denoised, null


def _write(
    folder, found: Found, content: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Pickles with provenance, the same tables as CSV, and summary.json."""
    origin = {
        key: content[key] for key in ("seed", "data_fingerprint", "attack", "date")
    }
    origin |= {**facts, "settings": found.given.about.get("settings", {})}
    patient_table = _patient_table(found)
    tables = {
        "records": _record_table(found),
        "patients": patient_table,
        "groups": found.groups,
    }
    for name, table in tables.items():
        named = {"schema": f"mia_jax.{name}/1", "table": table, "provenance": origin}
        results.save(folder / f"{name}.pkl", named)
        results.write_csv(folder / "tables" / f"{name}.csv", table)
    drawn = {"tables": _curves(found, patient_table), "provenance": origin}
    results.save(folder / "curves.pkl", {"schema": "mia_jax.curves/1", **drawn})
    results.write_json(folder / "summary.json", content)


def _patient_table(found: Found) -> pd.DataFrame:
    columns = dict(found.risk._asdict())
    columns = {"patient_id": found.given.patient_ids, **columns}
    columns["auc_max_record"] = found.auc_max_record
    return pd.concat([pd.DataFrame(columns), found.given.groups], axis=1)


def _record_table(found: Found) -> pd.DataFrame:
    given = found.given
    return pd.DataFrame(
        {
            "record": given.record_ids,
            "patient_id": given.patient_ids[given.patient_of_record],
            "label": given.labels,
            "auc": found.record_risk.auc,
            "auc_se": found.record_risk.auc_se,
        }
    )


def _curves(found: Found, patient_table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    auc, null_auc = found.risk.auc, found.null.auc
    return {
        "roc": curves.roc(FPR_GRID, found.roc),
        "survival": curves.survival(auc, null_auc),
        "denoised": curves.denoised(found.true_risk, found.is_denoised),
        "histogram": curves.histogram(auc, found.risk.is_proven, null_auc),
        "by_num_records": curves.by_num_records(patient_table, null_auc),
        "max_record": curves.max_record(
            found.auc_max_record, found.null.auc_max_record
        ),
    }
