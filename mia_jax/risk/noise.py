"""How far measured AUCs scatter around true ones, on an axis where it is normal.

The axis is d = sqrt(2) Phi^-1(AUC), the distance in standard deviations between two
normal distributions with that AUC. Models of the distribution of true risk share it.
"""

import numpy as np
from scipy import special, stats

from mia_jax import validate
from mia_jax.risk import intervals

STEP = 0.05
GRID = np.arange(101) * STEP  # true d: AUC .5 to .9998
_LOWEST, _HIGHEST = -1.6, 5.5  # measured d, in bins of STEP; end bins take the tails


def to_distance(auc: np.ndarray) -> np.ndarray:
    """AUC -> d, the inverse of Phi(d / sqrt 2)."""
    return np.sqrt(2) * special.ndtri(auc)


def bins(n_in: int, n_out: int) -> tuple[np.ndarray, float]:
    """Inner edges of the bins of measured d, and the clip that AUCs of 0 and 1 need."""
    clip = 0.5 / (n_in * n_out)
    edges = np.arange(_LOWEST + STEP, _HIGHEST - STEP / 2, STEP)
    # With few models even AUC = 1 is clipped below the last edge. No measurement can
    # lie further out, so its bin takes the tail: "at least this", not "exactly this".
    limit = to_distance(1 - clip) - STEP / 2
    return edges[np.abs(edges) < limit], clip


def likelihood_of(edges: np.ndarray, n_in: int, n_out: int) -> np.ndarray:
    """[bins, grid] P(measured d falls in the bin | true d), normal with known sd."""
    auc = special.ndtr(GRID / np.sqrt(2))
    slope = np.sqrt(2) / stats.norm.pdf(GRID / np.sqrt(2))  # of d against AUC
    sd = slope * np.sqrt(intervals.variance(auc, n_in, n_out))
    below = special.ndtr((edges[:, None] - GRID) / sd)
    # More leak never makes a low AUC likelier. The normal approximation forgets that
    # near AUC = 1, where its sd explodes: AUCs of 0 would look like certain leaks.
    below = np.minimum.accumulate(below, axis=1)
    none, all_ = np.zeros((1, len(GRID))), np.ones((1, len(GRID)))
    return np.diff(np.concatenate([none, below, all_]), axis=0)


def histogram(
    auc: np.ndarray, n_in: int, n_out: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients per filled bin of measured d, and how likely each true AUC makes it.

    Returns:
      counts [1, bins], likelihood [bins, grid], and the bin of every patient.
    """
    edges, clip = bins(n_in, n_out)
    measured = to_distance(np.clip(auc, clip, 1 - clip))
    place = np.searchsorted(edges, measured)
    counts = np.bincount(place, minlength=len(edges) + 1)
    is_filled = counts > 0  # empty bins add nothing to the likelihood but time
    filled = counts[None, is_filled].astype(np.float64)
    place = (np.cumsum(is_filled) - 1)[place]
    return filled, likelihood_of(edges, n_in, n_out)[is_filled], place


def part_above(thresholds: np.ndarray) -> np.ndarray:
    """[grid, thresholds] how much of each grid point's cell lies above."""
    distance = to_distance(thresholds)
    part = np.clip((GRID[:, None] - distance) / STEP + 0.5, 0, 1)
    part[0] = distance < 0
    return part


def checked(auc: np.ndarray) -> np.ndarray:
    """[patients] float64; raises InputError unless all are numbers in 0..1."""
    auc = np.asarray(auc, np.float64)
    is_wrong = ~((auc >= 0) & (auc <= 1))
    validate.require(
        auc.ndim == 1 and auc.size > 0 and not is_wrong.any(),
        f"auc: shape {auc.shape}, {int(is_wrong.sum())} not in 0..1",
        "must be one AUC per patient, between 0 and 1",
        "leave out patients without an AUC",
    )
    return auc
