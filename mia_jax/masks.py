"""Member masks over patients: who each shadow model is trained on.

Every patient is in exactly half of the models of a block, independently of all other
patients; so a patient's mask is a uniform half, which is what the exact test of
`risk/exact.py` rests on. Models added later form a new block. With units larger than a
patient (households) the mask is drawn per unit and shared.
"""

import hashlib

import numpy as np

from mia_jax import rng, validate

# Columns sorted at a time: bounds memory (4096 x 512 models: 32 MB). Part of the bits.
_COLUMNS = 4096


def draw(
    num_models: int, num_units: int, seed: int, block: int, design: str = "balanced"
) -> np.ndarray:
    """Draws the member mask of one block of models.

    Args:
      num_models: models of the block; even for "balanced".
      num_units: patients, or households.
      seed: seed of the run.
      block: number of the block; each has its own randomness.
      design: "balanced" (exactly half of the models) or "bernoulli" (fair coins).

    Returns:
      [num_models, num_units] bool, True = trained on.
    """
    generator = rng.host(seed, "masks", block)
    mask = np.empty((num_models, num_units), bool)
    for start in range(0, num_units, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        uniform = generator.random(mask[:, columns].shape)
        mask[:, columns] = _DESIGNS[design](uniform)
    return mask


def _balanced(uniform: np.ndarray) -> np.ndarray:
    return uniform.argsort(axis=0).argsort(axis=0) < len(uniform) // 2


def _bernoulli(uniform: np.ndarray) -> np.ndarray:
    return uniform < 0.5


_DESIGNS = {"balanced": _balanced, "bernoulli": _bernoulli}


def check_block(num_models: int, design: str) -> None:
    """Raises unless a block of this size can be drawn."""
    validate.require(
        design != "balanced" or num_models % 2 == 0,
        f"{num_models} new models",
        "must be even: every patient is in exactly half of a block's models",
        "choose an even train.num_models, or --config.masks.design=bernoulli",
    )


def fingerprint(mask: np.ndarray) -> str:
    """sha256 of a mask; stored with the block, so a changed generator is noticed."""
    shape = np.asarray(mask.shape, "<i8").tobytes()
    return hashlib.sha256(shape + np.packbits(mask).tobytes()).hexdigest()


def block_of_model(block_sizes: list[int]) -> np.ndarray:
    """[models] int32: the block of every model, models in order of their ids."""
    return np.repeat(np.arange(len(block_sizes), dtype=np.int32), block_sizes)
