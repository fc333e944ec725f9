"""How many of a target's non-members a record beats: by sorting, on the host."""

import numpy as np


def share_beaten(
    query: np.ndarray,
    population: np.ndarray,
    is_population: np.ndarray,
    owner: np.ndarray,
    is_strict: bool = True,
) -> np.ndarray:
    """Share of the population whose value is below the record's, for every record.

    Records of the same owner as the record are left out of its population, so its own
    membership, which decides whether they belong there, does not enter. Counts are
    exact: those of comparing all pairs, at the cost of sorting.

    Args:
      query: [records] float, the value of each record as the one asked about.
      population: [records] float, its value as one of the population.
      is_population: [records] bool.
      owner: [records] int from 0, usually the patient.
      is_strict: whether an equal value counts as not beaten.

    Returns:
      [records] float32 in 0..1; 0 where the population is empty.
    """
    values = population[is_population]
    ranked = np.sort(values)
    beaten = _search(ranked, query, "left" if is_strict else "right")
    num_own = np.bincount(owner[is_population], minlength=int(owner.max()) + 1)
    own = num_own[owner]
    beaten[own > 0] -= _beaten_own(
        ranked, values, owner[is_population], num_own, beaten[own > 0], owner[own > 0]
    )
    return (beaten / np.maximum(len(values) - own, 1)).astype(np.float32)


def _beaten_own(ranked, values, owner, num_own, beaten, asked) -> np.ndarray:
    """How many of the beaten are of the asked record's owner.

    A value is among the `beaten` smallest exactly if its first place in `ranked` is
    below that number. Owner and place make one integer, so a second sort finds them.
    """
    width = len(values) + 1
    place = _search(ranked, values, "left")
    keys = np.sort(owner.astype(np.int64) * width + place)
    first = np.cumsum(num_own) - num_own
    return np.searchsorted(keys, asked.astype(np.int64) * width + beaten) - first[asked]


def _search(ranked: np.ndarray, values: np.ndarray, side: str) -> np.ndarray:
    """`np.searchsorted`; values in order are found several times faster."""
    order = np.argsort(values)
    out = np.empty(len(values), np.int64)
    out[order] = np.searchsorted(ranked, values[order], side)
    return out
