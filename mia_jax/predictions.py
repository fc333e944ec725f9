"""The interface: predictions of many models, from this package or from anywhere.

A folder holds

    logits.npy       [models, records, outputs] or [models, records, views, outputs],
                     unnormalised; or, in its place,
    statistic.npy    [models, records] or [models, records, views], higher = more
                     confident in the record's label
    member_mask.npy  [models, records] bool, True = trained on
    labels.npy       [records] int, 0..classes-1
    records.csv      optional; one row per record, in order: `record`, `patient_id`,
                     and one column per group attribute; `mask_unit`, if patients
                     share masks (households)
    task.json        optional; {"task": "binary" or "multiclass", "title": ...,
                     "blocks": [models of each block], "design": ...}

Test records, which no model was trained on, are left out. Everything downstream needs
only these arrays; our own training writes the same folder (`write`).
"""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import results, scores, usefulness, validate

_DEFAULT_ABOUT = {"title": "", "design": "unknown", "unit": "patient"}


FEWEST_MODELS = checks.FEWEST


class Predictions(NamedTuple):
    """What attacks and risk need.

    Attributes:
      statistic: [models, records] float32; views are averaged.
      member_mask: [models, patients] bool.
      labels: [records] int32.
      record_ids: [records] str.
      patient_ids: [patients] str, in order of first appearance.
      patient_of_record: [records] int32.
      unit_of_patient: [patients] int32; patients of one unit share their mask.
      groups: one row per patient, a column per attribute.
      block_of_model: [models] int32; masks are balanced within a block.
      metrics: usefulness of the models: {"members": {"accuracy": ...}, ...}.
      about: what else is known: task, title, design, settings, seconds.
    """

    statistic: np.ndarray
    member_mask: np.ndarray
    labels: np.ndarray
    record_ids: np.ndarray
    patient_ids: np.ndarray
    patient_of_record: np.ndarray
    unit_of_patient: np.ndarray
    groups: pd.DataFrame
    block_of_model: np.ndarray
    metrics: dict[str, Any]
    about: dict[str, Any]


def read(folder: str | pathlib.Path) -> Predictions:
    """Reads and checks a folder of predictions.

    Raises:
      InputError: naming file, models, records or patients: a missing file, shapes that
        do not fit, NaN, probabilities given as logits, labels out of range, a patient
        both in and out of one model, a patient in (or out of) fewer than 3 models.
    """
    folder = pathlib.Path(folder)
    mask = checks.load(folder, "member_mask.npy")
    labels = checks.load(folder, "labels.npy")
    about = {**_DEFAULT_ABOUT, **_json(folder / "task.json")}
    values, is_logits = checks.load_values(folder)
    checks.shapes(values, is_logits, mask, labels)
    records = _records(folder, len(labels))
    labels = checks.labels(labels, values, is_logits, about)
    about.setdefault("task", _task(values, is_logits, labels))
    patient_of_record, patient_ids = pd.factorize(records["patient_id"])
    member_mask = checks.patient_mask(mask, patient_of_record, patient_ids)
    statistic = _statistic(values, is_logits, labels)
    measured = _json(folder / "metrics.json")
    return Predictions(
        statistic=statistic,
        member_mask=member_mask,
        labels=labels,
        record_ids=records["record"].to_numpy(str),
        patient_ids=np.asarray(patient_ids, str),
        patient_of_record=patient_of_record.astype(np.int32),
        unit_of_patient=checks.units(records, patient_of_record, member_mask),
        groups=checks.groups(records, patient_of_record, patient_ids),
        block_of_model=checks.blocks(about, member_mask),
        metrics=measured or _usefulness(values, is_logits, mask, labels, about["task"]),
        about=about,
    )


def fingerprint(given: Predictions) -> str:
    """sha256 of what was audited: statistic, masks, labels and patients."""
    digest = hashlib.sha256()
    for name in ("statistic", "member_mask", "labels", "patient_of_record"):
        array = np.ascontiguousarray(getattr(given, name))
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.view(np.uint8))
    return digest.hexdigest()


def seed(folder: str | pathlib.Path) -> int:
    """The seed of the run that a folder of predictions comes from; 0 if unknown."""
    about = _json(pathlib.Path(folder) / "task.json")
    return about.get("settings", {}).get("seed", 0)


def write(folder: pathlib.Path, arrays: dict[str, np.ndarray], **files: Any) -> None:
    """Writes a folder that `read` accepts.

    Args:
      folder: made if absent.
      arrays: by file name without ".npy": statistic, member_mask, labels.
      **files: records (a DataFrame), task and metrics (dicts).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        results.write_array(folder / f"{name}.npy", array)
    results.write_csv(folder / "records.csv", files["records"])
    for name in ("task", "metrics"):
        results.write_json(folder / f"{name}.json", files[name])


def _json(path: pathlib.Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:  # of text and of JSON
        raise validate.InputError(
            f"{path.name}: {error}", "must be JSON", "write it with a JSON library"
        ) from None
    validate.require(
        isinstance(found, dict),
        f"{path.name} holds a {type(found).__name__}",
        "must be a JSON object",
        'write it as {"task": "binary"}',
    )
    return found


def _records(folder: pathlib.Path, num_records: int) -> pd.DataFrame:
    """The table of records; without a file every record is a patient of its own."""
    path = folder / "records.csv"
    if path.exists():
        return checks.records_table(path, num_records)
    ids = np.arange(num_records).astype(str)
    return pd.DataFrame({"record": ids, "patient_id": ids})


def _task(values: np.ndarray, is_logits: bool, labels: np.ndarray) -> str:
    if is_logits:
        return "binary" if values.shape[-1] == 1 else "multiclass"
    return "binary" if labels.max() <= 1 else "multiclass"


def _statistic(values: np.ndarray, is_logits: bool, labels: np.ndarray) -> np.ndarray:
    """[models, records] float32, one model at a time, as `values` may be on disk."""
    out = np.empty(values.shape[:2], np.float32)
    for row, value in zip(out, values, strict=True):
        value = np.asarray(value, np.float32)
        if is_logits:
            own = (
                labels if value.ndim == 2 else np.tile(labels[:, None], value.shape[1])
            )
            value = np.asarray(scores.statistic(value, own))
        row[:] = value if value.ndim == 1 else value.mean(1)
    return out


def _usefulness(values, is_logits, mask, labels, task) -> dict[str, Any]:
    """Usefulness on members and left-out records, where the values tell it."""
    if not is_logits and task != "binary":
        return {}
    per_model = []
    for value, member in zip(values, mask, strict=True):
        member = np.asarray(member, bool)
        logits = _logits(np.asarray(value, np.float64), is_logits, labels, task)
        sets = {"members": member, "left_out": ~member}
        per_model.append(usefulness.of_model(logits, labels, task, sets))
    return usefulness.summarise(per_model)


def _logits(value, is_logits: bool, labels: np.ndarray, task: str) -> np.ndarray:
    """[records, outputs] of one model: views averaged, one output for "binary"."""
    if not is_logits:  # a binary statistic is the logit with the label's sign
        sign = np.where(labels == 1, 1.0, -1.0)
        value = (value.T * sign).T[..., None]
    if value.ndim == 3:
        value = value.mean(1)
    if task == "binary" and value.shape[1] == 2:
        return value[:, 1:] - value[:, :1]
    return value
