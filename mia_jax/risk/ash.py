"""The distribution of true risk by a second model: how much hangs on the first?

A mixture of an atom at chance and of uniform densities on [0, a] of d, a from small to
large: any density that never rises away from chance, and nothing smoother. Its penalty
prefers the atom, as if ten more patients were known to be at chance.

Reference: Stephens 2017, "False discovery rates: a new deal", Biostatistics 18,
https://doi.org/10.1093/biostatistics/kxw041, sections 2.1 and 3.1 (half-uniform
components, Dirichlet penalty 10 on the atom). His data have known errors each; here the
errors belong to the true AUC, by the likelihood of `noise.py`.
"""

import numpy as np
from scipy import special

from mia_jax import rng
from mia_jax.risk import distribution, noise

# Upper ends a of the uniforms, in steps of sqrt(2) as in Stephens' grid: d .1 to 5,
# AUC .53 to .9998.
_ENDS = np.minimum(0.1 * np.sqrt(2) ** np.arange(13), noise.GRID[-1])
_ATOM_PENALTY = 10.0
_NUM_REFITS = 30
_MOST_STEPS = 5000
# A step that moves no share by more; shares are known to 1e-4 at best.
_SETTLED = 1e-7


def _components() -> np.ndarray:
    """[components, grid] the atom, then each uniform by the width of the cells."""
    edges = noise.GRID[1:] - noise.STEP / 2
    part = np.clip((_ENDS[:, None] - edges) / noise.STEP, 0, 1)
    rows = np.zeros((1 + len(_ENDS), len(noise.GRID)))
    rows[0, 0] = 1
    rows[1:, 1:] = part / part.sum(1, keepdims=True)
    return rows


_COMPONENTS = _components()


def _expectation_maximisation(counts: np.ndarray, likelihood: np.ndarray):
    """[fits, components] shares that maximise the penalised likelihood.

    Args:
      counts: [fits, bins] patients.
      likelihood: [bins, components].
    """
    total = counts.sum(1, keepdims=True)
    prior = np.zeros(len(_COMPONENTS))
    prior[0] = _ATOM_PENALTY - 1
    shares = np.full((len(counts), len(_COMPONENTS)), 1 / len(_COMPONENTS))
    for _ in range(_MOST_STEPS):
        marginal = np.maximum(shares @ likelihood.T, 1e-300)
        expected = shares * ((counts / marginal) @ likelihood) + prior
        new = expected / (total + prior.sum())
        change = np.abs(new - shares).max()
        shares = new
        if change < _SETTLED:
            break
    return shares


def fit(
    auc: np.ndarray, n_in: int, n_out: int, seed: int = 0
) -> distribution.Distribution:
    """Fits the mixture to measured mask-free AUCs.

    Args:
      auc: [patients] mask-free rank AUCs in 0..1, at least one.
      n_in: number of models trained with a patient, the typical count.
      n_out: number of models trained without.
      seed: of the refits.

    Returns:
      A `Distribution`, as of `distribution.fit`: read it by
      `distribution.share_above`.

    Raises:
      InputError: if there are no AUCs, or some lie outside 0..1 or are NaN.
    """
    counts, likelihood, _ = noise.histogram(noise.checked(auc), n_in, n_out)
    size = counts.sum()
    redraw = rng.host(seed, "ash").multinomial
    redrawn = redraw(int(size), counts[0] / size, size=_NUM_REFITS)
    shares = _expectation_maximisation(
        np.concatenate([counts, redrawn]), likelihood @ _COMPONENTS.T
    )
    weights = shares @ _COMPONENTS
    true_auc = special.ndtr(noise.GRID / np.sqrt(2))
    return distribution.Distribution(true_auc, weights[0], weights[1:])


def share_above(
    fitted: distribution.Distribution, thresholds: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of patients above each AUC: `distribution.share_above` of this fit."""
    return distribution.share_above(fitted, thresholds)
