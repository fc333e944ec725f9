"""The exact test that fits how the masks were drawn.

Every block of three or more models: the rank sum of its members (`exact`). Blocks of
two, complementary pairs: the signed rank of their differences (`signed_rank`). A design
with both (models added later, or pairs that lost a model, whose other models are a
block of their own): T = a W + b U with whole weights, whose law is the convolution of
both. The blocks' masks are independent given how many of each block are members, so the
law holds for any numbers of members.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mia_jax.risk import design, exact, signed_rank

RANK_SUM, IN_BLOCKS = "rank sum", "rank sum within blocks"
PAIRS = "signed rank of pairs"
PAIRS_AND_BLOCKS = "signed rank of pairs, rank sum of the others"

# Columns of z, and the patient (column of the mask) of each.
Chunks = Iterable[tuple[np.ndarray, np.ndarray]]


class Ranks(NamedTuple):
    """Rank statistics of all columns; exact laws belong to all of it but `wins`.

    Attributes:
      patient: [columns] int.
      u: [columns] float64, sum of the rank sums of blocks of three or more models.
      is_tied: [columns] bool, whether models of such a block have equal scores.
      wins: [columns] float64, pairs of models whose IN model scores higher.
      signed: of the pairs of models; None if there are none.
    """

    patient: np.ndarray
    u: np.ndarray
    is_tied: np.ndarray
    wins: np.ndarray
    signed: signed_rank.RankSums | None


def name(block_of_model: np.ndarray) -> str:
    """Which test fits the blocks: one of the names above."""
    pairs, rest = _split(block_of_model)
    if not pairs.size:
        return RANK_SUM if len(np.unique(block_of_model)) == 1 else IN_BLOCKS
    return PAIRS_AND_BLOCKS if len(rest) else PAIRS


def ranks(chunks: Chunks, member_mask: np.ndarray, block_of_model: np.ndarray) -> Ranks:
    """Ranks all columns of mask-free scores.

    Args:
      chunks: pairs z [models, columns] float, patient_of_column [columns] int; about
        a thousand columns stay in the cache.
      member_mask: [models, patients] bool.
      block_of_model: [models] int.
    """
    pairs, rest = _split(block_of_model)
    parts = []
    for z, patient in chunks:
        member = member_mask[:, patient]
        u, wins, signed = np.zeros(len(patient)), np.zeros(len(patient)), None
        is_tied = np.zeros(len(patient), bool)
        if len(rest):
            arrays = z[rest], member[rest], block_of_model[rest]
            u, is_tied = exact.rank_sums_and_ties(*arrays)
        if pairs.size:
            d = signed_rank.differences(z[pairs], member[pairs])
            is_split = member[pairs[0]] != member[pairs[1]]
            wins = ((d > 0) + 0.5 * (is_split & (d == 0))).sum(0)
            signed = signed_rank.rank_sums(d)
        parts.append(Ranks(patient, u, is_tied, wins, signed))
    return _joined(parts)


def aucs(
    found: Ranks, member_mask: np.ndarray, block_of_model: np.ndarray
) -> np.ndarray:
    """Rank AUC of every column, comparing models within blocks only.

    Under complementary pairs it is the share of pairs whose IN model scores higher: the
    success of an attacker who knows that one of two models, alike but for opposite
    members, holds the patient. (Over all models the shocks of single models would not
    cancel, and no interval would be right.)

    Returns:
      [columns] float64, unclipped; .5 without any pair of IN and OUT.
    """
    n_in, n_out = design.counts(member_mask, block_of_model)
    pairs = (n_in * n_out).sum(0)[found.patient]
    return exact.rank_auc(found.u + found.wins, pairs)


def p_values(
    found: Ranks, member_mask: np.ndarray, block_of_model: np.ndarray
) -> np.ndarray:
    """One-sided p-values: [columns] float64 in (0, 1].

    Exact; never too small where models of a larger block have equal scores
    (`exact.p_values`).
    """
    _, rest = _split(block_of_model)
    if not len(rest):
        return signed_rank.p_values(found.signed)
    counts = design.counts(member_mask[rest], block_of_model[rest])
    n_in, n_out = (count[:, found.patient] for count in counts)
    if found.signed is None:
        return exact.p_values(found.u, n_in, n_out, found.is_tied)
    return _p_of_both(found, n_in, n_out)


def _split(block_of_model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Models in blocks of two, [2, pairs], and those in larger blocks, [others].

    A block of one model has nothing to compare it with and is in neither.
    """
    _, block, size = np.unique(block_of_model, return_inverse=True, return_counts=True)
    in_order = np.argsort(block, kind="stable")
    pairs = in_order[size[block[in_order]] == 2].reshape(-1, 2).T
    return pairs, np.flatnonzero(size[block] > 2)


