"""The leave-one-out engine: any attack over all records, in cache-sized chunks.

An attack is a formula on [models, records]; here it is jitted once and moved over the
records. 1,024 records of 256 models are 1 MB, about a core's cache; the whole array at
once would go through memory at every step of the formula (benchmarks/scoring.py).
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RECORD_CHUNK = 1024


def scores(
    attack: ModuleType,
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    out: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Leave-one-out scores of every model for every record.

    Args:
      attack: a file of `mia_jax/attacks` (contracts.Attack). If it has `cohort_sums`
        and they are not None for these options, their sums over all records are handed
        to `scores` as `cohort`.
      statistic: [models, records] float32; may be memory-mapped.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int.
      out: [models, records] float32 to write to, e.g. memory-mapped; made if None.
      **options: the attack's.

    Returns:
      [models, records] float32, higher = member.
    """
    if out is None:
        out = np.empty(statistic.shape, np.float32)
    chunks = _Chunks(statistic, member_mask, patient_of_record)
    computed = _cohort(attack, chunks, options)
    scores_fn = _jitted(attack.scores, **options)
    for columns, chunk in chunks:
        out[:, columns] = scores_fn(*chunk, **computed)
    return out


def _cohort(attack: ModuleType, chunks: "_Chunks", options: dict) -> dict[str, Any]:
    """What an attack needs of all records, summed over chunks, as an argument."""
    if not hasattr(attack, "cohort_sums"):
        return {}
    sums_fn = _jitted(attack.cohort_sums, **options)
    parts = (sums_fn(*chunk) for _, chunk in chunks)
    total = next(parts)
    if total is None:
        return {}
    return {"cohort": functools.reduce(_add, parts, total)}


@functools.cache
def _jitted(function: Callable, **options: Any) -> Callable:
    """Compiled once for each function and its options."""
    return jax.jit(functools.partial(function, **options))


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


class _Chunks:
    """Columns of statistic and record-level mask, chunk by chunk, repeatedly."""

    def __init__(self, statistic, member_mask, patient_of_record):
        self.arrays = statistic, member_mask, np.asarray(patient_of_record)

    def __iter__(self):
        statistic, member_mask, patient_of_record = self.arrays
        for start in range(0, statistic.shape[1], RECORD_CHUNK):
            columns = slice(start, start + RECORD_CHUNK)
            mask = member_mask[:, patient_of_record[columns]]
            yield columns, (np.ascontiguousarray(statistic[:, columns]), mask)
