"""Your own data: one CSV or Parquet file, one row per record.

The contract:

  file      .csv, .csv.gz (comma, UTF-8, one header line) or .parquet (needs pyarrow)
  record    id of the record: text or whole number, unique, never empty
  patient   id of the patient, same rule; a patient may have many rows, in any order
  label     class: whole numbers or text. Two values are a binary task, more are
            multiclass (whole numbers then count 0, 1, 2, ... without a gap).
            Several columns ("edema,effusion") are a multilabel task: 0 = absent,
            1 = present, -1 = uncertain, empty = not mentioned
  split     optional: "test" = held out, "train" or "pool" = the rest; all rows of a
            patient (of a household) say the same
  unit      optional: id of the household, the same in all rows of a patient
  groups    optional: text columns, the same in all rows of a patient; empty = unknown
  features  every other column: numbers without gaps, not constant. Text is one-hot
            encoded and missing values are imputed before, beside a column that flags
            them. Features are standardised on the records that are not held out.

Ids are read as text: 007 stays 007. An id like "12.0" is refused: it was read as a
decimal number on its way and may have lost digits.
"""

import numpy as np
import pandas as pd

from mia_jax import contracts, validate
from mia_jax.data import _build, _table_file, _table_labels
from mia_jax.data import _table_checks as checks

_TASKS = ("auto", "binary", "multiclass", "multilabel")


def load(
    path: str = "",
    record: str = "record",
    patient: str = "patient",
    label: str = "label",
    split: str = "",
    split_seed: int = 0,
    test_share: float = 0.2,
    features: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    unit: str = "",
    task: str = "auto",
    uncertain: str = "refuse",
    blank: str = "as uncertain",
    title: str = "",
) -> contracts.Dataset:
    """Loads a table after checking every line of the contract above.

    Args:
      path: the file.
      record: column with the record's id.
      patient: column with the patient's id; empty = every record is a patient.
      label: column with the class, or several of them separated by commas.
      split: column with train or test; empty = a split is drawn over the patients.
      split_seed: seed of the drawn split.
      test_share: share of the patients (households) held out by the drawn split.
      features: columns that are the input; empty = all columns not named otherwise.
      groups: columns whose risk is compared.
      ignore: columns to leave out.
      unit: column with the household's id; empty = split and masks go by patient.
      task: auto, binary, multiclass or multilabel; auto = multilabel if several label
        columns are named, binary if there are two classes.
      uncertain: what -1 means in a multilabel column: refuse, negative or positive.
      blank: what an empty cell means there: "as uncertain", refuse, negative or
        positive. Blank negative and uncertain positive is the recipe of the published
        study for CheXpert.
      title: what the report calls the data; empty = the file's name.

    Returns:
      Patients in order of their first row; classes in order of their numbers or text,
      labels in order of `label`.

    Raises:
      InputError: naming file, column, rows (the first data row is 1) and remedy.
    """
    validate.one_of("data.task", task, _TASKS)
    label_columns = [column.strip() for column in label.split(",")]
    _table_labels.check_options(label_columns, task, uncertain, blank)
    roles = {"record": record, "patient": patient, "unit": unit, "split": split}
    _check_roles(roles, label_columns, features, groups, ignore)
    text = [column for column in (*roles.values(), *label_columns, *groups) if column]
    source = _table_file.read(path, text, features, ignore)
    file, table = source.name, source.table
    owner, patient_ids = _patients(source, record, patient or record, unit, groups)
    units, unit_ids = _build.index_of(table[unit or patient or record])
    unit_of_patient = _at_first(units, owner)
    is_test = (
        _given_split(source, split, units, unit_ids, owner)
        if split
        else _build.split(unit_of_patient, test_share, split_seed)
    )
    _check_pool(source, unit_of_patient, is_test, unit)
    is_pool = ~is_test[owner]
    if len(label_columns) > 1:
        labels = _table_labels.findings(table[label_columns], file, uncertain, blank)
        _table_labels.enough_findings(labels, label_columns, file, owner, is_pool)
        names, task = tuple(label_columns), "multilabel"
    else:
        labels, names = _table_labels.classes(table[label], file, label, task)
        _table_labels.enough(labels, names, file, label, owner, is_pool)
        task = "binary" if len(names) == 2 and task != "multiclass" else "multiclass"
    inputs = checks.numbers(table, source.features, file, is_pool)
    dataset = contracts.Dataset(
        name="table",
        title=title or file.partition(".")[0],
        inputs=_build.standardise(inputs, is_pool),
        labels=labels,
        task=task,
        class_names=names,
        record_ids=np.asarray(table[record], str),
        patient_ids=patient_ids,
        patient_of_record=owner,
        is_test=is_test,
        unit_of_patient=unit_of_patient,
        unit="household" if unit else "patient",
        groups=_group_table(table, groups, owner),
    )
    return _build.check(dataset)


