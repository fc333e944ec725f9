"""LiRA with the settings of its authors' code, to repeat published tables.

Carlini et al. 2022 (arXiv:2112.03570), as scored by the authors' plotting script in
tensorflow/privacy, research/mi_lira_2021. It departs from the paper's formulas; for an
audit `lira` is the stronger attack. Its settings, all kept here:

- medians over shadow models, standard deviations with ddof 0;
- every record is cut to the smallest number of IN (and of OUT) shadow models that any
  record has: the first so many in model order;
- fixed variance: the raw standard deviation of all IN values, records and channels
  together, for both sides; offline of all OUT values. It holds the spread between
  records too;
- offline: minus log density of the OUT law (two-sided);
- channels: the mean of the log densities, or of their ratios.

Differences: their scores are low for members, ours are turned round. Every model is the
target once, where the script takes the last one. Their 1e-30 beside a standard
deviation is kept in the density's constant; where a target leaves a constant side, it
would square to more than float32 holds: there it is 1e-14, and decides alike.

Exact for any number of records, also in chunks: the smallest number of models is read
off summed counts of records by number of models.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax import validate
from mia_jax.attacks import _first_models, _gaussian

_MODES = ("online", "offline")
_VARIANCES = ("record", "fixed")
_CHANNELS = ("densities", "mean")
# A side needs two models, so that one is left without the target.
_FEWEST_MODELS = 4
# Beside a standard deviation, and the smallest one that deviations are divided by.
_SMALLEST_SPREAD, _SMALLEST_DIVISOR = 1e-30, 1e-14
# The square of a larger scaled deviation overflows float32.
_LARGEST_DEVIATION = 1e18


class Cohort(NamedTuple):
    """What all records say of both sides."""

    in_: _first_models.Cut
    out: _first_models.Cut


def scores(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "record",
    channels: str = "densities",
    cohort: Cohort | None = None,
) -> jax.Array:
    """Leave-one-out scores of every model, as the authors' code makes them.

    Args:
      statistic: [models, records] or [models, records, channels] float32, higher =
        more confident in the label.
      member_mask: [models, records] bool; at least 2 models on each side.
      mode: online: log ratio of the IN and the OUT Gaussian; offline: minus log density
        of the OUT Gaussian.
      variance: record: each record's own, per side; fixed: raw, of all values.
      channels: densities: the mean over channels of the log densities, as the authors
        do; mean: one density of the mean statistic.
      cohort: sums over all records; computed from `statistic` if not given.

    Returns:
      [models, records] float32, higher = member.
    """
    _check(statistic, mode, variance, channels)
    if cohort is None:
        cohort = cohort_sums(statistic, member_mask, mode, variance, channels)
    x, member = _split(statistic, member_mask, channels)
    num_channels = x.shape[2] if x.ndim == 3 else 1
    laws = [
        _first_models.deviation_and_spread(x, side, part.size)
        for side, part in ((member, cohort.in_), (~member, cohort.out))
    ]
    if variance == "fixed":
        given = cohort.in_ if mode == "online" else cohort.out
        spread = given.spread(num_channels).reshape(-1, *(1,) * (x.ndim - 1))
        laws = [(deviation, spread) for deviation, _ in laws]
    in_, out = (_log_density(*law) for law in laws)
    found = in_ - out if mode == "online" else -out
    return found if found.ndim == 2 else found.mean(-1)


def cohort_sums(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    variance: str = "record",
    channels: str = "densities",
) -> Cohort:
    """Counts and sums of some records; those of several chunks add up.

    Args: as `scores`.
    """
    x, member = _split(statistic, member_mask, channels)
    is_fixed = variance == "fixed"
    return Cohort(
        _first_models.cut(x, member, is_fixed and mode == "online"),
        _first_models.cut(x, ~member, is_fixed and mode == "offline"),
    )


def _split(statistic, member_mask, channels: str):
    if statistic.ndim == 2:
        return statistic, member_mask
    if channels == "mean":
        return statistic.mean(-1), member_mask
    return statistic, member_mask[..., None]


def _log_density(deviation, spread):
    scaled = deviation / jnp.maximum(spread, _SMALLEST_DIVISOR)
    scaled = jnp.clip(scaled, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    log_spread = jnp.log(spread + _SMALLEST_SPREAD)
    return -0.5 * scaled**2 - log_spread - _gaussian.HALF_LOG_2_PI


def _check(statistic, mode: str, variance: str, channels: str) -> None:
    validate.one_of("attack.mode", mode, _MODES)
    validate.one_of("attack.variance", variance, _VARIANCES)
    validate.one_of("attack.channels", channels, _CHANNELS)
    validate.require(
        statistic.shape[0] >= _FEWEST_MODELS,
        f"{statistic.shape[0]} models with attack.name=lira_2022",
        f"needs at least {_FEWEST_MODELS}: one must be left on a side",
        "train more models",
    )
