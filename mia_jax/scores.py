"""From logits to the statistic: how confident a model is in a record's own label."""

import jax
import jax.numpy as jnp


def statistic(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The logit-scaled confidence log(p_y / (1 - p_y)), exactly, from logits.

    For softmax outputs it is z_y - logsumexp of the other logits, for a sigmoid output
    the logit with the label's sign. Unlike log(p + 1e-45) - log(1 - p + 1e-45) it is
    finite for every finite logit. Carlini et al. 2022, section V.C (arXiv:2112.03570).

    Args:
      logits: [..., outputs] float32, unnormalised; one output for "binary".
      labels: [...] int32 class.

    Returns:
      [...] float32, higher = more confident in the label.
    """
    if logits.shape[-1] == 1:
        return jnp.where(labels == 1, logits[..., 0], -logits[..., 0])
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    own = jnp.where(is_label, logits, 0.0).sum(-1)
    others = jax.nn.logsumexp(jnp.where(is_label, -jnp.inf, logits), axis=-1)
    return own - others
