"""True positives at a false-positive rate: of a patient, and of a rule for all.

A threshold set at the k-th largest of n OUT scores has the false-positive rate k/(n+1),
not (k-1)/n: for 1 % of 128 models .0155. Here no threshold is tested on the scores that
set it. Every score is expressed as its distance from the patient's OUT scores *without
the model at hand* (a deleted residual), and those of all patients together say how far
1 % of OUT models reach.

A claim about a single patient at 1 % needs 299 OUT models of whom none is above the
threshold (ln .05 / ln .99); with fewer the claim rests on the assumption that all
patients share one shape of distribution, and is "model-based".
"""

from typing import Any, NamedTuple

import numpy as np

from mia_jax import validate
from mia_jax.risk import _counts, _residuals

FPRS = (0.1, 0.01, 0.001)
PRIORS = (0.01, 0.1, 0.5)
RULES = ("pooled", "per_patient")
INTERVAL_NOTE = (
    "95 % Clopper-Pearson interval of the pooled counts, divided by their design"
    " effect: models and patients are taken as random, and independent of each other"
)

_QUANTILES = (0.5, 0.95, 0.99, 1.0)
# Residuals that a quantile is read from: at 1 % its rate then has an s.e. of .00005.
_POOLED = 4_000_000
_MISS = 0.05  # 1 - confidence
_FEWEST_FALSE_ALARMS = 10


class Rate(NamedTuple):
    """What one rule does at one nominal false-positive rate.

    Attributes:
      fpr: the nominal rate.
      rule: one of `RULES`.
      false_alarms: alarms among `non_members`, (model, patient) pairs.
      non_members: pairs that could give one.
      hits, members: the same of members.
      fpr_effect, tpr_effect: design effects, by how much the variance of the counts
        exceeds that of independent pairs; at least 1.
      reason: why there is no interval, or None.
    """

    fpr: float
    rule: str
    false_alarms: int
    non_members: int
    hits: int
    members: int
    fpr_effect: float
    tpr_effect: float
    reason: str | None


