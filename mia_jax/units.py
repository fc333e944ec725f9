"""Units of training: records, or patients (households) with all their records."""

from typing import NamedTuple

import numpy as np

from mia_jax import contracts


class Table(NamedTuple):
    """The units that may be members, on the host.

    Attributes:
      units: their records.
      patient: [units] int64, a patient of each unit: all its patients share a mask.
    """

    units: contracts.Units
    patient: np.ndarray


def table(dataset: contracts.Dataset, unit: str) -> Table:
    """Lists the records of every unit, test patients left out.

    Args:
      dataset: the cohort.
      unit: "record", or "patient": what masks are drawn over.

    Returns:
      The units in ascending order of record, or of the data set's unit numbers.
    """
    records = np.flatnonzero(dataset.is_pool_record)
    patient_of_record = dataset.patient_of_record[records]
    if unit == "record":
        number = np.arange(len(records))
    else:
        number = dataset.unit_of_patient[patient_of_record]
    order = np.argsort(number, kind="stable")
    _, start, count = np.unique(number[order], return_index=True, return_counts=True)
    arrays = (records[order], start, count)
    units = contracts.Units(*(array.astype(np.int32) for array in arrays))
    return Table(units, patient_of_record[order][start])
