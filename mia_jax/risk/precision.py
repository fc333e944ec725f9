"""What an audit of a given size can see: printed in the plan, before any training.

All of it is about one patient's mask-free rank AUC over models and its exact one-sided
Wilcoxon test. Half of the models are trained with the patient; an odd number leaves one
more without. `num_models` is a number, or the list of blocks that models were added in:
pairs of models are compared within blocks only.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special

from mia_jax import validate
from mia_jax.risk import exact, intervals

# In all, or in each block; or (models with, models without) of each block.
Models = int | Sequence[int] | np.ndarray

# Share of all patients that an audit discovers in level="one_percent".
_ONE_PERCENT = 0.01
_NORMAL_95 = special.ndtri(0.975)
_HIGHEST_AUC = 1 - 1e-9


def _sides(num_models: Models) -> tuple[np.ndarray, np.ndarray]:
    """[blocks] numbers of models with and without one patient."""
    blocks = np.atleast_1d(np.asarray(num_models, int))
    validate.require(
        blocks.size > 0 and bool(np.all(blocks >= (1 if blocks.ndim == 2 else 2))),
        f"num_models={num_models}",
        "must be at least 2: one model with the patient and one without",
        "use --config.train.num_models=512",
    )
    if blocks.ndim == 2:
        return blocks[:, 0], blocks[:, 1]
    return blocks // 2, blocks - blocks // 2


def null_sd(num_models: Models) -> float:
    """Standard deviation of a patient's AUC if nothing leaks.

    sqrt((M + 1) / (12 n_in n_out)) in one block, exact for the rank AUC (Mann and
    Whitney 1947); blocks are weighted by their numbers of pairs.
    """
    n_in, n_out = _sides(num_models)
    pairs = n_in * n_out
    return math.sqrt((pairs * (n_in + n_out + 1)).sum() / 12) / int(pairs.sum())


def half_width(num_models: Models, auc: float = 0.5) -> float:
    """Half of the 95 % interval of one patient's AUC where the true AUC is `auc`."""
    return float(_NORMAL_95 * np.sqrt(intervals.variance(auc, *_sides(num_models))))


def smallest_p(num_models: Models, num_parts: int = 1) -> float:
    """The smallest p-value that the exact test of one patient can give.

    num_parts / prod_b C(M_b, M_b // 2): the one assignment of masks, of all that the
    design allows, that ranks every model with the patient above every one without.

    Args:
      num_models: number of models M, or of each block of models.
      num_parts: 1 for a patient with one record; 2 for patients with several, whose
        smaller p-value of two tests is doubled.

    Returns:
      The p-value, in 0..1.
    """
    n_in, n_out = _sides(num_models)
    sides = zip(n_in.tolist(), n_out.tolist(), strict=True)
    ways = math.prod(math.comb(a + b, a) for a, b in sides)
    return min(1.0, num_parts / ways)


def models_needed(num_patients: int, q: float = 0.05, num_parts: int = 1) -> int:
    """The smallest even number of models that can prove anything for a single patient.

    An audit with fewer has no p-value at or below q / num_patients, where both
    Benjamini-Hochberg's and Holm's first step lie.

    Args:
      num_patients: number of patients tested.
      q: false discovery rate.
      num_parts: as in `smallest_p`. The default asks for patients with one record: it
        never calls an audit too small that could still prove a patient exposed.

    Returns:
      The number of models.
    """
    level = _level("bonferroni", q, num_patients)
    num_models = 2
    while smallest_p(num_models, num_parts) > level:
        num_models += 2
    return num_models


def _level(level: str, alpha: float, num_patients: int) -> float:
    """The level of one patient's test."""
    validate.require(
        num_patients >= 1 and 0 < alpha < 1,
        f"num_patients={num_patients}, alpha={alpha}",
        "there must be a patient, and a level between 0 and 1",
        "check the data set and the level",
    )
    levels = {
        "bonferroni": alpha / num_patients,
        "one_percent": alpha * _ONE_PERCENT,
        "single": alpha,
    }
    validate.one_of("level", level, levels)
    return levels[level]


def critical_auc(num_models: Models, alpha: float, num_parts: int = 1) -> float:
    """The smallest AUC that is significant: exact, in steps of 1 / pairs of models.

    Args:
      num_models: number of models, or of each block.
      alpha: one-sided level of one patient's test. 1 / num_patients gives about the
        highest AUC that chance alone reaches.
      num_parts: 2 halves alpha, as in `smallest_p`.

    Returns:
      The AUC; infinity if even AUC = 1 is not significant.
    """
    n_in, n_out = _sides(num_models)
    sides = list(zip(n_in.tolist(), n_out.tolist(), strict=True))
    one = len(sides) == 1
    tail = exact.survival(*sides[0]) if one else exact.survival_of_blocks(sides)
    is_significant = tail <= alpha / num_parts
    if not is_significant.any():
        return math.inf
    return int(np.argmax(is_significant)) / int((n_in * n_out).sum())


def detection_limit(
    num_models: Models,
    num_patients: int,
    power: float = 0.8,
    alpha: float = 0.05,
    level: str = "bonferroni",
    num_parts: int = 1,
) -> float:
    """The smallest true AUC of a patient that the audit finds with the given power.

    Solves A - z_power sqrt(V(A)) = critical AUC, with the exact critical AUC and the
    binormal variance V at the true value.

    Args:
      num_models: number of models, or of each block.
      num_patients: number of patients tested.
      power: probability of finding such a patient, at least one half.
      alpha: level of the whole audit.
      level: "bonferroni": this patient alone is exposed, alpha / num_patients;
        "one_percent": a hundredth of all patients is discovered, so that
        Benjamini-Hochberg tests at alpha / 100; "single": one patient, tested alone.
      num_parts: 2 halves alpha, as in `smallest_p`.

    Returns:
      The AUC; NaN if the audit is too small to find anybody.

    Raises:
      InputError: for an unknown level, or numbers out of range.
    """
    validate.require(
        0.5 <= power < 1,
        f"power={power}",
        "must lie between one half and 1",
        "use 0.8 or 0.9",
    )
    n_in, n_out = _sides(num_models)
    critical = critical_auc(num_models, _level(level, alpha, num_patients), num_parts)
    if critical >= 1:
        # Only AUC = 1 is significant, or not even that: no true AUC below 1 is safe.
        return math.nan
    z_power = special.ndtri(power)

    def excess(auc: float) -> float:
        sd = np.sqrt(intervals.variance(auc, n_in, n_out))
        return float(auc - z_power * sd - critical)

    return float(optimize.brentq(excess, critical, _HIGHEST_AUC, xtol=1e-9))
