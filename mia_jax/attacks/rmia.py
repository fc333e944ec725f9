"""RMIA, the robust membership inference attack, leave-one-out, by sorting.

Zarifzadeh et al. 2024, "Low-Cost High-Power Membership Inference Attacks"
(arXiv:2312.03262): how many non-members z does a record x beat in the ratio of the
target's confidence to the reference models' confidence,

    share of z with  a(x) - a(z) > log gamma,   a = log p_target - log p_reference.

Sorting the a(z) of a target makes the shares of all records at once, exactly as all
pairs would.

Where the authors' code differs: it takes one trimmed mean over as many IN as OUT models
(`center="trimmed_even"`); it compares with all non-members but the record itself
(`exclude="record"`), and adds a count of one to non-members there, by which a record's
own membership would enter its score; with several views it votes over pairs of one view
of x and the same view of z, which no sort can count.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import contracts, validate
from mia_jax.attacks import _coefficient, _confidence, _first_models, _population

_CHOICES = {
    "mode": ("online", "offline"),
    "population_reference": ("same", "out", "all"),
    "center": ("mean", "trimmed", "trimmed_even"),
    "channels": ("mean", "vote"),
    "exclude": ("patient", "record"),
}


class Cohort(NamedTuple):
    """What all records say of both sides."""

    in_: _first_models.Cut
    out: _first_models.Cut


def scores(
    statistic: jax.Array,
    member_mask: jax.Array,
    mode: str = "online",
    a: float = 0.0,
    gamma: float = 1.0,
    strict: bool = True,
    population_reference: str = "same",
    center: str = "mean",
    channels: str = "mean",
    exclude: str = "patient",
    cohort: Cohort | None = None,
    tuned: jax.Array | None = None,
) -> contracts.Signals:
    """The log ratios a(x) and a(z), of which `compare` makes the shares.

    Args:
      statistic: [models, records] float32, or [models, records, views] for "vote";
        higher = more confident in the label.
      member_mask: [models, records] bool; at least 2 models on each side.
      mode: online: reference models of both sides; offline: those that did not see the
        record, p_reference = ((1 + a) p_out + (1 - a)) / 2.
      a: offline only, above 0 and at most 1; 0 = chosen for each target by the AUC of
        other models, never by the target's own membership.
      gamma: how many times larger a ratio must be; 1 ranks all records, 2 (the authors'
        for images) ties all those that beat nobody by so much.
      strict: whether a ratio of exactly gamma is too small (the authors' code) or
        counts (their definition).
      population_reference: p_reference of z: same: as of x; out: mean over models that
        did not see z, without `a`; all: mean over all reference models.
      center: mean; trimmed: 20 % cut at each end, both sides together (slower);
        trimmed_even: the same of as many IN as OUT models, the first of each, as many
        as every record has on both sides (the authors' code).
      channels: mean: views are averaged before; vote: x beats z where more than half of
        its views beat the middle one of z.
      exclude: patient: z is never a record of x's own patient, so the patient's own
        membership does not enter; record: only x itself is left out, as published.
      cohort: numbers of models of all records for "trimmed_even"; computed from the
        mask if not given.
      tuned: [models, 1] what `tune` chose; computed if needed and not given.

    Returns:
      Signals of [models, records] float32.
    """
    given = {"mode": mode, "population_reference": population_reference}
    given |= {"center": center, "channels": channels, "exclude": exclude}
    _check(a, gamma, **given)
    if mode == "offline" and not a and tuned is None:
        tuned = tune(statistic, member_mask, mode=mode, a=a)
    options = {"mode": mode, "a": a if a else tuned, "center": center}
    options["population_reference"] = population_reference
    if center == "trimmed_even":
        if cohort is None:
            cohort = cohort_sums(statistic, member_mask, center=center)
        options["size"] = jnp.minimum(cohort.in_.size, cohort.out.size)
    signals = _vote if statistic.ndim == 3 else _signals
    return signals(statistic, member_mask, **options)


def cohort_sums(
    statistic: jax.Array, member_mask: jax.Array, center: str = "mean", **options: Any
) -> Cohort | None:
    """Numbers of models on the sides of some records; those of several chunks add up.

    Args:
      statistic: as `scores`.
      member_mask: as `scores`.
      center: as `scores`; None but for "trimmed_even": nothing is needed.
      **options: the other options, which change nothing here.
    """
    del options
    if center != "trimmed_even":
        return None
    return Cohort(
        _first_models.cut(statistic, member_mask, False),
        _first_models.cut(statistic, ~member_mask, False),
    )


def tune(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    mode: str = "online",
    a: float = 0.0,
    **options: Any,
) -> np.ndarray | None:
    """The offline coefficient of every target, where it is not given.

    Args:
      statistic: [models, records(, views)] float32, of a sample of records.
      member_mask: [models, records] bool.
      mode: as `scores`.
      a: as `scores`.
      **options: the other options, which change nothing here.

    Returns:
      [models, 1] float32; None = not needed.
    """
    del options
    if mode != "offline" or a:
        return None
    statistic = np.asarray(statistic)
    if statistic.ndim == 3:
        statistic = statistic.mean(2)
    return _coefficient.by_other_half(statistic, np.asarray(member_mask))


def compare(
    signals: contracts.Signals,
    member_mask: np.ndarray,
    context: contracts.Context,
    gamma: float = 1.0,
    strict: bool = True,
    exclude: str = "patient",
    **options: Any,
) -> np.ndarray:
    """Share of one target's non-members that each record beats.

    Args:
      signals: of one target, [records] float32 each.
      member_mask: [records] bool.
      context: whose patients are read.
      gamma: as `scores`.
      strict: as `scores`.
      exclude: as `scores`.
      **options: the other options, which change nothing here.

    Returns:
      [records] float32 in 0..1; 0 for a target without non-members.
    """
    del options
    query = np.asarray(signals.query)
    population = query if signals.population is None else signals.population
    owner = context.patient_of_record
    if exclude == "record":
        owner = np.arange(len(query))
    query = query - np.float32(np.log(gamma))
    return _population.share_beaten(
        query, np.asarray(population), ~member_mask, owner, strict
    )


def patient_signal(statistic: jax.Array, **options: Any) -> jax.Array:
    """log p of the label: what the ratios are made of, without any mask."""
    del options
    return _confidence.log_confidence(statistic)


def _check(a: float, gamma: float, **chosen: str) -> None:
    for name, value in chosen.items():
        validate.one_of(f"attack.{name}", value, _CHOICES[name])
    validate.require(
        0.0 <= a <= 1.0,
        f"attack.a={a}",
        "must be above 0 and at most 1, or 0: chosen by other models",
        "leave it at 0, or use a value near .3",
    )
    validate.require(
        gamma > 0.0,
        f"attack.gamma={gamma}",
        "must be above 0: it bounds a ratio of probabilities",
        "use 1 or 2",
    )


def _signals(statistic, member_mask, mode, a, center, population_reference, size=None):
    """a(x), and a(z) where its reference is another."""
    own = _confidence.log_confidence(statistic)
    given = statistic, member_mask, center
    if mode == "online":
        reference = _confidence.reference_online(*given, size)
    else:
        reference = _confidence.reference_offline(*given, a, size)
    if population_reference == "same":
        return contracts.Signals(own - reference, None)
    if population_reference == "out":
        other = _confidence.reference_offline(*given, size=size)
    else:
        other = _confidence.reference_all(statistic)
    return contracts.Signals(own - reference, own - other)


def _vote(statistic, member_mask, **options):
    """Signals of views, put in order: what more than half of the views reach.

    More than half of x's views beat z exactly if the view that just completes the
    majority does. z is represented by its own middle view; of an even number by the
    higher one, as half of the votes do not beat it.
    """
    num_models, num_records, num_views = statistic.shape
    mask = jnp.repeat(member_mask, num_views, axis=1)
    query, population = _signals(statistic.reshape(num_models, -1), mask, **options)
    lower, higher = num_views - num_views // 2 - 1, num_views // 2
    if population is None and lower != higher:
        population = query

    def middle(signal, place):
        views = signal.reshape(num_models, num_records, num_views)
        return jnp.sort(views, axis=-1)[..., place]

    if population is not None:
        population = middle(population, higher)
    return contracts.Signals(middle(query, lower), population)
