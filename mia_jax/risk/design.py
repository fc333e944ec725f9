"""How the masks were drawn: counts per block, and pairs of complementary models."""

import numpy as np


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


def detect_pairs(member_mask: np.ndarray) -> np.ndarray | None:
    """Finds designs whose models come in pairs with opposite masks.

    There the rank-sum test over all models is wrong (whatever two models of a pair
    share does not cancel); the exact test takes each pair as a block of two.

    Args:
      member_mask: [models, patients] bool.

    Returns:
      [models] int, the pair of every model, to be used as `block_of_model`; None if
      some model has no opposite, or if there are so few patients that opposites arise
      by chance (2^patients < models^2).
    """
    num_models, num_patients = member_mask.shape
    if num_patients < 2 * np.log2(num_models):
        return None
    model_of_row = {
        row.tobytes(): m for m, row in enumerate(np.packbits(member_mask, 1))
    }
    opposites = np.packbits(~member_mask, 1)
    opposite = np.array([model_of_row.get(row.tobytes(), -1) for row in opposites])
    if len(model_of_row) < num_models or (opposite < 0).any():
        return None
    first = np.minimum(np.arange(num_models), opposite)
    return np.unique(first, return_inverse=True)[1]


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
