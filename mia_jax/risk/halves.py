"""Two halves of the models: choose on one and measure on the other, or compare."""

import numpy as np

from mia_jax import rng, validate

# A block is divided if each half keeps a model with and one without a patient.
_SMALLEST_DIVIDED = 4


def split(block_of_model: np.ndarray, seed: int = 0) -> np.ndarray:
    """Divides the models at random: blocks of four or more in half, smaller ones whole.

    Masks are independent between blocks, and given a patient's mask on one half of a
    block every mask of the other half with the same number of members is equally
    likely. So where nothing leaks, what is found on one half says nothing about the
    other. Complementary pairs stay together: there only a pair is comparable.

    Args:
      block_of_model: [models] int.
      seed: of the division.

    Returns:
      [models] bool, True = first half; the halves differ by one model or block at most.

    Raises:
      InputError: if there is nothing to divide.
    """
    block_of_model = np.asarray(block_of_model)
    generator = rng.host(seed, "halves")
    is_first = np.zeros(len(block_of_model), bool)
    names, sizes = np.unique(block_of_model, return_counts=True)
    whole = generator.permutation(names[sizes < _SMALLEST_DIVIDED])
    is_first[np.isin(block_of_model, whole[::2])] = True
    validate.require(
        len(names) > 1 or len(block_of_model) >= _SMALLEST_DIVIDED,
        f"{len(block_of_model)} models in one block",
        "two halves need two models each",
        "train more models, or leave the comparison of halves out",
    )
    gets_more = len(whole) % 2 == 0
    for block in names[sizes >= _SMALLEST_DIVIDED]:
        models = generator.permutation(np.flatnonzero(block_of_model == block))
        count = (len(models) + gets_more) // 2
        is_first[models[:count]] = True
        gets_more ^= bool(len(models) % 2)
    return is_first
