"""Inverse of the shrunk covariance of a patient's records, without any mask."""

import numpy as np


def precision(x: np.ndarray) -> np.ndarray:
    """Inverse of the Ledoit-Wolf covariance matrix of every patient's records.

    T = (1 - s) S + s m I, S the covariance over all models, m its mean variance. No
    member mask enters, so whatever is weighted with 1/T keeps an exact test exact. The
    weight s is at least 1 / models: with values on few levels (saturated records) the
    formula gives 0, and S is singular where records repeat each other or where there
    are more records than models.

    Args:
      x: [patients, records, models] float, with mean 0 over models; rows of zeros are
        padding or constant records and count for nothing.

    Returns:
      [patients, records, records] float64; 0 in the rows and columns of zero records.

    Reference: Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4,
      section 3.3; the lower limit of s is ours.
    """
    x = np.asarray(x, np.float64)
    num_models = x.shape[-1]
    varies = x.any(-1)
    k = np.maximum(varies.sum(-1), 1)
    s = x @ np.swapaxes(x, -1, -2) / num_models
    mean = np.einsum("prr->p", s) / k
    square = np.einsum("pqr,pqr->p", s, s)
    # Sum over models of |x x' - S|^2, without the matrices x x'.
    fourth = ((x * x).sum(-2) ** 2).sum(-1)
    noise = (fourth / num_models - square) / num_models
    spread = square - k * mean**2
    weight = np.where(spread > 0, noise / np.where(spread > 0, spread, 1), 1)
    weight = np.clip(weight, 1 / num_models, 1)[:, None, None]
    # Zero records get a 1 in the diagonal, so that there is an inverse.
    scale = np.where(varies, weight[..., 0] * mean[:, None], 1)
    t = (1 - weight) * s + scale[..., None] * np.eye(x.shape[-2])
    return np.linalg.inv(t) * (varies[:, :, None] & varies[:, None, :])
