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
    return variance_of_pairs(np.asarray(auc, np.float64), *weights(n_in, n_out))


def weights(n_in: ArrayLike, n_out: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """What `variance` needs of the numbers of models, summed over blocks.

    Args:
      n_in, n_out: as in `variance`.

    Returns:
      pairs of an IN and an OUT model; pairs times how many others share a model with
      each: int, [columns] or scalars.
    """
    n_in, n_out = np.atleast_1d(n_in), np.atleast_1d(n_out)
    pairs = n_in * n_out
    return pairs.sum(0), (pairs * (n_in + n_out - 2)).sum(0)


def variance_of_pairs(
    auc: np.ndarray, pairs: np.ndarray, overlap: np.ndarray
) -> np.ndarray:
    """`variance` from the sums of `weights`; infinite without any pair."""
    both = auc - 2 * scipy.special.owens_t(scipy.special.ndtri(auc), 1 / np.sqrt(3))
    square = auc * (1 - auc) * pairs + (both - auc**2) * overlap
    return np.where(pairs > 0, square / np.maximum(pairs, 1.0) ** 2, np.inf)[()]


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
    given = weights(n_in, n_out)
    low = _bisect(auc, np.zeros_like(auc), z, given)
    high = _bisect(auc, np.ones_like(auc), z, given)
    return low, high


def _bisect(auc, edge, z, given) -> np.ndarray:
    """The limit between `auc` (always accepted) and `edge` (0 or 1)."""
    accepted, rejected = auc.copy(), edge
    for _ in range(_NUM_STEPS):
        middle = (accepted + rejected) / 2
        error = z * np.sqrt(variance_of_pairs(middle, *given))
        is_accepted = np.abs(auc - middle) <= error
        accepted = np.where(is_accepted, middle, accepted)
        rejected = np.where(is_accepted, rejected, middle)
    return (accepted + rejected) / 2
