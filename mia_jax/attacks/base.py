"""BASE: confidence of the target against the mean confidence of its shadow models.

Lassila, Ostman, Ngo and Graell i Amat 2025, "Practical Bayes-Optimal Membership
Inference Attacks" (arXiv:2505.24089): minus the target's loss, less the log of the mean
of exp(minus loss) over the shadow models. It is the signal that RMIA compares with a
population: without the population, records keep a number without ties.
"""

import jax

from mia_jax import validate
from mia_jax.attacks import _confidence

_MODES = ("online", "offline")


def scores(
    statistic: jax.Array, member_mask: jax.Array, mode: str = "online"
) -> jax.Array:
    """Leave-one-out BASE scores: log p of the target less log of the shadows' mean p.

    Published is a plain mean over all shadow models. Ours gives half the weight to each
    side, the same where the sides are of equal size. They are not once the target is
    taken out of its own: a plain mean would then hold one member fewer for members than
    for others, a difference that an attacker with shadow models of his own has not.

    Args:
      statistic: [models, records] float32, higher = more confident in the label.
      member_mask: [models, records] bool; at least 2 models on each side.
      mode: online: shadow models of both sides; offline: those that did not see the
        record.

    Returns:
      [models, records] float32, higher = member.
    """
    validate.one_of("attack.mode", mode, _MODES)
    if mode == "online":
        reference = _confidence.reference_online(statistic, member_mask, "mean")
    else:
        reference = _confidence.reference_offline(statistic, member_mask, "mean")
    return _confidence.log_confidence(statistic) - reference


def patient_signal(statistic: jax.Array, mode: str = "online") -> jax.Array:
    """log p of the label: what the score is made of, without any mask."""
    del mode
    return _confidence.log_confidence(statistic)
