"""Training losses per record, from logits."""

import jax
import jax.numpy as jnp
import optax

from mia_jax import contracts


def cross_entropy(
    logits: jax.Array, labels: jax.Array, task: contracts.Task, label_smoothing=0.0
) -> jax.Array:
    """Cross-entropy of softmax ("multiclass") or sigmoid outputs.

    For "multilabel" the mean over labels, not the sum: a record's loss and gradient,
    and with them learning rate and clipping norm, keep their scale whatever the number
    of labels.

    Args:
      logits: [batch, outputs] float32, unnormalised; one output for "binary".
      labels: [batch] int32 class; "multilabel": [batch, outputs], 0 or 1.
      task: static.
      label_smoothing: scalar in [0, 1), may be traced; this share of the target is
        spread evenly over all classes (Szegedy et al. 2016, section 7), of each label
        over absent and present.

    Returns:
      [batch] float32, nats.
    """
    if task != "multiclass":
        labels = labels[:, None] if task == "binary" else labels
        target = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return optax.sigmoid_binary_cross_entropy(logits, target).mean(-1)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    target = one_hot * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    return optax.softmax_cross_entropy(logits, jnp.asarray(target, logits.dtype))
