"""The leave-one-out engine: any attack over all records, in cache-sized chunks.

An attack is a formula on [models, records]; here it is jitted once and moved over the
records. 1,024 records of 256 models are 1 MB, about a core's cache; the whole array at
once would go through memory at every step of the formula (benchmarks/scoring.py). An
attack that compares records with a population does so in a second step on the host,
target by target, where sorting is fastest.
"""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl

from mia_jax import contracts

RECORD_CHUNK = 1024
# `tune` sees so many records at most: the standard error of an AUC is .004.
TUNE_RECORDS = 20_000
# Sorting releases the interpreter's lock; more threads gain little and cost memory.
_MOST_THREADS = 4


def scores(
    attack: ModuleType,
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    out: np.ndarray | None = None,
    context: contracts.Context | None = None,
    **options: Any,
) -> np.ndarray:
    """Leave-one-out scores of every model for every record.

    Args:
      attack: a file of `mia_jax/attacks` (contracts.Attack). Sums of its `cohort_sums`
        over all records and the choice of its `tune` are handed to its `scores`; where
        that returns `Signals`, its `compare` makes the scores of each target, with
        what its `prepare` made of the context, if it has one.
      statistic: [models, records] float32, or [models, records, channels] for an attack
        whose option `channels` is not "mean"; may be memory-mapped.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int.
      out: [models, records] float32 to write to, e.g. memory-mapped; made if None.
      context: labels and features for attacks that compare; patients only if None.
      **options: the attack's.

    Returns:
      [models, records] float32, higher = member.
    """
    if out is None:
        out = np.empty(statistic.shape[:2], np.float32)
    chunks = _Chunks(statistic, member_mask, patient_of_record)
    computed = _cohort(attack, chunks, options) | _tuned(attack, chunks, options)
    scores_fn = _jitted(attack.scores, **options)
    population, is_compared = None, False
    for columns, chunk in chunks:
        found = scores_fn(*chunk, **computed)
        if isinstance(found, contracts.Signals):
            is_compared = True
            found, other = found
            if other is not None:
                population = np.empty_like(out) if population is None else population
                population[:, columns] = other
        out[:, columns] = found
    if is_compared:
        if context is None:
            context = contracts.Context(None, chunks.patient_of_record, None)
        compare = functools.partial(attack.compare, context=context, **options)
        if hasattr(attack, "prepare"):
            prepared = attack.prepare(context, **options)
            compare = functools.partial(compare, prepared=prepared)
        _compare(compare, out, population, member_mask, context.patient_of_record)
    return out


def patient_signal(
    attack: ModuleType, statistic: np.ndarray, **options: Any
) -> np.ndarray:
    """The mask-free numbers that patients are tested on under an attack.

    Args:
      attack: a file of `mia_jax/attacks`.
      statistic: [models, records(, channels)] float32; may be memory-mapped.
      **options: the attack's.

    Returns:
      [models, records] float32, the mean over channels if there are any; the statistic
      itself where the attack has no `patient_signal`.
    """
    given = getattr(attack, "patient_signal", None)
    if given is None and statistic.ndim == 2:
        return statistic
    signal_fn = _jitted(given or _identity, **(options if given else {}))
    out = np.empty(statistic.shape[:2], np.float32)
    for columns in _columns(statistic):
        found = np.asarray(signal_fn(np.ascontiguousarray(statistic[:, columns])))
        out[:, columns] = found.mean(2) if found.ndim == 3 else found
    return out


def _identity(statistic: jax.Array) -> jax.Array:
    return statistic


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


def _tuned(attack: ModuleType, chunks: "_Chunks", options: dict) -> dict[str, Any]:
    """What an attack chooses once, from evenly spaced records, as an argument."""
    if not hasattr(attack, "tune"):
        return {}
    tuned = attack.tune(*chunks.sample(TUNE_RECORDS), **options)
    return {} if tuned is None else {"tuned": tuned}


def _compare(
    compare: Callable[..., np.ndarray],
    out: np.ndarray,
    population: np.ndarray | None,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
) -> None:
    """Turns the signals in `out` into scores, in place, a few targets at a time."""

    def one(target: int) -> None:
        other = None if population is None else population[target]
        signals = contracts.Signals(out[target], other)
        out[target] = compare(signals, member_mask[target, patient_of_record])

    num_threads = min(_MOST_THREADS, os.cpu_count() or 1, len(out))
    # Targets run side by side already: threads of BLAS would only wait for each other.
    with (
        threadpoolctl.threadpool_limits(1, "blas"),
        concurrent.futures.ThreadPoolExecutor(num_threads) as pool,
    ):
        for _ in pool.map(one, range(len(out))):
            pass  # raises what a target raised


@functools.cache
def _jitted(function: Callable, **options: Any) -> Callable:
    """Compiled once for each function and its options."""
    return jax.jit(functools.partial(function, **options))


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _columns(statistic: np.ndarray) -> Iterator[slice]:
    """Chunks of records; with channels fewer at a time, to stay in the cache."""
    step = max(1, RECORD_CHUNK // int(np.prod(statistic.shape[2:])))
    for start in range(0, statistic.shape[1], step):
        yield slice(start, start + step)


class _Chunks:
    """Columns of statistic and record-level mask, chunk by chunk, repeatedly."""

    def __init__(self, statistic, member_mask, patient_of_record):
        self.statistic, self.member_mask = statistic, member_mask
        self.patient_of_record = np.asarray(patient_of_record)

    def __iter__(self):
        for columns in _columns(self.statistic):
            yield columns, self._at(columns)

    def sample(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many records, evenly spaced."""
        num_records = self.statistic.shape[1]
        count = min(num_records, most)
        return self._at(np.arange(count) * num_records // count)

    def _at(self, columns) -> tuple[np.ndarray, np.ndarray]:
        mask = self.member_mask[:, self.patient_of_record[columns]]
        return np.ascontiguousarray(self.statistic[:, columns]), mask
