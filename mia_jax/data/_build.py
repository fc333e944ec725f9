"""From arrays per record to a checked `contracts.Dataset`: what all sources share."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mia_jax import contracts, validate


def split(unit_of_patient: np.ndarray, test_share: float, seed: int) -> np.ndarray:
    """Draws the test patients, whole units at a time.

    Args:
      unit_of_patient: [patients] int.
      test_share: of the units, rounded down.
      seed: of `np.random.default_rng`.

    Returns:
      [patients] bool, True = test.
    """
    validate.require(
        0.0 <= test_share < 1.0,
        f"data.test_share={test_share}",
        "must be at least 0 and below 1",
        "set --config.data.test_share=0.2",
    )
    units, index = np.unique(unit_of_patient, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(units))
    is_test_unit = np.zeros(len(units), bool)
    is_test_unit[order[: int(test_share * len(units))]] = True
    return is_test_unit[index]


def standardise(inputs: np.ndarray, is_pool_record: np.ndarray) -> np.ndarray:
    """Scales each column to mean 0 and sd 1 on the pool; constant columns become 0.

    One scaler for all models: a scaler per model would be trained on its members.

    Args:
      inputs: [records, columns].
      is_pool_record: [records] bool.

    Returns:
      [records, columns] float32.
    """
    inputs = np.asarray(inputs, np.float64)
    mean, sd = inputs[is_pool_record].mean(0), inputs[is_pool_record].std(0)
    scaled = (inputs - mean) / np.where(sd > 0, sd, 1.0)
    return np.where(sd > 0, scaled, 0.0).astype(np.float32)


def index_of(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Index of each id and the unique ids, in order of first appearance."""
    codes, unique = pd.factorize(np.asarray(ids, object))
    return codes.astype(np.int32), np.asarray(unique, str)


def at_first_record(table: pd.DataFrame, patient_of_record: np.ndarray) -> pd.DataFrame:
    """One row per patient: the values at the patient's first record."""
    first = np.unique(patient_of_record, return_index=True)[1]
    return table.iloc[first].reset_index(drop=True)


def check(dataset: contracts.Dataset) -> contracts.Dataset:
    """Returns the data set unless a line of its contract is broken.

    Raises:
      InputError: naming records or patients.
    """
    _check_shapes(dataset)
    _check_values(dataset)
    _check_split(dataset)
    return dataset


def _check_shapes(dataset: contracts.Dataset) -> None:
    records = len(dataset.labels)
    lengths = {
        "inputs": len(dataset.inputs) == records,
        "record_ids": len(dataset.record_ids) == records,
        "patient_of_record": len(dataset.patient_of_record) == records,
        "is_test": len(dataset.is_test) == dataset.num_patients,
        "unit_of_patient": len(dataset.unit_of_patient) == dataset.num_patients,
        "groups": len(dataset.groups) == dataset.num_patients,
    }
    wrong = [name for name, is_right in lengths.items() if not is_right]
    validate.require(
        not wrong,
        f"data {dataset.name}: {', '.join(wrong)}",
        f"must have {records} records or {dataset.num_patients} patients",
        "see contracts.Dataset for every shape",
    )
    types = {
        "inputs": np.float32,
        "labels": np.int32,
        "patient_of_record": np.int32,
        "unit_of_patient": np.int32,
        "is_test": np.bool_,
    }
    wrong = [n for n, dtype in types.items() if getattr(dataset, n).dtype != dtype]
    validate.require(
        not wrong,
        f"data {dataset.name}: {', '.join(wrong)}",
        "has another type than the contract says",
        "see contracts.Dataset for every type",
    )


def _check_values(dataset: contracts.Dataset) -> None:
    finite = np.isfinite(dataset.inputs).reshape(dataset.num_records, -1).all(1)
    _require_ids(
        finite,
        dataset.record_ids,
        f"data {dataset.name}: inputs of records",
        "must be finite numbers",
        "impute missing values and say so by a flag column",
    )
    in_range = (dataset.labels >= 0) & (dataset.labels < len(dataset.class_names))
    _require_ids(
        in_range,
        dataset.record_ids,
        f"data {dataset.name}: labels of records",
        f"must lie in 0..{len(dataset.class_names) - 1}",
        "name every class",
    )
    for name, ids in (("record", dataset.record_ids), ("patient", dataset.patient_ids)):
        is_first = ~pd.Series(ids).duplicated().to_numpy()
        _require_ids(
            is_first,
            ids,
            f"data {dataset.name}: {name} ids",
            "must be unique",
            "make them unique",
        )
    has_record = np.bincount(dataset.patient_of_record, minlength=dataset.num_patients)
    _require_ids(
        has_record > 0,
        dataset.patient_ids,
        f"data {dataset.name}: patients",
        "have no record",
        "leave them out",
    )


def _check_split(dataset: contracts.Dataset) -> None:
    pool = int((~dataset.is_test).sum())
    validate.require(
        pool >= 2,
        f"data {dataset.name}: {pool} patients to train on",
        "at least 2 are needed: masks are drawn over patients",
        "use a smaller test share, or more patients",
    )
    sides = pd.Series(dataset.is_test).groupby(dataset.unit_of_patient).nunique()
    validate.require(
        bool((sides == 1).all()),
        f"data {dataset.name}: {dataset.unit}s {validate.listing(sides[sides > 1].index)}",
        "lie on both sides of the split",
        "split by whole units",
    )
    found = np.unique(dataset.labels[dataset.is_pool_record])
    validate.require(
        len(dataset.class_names) >= 2 and len(found) >= 2,
        f"data {dataset.name}: labels {validate.listing(found)} only",
        "at least two classes must occur outside the test set",
        "check the label column and the split",
    )


def _require_ids(right, ids, what: str, rule: str, remedy: str) -> None:
    validate.require(
        bool(right.all()), f"{what} {validate.listing(ids[~right])}", rule, remedy
    )


def fingerprint(dataset: contracts.Dataset) -> str:
    """sha256 of everything in a data set, the same on every platform."""
    digest = hashlib.sha256()
    for name in ("inputs", "labels", "patient_of_record", "is_test", "unit_of_patient"):
        array = np.ascontiguousarray(getattr(dataset, name))
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    texts = [dataset.name, dataset.task, *dataset.class_names]
    texts += [*dataset.record_ids, *dataset.patient_ids, *dataset.groups.columns]
    for column in dataset.groups:
        texts += list(dataset.groups[column])
    digest.update("\0".join(map(str, texts)).encode())
    return digest.hexdigest()
