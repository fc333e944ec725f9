"""Run folders of the study of patient-level risk in medical AI (Knolle et al. 2026).

    RUN/train_logits.npy   [records, outputs] or [records, views, outputs], all training
                           records, members and non-members
    RUN/train_labels.npy   [records, outputs] 0 or 1 (one-hot classes or findings), or
                           [records] or [records, 1] where there is one output
    RUN/subset_mask.npy    [patients] bool, True = trained on; patients in order of
                           first appearance in the training table
    records.csv            ours: one row per record, in the order of the training table:
                           `patient_id`, optionally `record` and group columns. Not
                           needed where every record is a patient
    task.json              optional, ours: task, title, design, blocks

RUN is the name of a run, one folder per model. Test logits and labels, subset_idcs.npy,
info.json, super_mask.npy and the pickles beside them are not read; pickles never are.

What is known of this layout comes from reading the published code (leakoscope, its
training and loading functions), not from a folder of its authors. Two things there
differ from what we do with the folders. Rows of labels with exactly one 1 in all
records are read as classes (softmax); else every column is a finding of its own
("multilabel"), where the authors take a softmax over all findings. Their loader drops
runs that cannot be read; here the log names them, and NaN is an error.
"""

import pathlib

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import layouts, validate
from mia_jax.layouts import _files

_FILES = ("train_logits.npy", "train_labels.npy", "subset_mask.npy")
_NAMES = checks.Names(
    values="*/train_logits.npy",
    member_mask="*/subset_mask.npy",
    labels="train_labels.npy",
)


def is_layout(folder: pathlib.Path) -> bool:
    """Whether the folder holds runs."""
    return bool(_runs(folder))


def load(folder: pathlib.Path) -> layouts.Export:
    """Reads masks and labels; logits of one run at a time, when they are needed."""
    runs = _files.finished(_runs(folder), _FILES, folder)
    read = lambda path: _files.array(path, "a file of a run", "copy the run again")
    values = layouts.Rows(
        lambda model: read(runs[model] / _FILES[0]),
        [f"{run.name}/{_FILES[0]}" for run in runs],
    )
    records = _files.records(folder)
    masks = [read(run / _FILES[2]) for run in runs]
    about = _files.read_json(folder / "task.json")
    labels = _labels(read(runs[0] / _FILES[1]), about.get("task"))
    for run in runs[1:]:
        _same_labels(read(run / _FILES[1]), read(runs[0] / _FILES[1]), run, runs[0])
    return layouts.Export(
        values=values,
        member_mask=_of_records(masks, runs, records, values.shape[1]),
        labels=labels,
        records=records,
        is_logits=True,
        about=about,
        metrics={},
        features=None,
        names=_NAMES,
    )


def _runs(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path.parent for path in folder.glob("*/subset_mask.npy"))


def _labels(labels: np.ndarray, task: str | None) -> np.ndarray:
    """One-hot rows as classes, findings as they are."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return np.asarray(labels[:, 0])
    if labels.ndim != 2 or task == "multilabel":
        return np.asarray(labels)
    is_one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
    return labels.argmax(1) if is_one_hot else np.asarray(labels)


def _same_labels(labels, first, run: pathlib.Path, first_run: pathlib.Path) -> None:
    validate.require(
        np.array_equal(labels, first),
        f"{run.name}/train_labels.npy",
        f"must be the same as {first_run.name}/train_labels.npy: one training table",
        "read runs of one experiment together, and no others",
    )


def _of_records(
    masks: list[np.ndarray],
    runs: list[pathlib.Path],
    records: pd.DataFrame | None,
    num_records: int,
) -> np.ndarray:
    """[models, records] bool from masks over patients in order of first appearance."""
    if records is None or "patient_id" not in records:
        patient = np.arange(num_records)
    else:
        patient = pd.factorize(records["patient_id"])[0]
    num_patients = int(patient.max()) + 1
    for mask, run in zip(masks, runs, strict=True):
        validate.require(
            mask.shape == (num_patients,),
            f"{run.name}/subset_mask.npy is {list(mask.shape)}",
            f"must be [{num_patients}]: one for each patient"
            + ("" if records is not None else " (without records.csv: each record)"),
            "give records.csv with the patient_id of every row of the training table",
        )
    return np.stack(masks)[:, patient]
