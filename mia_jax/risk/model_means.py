"""Removes what a model does to all patients from the scores of one.

Some models are more confident than others about everybody: a shock per model, which
hides a patient's leak behind noise that all patients share. The mean score of the model
over all other patients estimates it.
"""

import numpy as np

from mia_jax.risk import record_sums

# Records at a time: 512 models x 1024 records in float64 are 4 MB.
_COLUMNS = 1024
# The slope costs one degree of freedom; of fewer models that is too large a share.
_FEWEST_MODELS = 8
# Share of a record's sum of squares below which what is left is rounding of float32.
_ROUNDING = 1e-10


def remove(
    z: np.ndarray, unit_of_record: np.ndarray, block_of_model: np.ndarray
) -> np.ndarray:
    """Residuals of each record's scores on the models' mean score over other units.

    z <- z - slope g, where g[m] is the mean of z[m] over all records of other units and
    the slope is least squares within blocks: tests compare models of one block only,
    and blocks may differ as a whole. (For complementary pairs it is the regression of
    their differences.) Then mean 0 and variance 1 again.

    No mask enters: where training on a patient changes neither its own scores nor the
    mean of all the others', its mask is independent of the result and every exact test
    stays exact. Its own unit is left out of g so that in a small cohort a patient's
    leak is not subtracted from itself.

    Args:
      z: [models, records] float32, standardised (`patients.standardise`).
        **Overwritten**: at its size there is no room for two.
      unit_of_record: [records] int; records of one unit are left out together.
      block_of_model: [models] int.

    Returns:
      z itself; unchanged with fewer than 8 models or a single unit. 0 where a record is
      a multiple of g.
    """
    if len(z) < _FEWEST_MODELS or (unit_of_record == unit_of_record[0]).all():
        return z
    total = np.add.reduce(z, axis=1, dtype=np.float64)[:, None]
    for chunk in record_sums.chunks(z, unit_of_record):
        num_others = z.shape[1] - np.bincount(chunk.position)
        g = (total - chunk.sums) / num_others
        g -= g.mean(0)
        within = _centred(g, block_of_model)
        for start in range(0, len(chunk.records), _COLUMNS):
            part = slice(start, start + _COLUMNS)
            unit = chunk.position[part]
            z[:, chunk.records[part]] = _residuals(chunk.x[:, part], g, within, unit)
    return z


def _centred(g: np.ndarray, block_of_model: np.ndarray) -> np.ndarray:
    """g, of mean 0, minus its mean over the models of each block: [models, units]."""
    if (block_of_model == block_of_model[0]).all():
        return g
    order = np.argsort(block_of_model, kind="stable")
    _, first, block, size = np.unique(
        block_of_model[order],
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    means = np.add.reduceat(g[order], first, axis=0) / size[:, None]
    within = np.empty_like(g)
    within[order] = g[order] - means[block]
    return within


def _residuals(
    x: np.ndarray, g: np.ndarray, within: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    """Standardised x - slope * g[:, unit]; x [models, records], g [models, units]."""
    x, of_record = x.astype(np.float64), g[:, unit]
    variance = np.einsum("mu,mu->u", within, within)[unit]
    within = of_record if within is g else within[:, unit]
    slope = np.einsum("mr,mr->r", within, x) / np.where(variance > 0, variance, 1)
    x -= slope * of_record
    x -= x.mean(0)
    squares = np.einsum("mr,mr->r", x, x)
    degrees = len(x) - 1  # the sum of squares of standardised scores
    is_left = squares > _ROUNDING * degrees
    return x * np.where(is_left, np.sqrt(degrees / np.where(is_left, squares, 1)), 0)
