"""The distribution of true risk: what the measured AUCs would be without their noise.

A patient's measured AUC scatters around the true one, so the share of patients measured
above .6 is far above the true share (20 times where leaks are rare), and compares only
between audits of equal size. Here the spread is taken out again: a smooth density of
true AUCs with an atom at chance is fitted such that, with the known noise added, it
gives the measured histogram. Reference: Efron, "Empirical Bayes deconvolution
estimates", Biometrika 103 (2016), the exponential-family g-model.

The axis is d = sqrt(2) Phi^-1(AUC), the distance in standard deviations between two
normal distributions with that AUC: there the noise is closest to normal.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import interpolate, optimize, special, stats

from mia_jax import rng, validate
from mia_jax.risk import intervals

# Below this many patients the share above .7 has an error near .07 and says little.
MIN_PATIENTS = 30
# With fewer models on a side AUCs are too coarse for normal noise: at 8 the share of
# exposed patients where nothing leaks is fitted as up to .02, at 4 as .04.
MIN_MODELS = 8
_STEP = 0.05
_GRID = np.arange(101) * _STEP  # true d: AUC .5 to .9998
_LOWEST, _HIGHEST = -1.6, 5.5  # measured d, in bins of _STEP; end bins take the tails
# The spline bends at the AUCs that exposure is asked for; equally spaced knots are
# biased just there.
_KNOT_AUCS = (0.6, 0.7, 0.8, 0.9)
# The penalty invents about this many exposed patients where there are none. Efron's 1
# is harmless among thousands, but not in a group of some tens.
_PENALTY = 0.03
# The sd of 30 refits is itself 13 % uncertain, 1 / sqrt(2 x 29).
_NUM_REFITS = 30
_NORMAL_95 = special.ndtri(0.975)


class Distribution(NamedTuple):
    """A distribution of true AUCs.

    Attributes:
      auc: [grid] float64, true AUC, from .5 (the atom) upwards.
      weights: [grid] float64, share of patients at each; sums to 1.
      refits: [refits, grid] float64, the same fitted to multinomial redraws of the
        measured histogram.
    """

    auc: np.ndarray
    weights: np.ndarray
    refits: np.ndarray


def _to_distance(auc: np.ndarray) -> np.ndarray:
    """AUC -> d, the inverse of Phi(d / sqrt 2)."""
    return np.sqrt(2) * special.ndtri(auc)


def _basis() -> np.ndarray:
    """[grid, 6]: the atom's indicator and 5 orthonormal natural-spline columns."""
    knots = np.r_[_GRID[1], _to_distance(np.array(_KNOT_AUCS)), _GRID[-1]]
    cardinal = np.eye(len(knots))
    spline = interpolate.CubicSpline(knots, cardinal, bc_type="natural")(_GRID[1:])
    # A constant for all d > 0 is the atom's job: without centring it comes twice.
    spline -= spline.mean(axis=0)
    columns = np.linalg.svd(spline, full_matrices=False)[0][:, : len(knots) - 1]
    basis = np.zeros((len(_GRID), len(knots)))
    basis[0, 0] = 1
    basis[1:, 1:] = columns
    return basis


_BASIS = _basis()


def _bins(n_in: int, n_out: int) -> tuple[np.ndarray, float]:
    """Inner edges of the bins of measured d, and the clip that AUCs of 0 and 1 need."""
    clip = 0.5 / (n_in * n_out)
    edges = np.arange(_LOWEST + _STEP, _HIGHEST - _STEP / 2, _STEP)
    # With few models even AUC = 1 is clipped below the last edge. No measurement can
    # lie further out, so its bin takes the tail: "at least this", not "exactly this".
    limit = _to_distance(1 - clip) - _STEP / 2
    return edges[np.abs(edges) < limit], clip


def _likelihood(edges: np.ndarray, n_in: int, n_out: int) -> np.ndarray:
    """[bins, grid] P(measured d falls in the bin | true d), normal with known sd."""
    auc = special.ndtr(_GRID / np.sqrt(2))
    slope = np.sqrt(2) / stats.norm.pdf(_GRID / np.sqrt(2))  # of d against AUC
    sd = slope * np.sqrt(intervals.variance(auc, n_in, n_out))
    below = special.ndtr((edges[:, None] - _GRID) / sd)
    # More leak never makes a low AUC likelier. The normal approximation forgets that
    # near AUC = 1, where its sd explodes: AUCs of 0 would look like certain leaks.
    below = np.minimum.accumulate(below, axis=1)
    none, all_ = np.zeros((1, len(_GRID))), np.ones((1, len(_GRID)))
    return np.diff(np.concatenate([none, below, all_]), axis=0)


