"""Audit of predictions that lie in a notebook's arrays, or in exported tables."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mia_jax import _prediction_checks as checks
from mia_jax import predictions, validate
from mia_jax.layouts import tables
from mia_jax.notebook import _people, _run, result

_NAMES = checks.Names(
    values="z",
    member_mask="in_train",
    labels="y_true",
    records="sensitive_features",
    task="task",
    blocks="blocks",
    features="features",
)


def audit_predictions(
    z: Any,
    in_train: Any,
    y_true: Any,
    groups: Any = None,
    sensitive_features: Any = None,
    attacks: Iterable[str | Mapping[str, Any]] = ("lira",),
    task: str | None = None,
    workdir: str | pathlib.Path | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    *,
    record_ids: Any = None,
    features: Any = None,
    blocks: Iterable[int] | None = None,
    title: str = "",
    **risk: Any,
) -> result.Result:
    """Measures every patient's membership risk from predictions of many models.

    Args:
      z: [models, records], [models, records, outputs] or [models, records, views,
        outputs] float logits, before softmax or sigmoid, with all their digits.
      in_train: which model was trained on whom, True or 1: a DataFrame [models,
        patients] whose columns are patient ids, or an array [models, patients]
        (patients in the order of sorted ids, if they also appear in it) or [models,
        records].
      y_true: [records] class numbers in the order of the outputs; or [records, labels]
        0 or 1 for a multilabel task.
      groups: [records] patient of every record; None = every record is a patient.
      sensitive_features: groups whose risk is compared: one row per patient, with the
        ids as index, or one row per record.
      attacks: names, or {"name": ..., option: value}; the first is the report's.
      task: "binary", "multiclass" or "multilabel"; None = by the shapes.
      workdir: folder to write to, as `experiments.attack` does; None = a temporary one
        that goes with the result (see `Result.save`).
      fdr: false-discovery rate of proven patients.
      seed: of permuted masks and resampling.
      record_ids: [records] names of the records; None = their numbers.
      features: [records, features] for attacks that regress on them.
      blocks: models of each block of masks, in order; None = one block.
      title: what the report calls the data.
      **risk: other fields of `config.RiskSettings`.

    Returns:
      The result.

    Raises:
      InputError: naming argument, models, records or patients: ids on one side only, a
        patient both in and out of one model, never in or never out, probabilities in
        place of logits, NaN, shapes that do not fit.
    """
    chosen, settings = _run.plugins("attacks", attacks), _run.risk(fdr, risk)
    _people.same_index(y_true=y_true, groups=groups)
    labels, values = np.asarray(y_true), _array(z)
    patients = _people.ids(groups, len(labels))
    by_record = _people.sensitive(sensitive_features, patients, groups)
    about = {"task": task, "title": title, "blocks": blocks and list(blocks)}
    given = predictions.from_arrays(
        values,
        _people.in_train(in_train, patients, groups),
        labels,
        _people.records_table(record_ids, patients, by_record),
        about={key: value for key, value in about.items() if value},
        features=None if features is None else np.asarray(features),
        names=_NAMES,
    )
    folder = result.workdir(workdir)
    predictions.save(folder / "predictions", given)
    return _run.attacked(folder, chosen, settings, seed, workdir is None)


def read_tables(folder: str | pathlib.Path) -> dict[str, Any]:
    """The arguments of `audit_predictions` from a folder of exported tables.

        result = mia_jax.audit_predictions(**mia_jax.read_tables("export/"))

    Args:
      folder: records, patients, logits, members as .csv or .parquet; see
        mia_jax/layouts/tables.py.

    Returns:
      z, in_train [models, records], y_true, groups, sensitive_features, record_ids,
      and task, title, blocks where task.json names them.
    """
    folder = pathlib.Path(folder)
    validate.require(
        folder.is_dir() and tables.is_layout(folder),
        f"{folder} holds no logits.csv",
        "tables are records, logits, members and patients, as .csv or .parquet",
        "export them as docs/predictions.md shows",
    )
    export = tables.load(folder)
    values, table = export.values, export.records
    groups = table.drop(columns=["record", "patient_id"])
    known = ("task", "title", "blocks")
    return {
        "z": values if isinstance(values, np.ndarray) else np.stack(list(values)),
        "in_train": export.member_mask,
        "y_true": export.labels,
        "groups": table["patient_id"],
        "sensitive_features": groups if len(groups.columns) else None,
        "record_ids": table["record"].to_numpy(str),
        **{name: export.about[name] for name in known if name in export.about},
    }


def _array(z: Any) -> np.ndarray:
    """Logits with a last axis of outputs; what is on disk stays there."""
    values = z if isinstance(z, np.ndarray) else np.asarray(z)
    return values[..., None] if values.ndim == 2 else values
