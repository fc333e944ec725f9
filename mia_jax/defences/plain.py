"""No defence: the gradient of the mean loss over a batch of member records."""

import jax

from mia_jax import batches, contracts


def build(setup: contracts.Setup) -> contracts.Defence:
    """Builds plain training, which promises nothing.

    Args:
      setup: `batch_size` records make a step; every member is met once an epoch.

    Returns:
      The defence; its guarantee is None.
    """

    def gradient_fn(loss_fn, params, data, members, step, key, hyper):
        del hyper
        key_batches, key_loss = jax.random.split(key)
        units = batches.of_step(key_batches, members, step, setup.batch_size)
        records = data.units.records[units]
        key_step = jax.random.fold_in(key_loss, step)
        inputs, labels = data.inputs[records], data.labels[records]

        def mean_loss(params):
            return loss_fn(params, inputs, labels, key_step).mean()

        return jax.value_and_grad(mean_loss)(params)

    num_steps = batches.num_steps(
        setup.epochs, setup.member_share * setup.num_records, setup.batch_size
    )
    return contracts.Defence(gradient_fn, num_steps, "record", {}, guarantee=None)