def _joined(parts: list[Ranks]) -> Ranks:
    """Chunks of columns as one."""
    arrays = [np.concatenate([part[i] for part in parts]) for i in range(4)]
    if parts[0].signed is None:
        return Ranks(*arrays, None)
    w, num_pairs, _, tied_ranks = map(np.concatenate, zip(*(p.signed for p in parts)))
    first = np.cumsum([0, *(len(part.u) for part in parts)])
    tied = np.concatenate([p.signed.tied + f for p, f in zip(parts, first)])
    joined = signed_rank.RankSums(w, num_pairs, tied, tied_ranks)
    return Ranks(*arrays, joined)


def _p_of_both(found: Ranks, n_in: np.ndarray, n_out: np.ndarray) -> np.ndarray:
    """P(T >= t), T = a W + b U: the sum over v of P(U = v) P(W >= (t - b v) / a)."""
    signed, p = found.signed, np.empty(len(found.u))
    tied = dict(zip(signed.tied.tolist(), signed.tied_ranks))
    small, large = np.minimum(n_in, n_out), np.maximum(n_in, n_out)
    rows = np.concatenate([signed.num_pairs[None], small, large]).T
    a, b = weights(int(signed.num_pairs.max()), n_in[:, 0] + n_out[:, 0])
    twice_t = a * 2 * signed.w + b * 2 * np.floor(found.u)
    for columns in exact.equal_rows(rows):
        first = columns[0]
        law = exact.pmf_of_blocks(zip(small[:, first], large[:, first]))
        of_pairs = signed_rank.survival(int(signed.num_pairs[first]))
        untied = np.array([c for c in columns.tolist() if c not in tied], int)
        values, inverse = np.unique(twice_t[untied], return_inverse=True)
        tail = [_tail(of_pairs, 2 * a, law, 2 * b, t) for t in values]
        p[untied] = np.array(tail)[inverse]
        for c in set(columns.tolist()) & tied.keys():
            given = signed_rank.survival_of_ranks(tied[c])
            p[c] = _tail(given, a, law, 2 * b, twice_t[c])
    return np.clip(p * np.where(found.is_tied, 2, 1), exact.SMALLEST, 1.0)


def _tail(survival: np.ndarray, step: int, law: np.ndarray, step_u: int, t: float):
    """P(step * W + step_u * U >= t) from P(W >= w) and P(U = v)."""
    needed = -((step_u * np.arange(len(law)) - int(t)) // step)  # rounded up
    padded = np.append(survival, 0.0)
    return law @ padded[np.clip(needed, 0, len(survival))]


@functools.lru_cache(maxsize=64)
def _weights(num_pairs: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    n, m = num_pairs, np.array(sizes) / 2
    slope_w = n / np.sqrt(2) + n * (n - 1) / 2
    variance_w = n * (n + 1) * (2 * n + 1) / 24
    slope_u, variance_u = (m**2).sum() / np.sqrt(2), (m**2 * (2 * m + 1)).sum() / 12
    if slope_w == 0:
        return 1, 1
    ratio = (slope_w / variance_w) / (slope_u / variance_u)  # a / b
    return max(1, round(ratio)), max(1, round(1 / ratio))


def weights(num_pairs: int, sizes: Iterable[int]) -> tuple[int, int]:
    """Whole weights a, b of T = a W + b U; functions of the design alone.

    Each statistic is weighted by its slope over its variance at no leak, for a small
    shift of normal scores: the sum with the most power there. The smaller weight is 1.

    Args:
      num_pairs: pairs of models.
      sizes: models of each larger block.
    """
    return _weights(num_pairs, tuple(int(size) for size in sizes))
