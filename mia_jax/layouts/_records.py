"""Checks of who is who: records, patients, their groups and masks."""

from typing import Any

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import masks, results, validate

# Columns of records.csv that are no groups. Patients of one mask unit share masks.
_OWN = ("record", "patient_id", "mask_unit")


def records(
    table: pd.DataFrame | None, num_records: int, names: checks.Names
) -> pd.DataFrame:
    """One row per record, ids complete; without a table every record is a patient."""
    if table is None:
        ids = np.arange(num_records).astype(str)
        return pd.DataFrame({"record": ids, "patient_id": ids})
    validate.require(
        "patient_id" in table,
        f"{names.records} has columns {', '.join(table)}",
        "must have a column patient_id",
        "name the patient of every record there",
    )
    validate.require(
        len(table) == num_records,
        f"{names.records} has {len(table)} rows, {names.labels} {num_records}",
        "must have one row per record, in the same order",
        "export both from one table",
    )
    if "record" not in table:
        ids = np.arange(num_records).astype(str)
        table = pd.concat([pd.DataFrame({"record": ids}), table], axis=1)
    for column in ("record", "patient_id"):
        empty = np.flatnonzero(table[column] == "") + 1
        validate.require(
            not empty.size,
            f"{names.records}: {column} is empty in rows {validate.listing(empty)}",
            "every record needs it",
            "fill it, or leave the record out",
        )
    repeated = table["record"][table["record"].duplicated()]
    validate.require(
        repeated.empty,
        f"{names.records}: record {validate.listing(repeated)}",
        "must be unique: results are listed by it",
        "name every record once",
    )
    taken = sorted(results.RESERVED.intersection(table.columns) - set(_OWN))
    validate.require(
        not taken,
        f"{names.records}: column {validate.listing(taken)}",
        "is a name that the result tables use",
        "rename the group column",
    )
    return table


def patient_mask(
    mask, patient_of_record, patient_ids, fewest: int, names: checks.Names
) -> np.ndarray:
    """[models, patients] bool; raises unless a model holds all or none of a patient."""
    first = np.unique(patient_of_record, return_index=True)[1]
    member = np.asarray(mask[:, first], bool)
    for model in range(len(mask)):
        differs = np.asarray(mask[model], bool) != member[model, patient_of_record]
        ids = pd.unique(patient_ids[patient_of_record[differs]])
        validate.require(
            not differs.any(),
            f"{names.member_mask}: model {model}, patients {validate.listing(ids)}",
            "are both in and out of this model",
            "put all records of a patient on one side, or mark records as patients",
        )
    counts = np.minimum(member.sum(0), (~member).sum(0))
    few = counts < fewest
    validate.require(
        not few.any(),
        f"{names.member_mask}: patients {validate.listing(patient_ids[few])} "
        f"are in (or out of) fewer than {fewest} models",
        f"each patient must be in and out of at least {fewest} models",
        "leave out patients who were never in or never out, or train more models",
    )
    return member


def groups(
    records: pd.DataFrame, patient_of_record, patient_ids, names: checks.Names
) -> pd.DataFrame:
    """The group columns, one row per patient; raises where a patient has two values."""
    columns = [name for name in records if name not in _OWN]
    table = records[columns].replace("", "unknown")
    by_patient = table.groupby(patient_of_record)
    for column in columns:
        several = by_patient[column].nunique() > 1
        ids = validate.listing(patient_ids[np.flatnonzero(several)])
        validate.require(
            not several.any(),
            f"{names.records}: {column} differs within patients {ids}",
            "a group is a property of the patient",
            "take the value at the first record",
        )
    return by_patient.first().reset_index(drop=True)


def blocks(
    about: dict[str, Any], member_mask: np.ndarray, names: checks.Names
) -> np.ndarray:
    """The block of every model; one block where nothing is known of the design."""
    sizes = about.get("blocks") or [len(member_mask)]
    is_list = isinstance(sizes, list) and all(isinstance(n, int) for n in sizes)
    validate.require(
        is_list and min(sizes) > 0 and sum(sizes) == len(member_mask),
        f"{names.blocks}={sizes}",
        f"must be whole numbers that add to the {len(member_mask)} models",
        "give the number of models of each block, in order",
    )
    about["blocks"] = sizes
    return masks.block_of_model(sizes)


def units(
    records: pd.DataFrame, patient_of_record, member_mask, names: checks.Names
) -> np.ndarray:
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
        f"{names.records}: mask_unit of patients {validate.listing(differs)}",
        "patients of one unit must be in the same models",
        "drop the column where masks were drawn patient by patient",
    )
    return unit
