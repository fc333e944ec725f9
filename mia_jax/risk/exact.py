"""The exact Wilcoxon rank-sum test of membership, also for masks drawn in blocks.

Where training on a patient changes nothing, the mask is independent of every mask-free
number, so the rank sum of the members has one exact law, whatever the model. The law is
kept as whole numbers (how many masks give which U): nothing is rounded before the last
division, in the tail neither.
"""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.stats

# Columns ranked at a time: 512 models x 2048 columns in float32 are 4 MB.
_COLUMNS = 2048
SMALLEST = np.finfo(np.float64).tiny  # below it a p-value would round to 0

Blocks = tuple[tuple[int, int], ...]  # (models IN, models OUT) of every block


class _Law(NamedTuple):
    """Law of U = 0..n_in * n_out: P(U = u) and P(U >= u), float64."""

    pmf: np.ndarray
    survival: np.ndarray


def survival(n_in: int, n_out: int) -> np.ndarray:
    """P(U >= u) for u = 0..n_in * n_out, U the rank sum of IN - n_in (n_in + 1) / 2.

    Args:
      n_in: models that were trained on the patient, >= 0.
      n_out: models that were not, >= 0.

    Returns:
      [n_in * n_out + 1] float64, every entry correctly rounded; read-only.

    Reference: Mann & Whitney 1947, https://doi.org/10.1214/aoms/1177730491; the counts
      are the coefficients of a Gaussian binomial (Andrews, The Theory of Partitions,
      section 3.2). Their recursion needs n^4 additions, the product form here n^3.
    """
    return _law(n_in, n_out).survival


def survival_of_blocks(counts: Blocks) -> np.ndarray:
    """P(U >= u) of the sum of the blocks' rank sums, masks independent over blocks.

    Args:
      counts: (n_in, n_out) of every block. With (1, 1) everywhere (complementary pairs
        of models) this is the sign test; `signed_rank` is the sharper one.

    Returns:
      [sum of n_in * n_out, + 1] float64. Only positive terms are added, so the relative
      error in the tail is rounding (an FFT would leave 1e-16 of the centre there).
    """
    return _from_above(pmf_of_blocks(counts))


def pmf_of_blocks(counts: Iterable[tuple[int, int]]) -> np.ndarray:
    """P(U = u) of the sum of the blocks' rank sums; arguments as above."""
    pmfs = [_law(*block).pmf for block in counts]
    return functools.reduce(np.convolve, pmfs, np.ones(1))


def p_values(
    u: np.ndarray,
    n_in: np.ndarray,
    n_out: np.ndarray,
    is_tied: np.ndarray | bool = False,
) -> np.ndarray:
    """One-sided p-values P(U >= floor(u)): exact, or twice that in tied columns.

    With ties broken at random U would have the law without ties, and would lie at or
    above the U of midranks with probability 1/2 or more, whatever the mask: it is
    symmetric about it. So twice P(U >= u) is never too small; once can be, by more than
    a third, with any number of models. Whether a column is tied must not depend on
    masks.

    Args:
      u: [columns] float64, sum over blocks of the rank sums (midranks for ties).
      n_in, n_out: [blocks, columns] int, models with and without each column's patient.
        In a block n_in + n_out is the same for all columns.
      is_tied: [columns] bool, of `rank_sums_and_ties`.

    Returns:
      [columns] float64 in (0, 1].
    """
    small, large = np.minimum(n_in, n_out), np.maximum(n_in, n_out)
    pairs = np.stack([small, large], -1)  # the law is symmetric in n_in and n_out
    laws = _laws_of(pairs.reshape(-1, 2))
    columns = np.moveaxis(pairs, 0, 1).reshape(len(u), -1)
    p = np.empty(len(u))
    for members in equal_rows(columns):
        blocks = [laws[tuple(pair)] for pair in pairs[:, members[0]].tolist()]
        p[members] = _tail(blocks, np.floor(u[members]).astype(int))
    return np.clip(p * np.where(is_tied, 2, 1), SMALLEST, 1.0)


