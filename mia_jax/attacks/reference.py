"""Attack-R: is the target more confident than models that did not see the record?

Ye et al. 2022, "Enhanced Membership Inference Attacks", section 4 (arXiv:2111.09679):
each record has its own threshold, a quantile of reference models. As the score of a
ROC curve, that is the share of OUT models less confident in the record. Public code
reads it off by linear interpolation between the sorted reference models, a made-up
model of loss 0 and one of loss 1000 among them; we count ties by half and offer a
kernel, so no end of the scale is invented.
"""

import jax
import jax.numpy as jnp

from mia_jax import validate

_SMOOTHINGS = ("none", "kernel")
_SILVERMAN = 1.06  # (4 / 3) ** .2: the width that suits a normal law
_TINY = 1e-6  # smallest kernel width, in units of the statistic: no division by 0


def scores(
    statistic: jax.Array, member_mask: jax.Array, smoothing: str = "none"
) -> jax.Array:
    """Leave-one-out share of OUT models that are less confident than the target.

    Args:
      statistic: [models, records] float32, higher = more confident in the label.
      member_mask: [models, records] bool; at least 2 models out of each record.
      smoothing: none: the share, ties by half; kernel: each OUT model spread by a
        normal law of Silverman's width, which orders targets beyond all OUT models
        (several times slower).

    Returns:
      [models, records] float32 in 0..1, higher = member.
    """
    validate.one_of("attack.smoothing", smoothing, _SMOOTHINGS)
    is_out = ~member_mask
    count = (is_out.sum(0, keepdims=True) - is_out).astype(statistic.dtype)
    if smoothing == "kernel":
        # The spread of all models needs no mask, so no own bit enters by it.
        spread = _SILVERMAN * statistic.std(0, keepdims=True) * count**-0.2
        scale = 1.0 / jnp.maximum(spread, _TINY)
        below = lambda gap: jax.scipy.special.ndtr(gap * scale)
    else:
        below = lambda gap: 0.5 * (1.0 + jnp.sign(gap))

    def add(model, total):
        gap = statistic - statistic[model][None, :]
        return total + jnp.where(is_out[model][None, :], below(gap), 0.0)

    total = jax.lax.fori_loop(0, len(statistic), add, jnp.zeros_like(statistic))
    # A target that is out met itself once, as a tie.
    return (total - 0.5 * is_out) / count
