"""LOSS and attack-P: a member is a record that the target is confident in.

Yeom et al. 2018, "Privacy Risk in Machine Learning", section III (arXiv:1709.01604):
the loss against one threshold for all records. Attack-P of Ye et al. 2022, "Enhanced
Membership Inference Attacks", section 4 (arXiv:2111.09679), takes the threshold from a
population: here the share of the target's non-members, of all or of the record's class,
that the target is less confident in. No shadow model is needed for either.
"""

from typing import Any

import jax
import numpy as np

from mia_jax import contracts, validate
from mia_jax.attacks import _confidence, _population

_POPULATIONS = ("none", "all", "class")


def scores(
    statistic: jax.Array, member_mask: jax.Array, population: str = "none"
) -> jax.Array | contracts.Signals:
    """Confidence of every model in every record.

    Args:
      statistic: [models, records] float32, higher = more confident in the label.
      member_mask: [models, records] bool.
      population: none: log p; all: share of the target's non-members of other patients
        with a lower confidence; class: the same among those of the record's label.

    Returns:
      [models, records] float32, higher = member; or, with a population, `Signals` of
      which `compare` makes the shares.
    """
    del member_mask
    validate.one_of("attack.population", population, _POPULATIONS)
    log_p = _confidence.log_confidence(statistic)
    return log_p if population == "none" else contracts.Signals(log_p, None)


def prepare(context: contracts.Context, population: str = "all") -> list[np.ndarray]:
    """Indices of the records that are compared with one another.

    Args:
      context: whose labels are read for "class"; a combination of labels is a class.
      population: as `scores`.

    Returns:
      A partition of the records, int arrays.
    """
    if population != "class":
        return [np.arange(len(context.patient_of_record))]
    validate.require(
        context.labels is not None,
        "attack.population='class' without labels",
        "the class of every record must be known",
        "give the labels, or use population='all'",
    )
    _, kind = np.unique(np.asarray(context.labels), axis=0, return_inverse=True)
    order = np.argsort(kind.ravel(), kind="stable")
    return np.split(order, np.cumsum(np.bincount(kind.ravel()))[:-1])


def compare(
    signals: contracts.Signals,
    member_mask: np.ndarray,
    context: contracts.Context,
    population: str = "all",
    prepared: list[np.ndarray] | None = None,
) -> np.ndarray:
    """Share of one target's non-members with a lower confidence.

    Args:
      signals: of one target, [records] float32.
      member_mask: [records] bool.
      context: labels, and patients: a patient's own records are no population.
      population: as `scores`.
      prepared: what `prepare` made of the context; made if None.

    Returns:
      [records] float32 in 0..1.
    """
    value, owner = np.asarray(signals.query), np.asarray(context.patient_of_record)
    if prepared is None:
        prepared = prepare(context, population)
    out = np.empty(value.shape, np.float32)
    for chosen in prepared:
        own = value[chosen]
        out[chosen] = _population.share_beaten(
            own, own, ~member_mask[chosen], owner[chosen]
        )
    return out


def patient_signal(statistic: jax.Array, **options: Any) -> jax.Array:
    """log p of the label, whatever the population."""
    del options
    return _confidence.log_confidence(statistic)