def patient_tpr(z_sum: np.ndarray, member_mask: np.ndarray, fpr: float) -> np.ndarray:
    """TPR of every patient at a false-positive rate of `fpr` for that patient.

    The threshold is mu_out + sd_out sqrt(1 + 1/n_out) q, where q is the 1 - fpr
    quantile of the deleted OUT residuals of all patients; the TPR is the share of
    deleted IN residuals of all patients that lie above this threshold. Assumes that
    patients differ in location and scale only.

    Args:
      z_sum: [models, patients] float64, joint mask-free score, higher = member.
      member_mask: [models, patients] bool.
      fpr: in (0, 1).

    Returns:
      [patients] float64 in 0..1; NaN with fewer than three IN or OUT models, or where
      the score does not vary within them. Its noise widens the spread over patients.
    """
    validate.require(
        0 < fpr < 1, f"fpr={fpr}", "must lie between 0 and 1", "give a share, e.g. 0.01"
    )
    every = -(-z_sum.size // _POOLED)
    sample, mask = z_sum[:, ::every], member_mask[:, ::every]
    out, into = (
        np.sort(shape[~np.isnan(shape)])
        for side in (~mask, mask)
        for shape in [_residuals.deleted(sample, side)[side]]
    )
    if not len(out) or not len(into):
        return np.full(z_sum.shape[1], np.nan)
    reach = _reach(z_sum, member_mask, np.quantile(out, 1 - fpr))
    above = len(into) - np.searchsorted(into, reach, side="right")
    return np.where(np.isnan(reach), np.nan, above / len(into))


def _reach(z_sum: np.ndarray, member_mask: np.ndarray, q: float) -> np.ndarray:
    """[patients] threshold of each patient in residuals of its IN models, or NaN."""
    sides = []
    for side in (member_mask, ~member_mask):
        n, mean, sd = _residuals.moments(z_sum, side)
        is_known = (n >= _residuals.FEWEST) & (sd > 0)
        scale = np.where(is_known, sd * np.sqrt(1 + 1 / np.maximum(n, 1)), np.nan)
        sides.append((mean, scale))
    (mean_in, sd_in), (mean_out, sd_out) = sides
    return (mean_out + sd_out * q - mean_in) / sd_in


def quantiles_of_patients(tpr: np.ndarray) -> dict[str, float] | None:
    """Quantiles over patients of `patient_tpr`; None if it is known of no patient."""
    known = tpr[np.isfinite(tpr)]
    if not len(known):
        return None
    values = np.quantile(known, _QUANTILES)
    return {f"{q:g}": float(v) for q, v in zip(_QUANTILES, values, strict=True)}


def measure(
    scores: np.ndarray, member_mask: np.ndarray, fprs: tuple[float, ...] = FPRS
) -> list[Rate]:
    """What an attacker's threshold realises: one for all patients, or one for each.

    Both rules set the threshold of a target model with the other models only.
    "pooled" takes the raw scores; "per_patient" the distance of a score from the
    patient's OUT scores without the target, in their standard deviations. In either an
    alarm is a value above the m-th largest of the n OUT values of the other models,
    m = floor(fpr (n + 1)); m = 0 gives no alarm.

    Args:
      scores: [models, patients] float, leave-one-out attack scores, joint over a
        patient's records (e.g. their sum), higher = member; finite.
      member_mask: [models, patients] bool.
      fprs: nominal false-positive rates.

    Returns:
      A `Rate` for every rule and nominal rate.
    """
    rates = []
    for rule in RULES:
        values = _values(scores, member_mask, rule)
        is_known = ~np.isnan(values)
        member, other = member_mask & is_known, ~member_mask & is_known
        units = np.median((other.sum(1), other.sum(0))[rule == "per_patient"])
        for fpr, threshold in zip(
            fprs, _residuals.thresholds(values, other, fprs), strict=True
        ):
            alarm = values > threshold[:, None]  # False where unknown
            rates.append(_rate(fpr, rule, alarm, member, other, int(units)))
    return rates


def table(rates: list[Rate]) -> list[dict[str, Any]]:
    """Rows of "thresholds": realised rates with their counts; None = no statement."""
    return [_row(rate) for rate in rates]


def ppv(
    rates: list[Rate], priors: tuple[float, ...] = PRIORS, rule: str = "pooled"
) -> list[dict[str, Any]]:
    """Rows of "ppv": how often an alarm is right, if a share `prior` are members.

    PPV = prior TPR / (prior TPR + (1 - prior) FPR), with the realised rates. Its limits
    take the worst corners of two 97.5 % intervals, so they hold jointly at 95 %.

    Args:
      rates: of `measure`.
      priors: shares of members among the people the attacker asks about.
      rule: one of `RULES`.
    """
    validate.one_of("rule", rule, RULES)
    return [
        _ppv_row(rate, prior) for prior in priors for rate in rates if rate.rule == rule
    ]


def fewest_models(fpr: float) -> int:
    """OUT scores, none above the threshold, that certify a rate of at most `fpr`.

    (1 - fpr)^n <= .05: 29 for 10 %, 299 for 1 %, 2995 for .1 %.
    """
    return int(np.ceil(np.log(_MISS) / np.log1p(-fpr)))


def _row(rate: Rate) -> dict[str, Any]:
    low = high = None
    if rate.reason is None:
        counts = rate.false_alarms, rate.non_members, rate.fpr_effect
        low, high = _counts.clopper_pearson(*counts)
    return {
        "fpr": rate.fpr,
        "rule": rate.rule,
        "realised_fpr": _ratio(rate.false_alarms, rate.non_members),
        "num_false_alarms": rate.false_alarms,
        "num_non_members": rate.non_members,
        "fpr_low": low,
        "fpr_high": high,
        "tpr": _ratio(rate.hits, rate.members),
        "reason": rate.reason,
    }


def _ppv_row(rate: Rate, prior: float) -> dict[str, Any]:
    fpr = _ratio(rate.false_alarms, rate.non_members)
    tpr = _ratio(rate.hits, rate.members)
    low = high = None
    if rate.reason is None:
        level = 1 - _MISS / 2
        fprs = _counts.clopper_pearson(
            rate.false_alarms, rate.non_members, rate.fpr_effect, level
        )
        tprs = _counts.clopper_pearson(rate.hits, rate.members, rate.tpr_effect, level)
        low, high = _ppv(prior, tprs[0], fprs[1]), _ppv(prior, tprs[1], fprs[0])
    return {
        "prior": prior,
        "fpr": rate.fpr,
        "tpr": tpr,
        "realised_fpr": fpr,
        "ppv": None if fpr is None or tpr is None else _ppv(prior, tpr, fpr),
        "ppv_low": low,
        "ppv_high": high,
    }


def _ppv(prior: float, tpr: float, fpr: float) -> float | None:
    alarms = prior * tpr + (1 - prior) * fpr
    return prior * tpr / alarms if alarms > 0 else None


def _ratio(count: int, total: int) -> float | None:
    return count / total if total else None


def _values(scores: np.ndarray, member_mask: np.ndarray, rule: str) -> np.ndarray:
    """[models, patients] what a rule compares with one number; NaN = no statement."""
    if rule == "per_patient":
        return _residuals.deleted(scores, ~member_mask)
    return np.asarray(scores, np.float32)


def _rate(
    fpr: float,
    rule: str,
    alarm: np.ndarray,
    member: np.ndarray,
    other: np.ndarray,
    units: int,
) -> Rate:
    """Counts of one rule, and whether they support an interval.

    Args:
      alarm, member, other: [models, patients] bool.
      units: non-members of a typical model ("pooled"), or models without a typical
        patient ("per_patient"): what the claim is made about.
    """
    false_alarms, fpr_effect = _counts.with_design_effect(alarm & other, other)
    hits, tpr_effect = _counts.with_design_effect(alarm & member, member)
    return Rate(
        fpr=fpr,
        rule=rule,
        false_alarms=false_alarms,
        non_members=int(other.sum()),
        hits=hits,
        members=int(member.sum()),
        fpr_effect=fpr_effect,
        tpr_effect=tpr_effect,
        reason=_reason(fpr, rule, false_alarms, units),
    )


def _reason(fpr: float, rule: str, false_alarms: int, units: int) -> str | None:
    """Why the counts say nothing certain, or None."""
    needed = fewest_models(fpr)
    if units < needed and rule == "per_patient":
        return (
            f"a rate of {fpr:.3g} for one patient takes {needed} models without the"
            f" patient, there are {units}: this is an average over patients"
        )
    if units < needed:
        return (
            f"a rate of {fpr:.3g} takes {needed} non-members of a model, there are"
            f" {units}"
        )
    if false_alarms < _FEWEST_FALSE_ALARMS:
        return f"{false_alarms} false alarms: fewer than {_FEWEST_FALSE_ALARMS}"
    return None
