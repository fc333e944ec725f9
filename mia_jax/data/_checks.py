"""Every line of `contracts.Dataset` as a check that names the records at fault."""

import numpy as np
import pandas as pd

from mia_jax import contracts, results, validate


def arrays(dataset: contracts.Dataset) -> None:
    """Types and shapes."""
    records, patients = len(dataset.labels), len(dataset.patient_ids)
    is_multilabel = dataset.task == "multilabel"
    of_record = (len(dataset.class_names),) if is_multilabel else ()
    _shape("labels", dataset.labels, np.int32, (records, *of_record))
    _shape("inputs", dataset.inputs, np.float32, (records, *dataset.inputs.shape[1:]))
    validate.require(
        dataset.inputs.ndim >= 2,
        f"inputs have shape {dataset.inputs.shape}",
        "must be [records, ...] with at least one feature axis",
        "reshape a single feature to [records, 1]",
    )
    validate.require(
        records > 0 and dataset.inputs.size > 0,
        f"inputs have shape {dataset.inputs.shape}",
        "there must be at least one record and one feature",
        "check the source and its filters",
    )
    _shape("patient_of_record", dataset.patient_of_record, np.int32, (records,))
    _shape("is_test", dataset.is_test, np.bool_, (patients,))
    _shape("unit_of_patient", dataset.unit_of_patient, np.int32, (patients,))
    for name, size in (("record_ids", records), ("patient_ids", patients)):
        ids = getattr(dataset, name)
        validate.require(
            isinstance(ids, np.ndarray) and ids.dtype.kind == "U",
            f"{name} has type {getattr(ids, 'dtype', type(ids).__name__)}",
            "must be an array of str: numbers would lose leading zeros",
            f"use np.asarray({name}, str)",
        )
        _shape(name, ids, ids.dtype, (size,))


def _shape(name: str, array: np.ndarray, dtype: type, shape: tuple) -> None:
    validate.require(
        isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape,
        f"{name} is {getattr(array, 'dtype', type(array).__name__)} "
        f"{list(getattr(array, 'shape', []))}",
        f"must be {np.dtype(dtype)} {list(shape)}",
        "see contracts.Dataset",
    )


def identifiers(dataset: contracts.Dataset) -> None:
    """Ids are unique and not empty; every patient has a record."""
    for name in ("record_ids", "patient_ids"):
        ids = pd.Series(getattr(dataset, name))
        twice = pd.unique(ids[ids.duplicated()])
        validate.require(
            not len(twice),
            f"{name}: {validate.listing(twice)} twice",
            "every id must be unique",
            "drop repeated rows, or number them within the patient",
        )
        empty = np.flatnonzero(ids.str.strip() == "")
        validate.require(
            not len(empty),
            f"{name}: empty at position {validate.listing(empty)}",
            "every id must be a text of at least one character",
            "fill in the ids, or drop these records",
        )
    patients, owner = dataset.num_patients, dataset.patient_of_record
    outside = dataset.record_ids[(owner < 0) | (owner >= patients)]
    validate.require(
        not len(outside),
        f"patient_of_record of record {validate.listing(outside)}",
        f"must be in 0..{patients - 1}, the number of a patient",
        "see contracts.Dataset",
    )
    without = dataset.patient_ids[np.bincount(owner, minlength=patients) == 0]
    validate.require(
        not len(without),
        f"patient {validate.listing(without)} without a record",
        "every patient must have at least one record",
        "drop these patients",
    )


def classes(dataset: contracts.Dataset) -> None:
    """Labels are in range and two classes (of every label) occur in the pool."""
    validate.one_of("task", dataset.task, ("binary", "multiclass", "multilabel"))
    names = dataset.class_names
    is_multilabel = dataset.task == "multilabel"
    num_names = 2 if dataset.task == "binary" else max(2, len(names))
    num_classes = 2 if is_multilabel else num_names
    validate.require(
        isinstance(names, tuple)
        and len(set(names)) == num_names
        and all(isinstance(name, str) and name for name in names),
        f"class_names={names!r}",
        f"a {dataset.task} task needs a tuple of {num_names} different names",
        "see contracts.Dataset",
    )
    outside = (dataset.labels < 0) | (dataset.labels >= num_classes)
    bad = outside.reshape(dataset.num_records, -1).any(axis=1)
    validate.require(
        not bad.any(),
        f"label {validate.listing(np.unique(dataset.labels[outside]))} of record "
        f"{validate.listing(dataset.record_ids[bad])}",
        "must be 0 or 1: absent or present"
        if is_multilabel
        else f"must be in 0..{num_classes - 1}: one number per class",
        "recode the labels, or add the missing class names",
    )
    if is_multilabel:
        _both_values(dataset)
        return
    present = np.unique(dataset.labels[dataset.is_pool_record])
    validate.require(
        len(present) != 1,
        f"all pool records have the label {[names[k] for k in present]}",
        "a model needs records of at least two classes",
        "choose another label or another split",
    )


