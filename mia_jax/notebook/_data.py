"""A notebook's arrays as a cohort."""

from typing import Any

import numpy as np
import pandas as pd

from mia_jax import contracts, validate
from mia_jax.data import _build
from mia_jax.notebook import _people


def dataset(
    X: Any,
    y: Any,
    groups: Any,
    sensitive_features: Any,
    task: str | None,
    title: str,
    test_share: float,
    seed: int,
) -> contracts.Dataset:
    """The cohort; arguments as of `audit`.

    Raises:
      InputError: naming the argument, its columns, records or patients.
    """
    _people.same_index(X=X, y=y, groups=groups)
    inputs = _inputs(X)
    labels, names, task = _labels(y, task)
    validate.require(
        len(inputs) == len(labels),
        f"X has {len(inputs)} records, y {len(labels)}",
        "must have one row per record, in the same order",
        "select both from one table",
    )
    patients = _people.ids(groups, len(labels))
    by_record = _people.sensitive(sensitive_features, patients, groups)
    patient_of_record, patient_ids = _build.index_of(patients)
    unit = np.arange(len(patient_ids), dtype=np.int32)
    _people.constant(by_record, patient_of_record, patient_ids)
    found = contracts.Dataset(
        name="arrays",
        title=title or "Arrays of a notebook",
        inputs=inputs,
        labels=labels,
        task=task,
        class_names=names,
        record_ids=_record_ids(X, len(labels)),
        patient_ids=patient_ids,
        patient_of_record=patient_of_record,
        is_test=_build.split(unit, test_share, seed),
        unit_of_patient=unit,
        unit="patient",
        groups=_build.at_first_record(by_record, patient_of_record),
    )
    return _build.check(found)


def _inputs(X: Any) -> np.ndarray:
    """[records, ...] float32."""
    if isinstance(X, pd.DataFrame):
        text = [
            str(name)
            for name in X
            if not pd.api.types.is_numeric_dtype(X[name])
            and not pd.api.types.is_bool_dtype(X[name])
        ]
        validate.require(
            not text,
            f"X: columns {validate.listing(text)} are no numbers",
            "a network takes numbers",
            "one-hot encode them, e.g. pd.get_dummies(X), or leave them out",
        )
        X = X.to_numpy(np.float32)
    inputs = np.asarray(X)
    validate.require(
        inputs.dtype.kind in "iufb" and inputs.ndim >= 2,
        f"X is {inputs.dtype} {list(inputs.shape)}",
        "must be numbers [records, ...] with at least one feature axis",
        "reshape a single feature to [records, 1]",
    )
    return np.asarray(inputs, np.float32)


def _record_ids(X: Any, num_records: int) -> np.ndarray:
    """The index of a DataFrame, where it names every record once; else numbers."""
    if isinstance(X, pd.DataFrame) and X.index.astype(str).is_unique:
        return X.index.astype(str).to_numpy(str)
    return np.arange(num_records).astype(str)


def _labels(y: Any, task: str | None) -> tuple[np.ndarray, tuple[str, ...], str]:
    """([records] int32, class names, task); classes in order of their values."""
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        return _multilabel(y, values, task)
    validate.require(
        values.ndim == 1 and not pd.isna(values).any(),
        f"y has shape {list(values.shape)}, or labels are missing",
        "must be one class for each record",
        "drop records without a label",
    )
    is_fraction = values.dtype.kind == "f" and (values != np.floor(values)).any()
    validate.require(
        not is_fraction,
        "y has values that are no whole numbers",
        "a label names a class; a measured quantity is none",
        "cut it into classes, e.g. y > threshold",
    )
    if values.dtype.kind == "f":
        values = values.astype(np.int64)  # 0.0, 1.0 are the classes 0, 1
    names, codes = np.unique(
        values.astype(str) if values.dtype == object else values, return_inverse=True
    )
    natural = "binary" if len(names) == 2 else "multiclass"
    task = task or natural
    validate.require(
        task == natural or (task == "multiclass" and len(names) == 2),
        f"task={task!r}, y has {len(names)} classes",
        "binary has two classes; multilabel needs y [records, labels]",
        "leave task out, or change y",
    )
    return codes.astype(np.int32), tuple(map(str, names)), task


def _multilabel(y: Any, values: np.ndarray, task: str | None):
    """([records, labels] int32, label names, "multilabel")."""
    is_frame = isinstance(y, pd.DataFrame)
    names = y.columns if is_frame else [f"label {k}" for k in range(values.shape[1])]
    validate.require(
        task in (None, "multilabel"),
        f"task={task!r}, y has shape {list(values.shape)}",
        "labels [records, labels] are multilabel",
        "give class numbers, e.g. y.argmax(1), or leave task out",
    )
    is_bits = values.dtype.kind in "iufb" and np.isin(values, (0, 1)).all()
    one_hot = is_bits and task is None and (values.sum(1) == 1).all()
    validate.require(
        bool(is_bits) and not one_hot,
        f"y {list(values.shape)} " + ("is one-hot" if one_hot else "is not 0 and 1"),
        "must be 0 or 1 for each label; classes are given as numbers",
        'give y.argmax(1) for classes, or task="multilabel"',
    )
    return values.astype(np.int32), tuple(map(str, names)), "multilabel"
