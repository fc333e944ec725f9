"""How the masks were drawn: counts per block, and pairs of complementary models."""

import numpy as np
from scipy import special

# Pairs of models less likely than this under independent masks are the design.
_CHANCE = 1e-6
# Patients that decide it: among so many, more than enough have masks of their own.
_ENOUGH = 4096
# Masks of independent coins stay below it from 16 models.
_MOST_VARIANCE = 1.4


def counts(
    member_mask: np.ndarray, block_of_model: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Models with and without each patient.

    Args:
      member_mask: [models, patients] bool.
      block_of_model: [models] int.

    Returns:
      n_in, n_out: [blocks, patients] int64, blocks in the order of their numbers.
    """
    blocks = np.unique(block_of_model)
    n_in = np.stack([member_mask[block_of_model == b].sum(0) for b in blocks])
    sizes = np.array([(block_of_model == b).sum() for b in blocks])
    return n_in, sizes[:, None] - n_in


def detect_pairs(
    member_mask: np.ndarray, block_of_model: np.ndarray | None = None
) -> np.ndarray | None:
    """Finds designs in which models come in pairs with opposite masks.

    There the rank-sum test over all models is wrong: whatever the two models of a pair
    do to all patients does not average out. The exact test takes each pair as a block.
    A model whose partner was lost is a draw of its own, independent of all pairs: such
    models stay in the blocks they were in, or are one block.

    Args:
      member_mask: [models, patients] bool.
      block_of_model: [models] int, the blocks as far as they are known; None: one.

    Returns:
      [models] int, the pair of every model, or the block it had, numbered in order of
      their first models; to be used as `block_of_model`. None if there are no pairs but
      those that arise by chance among so few patients.
    """
    if block_of_model is None:
        block_of_model = np.zeros(len(member_mask), int)
    models_of_row = _models_of_row(member_mask)
    opposites = _rows(~_informative(member_mask))
    first = np.arange(len(member_mask))
    for model, row in enumerate(opposites):
        other = models_of_row.get(row, [])
        if len(other) == 1:
            first[model] = min(model, other[0])
    is_paired = np.bincount(first, minlength=len(first))[first] == 2
    if not _is_no_chance(member_mask, int(is_paired.sum()) // 2, is_opposite=True):
        return None
    kept = np.unique(block_of_model, return_index=True, return_inverse=True)
    is_single = ~is_paired
    for number in np.unique(kept[2][is_single]):
        members = is_single & (kept[2] == number)
        first[members] = np.flatnonzero(members)[0]
    return np.unique(first, return_inverse=True)[1]


def same_masks(member_mask: np.ndarray) -> list[list[int]]:
    """Groups of models with one and the same mask: no independent draws.

    Args:
      member_mask: [models, patients] bool.

    Returns:
      Ids of the models of each group of two or more; none where so few patients can
      have equal masks by chance.
    """
    groups = [g for g in _models_of_row(member_mask).values() if len(g) > 1]
    num_pairs = sum(len(group) - 1 for group in groups)
    return groups if _is_no_chance(member_mask, num_pairs, is_opposite=False) else []


def _informative(member_mask: np.ndarray) -> np.ndarray:
    """The columns of patients that are in some models and not in others."""
    is_informative = member_mask.any(0) & ~member_mask.all(0)
    return member_mask if is_informative.all() else member_mask[:, is_informative]


def _rows(member_mask: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(member_mask, 1)]


def _models_of_row(member_mask: np.ndarray) -> dict[bytes, list[int]]:
    """Models by their mask over the informative patients."""
    models_of_row: dict[bytes, list[int]] = {}
    for model, row in enumerate(_rows(_informative(member_mask))):
        models_of_row.setdefault(row, []).append(model)
    return models_of_row


def _is_no_chance(member_mask: np.ndarray, num_pairs: int, is_opposite: bool) -> bool:
    """Whether so many pairs of equal or opposite masks cannot be chance.

    Of independent masks, two models have opposite ones for a patient in n of M models
    with probability 2 n (M - n) / (M (M - 1)). The number of such pairs is about
    Poisson; patients that share a mask (households) are one.
    """
    mask = _informative(member_mask)[:, :_ENOUGH]
    if num_pairs == 0 or mask.shape[1] == 0:
        return False
    num_models, n_in = len(mask), np.unique(mask, axis=1).sum(0)
    p = 2 * n_in * (num_models - n_in) / (num_models * (num_models - 1))
    p = p if is_opposite else 1 - p
    if (p == 0).any():
        return True
    log_expected = np.log(num_models**2 / 2) + np.log(p).sum()
    log_chance = num_pairs * log_expected - special.gammaln(num_pairs + 1)
    return bool(log_chance < np.log(_CHANCE))


def excess_of_shares(
    member_mask: np.ndarray,
    block_of_model: np.ndarray,
    unit_of_patient: np.ndarray | None = None,
) -> float:
    """How unequally the models of a block share the patients, beyond chance.

    Standard deviation of the models' shares of patients, less the part that independent
    masks with these counts of each patient have; 0 where all of it may be chance.

    Args:
      member_mask: [models, patients] bool.
      block_of_model: [models] int.
      unit_of_patient: [patients] int, patients of one unit share their mask, or None.
    """
    num_patients = member_mask.shape[1]
    unit = np.arange(num_patients) if unit_of_patient is None else unit_of_patient
    sizes, first = np.bincount(unit), np.unique(unit, return_index=True)[1]
    sizes = sizes[sizes > 0]
    squares, by_chance, df = 0.0, 0.0, 0
    for block in np.unique(block_of_model):
        mask = member_mask[block_of_model == block]
        shares, q = mask.mean(1), mask[:, first].mean(0)
        squares += ((shares - shares.mean()) ** 2).sum()
        by_chance += len(mask) * (sizes**2 * q * (1 - q)).sum() / num_patients**2
        df += len(mask) - 1
    df = max(df, 1)
    if special.chdtrc(df, df * squares / max(by_chance, 1e-300)) > _CHANCE:
        return 0.0
    return float(np.sqrt((squares - by_chance) / df))


def are_counts_alike(member_mask: np.ndarray, block_of_model: np.ndarray) -> bool:
    """Whether the AUCs of nearly all patients are about as precise as the typical one.

    Else the noise of those in (or out of) few models is taken for exposure by what
    knows the typical noise only: of patients without a leak, a third of them in 8 of 64
    models and the others in 32, 5 % seem to be above .6.

    Args:
      member_mask: [models, patients] bool.
      block_of_model: [models] int.

    Returns:
      False if 5 % of the patients have a variance of more than 1.4 times the median.
    """
    n_in, n_out = counts(member_mask, block_of_model)
    pairs = n_in * n_out
    weighted = (pairs * (n_in + n_out + 1)).sum(0)
    variance = weighted / np.maximum(pairs.sum(0), 1) ** 2
    variance = np.where(pairs.sum(0) > 0, variance, np.inf)
    high = np.quantile(variance, 0.95, method="lower")
    return bool(high <= _MOST_VARIANCE * np.median(variance))


def typical_counts(
    member_mask: np.ndarray, block_of_model: np.ndarray
) -> tuple[float, float]:
    """Models per side of a single block that measures a patient as precisely.

    For one block the median counts. Of several, pairs of models are compared within a
    block only, and with p_b = n_in n_out pairs in block b the null variance is V = sum
    p_b (n_in + n_out + 1) / 12 / (sum p_b)^2. A single block of n models a side has it
    for (2 n + 1) / (12 n^2) = V.

    Args:
      member_mask: [models, patients] bool.
      block_of_model: [models] int.

    Returns:
      n_in, n_out.
    """
    n_in, n_out = (np.median(side, 1) for side in counts(member_mask, block_of_model))
    if len(n_in) == 1:
        return float(n_in[0]), float(n_out[0])
    pairs = n_in * n_out
    variance = (pairs * (n_in + n_out + 1)).sum() / 12 / pairs.sum() ** 2
    n = (1 + np.sqrt(1 + 12 * variance)) / (12 * variance)
    return float(n), float(n)
