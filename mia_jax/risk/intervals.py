"""Precision of an AUC over models: its variance and the binormal score interval."""

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

# Each step halves the interval: 2^-40 is 1e-12.
_NUM_STEPS = 40


def variance(auc: ArrayLike, n_in: ArrayLike, n_out: ArrayLike) -> np.ndarray:
    """Variance of a rank AUC whose true value is `auc`, for equal-variance normals.

    V = [A(1-A) + (n_in - 1 + n_out - 1)(Q - A^2)] / (n_in n_out), with
    Q = A - 2 T(h, 1/sqrt 3), h = Phi^-1(A), T Owen's: the probability that one IN model
    beats two OUT models. Several blocks: the AUC is the mean of the blocks' AUCs by
    their numbers of pairs, the blocks independent.

    Args:
      auc: float in [0, 1], [columns] or scalar.
      n_in, n_out: int, scalars (one block, all columns), [blocks] or [blocks, columns].

    Returns:
      float64, shape of `auc`.

    Reference: Bamber 1975, https://doi.org/10.1016/0022-2496(75)90001-2, for V; Q in
      closed form by Owen 1956, https://doi.org/10.1214/aoms/1177728074.
    """
    pairs, overlap = _weights(n_in, n_out)
    auc = np.asarray(auc, np.float64)
    both = auc - 2 * scipy.special.owens_t(scipy.special.ndtri(auc), 1 / np.sqrt(3))
    return (auc * (1 - auc) * pairs + (both - auc**2) * overlap) / pairs**2


def score_interval(
    auc: ArrayLike, n_in: ArrayLike, n_out: ArrayLike, level: ArrayLike = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """All true AUCs t with |auc - t| <= z sqrt(V(t)), by bisection.

    Right for the mask-free rank AUC everywhere. For the leave-pair-out AUC only where
    it is far from .5.

    Args:
      auc: [columns] float in [0, 1], or scalar.
      n_in, n_out: as in `variance`.
      level: confidence, scalar or [columns]; e.g. 1 - .05 R/N for the R patients found
        among N (false coverage rate), 1 - .05 / N for limits that hold for all at once.

    Returns:
      low, high: float64, shape of `auc`; not clipped at .5.
    """
    auc = np.asarray(auc, np.float64)
    z = -scipy.special.ndtri((1 - np.asarray(level, np.float64)) / 2)
    low = _bisect(auc, np.zeros_like(auc), z, n_in, n_out)
    high = _bisect(auc, np.ones_like(auc), z, n_in, n_out)
    return low, high


def _bisect(auc, edge, z, n_in, n_out) -> np.ndarray:
    """The limit between `auc` (always accepted) and `edge` (0 or 1)."""
    accepted, rejected = auc.copy(), edge
    for _ in range(_NUM_STEPS):
        middle = (accepted + rejected) / 2
        error = z * np.sqrt(variance(middle, n_in, n_out))
        is_accepted = np.abs(auc - middle) <= error
        accepted = np.where(is_accepted, middle, accepted)
        rejected = np.where(is_accepted, rejected, middle)
    return (accepted + rejected) / 2


def _weights(n_in: ArrayLike, n_out: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Over blocks: pairs, and pairs times how many others share one of their models."""
    n_in, n_out = np.atleast_1d(n_in).astype(float), np.atleast_1d(n_out).astype(float)
    pairs = n_in * n_out
    return pairs.sum(0), (pairs * (n_in + n_out - 2)).sum(0)
