"""What an audit of a given size can see: printed in the plan, before any training.

All of it is about one patient's mask-free rank AUC over models and its exact one-sided
Wilcoxon test. Half of the models are trained with the patient; an odd number leaves one
more without. `num_models` is a number, or the list of blocks that models were added in:
pairs of models are compared within blocks only. Blocks of two everywhere are
complementary pairs of models, whose test is the signed rank.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize, special

from mia_jax import validate
from mia_jax.risk import exact, intervals, signed_rank

# In all, or in each block; or (models with, models without) of each block.
Models = int | Sequence[int] | np.ndarray

# Share of all patients that an audit discovers in level="one_percent".
_ONE_PERCENT = 0.01
_NORMAL_95 = special.ndtri(0.975)
_HIGHEST_AUC = 1 - 1e-9
# One block of more models: the exact law takes seconds. Its expansion is within 3e-4 of
# the critical AUCs of 512 models down to levels of 1e-9 (tested).
_MOST_EXACT = 512
CURVE = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


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
    level = level_of_one("bonferroni", q, num_patients)
    num_models = 2
    while smallest_p(num_models, num_parts) > level:
        num_models += 2
    return num_models


def level_of_one(level: str, alpha: float, num_patients: int) -> float:
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

    For complementary pairs, whose test is no function of the AUC, the true AUC at which
    the expected signed rank is just significant. Above 512 models in one block an
    expansion of the exact law.

    Args:
      num_models: number of models, or of each block.
      alpha: one-sided level of one patient's test. 1 / num_patients gives about the
        highest AUC that chance alone reaches.
      num_parts: 2 halves alpha, as in `smallest_p`.

    Returns:
      The AUC; infinity if even AUC = 1 is not significant.
    """
    n_in, n_out = _sides(num_models)
    alpha /= num_parts
    if _are_pairs(n_in, n_out):
        share = _significant_share(signed_rank.survival(len(n_in)), alpha)
        return signed_rank.auc_of_share(share, len(n_in))
    sides = list(zip(n_in.tolist(), n_out.tolist(), strict=True))
    if len(sides) > 1:
        return _significant_share(exact.survival_of_blocks(sides), alpha)
    if sum(sides[0]) > _MOST_EXACT:
        return _expansion_critical(*sides[0], alpha)
    return _significant_share(exact.survival(*sides[0]), alpha)


def _significant_share(tail: np.ndarray, alpha: float) -> float:
    """The smallest statistic, as a share of the largest, with P(that or more) <= alpha.

    Infinity if even the largest is not significant.
    """
    is_significant = tail <= alpha
    if not is_significant.any():
        return math.inf
    return int(np.argmax(is_significant)) / (len(tail) - 1)


def _expansion_critical(n_in: int, n_out: int, alpha: float) -> float:
    """The critical AUC of one block by the Edgeworth expansion of the rank sum's law.

    P(U >= u) = 1 - Phi(x) - e (x^3 - 3 x) phi(x), x = (u - 1/2 - mean) / sd.

    Reference: Fix & Hodges 1955, https://doi.org/10.1214/aoms/1177728547, first term.
    """
    m, n, pairs = n_in, n_out, n_in * n_out
    e = (m * m + n * n + pairs + m + n) / (20 * pairs * (m + n + 1))
    sd = math.sqrt(pairs * (m + n + 1) / 12)

    def excess(x: float) -> float:
        density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        tail = special.ndtr(-x) - e * (x**3 - 3 * x) * density
        return math.log(max(tail, 1e-300) / alpha)

    x = optimize.brentq(excess, -8.0, 37.0, xtol=1e-9)
    return math.ceil(x * sd + (pairs + 1) / 2) / pairs


def _are_pairs(n_in: np.ndarray, n_out: np.ndarray) -> bool:
    """Whether all blocks are complementary pairs."""
    return bool((n_in == 1).all() and (n_out == 1).all())


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
    binormal variance V at the true value; for complementary pairs the same equation of
    the signed rank.

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
    critical = critical_auc(
        num_models, level_of_one(level, alpha, num_patients), num_parts
    )
    if critical >= 1:
        # Only AUC = 1 is significant, or not even that: no true AUC below 1 is safe.
        return math.nan
    z_power = special.ndtri(power)
    is_paired = _are_pairs(n_in, n_out)
    needed = signed_rank.share_of_auc(critical, len(n_in))[0] if is_paired else critical

    def excess(auc: float) -> float:
        if is_paired:
            mean, sd = signed_rank.share_of_auc(auc, len(n_in))
        else:
            mean, sd = auc, np.sqrt(intervals.variance(auc, n_in, n_out))
        return float(mean - z_power * sd - needed)

    if excess(_HIGHEST_AUC) < 0:
        return math.nan
    return float(optimize.brentq(excess, critical, _HIGHEST_AUC, xtol=1e-9))


def table(
    num_patients: int,
    models: Sequence[int] = CURVE,
    power: float = 0.8,
    alpha: float = 0.05,
    level: str = "bonferroni",
    num_parts: int = 1,
) -> pd.DataFrame:
    """Precision as models are added: what the plan and its figure show.

    Args:
      num_patients: number of patients tested.
      models: numbers of models.
      power, alpha, level, num_parts: as in `detection_limit`.

    Returns:
      num_models; half_width, of a patient's 95 % interval at AUC .5; detection_limit,
      NaN where nobody can be found.
    """
    limits = power, alpha, level, num_parts
    rows = [
        (
            m,
            half_width(m),
            detection_limit(m, num_patients, *limits),
        )
        for m in models
    ]
    return pd.DataFrame(rows, columns=["num_models", "half_width", "detection_limit"])
