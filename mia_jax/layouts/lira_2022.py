"""Folders of the original LiRA code: tensorflow/privacy, research/mi_lira_2021.

    y_train.npy                       [records] class of every record
    experiment-0_16/keep.npy          [records] bool, True = trained on
    experiment-0_16/logits/
        0000000100.npy                [records, 1, views, classes]; of several epochs
                                      the highest number counts, as in the authors' code
    experiment-1_16/...
    records.csv                       optional, ours: `record`, `patient_id` and group
                                      columns, one row per record, in order
    task.json                         optional, ours: title, design, blocks

Models count in the order of their numbers. As in the authors' code, models without
keep.npy or logits are left out (the log names them), and records of keep.npy and
y_train.npy beyond those of the logits are cut off (its flag dataset_size). Note that
that code runs inference in training mode, batch statistics included.
"""

import pathlib
import re

import numpy as np

from mia_jax import _prediction_checks as checks
from mia_jax import layouts, validate
from mia_jax.layouts import _files

_NEEDED = "needed: y_train.npy, experiment-*/keep.npy, experiment-*/logits/*.npy"
_REMEDY = "copy it from the folder that train.py and inference.py wrote"
_NAMES = checks.Names(
    values="experiment-*/logits",
    member_mask="experiment-*/keep.npy",
    labels="y_train.npy",
)


def is_layout(folder: pathlib.Path) -> bool:
    """Whether the folder holds experiments."""
    return bool(_experiments(folder))


def load(folder: pathlib.Path) -> layouts.Export:
    """Reads masks and labels; logits of one model at a time, when they are needed."""
    models = _files.finished(_experiments(folder), ("keep.npy", "logits"), folder)
    files = [_last_epoch(model / "logits") for model in models]
    read = lambda path: _files.array(path, _NEEDED, _REMEDY)
    values = layouts.Rows(
        lambda model: _without_middle(read(files[model]), files[model]),
        [str(file.relative_to(folder)) for file in files],
    )
    num_records = values.shape[1]
    keeps = [_keep(read(m / "keep.npy"), num_records, m.name) for m in models]
    return layouts.Export(
        values=values,
        member_mask=np.stack(keeps),
        labels=read(folder / "y_train.npy")[:num_records],
        records=_files.records(folder),
        is_logits=True,
        about=_files.read_json(folder / "task.json"),
        metrics={},
        features=None,
        names=_NAMES,
    )


def _experiments(folder: pathlib.Path) -> list[pathlib.Path]:
    found = [path for path in folder.glob("experiment*") if path.is_dir()]
    numbers = lambda path: [int(n) for n in re.findall(r"\d+", path.name)]
    return sorted(found, key=lambda path: (numbers(path), path.name))


def _last_epoch(folder: pathlib.Path) -> pathlib.Path:
    epochs = [path for path in folder.glob("*.npy") if path.stem.isdecimal()]
    validate.require(
        bool(epochs),
        f"{folder} holds no EPOCH.npy",
        "logits lie in a file named after the epoch, e.g. 0000000100.npy",
        "run inference for this model, or remove its folder",
    )
    return max(epochs, key=lambda path: int(path.stem))


def _without_middle(logits: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """[records, 1, views, classes] as [records(, views), classes]."""
    validate.require(
        logits.ndim == 4 and logits.shape[1] == 1,
        f"{path} is {list(logits.shape)}",
        "must be [records, 1, views, classes]",
        "write it as inference.py does: logits[:, None, views, classes]",
    )
    return logits[:, 0, 0] if logits.shape[2] == 1 else logits[:, 0]


def _keep(keep: np.ndarray, num_records: int, name: str) -> np.ndarray:
    validate.require(
        keep.ndim == 1 and len(keep) >= num_records,
        f"{name}/keep.npy is {list(keep.shape)}, its logits have {num_records} records",
        "must be one bool for each record",
        "copy it from the folder that train.py wrote",
    )
    return keep[:num_records]
