"""LiRA, the likelihood-ratio attack, leave-one-out over all models in closed form.

Carlini et al. 2022, "Membership Inference Attacks From First Principles", section V and
algorithm 1 (arXiv:2112.03570). Every model is the target once and all others are its
shadows. The authors' code uses medians, cuts every record to the smallest side count
and takes the raw (not residual) standard deviation for the fixed variance; our means,
full counts and residuals use all data and are what the paper's formulas say. Their
settings, exactly, are the attack `lira_2022`.

Why variance=bayes is the default. Public tools switch from a record's own variance to
one of the whole cohort below some number of shadow models (64 in several). Shrinking
needs no switch: the number of models and the cohort itself say how far. Simulated on
20,000 records, 10 % leaking 2 sd and the rest .3 sd, variances with 8 degrees of
freedom, AUC / TPR at 1 % FPR (standard error about .003 / .002):

    models                       16          64          256         512
    equal spread     record  .583/.036   .607/.071   .624/.076   .633/.072
                     fixed   .595/.049   .612/.065   .625/.066   .631/.066
                     bayes   .618/.064   .620/.075   .629/.077   .634/.074
    IN sd = .7 OUT   record  .634/.032   .666/.080   .678/.087   .685/.084
                     bayes   .667/.070   .673/.082   .681/.087   .685/.084
    IN sd differs    record  .629/.049   .664/.094   .681/.108   .680/.104
    by record        bayes   .642/.070   .667/.094   .681/.108   .680/.105

It is the best or level at every size, and works from 4 models on. With `variance_ratio`
off (one variance for both sides) it loses what a change of spread tells: AUC .654 at
512 models in the second block, .633 in the third.
"""

import jax
import numpy as np

from mia_jax import validate
from mia_jax.attacks import _channels, _gaussian, _pooled, _priors, _student

_MODES = ("online", "offline")
_TAILS = ("one_sided", "two_sided")
# Fewest models of each form of the variance: half of them less the target must show a
# spread of each side (record), or of the two sides together.
_FEWEST_MODELS = {"record": 6, "fixed": 4, "bayes": 4}
# Priors are fitted to at most so many numbers [models x records x channels].
_MOST_NUMBERS = 5_000_000
# Records at a time on the host, as the engine's chunks.
_CHUNK = 1024


def scores(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "bayes",
    mean_prior: bool = True,
    variance_ratio: bool = True,
    tail: str = "one_sided",
    channels: str = "mean",
    cohort: _pooled.Spread | None = None,
    tuned: _student.Prior | None = None,
) -> jax.Array:
    """Leave-one-out LiRA scores of every model.

    Args:
      statistic: [models, records] or [models, records, channels] float32, higher =
        more confident in the label.
      member_mask: [models, records] bool; with variance=record at least 3 models on
        each side.
      mode: online: log ratio of the IN and the OUT law; offline: how unlikely the OUT
        models alone make the statistic.
      variance: record: each record's own, per side; fixed: residuals pooled over all
        records, per side; bayes: each record's own, shrunk to the cohort's as far as
        the number of models demands (Student t laws).
      mean_prior: for online bayes: whether the leak is shrunk to the cohort's too.
      variance_ratio: for online bayes: whether IN and OUT variance may differ, by a
        ratio shrunk to the cohort's; else both are one.
      tail: for offline: one_sided: minus log of the chance to be as high, as in the
        paper; two_sided: minus log density, as some public tools do, which also calls
        records members that are unusually low.
      channels: mean: of the statistic; sum: the scores of all channels are added;
        multivariate: the same after the channels of each record are decorrelated with
        a shrunk covariance.
      cohort: sums over all records for "fixed"; computed from `statistic` if not given.
      tuned: priors for "bayes"; computed from `statistic` if not given.

    Returns:
      [models, records] float32, higher = member.
    """
    _check(statistic, mode, variance, tail, channels)
    x, member = _channels.split(statistic, member_mask, channels)
    in_, out = _gaussian.leave_one_out(x, member)
    if variance == "bayes":
        prior = tuned
        if prior is None:
            arrays = _on_host(statistic, member_mask)
            prior = tune(
                *arrays, mode, variance, mean_prior, variance_ratio, tail, channels
            )
        if mode == "offline":
            return _channels.total(_student.tail_score(out, prior, tail))
        return _channels.total(_student.log_ratio(in_, out, prior))
    variances = in_.variance, out.variance
    if variance == "fixed":
        spread = _pooled.sums(in_, out) if cohort is None else cohort
        variances = _pooled.variances(spread)
    if mode == "offline":
        found = _gaussian.tail_score(out.deviation, variances[1], tail)
    else:
        found = _gaussian.log_ratio((in_.deviation, out.deviation), variances)
    return _channels.total(found)


