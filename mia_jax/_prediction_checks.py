"""Checks of a folder of predictions: each names the file, the rule and the remedy."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd

from mia_jax import masks, results, validate

# Fits of a Gaussian without one model need two others on the same side.
FEWEST = 3
# Columns of records.csv that are no groups. Patients of one mask unit share masks.
_OWN = ("record", "patient_id", "mask_unit")


def load(folder: pathlib.Path, name: str) -> np.ndarray:
    """A file of the folder, mapped into memory."""
    path = folder / name
    validate.require(
        path.exists(),
        f"{path} is missing",
        "needed: member_mask.npy, labels.npy, and logits.npy or statistic.npy",
        "export it from your training code (README, own predictions)",
    )
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise validate.InputError(
            f"{path}: {error or 'is empty'}",
            "must be one array of numbers",
            "write it by numpy.save, without object arrays",
        ) from None


def load_values(folder: pathlib.Path) -> tuple[np.ndarray, bool]:
    """Logits (True) or, where there are none, the statistic (False)."""
    if (folder / "logits.npy").exists() or not (folder / "statistic.npy").exists():
        return load(folder, "logits.npy"), True
    return load(folder, "statistic.npy"), False


def shapes(values, is_logits: bool, mask, labels) -> None:
    """Raises unless all arrays fit and hold finite numbers, no probabilities."""
    name = "logits.npy" if is_logits else "statistic.npy"
    validate.require(
        labels.dtype.kind in "iufb" and labels.ndim == 1 and labels.size > 0,
        f"labels.npy is {labels.dtype} {list(labels.shape)}",
        "must be one whole number for each record",
        "number the classes in the order of the model's outputs",
    )
    wanted = (3, 4) if is_logits else (2, 3)
    axes = "[models, records(, views), outputs]" if is_logits else "[models, records]"
    validate.require(
        values.ndim in wanted and values.dtype.kind == "f",
        f"{name} is {values.dtype} {list(values.shape)}",
        f"must be floating point {axes}",
        "export one array over all models",
    )
    validate.require(
        mask.shape == values.shape[:2] and labels.shape == mask.shape[1:],
        f"{name} {list(values.shape)}, member_mask.npy {list(mask.shape)}, "
        f"labels.npy {list(labels.shape)}",
        "must agree in models and records",
        "export all three in the same order",
    )
    is_binary_mask = mask.dtype == bool or np.isin(np.unique(mask), (0, 1)).all()
    validate.require(
        is_binary_mask, f"member_mask.npy is {mask.dtype}", "must be bool", "use bool"
    )
    _finite(name, values)
    if is_logits:
        _no_probabilities(values)


def _finite(name: str, values: np.ndarray) -> None:
    for model, value in enumerate(values):
        bad = ~np.isfinite(value).reshape(len(value), -1).all(1)
        validate.require(
            not bad.any(),
            f"{name}: model {model}, records {validate.listing(np.flatnonzero(bad))}",
            "hold NaN or infinite values",
            "export logits, not log-probabilities of rounded probabilities",
        )


def _no_probabilities(values: np.ndarray) -> None:
    """Refuses values that are probabilities, by the records of the first model."""
    first = np.asarray(values[0], np.float64)
    in_unit = ((first >= 0) & (first <= 1)).all()
    sums_to_one = first.shape[-1] == 1 or np.allclose(first.sum(-1), 1, atol=1e-3)
    validate.require(
        not (in_unit and sums_to_one),
        f"logits.npy: model 0 is within {first.min():.3g} and {first.max():.3g}",
        "are probabilities: their rounding destroys the statistic",
        "export the outputs before softmax or sigmoid",
    )


def labels(labels, values, is_logits: bool, about: dict[str, Any]) -> np.ndarray:
    """The labels as int32; raises unless they are whole numbers in range."""
    whole = np.nan_to_num(labels, nan=-1.0)
    outputs = values.shape[-1] if is_logits else int(whole.max()) + 1
    classes = max(2, outputs)
    bad = (whole != np.floor(whole)) | (whole < 0) | (whole >= classes)
    validate.require(
        not bad.any(),
        f"labels.npy: records {validate.listing(np.flatnonzero(bad))}",
        f"must be whole numbers from 0 to {classes - 1}, one class per output",
        "number the classes in the order of the model's outputs",
    )
    task = about.get("task")
    if task is not None:
        validate.one_of("task.json: task", task, ("binary", "multiclass"))
    return whole.astype(np.int32)


def records_table(path: pathlib.Path, num_records: int) -> pd.DataFrame:
    """records.csv as text; raises unless it has the ids of every record."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise validate.InputError(
            f"{path}: {error}", "must be a CSV table in UTF-8", "export it again"
        ) from None
    validate.require(
        "patient_id" in table,
        f"{path.name} has columns {', '.join(table)}",
        "must have a column patient_id",
        "name the patient of every record there",
    )
    validate.require(
        len(table) == num_records,
        f"{path.name} has {len(table)} rows, labels.npy {num_records}",
        "must have one row per record, in the same order",
        "export both from one table",
    )
    if "record" not in table:
        table.insert(0, "record", np.arange(num_records).astype(str))
    for column in ("record", "patient_id"):
        empty = np.flatnonzero(table[column] == "") + 1
        validate.require(
            not empty.size,
            f"{path.name}: {column} is empty in rows {validate.listing(empty)}",
            "every record needs it",
            "fill it, or leave the record out",
        )
    repeated = table["record"][table["record"].duplicated()]
    validate.require(
        repeated.empty,
        f"{path.name}: record {validate.listing(repeated)}",
        "must be unique: results are listed by it",
        "name every record once",
    )
    taken = sorted(results.RESERVED.intersection(table.columns[2:]) - set(_OWN))
    validate.require(
        not taken,
        f"{path.name}: column {validate.listing(taken)}",
        "is a name that the result tables use",
        "rename the group column",
    )
    return table


