"""The distribution of true risk: what the measured AUCs would be without their noise.

A patient's measured AUC scatters around the true one, so the share of patients measured
above .6 is far above the true share (20 times where leaks are rare), and compares only
between audits of equal size. Here the spread is taken out again: a smooth density of
true AUCs with an atom at chance is fitted such that, with the known noise added, it
gives the measured histogram. Reference: Efron, "Empirical Bayes deconvolution
estimates", Biometrika 103 (2016), the exponential-family g-model.

`ash.py` fits another family of densities to the same histogram: what both say does not
hang on the family.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import interpolate, optimize, special

from mia_jax import rng
from mia_jax.risk import noise

# Below this many patients the share above .7 has an error near .07 and says little.
MIN_PATIENTS = 30
# With fewer models on a side AUCs are too coarse for normal noise: at 8 the share of
# exposed patients where nothing leaks is fitted as up to .02, at 4 as .04.
MIN_MODELS = 8
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


def _basis() -> np.ndarray:
    """[grid, 6]: the atom's indicator and 5 orthonormal natural-spline columns."""
    knots = np.r_[
        noise.GRID[1], noise.to_distance(np.array(_KNOT_AUCS)), noise.GRID[-1]
    ]
    cardinal = np.eye(len(knots))
    spline = interpolate.CubicSpline(knots, cardinal, bc_type="natural")(noise.GRID[1:])
    # A constant for all d > 0 is the atom's job: without centring it comes twice.
    spline -= spline.mean(axis=0)
    columns = np.linalg.svd(spline, full_matrices=False)[0][:, : len(knots) - 1]
    basis = np.zeros((len(noise.GRID), len(knots)))
    basis[0, 0] = 1
    basis[1:, 1:] = columns
    return basis


_BASIS = _basis()


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


def _scores(coefficients: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """[bins, 6] gradient of the log-likelihood of one patient, at [1, 6]."""
    weights = _weights(coefficients)[0]
    marginal = np.maximum(likelihood @ weights, 1e-300)
    return (likelihood * weights) @ _BASIS / marginal[:, None] - weights @ _BASIS


def _ridge(coefficients: np.ndarray) -> np.ndarray:
    """[6, 6] the largest curvature of the penalty, in all directions."""
    return _PENALTY / np.linalg.norm(coefficients) * np.eye(coefficients.size)


def _whitening(
    coefficients: np.ndarray, counts: np.ndarray, likelihood: np.ndarray
) -> np.ndarray:
    """[6, 6] inverse root of the curvature (sum of squared scores) at [1, 6]."""
    score = _scores(coefficients, likelihood)
    curvature = (score.T * counts[0]) @ score + _ridge(coefficients)
    values, vectors = np.linalg.eigh(curvature)
    return vectors / np.sqrt(values)


def is_reportable(num_patients: int, n_in: float, n_out: float) -> bool:
    """Whether a fit to so many patients, of so many models on each side, says much."""
    return num_patients >= MIN_PATIENTS and min(n_in, n_out) >= MIN_MODELS


class _Fit(NamedTuple):
    """A fit to one histogram.

    Attributes:
      counts: [1, bins] patients.
      likelihood: [bins, grid].
      coefficients: [1, 6] the minimiser.
      bin: [patients] int, the bin of each.
    """

    counts: np.ndarray
    likelihood: np.ndarray
    coefficients: np.ndarray
    bin: np.ndarray


def _fit_one(auc: np.ndarray, n_in: int, n_out: int) -> _Fit:
    counts, likelihood, place = noise.histogram(noise.checked(auc), n_in, n_out)
    # Starts at "a third of the patients at chance", the rest spread evenly.
    start = np.zeros((1, _BASIS.shape[1]))
    start[0, 0] = 4.0
    best = _minimise(counts, likelihood, start, np.eye(start.size))
    return _Fit(counts, likelihood, best, place)


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
    fitted = _fit_one(auc, n_in, n_out)
    counts, likelihood, best = fitted.counts, fitted.likelihood, fitted.coefficients
    redraw = rng.host(seed, "risk distribution").multinomial
    size = counts.sum()
    redrawn = redraw(int(size), counts[0] / size, size=_NUM_REFITS)
    scale = _whitening(best, counts, likelihood)
    refits = _minimise(redrawn.astype(np.float64), likelihood, best, scale)
    true_auc = special.ndtr(noise.GRID / np.sqrt(2))
    return Distribution(true_auc, _weights(best)[0], _weights(refits))


def exposure(
    auc: np.ndarray,
    n_in: int,
    n_out: int,
    threshold: float,
    unit_of_patient: np.ndarray | None = None,
) -> tuple[float, float]:
    """Share of patients with a true AUC above a threshold, and its standard error.

    The share of `fit` and `share_above`. The error is by the delta method in place of
    refits, a tenth of their time, for many groups: with score matrix S and ridge R at
    the fit, cov = (I + R)^-1 I (I + R)^-1, I = S' S (Efron 2016, section 3). Where
    patients share masks, S is summed over units first.

    Args:
      auc, n_in, n_out: as in `fit`.
      threshold: AUC in 0..1.
      unit_of_patient: [patients] int, or None: every patient alone.

    Returns:
      share, standard error.
    """
    fitted = _fit_one(auc, n_in, n_out)
    score = _scores(fitted.coefficients, fitted.likelihood)
    information = (score.T * fitted.counts[0]) @ score
    inverse = np.linalg.inv(information + _ridge(fitted.coefficients))
    if unit_of_patient is not None:
        unit = np.unique(unit_of_patient, return_inverse=True)[1]
        by_unit = [np.bincount(unit, column[fitted.bin]) for column in score.T]
        information = np.array(by_unit) @ np.array(by_unit).T
    weights = _weights(fitted.coefficients)[0]
    part = noise.part_above(np.array([threshold], np.float64))[:, 0]
    slope = (part * weights) @ _BASIS - (part @ weights) * (weights @ _BASIS)
    slope = inverse @ slope
    error = np.sqrt(max(0.0, float(slope @ information @ slope)))
    return float(np.clip(part @ weights, 0, 1)), error


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
    part = noise.part_above(thresholds.reshape(-1))
    share = np.clip(distribution.weights @ part, 0, 1)
    spread = _NORMAL_95 * (distribution.refits @ part).std(axis=0, ddof=1)
    low, high = np.clip(share - spread, 0, 1), np.clip(share + spread, 0, 1)
    return tuple(x.reshape(thresholds.shape)[()] for x in (share, low, high))
