"""Our own layout: one array over all models.

logits.npy       [models, records, outputs] or [models, records, views, outputs],
                 unnormalised; or, in its place,
statistic.npy    [models, records] or [models, records, views], higher = more
                 confident in the record's label; for "multilabel" [models,
                 records, labels], one per label
member_mask.npy  [models, records] bool, True = trained on
labels.npy       [records] int, 0..classes-1; for "multilabel" [records, labels],
                 0 or 1
records.csv      optional; one row per record, in order: `record`, `patient_id`,
                 and one column per group attribute; `mask_unit`, if patients
                 share masks (households)
features.npy     optional; [records, features], what some attacks regress on
task.json        optional; {"task": "binary", "multiclass" or "multilabel",
                 "title": ..., "blocks": [models of each block], "design": ...}
metrics.json     optional; usefulness of the models, where it is known already
"""

import pathlib

from mia_jax import _prediction_checks as checks
from mia_jax import layouts
from mia_jax.layouts import _files

_VALUES = ("logits.npy", "statistic.npy")
_NEEDED = "needed: member_mask.npy, labels.npy, and logits.npy or statistic.npy"
_REMEDY = "export it from your training code (README, own predictions)"


def is_layout(folder: pathlib.Path) -> bool:
    """Whether the folder holds an array over all models."""
    return any((folder / name).exists() for name in (*_VALUES, "member_mask.npy"))


def load(folder: pathlib.Path) -> layouts.Export:
    """Maps the arrays of a folder into memory."""
    read = lambda name: _files.array(folder / name, _NEEDED, _REMEDY)
    mask, labels = read("member_mask.npy"), read("labels.npy")
    # Without either the message names logits.npy.
    is_logits = (folder / _VALUES[0]).exists() or not (folder / _VALUES[1]).exists()
    name = _VALUES[0] if is_logits else _VALUES[1]
    has_features = (folder / "features.npy").exists()
    return layouts.Export(
        values=read(name),
        member_mask=mask,
        labels=labels,
        records=_files.records(folder),
        is_logits=is_logits,
        about=_files.read_json(folder / "task.json"),
        metrics=_files.read_json(folder / "metrics.json"),
        features=read("features.npy") if has_features else None,
        names=checks.Names(values=name),
    )
