"""Sums over the records of each patient, a cache-sized chunk of patients at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Records at a time: 512 models x 1024 records in float64 are 4 MB.
_RECORDS = 1024


class Chunk(NamedTuple):
    """Some patients with all their records.

    Attributes:
      patients: [patients of the chunk] int.
      records: [records of the chunk] int, sorted by patient.
      position: [records of the chunk] int, whose patient is `patients[position]`.
      x: [models, records of the chunk], their columns.
      sums: [models, patients of the chunk] float64.
    """

    patients: np.ndarray
    records: np.ndarray
    position: np.ndarray
    x: np.ndarray
    sums: np.ndarray


def chunks(
    z: np.ndarray, patient_of_record: np.ndarray, is_wanted: np.ndarray | None = None
) -> Iterator[Chunk]:
    """Goes through all patients; a chunk has about a thousand records, or one patient.

    Args:
      z: [models, records] float. May be overwritten in the columns of earlier chunks.
      patient_of_record: [records] int, in any order; also any other unit.
      is_wanted: [records] bool, others are left out; None: all.
    """
    order = np.argsort(patient_of_record, kind="stable")
    order = order if is_wanted is None else order[is_wanted[order]]
    patients, first = np.unique(patient_of_record[order], return_index=True)
    ends = np.append(first[1:], len(order))
    start = 0
    while start < len(patients):
        fitting = np.searchsorted(ends, first[start] + _RECORDS, side="right")
        stop = max(start + 1, int(fitting))
        records = order[first[start] : ends[stop - 1]]
        x = z[:, records]
        starts = first[start:stop] - first[start]
        sums = np.add.reduceat(x, starts, axis=1, dtype=np.float64)
        sizes = ends[start:stop] - first[start:stop]
        position = np.repeat(np.arange(stop - start), sizes)
        yield Chunk(patients[start:stop], records, position, x, sums)
        start = stop