def _both_values(dataset: contracts.Dataset) -> None:
    """Every label of a multilabel task is absent and present somewhere in the pool."""
    labels = dataset.labels[dataset.is_pool_record]
    constant = np.flatnonzero((labels == 0).any(axis=0) != (labels == 1).any(axis=0))
    validate.require(
        not len(constant),
        f"label {validate.listing(dataset.class_names[k] for k in constant)}",
        "must be 0 in some pool records and 1 in others",
        "leave the label out, or choose another split",
    )


def finite_inputs(dataset: contracts.Dataset) -> None:
    """No NaN or infinity."""
    bad = ~np.isfinite(dataset.inputs).reshape(dataset.num_records, -1).all(axis=1)
    validate.require(
        not bad.any(),
        f"inputs of record {validate.listing(dataset.record_ids[bad])}",
        "must be finite: NaN or infinity found",
        "impute missing values and add an input that says so",
    )


def units(dataset: contracts.Dataset) -> None:
    """Units are numbered without gaps, lie on one side of the split, and suffice."""
    validate.one_of("unit", dataset.unit, ("patient", "household"))
    unit, is_test = dataset.unit_of_patient, dataset.is_test
    if dataset.unit == "patient":
        numbered = np.array_equal(unit, np.arange(dataset.num_patients))
    else:
        numbered = unit.min() >= 0 and np.bincount(unit).all()
    validate.require(
        bool(numbered),
        "unit_of_patient",
        f"must number every {dataset.unit} 0, 1, 2, ... without a gap",
        "see contracts.Dataset",
    )
    num_test, size = np.bincount(unit, weights=is_test), np.bincount(unit)
    both = dataset.patient_ids[((num_test > 0) & (num_test < size))[unit]]
    validate.require(
        not len(both),
        f"{dataset.unit} of patient {validate.listing(both)}",
        f"is on both sides of the split: a {dataset.unit} is held out as a whole",
        f"draw the split over {dataset.unit}s",
    )
    num_pool = int((num_test == 0).sum())
    validate.require(
        num_pool >= 2,
        f"{num_pool} {dataset.unit} in the pool",
        f"at least two {dataset.unit}s must be left for the shadow models",
        "use more patients or hold out fewer (test_share)",
    )


def group_table(dataset: contracts.Dataset) -> None:
    """One row per patient, columns of text, no name that a result table uses."""
    groups = dataset.groups
    validate.require(
        isinstance(groups, pd.DataFrame) and len(groups) == dataset.num_patients,
        f"groups is a {type(groups).__name__} of {len(groups)} rows",
        f"must be a DataFrame with one row for each of {dataset.num_patients} patients",
        "see contracts.Dataset",
    )
    validate.require(
        groups.columns.is_unique and all(isinstance(c, str) for c in groups),
        f"group columns {list(groups.columns)}",
        "must be different names, each a text",
        "rename them",
    )
    taken = sorted(results.RESERVED.intersection(groups.columns))
    validate.require(
        not taken,
        f"group column {validate.listing(taken)}",
        "is a name that the result tables use",
        "rename the column",
    )
    for column in groups:
        values = groups[column].tolist()
        bad = [i for i, v in enumerate(values) if not isinstance(v, str) or not v]
        validate.require(
            not bad,
            f"group {column!r} of patient {validate.listing(dataset.patient_ids[bad])}",
            'must be a text; a missing value is "unknown"',
            "convert the column to text",
        )


# In this order: later checks rely on what earlier ones have shown.
ALL = (arrays, identifiers, classes, finite_inputs, units, group_table)