def _check_roles(
    roles: dict[str, str],
    label_columns: list[str],
    features: tuple[str, ...],
    groups: tuple[str, ...],
    ignore: tuple[str, ...],
) -> None:
    """Raises if a needed role is empty or a column has two roles."""
    for role, columns in (("record", [roles["record"]]), ("label", label_columns)):
        validate.require(
            "" not in columns,
            f"data.{role} is empty" if len(columns) == 1 else f"data.{role}={columns}",
            f"a table needs a column with each record's {role}",
            f"set --config.data.{role}=COLUMN",
        )
    used = [(f"data.{role}", column) for role, column in roles.items() if column]
    used += [("data.label", column) for column in label_columns]
    lists = {"features": features, "groups": groups, "ignore": ignore}
    for name, columns in lists.items():
        validate.require(
            not isinstance(columns, str),
            f"data.{name}={columns!r}",
            "must be a tuple of column names",
            f"use ({columns!r},)",
        )
        used += [(f"data.{name}", column) for column in columns]
    for place, (role, column) in enumerate(used):
        for other, same in used[:place]:
            # A group may also be an input, e.g. sex as 0 and 1.
            allowed = {role, other} == {"data.features", "data.groups"}
            validate.require(
                column != same or allowed,
                f"column {column!r} is both {other} and {role}",
                "a column has one role: an id, label or split as input would leak",
                "name different columns",
            )


def _patients(
    source: _table_file.Source,
    record: str,
    patient: str,
    unit: str,
    groups: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """([records] int32 patient of each row, [patients] ids) after the ids' checks."""
    file, table = source.name, source.table
    for column in dict.fromkeys(filter(None, (record, patient, unit))):
        checks.ids(table[column], file, column)
    checks.unique(table[record], file, record)
    owner, patient_ids = _build.index_of(table[patient])
    for column in filter(None, (unit, *groups)):
        checks.same_within(table[column], file, column, owner, patient_ids)
    return owner, patient_ids


def _given_split(
    source: _table_file.Source,
    split: str,
    units: np.ndarray,
    unit_ids: np.ndarray,
    owner: np.ndarray,
) -> np.ndarray:
    """[patients] bool, True = held out; no patient or household on both sides."""
    is_test = checks.test_rows(source.table[split], source.name, split)
    checks.same_within(is_test, source.name, split, units, unit_ids)
    return _at_first(is_test.to_numpy(), owner)


def _check_pool(
    source: _table_file.Source,
    unit_of_patient: np.ndarray,
    is_test: np.ndarray,
    unit: str,
) -> None:
    """Raises unless two patients (households) are left to train on."""
    in_pool = len(np.unique(unit_of_patient[~is_test]))
    noun = "household" if unit else "patient"
    validate.require(
        in_pool >= 2,
        f"{source.name}: {len(is_test)} patients, {in_pool} {noun}s not held out",
        f"at least two {noun}s are needed: each model is trained without half of them",
        "add patients, or hold out fewer (test_share, the split column)",
    )


def _at_first(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """[patients] values in each patient's first row."""
    return values[np.unique(owner, return_index=True)[1]]


def _group_table(
    table: pd.DataFrame, groups: tuple[str, ...], owner: np.ndarray
) -> pd.DataFrame:
    chosen = table[list(groups)]
    named = chosen.mask(chosen.apply(checks.is_missing), "unknown")
    return _build.at_first_record(named, owner)
