"""From logits to the statistic: how confident a model is in a record's own label."""

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import contracts

# Below this, 1 - P is the sum of the labels' own chances to be wrong, up to a share of
# it that a float32 does not resolve.
_SMALL = 1e-7
# log of 1e-45 as a float32 holds it, 2^-149: the constant of the published score.
_LOG_TINY = np.float32(-149 * np.log(2))


def statistic(logits: jax.Array, labels: jax.Array, task: contracts.Task) -> jax.Array:
    """The logit-scaled confidence log(p / (1 - p)), exactly, from logits.

    p is the probability of the record's label: of the softmax ("multiclass"), of the
    sigmoid ("binary"), or that all labels are right ("multilabel", `joint`). Unlike
    log(p + 1e-45) - log(1 - p + 1e-45) it is finite for every finite logit. Carlini et
    al. 2022, section V.C (arXiv:2112.03570).

    Args:
      logits: [..., outputs] float32, unnormalised; for "binary" one output, or one per
        class.
      labels: [...] int32 class; "multilabel": [..., outputs], 0 or 1.
      task: static.

    Returns:
      [...] float32, higher = more confident in the label.
    """
    if task == "multilabel":
        return joint(per_label(logits, labels))
    if logits.shape[-1] == 1:
        return per_label(logits, labels[..., None])[..., 0]
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    own = jnp.where(is_label, logits, 0.0).sum(-1)
    others = jax.nn.logsumexp(jnp.where(is_label, -jnp.inf, logits), axis=-1)
    return own - others


def per_label(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The statistic of every label of a multilabel record: its logit's right sign.

    It is its own inverse: of its result and the labels it makes the logits again.

    Args:
      logits: [..., labels] float32, one sigmoid each.
      labels: [..., labels] int, 0 or 1.

    Returns:
      [..., labels] float32, log(p_l / (1 - p_l)) of p_l = P(label l is right).
    """
    return jnp.where(labels == 1, logits, -logits)


def joint(per_label: jax.Array) -> jax.Array:
    """The logit of the probability that all labels are right, if they are independent.

    With s_l from `per_label`, log P = -a for a = sum_l softplus(-s_l), and

        logit P = log P - log(1 - P) = -a - log(1 - e^-a).

    Where a is too small for that, 1 - P is the sum of exp(-s_l) but for terms of the
    size of its square, so logit P = -logsumexp(-s): both exact to the last digits of a
    float32, finite for every finite s_l, and s itself for one label. log P can be had
    back as -softplus(-logit P).

    Args:
      per_label: [..., labels] float32.

    Returns:
      [...] float32, higher = more confident in all labels.
    """
    wrong = jax.nn.softplus(-per_label).sum(-1)
    at_least = jnp.maximum(wrong, _SMALL)
    nearly_sure = -jax.nn.logsumexp(-per_label, axis=-1)
    return jnp.where(
        wrong < _SMALL, nearly_sure, -wrong - jnp.log(-jnp.expm1(-at_least))
    )


def softmax_multi_hot(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The multilabel score of the published study of medical models, for comparison.

    p = sum over the present labels of the softmax over the sigmoids' logits, and the
    score log(p + c) - log(1 - p + c) with c = 1e-45, as in the authors' code (Knolle et
    al. 2026, "Disparate privacy risks from medical AI"). Computed from logarithms, so
    that c is not flushed to zero and no row is infinite.

    Use `joint` or `per_label` to find risk: this score was never what the model was
    trained for. A constant added to all logits changes every sigmoid and leaves it as
    it was; absent labels count only against the largest logits; a record without any
    present label, or with all of them, has the same score in every model (-103.3,
    103.3), so nothing can be learnt of it. (The study set "no finding" to 1 in rows
    without a present label where the data had that label.)

    Args:
      logits: [..., labels] float32; of a per-label statistic: `per_label` of it.
      labels: [..., labels] int, 0 or 1.

    Returns:
      [...] float32 within -103.28..103.28.
    """
    log_all = jax.nn.logsumexp(logits, axis=-1)
    present = jnp.where(labels == 1, logits, -jnp.inf)
    absent = jnp.where(labels == 1, -jnp.inf, logits)
    log_with_tiny = lambda part: jnp.logaddexp(
        jax.nn.logsumexp(part, axis=-1) - log_all, _LOG_TINY
    )
    return log_with_tiny(present) - log_with_tiny(absent)