def patient_mask(mask, patient_of_record, patient_ids) -> np.ndarray:
    """[models, patients] bool; raises unless a model holds all or none of a patient."""
    first = np.unique(patient_of_record, return_index=True)[1]
    member = np.asarray(mask[:, first], bool)
    for model in range(len(mask)):
        differs = np.asarray(mask[model], bool) != member[model, patient_of_record]
        ids = pd.unique(patient_ids[patient_of_record[differs]])
        validate.require(
            not differs.any(),
            f"member_mask.npy: model {model}, patients {validate.listing(ids)}",
            "are both in and out of this model",
            "put all records of a patient on one side, or mark records as patients",
        )
    counts = np.minimum(member.sum(0), (~member).sum(0))
    few = counts < FEWEST
    validate.require(
        not few.any(),
        f"member_mask.npy: patients {validate.listing(patient_ids[few])} "
        f"are in (or out of) fewer than {FEWEST} models",
        f"each patient must be in and out of at least {FEWEST} models",
        "leave out patients who were never in or never out, or train more models",
    )
    return member


def groups(records: pd.DataFrame, patient_of_record, patient_ids) -> pd.DataFrame:
    """The group columns, one row per patient; raises where a patient has two values."""
    columns = [name for name in records if name not in _OWN]
    table = records[columns].replace("", "unknown")
    by_patient = table.groupby(patient_of_record)
    for column in columns:
        several = by_patient[column].nunique() > 1
        ids = patient_ids[np.flatnonzero(several)]
        validate.require(
            not several.any(),
            f"records.csv: {column} differs within patients {validate.listing(ids)}",
            "a group is a property of the patient",
            "take the value at the first record",
        )
    return by_patient.first().reset_index(drop=True)


def blocks(about: dict[str, Any], member_mask: np.ndarray) -> np.ndarray:
    """The block of every model; one block where nothing is known of the design."""
    sizes = about.get("blocks") or [len(member_mask)]
    is_list = isinstance(sizes, list) and all(isinstance(n, int) for n in sizes)
    validate.require(
        is_list and min(sizes) > 0 and sum(sizes) == len(member_mask),
        f"task.json: blocks={sizes}",
        f"must be whole numbers that add to the {len(member_mask)} models",
        "give the number of models of each block, in order",
    )
    about["blocks"] = sizes
    return masks.block_of_model(sizes)


def units(records: pd.DataFrame, patient_of_record, member_mask) -> np.ndarray:
    """[patients] int32 mask units; raises where one unit has several masks."""
    num_patients = member_mask.shape[1]
    if "mask_unit" not in records:
        return np.arange(num_patients, dtype=np.int32)
    first = np.unique(patient_of_record, return_index=True)[1]
    unit = pd.factorize(records["mask_unit"].to_numpy()[first])[0].astype(np.int32)
    of_unit = np.unique(unit, return_index=True)[1]
    differs = np.flatnonzero((member_mask != member_mask[:, of_unit[unit]]).any(0))
    validate.require(
        not differs.size,
        f"records.csv: mask_unit of patients {validate.listing(differs)}",
        "patients of one unit must be in the same models",
        "drop the column where masks were drawn patient by patient",
    )
    return unit
