"""From arrays per record to a checked `contracts.Dataset`: what all sources share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mia_jax import contracts, validate
from mia_jax.data import _checks


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
    for part in _checks.ALL:
        part(dataset)
    return dataset