def equal_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Indices of the rows that are equal, one array for every distinct row."""
    if (rows == rows[:1]).all():  # balanced masks: spares sorting rows of many blocks
        return [np.arange(len(rows))] if len(rows) else []
    _, group = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    return np.split(order, np.cumsum(np.bincount(group.ravel()))[:-1])


def _tail(blocks: list[_Law], u: np.ndarray) -> np.ndarray:
    """P(sum of blocks >= u): sum over v of P(all but the largest = v) P(it >= u - v).

    One product a value instead of the full convolution with the largest block.
    """
    *rest, largest = sorted(blocks, key=lambda law: len(law.pmf))
    if not rest:
        return largest.survival[u]
    pmf = functools.reduce(np.convolve, [law.pmf for law in rest])
    size = len(pmf)
    padded = np.r_[np.ones(size - 1), largest.survival, np.zeros(size)]
    values, inverse = np.unique(u, return_inverse=True)
    tail = [pmf[::-1] @ padded[value : value + size] for value in values]
    return np.array(tail)[inverse]


def rank_sums(
    z: np.ndarray,
    member_mask: np.ndarray,
    block_of_model: np.ndarray,
    patient_of_column: np.ndarray | None = None,
) -> np.ndarray:
    """U of every column: pairs (IN, OUT) of a block that IN wins, ties counting half.

    Args:
      z: [models, columns] float, mask-free scores, higher = member; finite.
      member_mask: [models, columns] bool; or [models, patients] with
        `patient_of_column`.
      block_of_model: [models] int.
      patient_of_column: [columns] int.

    Returns:
      [columns] float64, summed over blocks.
    """
    return rank_sums_and_ties(z, member_mask, block_of_model, patient_of_column)[0]


def rank_sums_and_ties(
    z: np.ndarray,
    member_mask: np.ndarray,
    block_of_model: np.ndarray,
    patient_of_column: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`rank_sums`, and whether two models of a block have equal scores.

    Returns:
      u: [columns] float64.
      is_tied: [columns] bool; no mask enters.
    """
    if patient_of_column is None:
        patient_of_column = np.arange(z.shape[1])
    u, is_tied = np.zeros(z.shape[1]), np.zeros(z.shape[1], bool)
    blocks = [np.flatnonzero(block_of_model == b) for b in np.unique(block_of_model)]
    pairs = [models for models in blocks if len(models) == 2]
    if pairs:  # complementary pairs: no sorting, all at once
        blocks = [models for models in blocks if len(models) != 2]
        blocks.append(np.stack(pairs, 1))
    for start in range(0, z.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        member, chunk = member_mask[:, patient_of_column[columns]], z[:, columns]
        for models in blocks:
            block_fn = _rank_sums if models.ndim == 1 else _pair_wins
            of_block, ties = block_fn(chunk[models], member[models])
            u[columns] += of_block
            is_tied[columns] |= ties
    return u, is_tied


def _rank_sums(z: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """U and ties of the columns of a block; sorts once, midranks only for ties.

    Sorting belongs to NumPy on a CPU, and rankdata costs five times an argsort.
    """
    z, member = np.ascontiguousarray(z.T), np.ascontiguousarray(member.T)
    order = np.argsort(z, axis=1)
    ordered = np.take_along_axis(z, order, 1)
    ranks = np.arange(1.0, z.shape[1] + 1)
    sums = np.take_along_axis(member, order, 1) @ ranks
    is_tied = (ordered[:, 1:] == ordered[:, :-1]).any(1)
    if is_tied.any():
        ranks = scipy.stats.rankdata(z[is_tied], axis=1)
        sums[is_tied] = (ranks * member[is_tied]).sum(1)
    n_in = member.sum(1)
    return sums - n_in * (n_in + 1) / 2, is_tied


def _pair_wins(z: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """U and ties of columns over blocks of two models: both [2, pairs, columns]."""
    sign = member[0].astype(float) - member[1]  # 0 where both or none are members
    wins = np.abs(sign) * (0.5 + 0.5 * np.sign(sign * (z[0] - z[1])))
    return wins.sum(0), (z[0] == z[1]).any(0)


def rank_auc(u: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """U as a share of the pairs: [columns] float64, unclipped; .5 without any pair.

    Args:
      u: [columns] float64, of `rank_sums`.
      pairs: [columns] int, pairs (IN, OUT), summed over blocks.
    """
    return np.where(pairs > 0, u / np.maximum(pairs, 1), 0.5)


def _law(n_in: int, n_out: int) -> _Law:
    """The law of one block."""
    small, large = sorted((int(n_in), int(n_out)))
    return _laws(small + large, (small,))[small]


def _laws_of(pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], _Law]:
    """The laws of all these (n_in <= n_out), those of one sum in one pass."""
    wanted: dict[int, set[int]] = {}
    for small, large in np.unique(np.asarray(pairs), axis=0).tolist():
        wanted.setdefault(small + large, set()).add(small)
    return {
        (small, total - small): law
        for total, smalls in wanted.items()
        for small, law in _laws(total, tuple(sorted(smalls))).items()
    }


@functools.lru_cache(maxsize=16)
def _laws(total: int, smalls: tuple[int, ...]) -> dict[int, _Law]:
    """Laws for n_in in `smalls` (each <= total / 2) and n_out = total - n_in.

    Counts of n_in = i follow from those of i - 1 as polynomials in q, exactly:
    times (1 - q^(total - i + 1)), over (1 - q^i). The law is symmetric: half suffices.
    """
    largest = max(smalls)
    counts = np.zeros(largest * (total - largest) // 2 + 1, object)  # Python's integers
    counts[0] = 1
    laws = {0: _symmetric_law(counts, total, 0)} if 0 in smalls else {}
    for i in range(1, largest + 1):
        shift = total - i + 1
        counts[shift:] -= counts[:-shift].copy()
        counts = _running_sums(counts, i)
        if i in smalls:
            laws[i] = _symmetric_law(counts, total, i)
    return laws


def _running_sums(counts: np.ndarray, stride: int) -> np.ndarray:
    """c[u] = counts[u] + c[u - stride]: the quotient by 1 - q^stride."""
    padding = np.zeros(-len(counts) % stride, object)
    rows = np.concatenate([counts, padding]).reshape(-1, stride)
    return np.add.accumulate(rows, axis=0).ravel()[: len(counts)]


def _symmetric_law(counts: np.ndarray, total: int, n_in: int) -> _Law:
    """The law from the numbers of masks with U = 0, 1, ... up to the middle or more."""
    masks, last = math.comb(total, n_in), n_in * (total - n_in)
    counts = counts[: last // 2 + 1]
    below = np.add.accumulate(counts)  # masks with U <= u
    u = np.arange(last + 1)
    pmf = (counts / masks).astype(np.float64)[np.minimum(u, last - u)]
    upper = (below / masks).astype(np.float64)[::-1]  # P(U >= last - u) = P(U <= u)
    lower = ((masks - below) / masks).astype(np.float64)  # P(U >= u + 1)
    tail = np.r_[1.0, lower][: last + 1 - len(upper)]
    law = _Law(pmf, np.r_[tail, upper])
    for array in law:
        array.flags.writeable = False
    return law


def _from_above(pmf: np.ndarray) -> np.ndarray:
    return np.add.accumulate(pmf[::-1])[::-1]
