"""The interface: predictions of many models, from this package or from anywhere.

Everything downstream needs only arrays: logits or a statistic, a member mask, labels,
the patient of every record. `read` takes them from a folder in any known layout
(mia_jax/layouts, docs/predictions.md), `from_arrays` from memory; both check every line
of the contract. Test records, which no model was trained on, are left out. Our own
training writes a folder of the native layout (`write`, `save`).
"""

import hashlib
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import layouts, results, scores, usefulness, validate
from mia_jax.layouts import _files, _records

_DEFAULT_ABOUT = {"title": "", "design": "unknown", "unit": "patient"}
_NAMES = checks.Names()

FEWEST_MODELS = checks.FEWEST


class Predictions(NamedTuple):
    """What attacks and risk need.

    Attributes:
      statistic: [models, records] float32; mean over views, joint over labels.
      member_mask: [models, patients] bool.
      labels: [records] int32; for "multilabel" [records, labels], 0 or 1.
      record_ids: [records] str.
      patient_ids: [patients] str, in order of first appearance.
      patient_of_record: [records] int32.
      unit_of_patient: [patients] int32; patients of one unit share their mask.
      groups: one row per patient, a column per attribute.
      block_of_model: [models] int32; masks are balanced within a block.
      metrics: usefulness of the models: {"members": {"accuracy": ...}, ...}.
      about: what else is known: task, title, design, settings, seconds.
      channels: [models, records, channels] float32, the statistic of every view or
        label (may be mapped into memory); None if there is only one.
      channel_kind: "views", "labels" or None.
      features: [records, features] float32, or None.
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
    channels: np.ndarray | None = None
    channel_kind: str | None = None
    features: np.ndarray | None = None


def read(folder: str | pathlib.Path, fewest: int = FEWEST_MODELS) -> Predictions:
    """Reads and checks a folder of predictions, in any known layout.

    Args:
      folder: of predictions.
      fewest: models that every patient must be in, and out of.

    Raises:
      InputError: see `from_arrays`; or a folder of no known layout.
    """
    folder = pathlib.Path(folder)
    export = layouts.find(folder).load(folder)
    return from_arrays(**export._asdict(), fewest=fewest)


def from_arrays(
    values: Any,
    member_mask: np.ndarray,
    labels: np.ndarray,
    records: pd.DataFrame | None = None,
    *,
    is_logits: bool = True,
    about: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    features: np.ndarray | None = None,
    names: checks.Names = _NAMES,
    fewest: int = FEWEST_MODELS,
) -> Predictions:
    """Checks arrays in memory, or mapped into it.

    Args: as `layouts.Export` describes them, and
      fewest: models that every patient must be in, and out of.

    Raises:
      InputError: naming file or argument, models, records or patients: shapes that do
        not fit, NaN, probabilities given as logits or rounded on their way, labels out
        of range, a patient both in and out of one model, a patient in (or out of) too
        few models.
    """
    about = {**_DEFAULT_ABOUT, **(about or {})}
    checks.shapes(values, is_logits, member_mask, labels, names)
    task = checks.task(about, values, is_logits, labels, names)
    checks.finite(values, names)
    checks.no_probabilities(values, is_logits, task, names)
    table = _records.records(records, len(labels), names)
    labels = checks.labels(labels, values, is_logits, task, names)
    patient_of_record, patient_ids = pd.factorize(table["patient_id"])
    mask = _records.patient_mask(
        member_mask, patient_of_record, patient_ids, fewest, names
    )
    statistic, channels = _statistic(values, is_logits, labels, task)
    kind = "labels" if task == "multilabel" else "views"
    about["task"] = task
    return Predictions(
        statistic=statistic,
        member_mask=mask,
        labels=labels,
        record_ids=table["record"].to_numpy(str),
        patient_ids=np.asarray(patient_ids, str),
        patient_of_record=patient_of_record.astype(np.int32),
        unit_of_patient=_records.units(table, patient_of_record, mask, names),
        groups=_records.groups(table, patient_of_record, patient_ids, names),
        block_of_model=_records.blocks(about, mask, names),
        metrics=metrics or _usefulness(values, is_logits, member_mask, labels, task),
        about=about,
        channels=channels,
        channel_kind=None if channels is None else kind,
        features=checks.features(features, len(labels), names),
    )


def fingerprint(given: Predictions) -> str:
    """sha256 of what was audited: statistic, masks, labels and patients."""
    digest = hashlib.sha256()
    names = ("statistic", "member_mask", "labels", "patient_of_record")
    optional = [n for n in ("channels", "features") if getattr(given, n) is not None]
    for name in (*names, *optional):
        array = getattr(given, name)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for row in array:  # may be on disk
            digest.update(np.ascontiguousarray(row).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def seed(folder: str | pathlib.Path) -> int:
    """The seed of the run that a folder of predictions comes from; 0 if unknown."""
    about = _files.read_json(pathlib.Path(folder) / "task.json")
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


def save(folder: pathlib.Path, given: Predictions) -> None:
    """Writes predictions so that `read` gives them back, in place of older ones.

    Raises:
      InputError: if the folder holds logits.npy, which `read` would take instead.
    """
    validate.require(
        not (folder / "logits.npy").exists(),
        f"{folder / 'logits.npy'} is there already",
        "predictions are written as statistic.npy beside it",
        "choose another workdir, or move the file",
    )
    values = given.statistic if given.channels is None else given.channels
    if given.labels.ndim == 2 and values.ndim == 2:
        values = values[..., None]  # a multilabel task of one label
    arrays = {"statistic": values, "labels": given.labels}
    arrays["member_mask"] = given.member_mask[:, given.patient_of_record]
    (folder / "features.npy").unlink(missing_ok=True)
    if given.features is not None:
        arrays["features"] = given.features
    columns = {
        "record": given.record_ids,
        "patient_id": given.patient_ids[given.patient_of_record],
    }
    if not np.array_equal(given.unit_of_patient, np.arange(len(given.patient_ids))):
        columns["mask_unit"] = given.unit_of_patient[given.patient_of_record]
    groups = given.groups.iloc[given.patient_of_record].reset_index(drop=True)
    records = pd.concat([pd.DataFrame(columns), groups], axis=1)
    write(folder, arrays, records=records, task=given.about, metrics=given.metrics)


def _statistic(
    values: Any, is_logits: bool, labels: np.ndarray, task: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """([models, records], [models, records, channels] or None) float32.

    One model at a time, as `values` may be on disk. A statistic that has its channels
    already is not copied.
    """
    out, channels = np.empty(values.shape[:2], np.float32), None
    is_ready = not is_logits and values.ndim == 3 and values.dtype == np.float32
    for model, value in enumerate(values):
        value = _confidence(value, is_logits, labels, task)
        if value.ndim == 1:
            out[model] = value
            continue
        out[model] = scores.joint(value) if task == "multilabel" else value.mean(1)
        if value.shape[1] > 1 and not is_ready:
            if channels is None:
                channels = np.empty((*out.shape, value.shape[1]), np.float32)
            channels[model] = value
    if is_ready and values.shape[2] > 1:
        channels = values
    return out, channels


def _confidence(value, is_logits: bool, labels: np.ndarray, task: str) -> np.ndarray:
    """[records(, views or labels)] float32 of one model; views of labels averaged."""
    value = np.asarray(value, np.float32)
    if is_logits:
        has_views = value.ndim == 3
        own = labels
        if has_views:
            own = np.broadcast_to(
                labels[:, None], (*value.shape[:2], *labels.shape[1:])
            )
        if task == "multilabel":
            value = np.asarray(scores.per_label(value, own))
            return value.mean(1) if has_views else value
        value = np.asarray(scores.statistic(value, own, task))
    return value


def _usefulness(values, is_logits, mask, labels, task) -> dict[str, Any]:
    """Usefulness on members and left-out records, where the values tell it."""
    if not is_logits and task == "multiclass":
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
    if not is_logits:  # a statistic of sigmoids is the logit with the label's sign
        sign = np.where(labels == 1, 1.0, -1.0)
        if task == "multilabel":
            return value * sign
        value = (value.T * sign).T[..., None]
    if value.ndim == 3:
        value = value.mean(1)
    if task == "binary" and value.shape[1] == 2:
        return value[:, 1:] - value[:, :1]
    return value