def _histogram(auc: np.ndarray, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Patients per filled bin, [1, bins], and the likelihood of these, [bins, grid]."""
    edges, clip = _bins(n_in, n_out)
    measured = _to_distance(np.clip(auc, clip, 1 - clip))
    counts = np.bincount(np.searchsorted(edges, measured), minlength=len(edges) + 1)
    is_filled = counts > 0  # empty bins add nothing to the likelihood but time
    filled = counts[None, is_filled].astype(np.float64)
    return filled, _likelihood(edges, n_in, n_out)[is_filled]


def _weights(coefficients: np.ndarray) -> np.ndarray:
    """[fits, grid] g = exp(Q a) / sum."""
    return special.softmax(coefficients @ _BASIS.T, axis=1)


def _objective(
    coefficients: np.ndarray, counts: np.ndarray, likelihood: np.ndarray
) -> tuple[float, np.ndarray]:
    """Penalised negative log-likelihood, summed over fits, and its gradient.

    Args:
      coefficients: [fits, 6].
      counts: [fits, bins] patients.
      likelihood: [bins, grid].
    """
    weights = _weights(coefficients)
    marginal = np.maximum(weights @ likelihood.T, 1e-300)
    # 1e-12: the norm has no gradient at zero.
    norm = np.sqrt((coefficients**2).sum(axis=1, keepdims=True) + 1e-12)
    value = -(counts * np.log(marginal)).sum() + _PENALTY * norm.sum()
    pull = (counts / marginal) @ likelihood - counts.sum(axis=1, keepdims=True)
    return value, -(weights * pull) @ _BASIS + _PENALTY * coefficients / norm


def _minimise(
    counts: np.ndarray, likelihood: np.ndarray, start: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """[fits, 6] minimiser for every row of counts, in one L-BFGS run.

    The fits do not interact, so their sum is minimal where each is; `scale` [6, 6]
    makes the curvature near `start` [1, 6] round, so they also converge together.
    """

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        coefficients = start + flat.reshape(len(counts), -1) @ scale.T
        value, gradient = _objective(coefficients, counts, likelihood)
        return value, (gradient @ scale).ravel()

    # Log-likelihoods matter to about .01; tolerances are far below that.
    options = {"maxiter": 500, "ftol": 1e-9, "gtol": 1e-4, "maxcor": 20}
    found = optimize.minimize(
        objective,
        np.zeros(counts.shape[0] * start.size),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    return start + found.x.reshape(len(counts), -1) @ scale.T


def _whitening(
    coefficients: np.ndarray, counts: np.ndarray, likelihood: np.ndarray
) -> np.ndarray:
    """[6, 6] inverse root of the curvature (sum of squared scores) at [1, 6]."""
    weights = _weights(coefficients)[0]
    marginal = np.maximum(likelihood @ weights, 1e-300)
    score = (likelihood * weights) @ _BASIS / marginal[:, None] - weights @ _BASIS
    ridge = _PENALTY / np.linalg.norm(coefficients) * np.eye(score.shape[1])
    values, vectors = np.linalg.eigh((score.T * counts[0]) @ score + ridge)
    return vectors / np.sqrt(values)


def is_reportable(num_patients: int, n_in: float, n_out: float) -> bool:
    """Whether a fit to so many patients, of so many models on each side, says much."""
    return num_patients >= MIN_PATIENTS and min(n_in, n_out) >= MIN_MODELS


def fit(auc: np.ndarray, n_in: int, n_out: int, seed: int = 0) -> Distribution:
    """Fits the distribution of true AUCs to measured mask-free AUCs.

    Args:
      auc: [patients] mask-free rank AUCs in 0..1, at least one. Any number is fitted;
        print only what `is_reportable`.
      n_in: number of models trained with a patient, the typical count.
      n_out: number of models trained without.
      seed: of the refits.

    Returns:
      A `Distribution`. Measured and true AUCs below .5 count as chance: a mask-free
      AUC below .5 is noise.

    Raises:
      InputError: if there are no AUCs, or some lie outside 0..1 or are NaN.
    """
    auc = np.asarray(auc, np.float64)
    is_wrong = ~((auc >= 0) & (auc <= 1))
    validate.require(
        auc.ndim == 1 and auc.size > 0 and not is_wrong.any(),
        f"auc: shape {auc.shape}, {int(is_wrong.sum())} not in 0..1",
        "must be one AUC per patient, between 0 and 1",
        "leave out patients without an AUC",
    )
    counts, likelihood = _histogram(auc, n_in, n_out)
    # Starts at "a third of the patients at chance", the rest spread evenly.
    start = np.zeros((1, _BASIS.shape[1]))
    start[0, 0] = 4.0
    best = _minimise(counts, likelihood, start, np.eye(start.size))
    redraw = rng.host(seed, "risk distribution").multinomial
    redrawn = redraw(auc.size, counts[0] / auc.size, size=_NUM_REFITS)
    scale = _whitening(best, counts, likelihood)
    refits = _minimise(redrawn.astype(np.float64), likelihood, best, scale)
    true_auc = special.ndtr(_GRID / np.sqrt(2))
    return Distribution(true_auc, _weights(best)[0], _weights(refits))


def share_above(
    distribution: Distribution, thresholds: float | Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of patients whose true AUC is above each threshold, with a 95 % band.

    Every grid point but the atom stands for a cell of its own width, so the share
    falls smoothly between grid points. The band is +-1.96 sd of the refits, clipped to
    0..1: sampling error, not the bias of the smooth model. Start the axis at .6:
    nearer to .5 the share cannot be told from the atom.

    Args:
      distribution: of `fit`.
      thresholds: AUCs in 0..1, a number or [thresholds].

    Returns:
      share, low, high: shaped like `thresholds`, float64.
    """
    thresholds = np.asarray(thresholds, np.float64)
    distance = _to_distance(thresholds.reshape(-1))
    part = np.clip((_GRID[:, None] - distance) / _STEP + 0.5, 0, 1)
    part[0] = distance < 0
    share = np.clip(distribution.weights @ part, 0, 1)
    spread = _NORMAL_95 * (distribution.refits @ part).std(axis=0, ddof=1)
    low, high = np.clip(share - spread, 0, 1), np.clip(share + spread, 0, 1)
    return tuple(x.reshape(thresholds.shape)[()] for x in (share, low, high))
