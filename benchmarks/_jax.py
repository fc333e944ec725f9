"""The JAX contenders of benchmarks/training.py: a plain loop, and ours."""

import concurrent.futures
from collections.abc import Callable

import jax
import numpy as np
import optax

from benchmarks import _shapes
from mia_jax import config, losses, masks, shadow


def python_loop(shape: _shapes.Shape) -> Callable[[], None]:
    """One model at a time: a jitted step with donated state, called from Python.

    As in PyTorch's loop, the batches are drawn before the clock starts; the data lies
    on the device, and the step gathers its batch.
    """
    cohort = _shapes.dataset(shape)
    model = _shapes.settings(shape, 4, 1).model.call(shape.widths[-1])
    optimizer = optax.adamw(_shapes.LEARNING_RATE, weight_decay=_shapes.WEIGHT_DECAY)
    inputs, labels = jax.device_put((cohort.inputs, cohort.labels))
    params = model.init(jax.random.key(0), inputs[:1])
    indices = list(_shapes.index_table(shape.model_steps, 1)[:, 0].astype(np.int32))

    def step(state, index, inputs, labels):
        params, opt_state = state
        loss_fn = lambda params: losses.cross_entropy(
            model.apply(params, inputs[index]), labels[index], cohort.task
        ).mean()
        updates, opt_state = optimizer.update(
            jax.grad(loss_fn)(params), opt_state, params
        )
        return optax.apply_updates(params, updates), opt_state

    step_fn = jax.jit(step, donate_argnums=0)
    state = params, optimizer.init(params)

    def run():
        nonlocal state
        for index in indices:
            state = step_fn(state, index, inputs, labels)
        jax.block_until_ready(state)

    return run


def engine(
    shape: _shapes.Shape, models_per_group: int, devices: list[jax.Device]
) -> Callable[[], None]:
    """Ours: the programs of `shadow.Engine`, a thread and a group for each device.

    The timed call is the training program: drawing batches, learning-rate schedule and
    the check for a finite loss included, starting weights and predictions not.
    """
    num_models = models_per_group * len(devices)
    settings = _shapes.settings(shape, max(4, num_models), models_per_group)
    mask = masks.draw(settings.train.num_models, _shapes.NUM_RECORDS, 0, 0, "bernoulli")
    cohort, speed = _shapes.dataset(shape), config.SpeedSettings()
    made = shadow.Engine(cohort, settings, speed, mask, devices)
    groups = shadow.groups([num_models], models_per_group)
    parts = [made.start(*pair) for pair in zip(groups, devices, strict=True)]
    num_steps = np.arange(shape.model_steps // num_models, dtype=np.int32)
    steps = [jax.device_put(num_steps, device) for device in devices]
    pool = concurrent.futures.ThreadPoolExecutor(len(devices))

    def work(i: int) -> None:
        state, *rest = parts[i]
        state = made.programs.train(state, *rest, steps[i], made.data[devices[i]])
        parts[i] = jax.block_until_ready(state), *rest

    return lambda: list(pool.map(work, range(len(devices))))
