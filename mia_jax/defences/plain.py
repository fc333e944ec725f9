"""No defence: the gradient of the mean loss over a batch of member records."""

import jax

from mia_jax import batches, contracts


def build(batch_size: int) -> contracts.Defence:
    """Builds plain training, which promises nothing.

    Args:
      batch_size: records per step; every member is met once an epoch.

    Returns:
      The defence; its guarantee is None.
    """

    def gradient_fn(loss_fn, params, inputs, labels, members, step, key):
        key_batches, key_loss = jax.random.split(key)
        records = batches.member_records(key_batches, members, step, batch_size)
        key_step = jax.random.fold_in(key_loss, step)

        def mean_loss(params):
            return loss_fn(params, inputs[records], labels[records], key_step).mean()

        return jax.value_and_grad(mean_loss)(params)

    return contracts.Defence(gradient_fn, guarantee=None)
