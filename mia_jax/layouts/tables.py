"""Four tables, as a spreadsheet or a database exports them: CSV, or Parquet.

    records.csv    record, patient, label, one row per record; for "multilabel" columns
                   label_NAME in place of label, 0 or 1 each
    patients.csv   patient, then one column per group attribute; optional
    logits.csv     record, model_000, model_001, ... one output (binary), or
                   record, model_000_0, model_000_1, ... one column per class or label
    members.csv    patient, model_000, model_001, ... 1 = trained on, 0 = not
    task.json      optional; as in the native layout

Rows may come in any order: they are matched by id, and an id that only one of the
tables has is an error. Ids are text: 007 stays 007. The columns of members.csv name the
models and give their order. Records are numbered as in records.csv. Each name may end
in .parquet instead (needs pyarrow): then logits are read one model at a time.

Write logits with all their digits. Four decimals of a *probability* make a hundredth of
confident records infinite and blur the rest; they are refused.
"""

import pathlib

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import layouts, validate
from mia_jax.layouts import _files, _ids

_LABEL = "label_"


def is_layout(folder: pathlib.Path) -> bool:
    """Whether the folder holds a table of logits or of members."""
    return any(_ids.path(folder, name).exists() for name in ("logits", "members"))


def load(folder: pathlib.Path) -> layouts.Export:
    """Reads and joins the tables."""
    records = _ids.table(folder, "records", ("record", "patient"))
    members = _ids.table(folder, "members", ("patient",))
    models = [name for name in members if name != "patient"]
    names = {name: _ids.path(folder, name).name for name in ("logits", "members")}
    patient = _ids.match(
        records["patient"], members["patient"], "patient", "records", names["members"]
    )
    mask = _bits(members[models], names["members"])
    return layouts.Export(
        values=_logits(folder, records["record"], models),
        member_mask=mask[patient].T,
        labels=_labels(records),
        records=_with_groups(folder, records),
        is_logits=True,
        about=_files.read_json(folder / "task.json"),
        metrics={},
        features=None,
        names=checks.Names(
            values=names["logits"],
            member_mask=names["members"],
            labels="records.csv: label",
            records="patients.csv",
        ),
    )


def _bits(members: pd.DataFrame, file: str) -> np.ndarray:
    """[patients, models] bool."""
    text = members.astype(str).replace({"True": "1", "False": "0"})
    text = text.replace({"1.0": "1", "0.0": "0"})
    bad = ~text.isin(["0", "1"])
    column = text.columns[bad.any()].tolist()
    validate.require(
        not column and text.shape[1] > 0,
        f"{file}: columns {validate.listing(column) or 'of models'}",
        "members are 1 (trained on) or 0, one column per model, no gaps",
        "fill every cell; leave out patients who are not known to be in or out",
    )
    return (text == "1").to_numpy()


def _labels(records: pd.DataFrame) -> np.ndarray:
    """[records], or [records, labels] of columns label_NAME."""
    several = [name for name in records if name.startswith(_LABEL)]
    validate.require(
        ("label" in records) != bool(several),
        f"records.csv has columns {', '.join(records)}",
        f"must have label, or for a multilabel task columns {_LABEL}NAME",
        "name the class of every record there",
    )
    chosen = records[several] if several else records["label"]
    columns = chosen if several else chosen.to_frame()
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    bad = np.flatnonzero(numbers.isna().any(axis=1)) + 1
    validate.require(
        not bad.size,
        f"records.csv: label of rows {validate.listing(bad)}",
        "must be whole numbers, one class per output",
        "number the classes in the order of the model's outputs",
    )
    values = numbers.to_numpy(float)
    return values if several else values[:, 0]


def _with_groups(folder: pathlib.Path, records: pd.DataFrame) -> pd.DataFrame:
    """One row per record: record, patient_id and the groups of its patient."""
    table = records[["record", "patient"]].rename(columns={"patient": "patient_id"})
    if not _ids.path(folder, "patients").exists():
        return table
    patients = _ids.table(folder, "patients", ("patient",))
    row = _ids.match(
        records["patient"], patients["patient"], "patient", "records", "patients"
    )
    groups = patients.drop(columns="patient").iloc[row].reset_index(drop=True)
    return pd.concat([table, groups], axis=1)


def _logits(folder: pathlib.Path, records: pd.Series, models: list[str]):
    """[models, records, outputs] float32."""
    file = _ids.path(folder, "logits")
    header = _ids.header(file)
    columns = [_outputs(model, header, file.name) for model in models]
    found = _ids.read(file, ["record"])["record"]
    row = _ids.match(records, found, "record", "records", file.name)
    if file.suffix == ".parquet":
        read = lambda model: _ids.numbers(file, columns[model])[row]
        return layouts.Rows(read, [f"{file.name}: {model}" for model in models])
    width = len(columns[0])
    validate.require(
        all(len(one) == width for one in columns),
        f"{file.name}: models have {sorted({len(one) for one in columns})} outputs",
        "must be one number of outputs for all models",
        "export the same outputs of every model",
    )
    values = _ids.numbers(file, [name for one in columns for name in one])[row]
    return values.reshape(len(row), len(models), width).transpose(1, 0, 2)


def _outputs(model: str, header: list[str], file: str) -> list[str]:
    """The columns of a model: its name alone, or its name and 0, 1, 2, ..."""
    if model in header:
        return [model]
    # A model named "m_1" has outputs m_1_0, ...; "m" beside it has m_0, m_1.
    count = 0
    while f"{model}_{count}" in header:
        count += 1
    validate.require(
        count > 0,
        f"{file} has no column {model} or {model}_0",
        "every model of the members' table needs its logits",
        "export both tables of the same models",
    )
    return [f"{model}_{output}" for output in range(count)]