def cohort_sums(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "bayes",
    mean_prior: bool = True,
    variance_ratio: bool = True,
    tail: str = "one_sided",
    channels: str = "mean",
) -> _pooled.Spread | None:
    """Residual sums of some records; sums of several chunks add up.

    Args: as `scores`. None where the variance is not fixed: nothing is needed.
    """
    del mode, mean_prior, variance_ratio, tail
    if variance != "fixed":
        return None
    x, member = _channels.split(statistic, member_mask, channels)
    return _pooled.sums(*_gaussian.leave_one_out(x, member))


def tune(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    mode: str = "online",
    variance: str = "bayes",
    mean_prior: bool = True,
    variance_ratio: bool = True,
    tail: str = "one_sided",
    channels: str = "mean",
) -> _student.Prior | None:
    """Priors of every target, fitted to a sample of records without its own mask.

    Args: as `scores`; of more than 5,000,000 numbers evenly spaced records are used.
    None where the variance is not bayes: nothing is needed.

    Raises:
      InputError: where a record has no other model on a side and no prior to fall
        back on.
    """
    if variance != "bayes":
        return None
    _check(statistic, mode, variance, tail, channels)
    step = -(-statistic.size // _MOST_NUMBERS)
    statistic, member_mask = statistic[:, ::step], member_mask[:, ::step]
    parts = []
    for start in range(0, statistic.shape[1], _CHUNK):
        columns = slice(start, start + _CHUNK)
        chunk = statistic[:, columns], member_mask[:, columns]
        x, member = _channels.split(*chunk, channels)
        parts.append(_priors.moments(np.asarray(x), member))
    found = _priors.Moments(*(np.concatenate(part, 1) for part in zip(*parts)))
    is_empty = found.count_out.min() < 1
    if mode == "offline":
        _require_side("offline", not is_empty)
        return _priors.offline(found)
    is_empty |= found.count_in.min() < 1
    _require_side("mean_prior=False", mean_prior or not is_empty)
    return _priors.online(found, variance_ratio, mean_prior)


def _check(statistic, mode: str, variance: str, tail: str, channels: str) -> None:
    validate.one_of("attack.mode", mode, _MODES)
    validate.one_of("attack.variance", variance, _FEWEST_MODELS)
    validate.one_of("attack.tail", tail, _TAILS)
    validate.one_of("attack.channels", channels, _channels.CHANNELS)
    fewest = _FEWEST_MODELS[variance]
    few = "; variance=bayes works with 4" if variance == "record" else ""
    validate.require(
        statistic.shape[0] >= fewest,
        f"{statistic.shape[0]} models with attack.variance={variance}",
        f"needs at least {fewest}: a side without the target must show its spread",
        f"train more models{few}",
    )


def _require_side(option: str, has_side: bool) -> None:
    validate.require(
        has_side,
        f"attack.{option}: a record has one model on a side, or none",
        "without that model nothing is left to fit",
        "balance the masks, or use the online attack with mean_prior=True",
    )


def _on_host(statistic, member_mask) -> tuple[np.ndarray, np.ndarray]:
    validate.require(
        not isinstance(statistic, jax.core.Tracer),
        "lira.scores(variance='bayes') inside jit, without tuned",
        "priors are fitted to the whole cohort, on the host",
        "pass tuned=lira.tune(statistic, member_mask, ...) with the same options",
    )
    return np.asarray(statistic), np.asarray(member_mask)
