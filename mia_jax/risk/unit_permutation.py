"""Permutation tests of a sum over a group's patients, also where units share masks.

The sum is of any score of a patient: 1 if proven, or the rank of the AUC. Patients of
one unit (a household) share their masks, so their scores belong together: whole units
change places, within blocks of units of equal size and number of records. The members
of a unit, in a fixed order, take the group labels of the members of another.

The mean and variance of such a sum are exact (Hoeffding 1951,
https://doi.org/10.1214/aoms/1177729545, theorem 2); with every patient alone they are
those of the stratified Mantel-Haenszel and van Elteren tests.
"""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from mia_jax import rng

# (1 + 0) / (1 + 9999): the smallest p-value by permutation is 1e-4.
_NUM_PERMUTATIONS = 9999
# Counts of a larger variance have a skewness below .1: normal, with the half that
# continuity asks for. More units than this take minutes to permute.
_LARGEST_VARIANCE = 100.0
_MOST_UNITS = 20_000


class Blocks(NamedTuple):
    """Who may change places with whom.

    Attributes:
      members: per block [units, members] int, patients; all units of a block have the
        same number of members, of the same strata in order.
      fixed: [n] int, patients of units without a partner: they keep their labels.
    """

    members: tuple[np.ndarray, ...]
    fixed: np.ndarray


def blocks(stratum: np.ndarray, unit: np.ndarray | None, num_records: np.ndarray):
    """Blocks of exchangeable units.

    Args:
      stratum: [patients] int, by number of records.
      unit: [patients] int, or None: every patient alone.
      num_records: [patients] int; orders the members of a unit.

    Returns:
      `Blocks`.
    """
    unit = (
        np.arange(len(stratum))
        if unit is None
        else np.unique(unit, return_inverse=True)[1]
    )
    order = np.lexsort((-num_records, unit))
    starts = np.searchsorted(unit[order], np.arange(unit.max(initial=-1) + 1))
    sizes = np.bincount(unit)
    members = []
    for size in np.unique(sizes):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        label = np.unique(stratum[rows], axis=0, return_inverse=True)[1].reshape(-1)
        by_label = np.argsort(label, kind="stable")
        cuts = np.flatnonzero(np.diff(label[by_label])) + 1
        members += np.split(rows[by_label], cuts)
    alone = [rows.ravel() for rows in members if len(rows) == 1]
    fixed = np.concatenate([*alone, np.zeros(0, int)]).astype(int)
    return Blocks(tuple(rows for rows in members if len(rows) > 1), fixed)


def moments(
    design: Blocks, is_group: np.ndarray, score: np.ndarray
) -> tuple[float, float, float]:
    """Observed sum of the group's scores, its mean and variance under permutation."""
    mean, variance = float(score[design.fixed] @ is_group[design.fixed]), 0.0
    for rows in design.members:
        label, value = is_group[rows].astype(np.float64), score[rows]
        center, middle = label.mean(0), value.mean(0)
        mean += float(center @ middle) * len(rows)
        label, value = label - center, value - middle
        both = (label.T @ label) * (value.T @ value)
        variance += float(both.sum()) / (len(rows) - 1)
    return float(score[is_group].sum()), mean, variance


def ranks_within(auc: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """[patients] rank of each AUC in its stratum, 1 = lowest; ties share their mean."""
    ranks = np.empty(len(auc))
    for value in np.unique(stratum):
        here = stratum == value
        ranks[here] = stats.rankdata(auc[here])
    return ranks


def rank_test(
    design: Blocks, is_group: np.ndarray, ranks: np.ndarray, stratum: np.ndarray
) -> tuple[float, float]:
    """Do the group's patients rank higher than others with as many records?

    Ranks within strata, weighted by 1 / (patients + 1), which is most powerful for
    equal shifts (van Elteren 1960); normal with the exact variance, two-sided.

    Args:
      design: of `blocks`.
      is_group: [patients] bool.
      ranks: of `ranks_within`.
      stratum: [patients] int, 0 and up.

    Returns:
      effect: probability that a patient of the group has a higher AUC than another
        one of the same stratum (ties count half), averaged over strata by pairs.
      p_value: NaN where no permutation changes the sum.
    """
    total = np.bincount(stratum)
    inside = np.bincount(stratum[is_group], minlength=len(total))
    pairs = float((inside * (total - inside)).sum())
    wins = ranks[is_group].sum() - (inside * (inside + 1) / 2).sum()
    effect = float(wins) / pairs if pairs else np.nan
    score = ranks / (total[stratum] + 1)
    observed, mean, variance = moments(design, is_group, score)
    if not variance > 1e-12:
        return effect, np.nan
    return effect, float(2 * special.ndtr(-abs(observed - mean) / np.sqrt(variance)))


def count_p_values(
    design: Blocks, is_group: np.ndarray, is_event: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """P-values of the number of events in each group, whole units permuted.

    Args:
      design: of `blocks`.
      is_group: [rows, patients] bool.
      is_event: [patients] bool.
      seed: of the permutations.

    Returns:
      two_sided, upper: [rows], P(|count - mean| >= observed) and P(count >= observed);
      NaN where no permutation changes the count. By 9,999 permutations up to 20,000
      units where the count's variance is below 100, else normal.
    """
    found = np.array([moments(design, row, is_event * 1.0) for row in is_group])
    count, mean, variance = found.reshape(-1, 3).T
    error = np.sqrt(np.maximum(variance, 1e-300))
    far = (np.abs(count - mean) - 0.5) / error
    two_sided = np.minimum(1.0, 2 * special.ndtr(-far))
    upper = special.ndtr(-(count - mean - 0.5) / error)
    is_fixed = ~(variance > 1e-12)
    two_sided[is_fixed] = upper[is_fixed] = np.nan
    num_units = sum(map(len, design.members))
    few = np.flatnonzero(~is_fixed & (variance < _LARGEST_VARIANCE))
    if num_units <= _MOST_UNITS and few.size:
        drawn = _permuted_counts(design, is_group[few], is_event, seed)
        share = lambda hits: (1 + hits.sum(0)) / (1 + len(drawn))
        distance = np.abs(count - mean)[few] - 1e-9
        two_sided[few] = share(np.abs(drawn - mean[few]) >= distance)
        upper[few] = share(drawn >= count[few])
    return two_sided, upper


def _permuted_counts(
    design: Blocks, is_group: np.ndarray, is_event: np.ndarray, seed: int
) -> np.ndarray:
    """[permutations, rows] counts; a draw of units serves all rows."""
    generator = rng.host(seed, "group permutation")
    units = [unit for rows in design.members for unit in rows]
    sizes = np.array(list(map(len, units)))
    members = np.zeros((len(units), sizes.max()), int)
    is_member = np.arange(sizes.max()) < sizes[:, None]
    members[is_member] = np.concatenate(units)
    block = np.repeat(np.arange(len(design.members)), list(map(len, design.members)))
    unit, member = np.nonzero(is_event[members] & is_member)
    label = np.ascontiguousarray(is_group.T)
    fixed = label[design.fixed[is_event[design.fixed]]].sum(0, dtype=np.int32)
    counts = np.empty((_NUM_PERMUTATIONS, len(is_group)), np.int32)
    for draw in counts:
        # Units are in order of blocks, so sorting block + uniform stays within them.
        other = np.argsort(block + generator.random(len(block)))[unit]
        draw[:] = fixed + label[members[other, member]].sum(0, dtype=np.int32)
    return counts
