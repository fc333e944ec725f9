"""Whose records are whose: patients, their groups and masks, from a notebook's tables.

Whatever could be read in two ways is refused: a mask with its patients in the wrong
order gives a report that looks right.
"""

from typing import Any

import numpy as np
import pandas as pd

from mia_jax import validate

# A number with more values than this is a measurement, no group.
_MOST_VALUES = 20


def ids(groups: Any, num_records: int) -> np.ndarray:
    """[records] str patient of every record; None = every record is a patient.

    Raises:
      InputError: another number of records, or a missing id.
    """
    if groups is None:
        return np.arange(num_records).astype(str)
    series = pd.Series(np.asarray(groups))
    validate.require(
        series.shape == (num_records,),
        f"groups has {len(series)} entries, there are {num_records} records",
        "must be the patient of every record, in the same order",
        "give the column of patient ids of the table that the records come from",
    )
    empty = np.flatnonzero(series.isna() | (series.astype(str) == ""))
    validate.require(
        not empty.size,
        f"groups: records {validate.listing(empty)} have no patient",
        "every record belongs to a patient",
        "fill the id, or leave these records out",
    )
    return series.astype(str).to_numpy(str)


def in_train(given: Any, patients: np.ndarray, groups: Any) -> np.ndarray:
    """[models, records] from a mask over patients or records.

    Args:
      given: DataFrame [models, patients] whose columns are patient ids; or an array
        [models, records] or [models, patients].
      patients: [records] str.
      groups: as given; tells whether ids are numbers.

    Raises:
      InputError: ids on one side only; patients whose order is not beyond doubt.
    """
    of_record, unique = pd.factorize(patients)
    if isinstance(given, pd.DataFrame):
        row = _rows(given.columns, unique, "columns of in_train")
        return given.to_numpy()[:, row[of_record]]
    mask = np.asarray(given)
    if mask.ndim != 2 or mask.shape[1] != len(unique) or len(unique) == len(patients):
        return mask  # of records, or of a wrong shape, which is named later
    validate.require(
        _is_sorted(groups),
        f"in_train {list(mask.shape)} has a column per patient, without their ids",
        "sorted ids and order of appearance in groups differ: which order is it in?",
        "give pd.DataFrame(in_train, columns=patient_ids)",
    )
    return mask[:, of_record]


def sensitive(given: Any, patients: np.ndarray, groups: Any) -> pd.DataFrame:
    """[records] rows of group columns as text, from rows of records or of patients.

    Args:
      given: DataFrame, Series or dict of columns: one row per patient, with the ids as
        its index, or one row per record; None = no groups.
      patients: [records] str.
      groups: as given; tells whether ids are numbers.
    """
    if given is None:
        return pd.DataFrame(index=range(len(patients)))
    table = given.to_frame() if isinstance(given, pd.Series) else pd.DataFrame(given)
    row = _row_of_record(table.index, patients, groups)
    return table.rename(columns=str).iloc[row].reset_index(drop=True).apply(_text)


def _row_of_record(index: pd.Index, patients: np.ndarray, groups: Any) -> np.ndarray:
    """[records] rows of a table of records, or of patients by their ids."""
    of_record, unique = pd.factorize(patients)
    names = index.astype(str)
    is_plain = isinstance(index, pd.RangeIndex)
    names_patients = not is_plain and set(names) == set(unique)
    if len(index) == len(patients) and (
        not names_patients or np.array_equal(names, patients)
    ):
        return np.arange(len(patients))
    if is_plain and len(index) == len(unique) and _is_sorted(groups):
        return of_record
    return _rows(index, unique, "index of sensitive_features")[of_record]


def records_table(record_ids: Any, patients: np.ndarray, groups: pd.DataFrame):
    """One row per record: record, patient_id, group columns."""
    ids = np.arange(len(patients)) if record_ids is None else np.asarray(record_ids)
    validate.require(
        ids.shape == patients.shape,
        f"record_ids has {len(ids)} entries, there are {len(patients)} records",
        "must be one id per record, in the same order",
        "leave it out to number the records",
    )
    own = pd.DataFrame({"record": ids.astype(str), "patient_id": patients})
    return pd.concat([own, groups], axis=1)


def same_index(**tables: Any) -> None:
    """Raises where two pandas arguments name their rows differently.

    Args:
      **tables: by name of the argument; arrays have no names and pass.
    """
    named = {k: v for k, v in tables.items() if isinstance(v, pd.DataFrame | pd.Series)}
    names = list(named)
    for name in names[1:]:
        first, other = named[names[0]].index, named[name].index
        alone = first.symmetric_difference(other)
        validate.require(
            first.equals(other),
            f"{names[0]} and {name} have different rows: "
            + (f"index {validate.listing(alone)}" if len(alone) else "another order"),
            "records are matched by position, so both must have the same index",
            "select both from one table, or reset_index(drop=True) both",
        )


def _rows(given: pd.Index, unique: np.ndarray, what: str) -> np.ndarray:
    """For every patient the row that names it."""
    names = pd.Index(given).astype(str)
    wanted = pd.Index(unique).astype(str)
    for here, there, side, other in (
        (wanted, names, "groups", what),
        (names, wanted, what, "groups"),
    ):
        alone = here[~here.isin(there)]
        validate.require(
            not len(alone),
            f"patients {validate.listing(alone)} of {side} are missing in {other}",
            "both must name the same patients",
            "select both by one list of patients; ids are compared as text",
        )
    twice = names[names.duplicated()]
    validate.require(
        not len(twice),
        f"{what}: patients {validate.listing(twice)} twice",
        "every patient has one",
        "leave out the repeated ones",
    )
    return names.get_indexer(wanted)


def _is_sorted(groups: Any) -> bool:
    """Whether patients appear in the order of their ids: then there is one order.

    Numbers count as numbers: as text "10" comes before "2".
    """
    first = pd.unique(pd.Series(np.asarray(groups)))
    return list(first) == sorted(first)


def _text(column: pd.Series) -> pd.Series:
    """A group column as text; missing values are "unknown"."""
    is_number = pd.api.types.is_float_dtype(column)
    validate.require(
        not is_number or column.nunique() <= _MOST_VALUES,
        f"sensitive_features: {column.name} has {column.nunique()} numbers",
        "a group is a category with several patients",
        f"cut it into bands, e.g. pd.cut(df[{column.name!r}], [0, 40, 60, 120])",
    )
    missing = column.isna()
    return column.astype(object).where(~missing, "unknown").astype(str)


def constant(
    table: pd.DataFrame, patient_of_record: np.ndarray, patient_ids: np.ndarray
) -> None:
    """Raises where a patient has two values of a group."""
    for column in table:
        several = table[column].groupby(patient_of_record).nunique() > 1
        bad = patient_ids[np.flatnonzero(several)]
        validate.require(
            not len(bad),
            f"sensitive_features: {column} differs within patients "
            f"{validate.listing(bad)}",
            "a group is a property of the patient",
            "take the value at the first record",
        )
