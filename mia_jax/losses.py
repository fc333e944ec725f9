"""Training losses per record, from logits."""

import jax
import jax.numpy as jnp
import optax

from mia_jax import contracts


def cross_entropy(
    logits: jax.Array, labels: jax.Array, task: contracts.Task, label_smoothing=0.0
) -> jax.Array:
    """Cross-entropy of softmax ("multiclass") or sigmoid ("binary") outputs.

    Args:
      logits: [batch, outputs] float32, unnormalised; one output for "binary".
      labels: [batch] int32 class.
      task: static.
      label_smoothing: scalar in [0, 1), may be traced; this share of the target is
        spread evenly over all classes (Szegedy et al. 2016, section 7).

    Returns:
      [batch] float32, nats.
    """
    if task == "binary":
        target = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], target)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    target = one_hot * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    return optax.softmax_cross_entropy(logits, jnp.asarray(target, logits.dtype))
