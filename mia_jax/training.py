"""Training of one model, as two pure functions: `init` and `run`.

Nothing here knows that there are many models: `shadow.py` maps these functions over
them. `init` stays outside the mapped program and the state is passed in, so that it
can be donated.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from mia_jax import config, contracts, losses, rng


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """What the next step needs of one model.

    Attributes:
      params: weights, float32.
      opt_state: the optimizer's.
      average: exponential moving average of the weights, or None.
      bad_step: int32 scalar, first step whose loss was not finite; -1 = none.
    """

    params: contracts.Params
    opt_state: optax.OptState
    average: contracts.Params | None
    bad_step: jax.Array

    @property
    def weights(self) -> contracts.Params:
        """The weights to predict with: averaged ones where they are kept."""
        return self.params if self.average is None else self.average


class Hyperparameters(NamedTuple):
    """Numbers that may differ along the model axis, so that a sweep is one program.

    Each is a float32 scalar for one model, [models] for a group; `defence` holds those
    of the defence by name.
    """

    learning_rate: jax.Array
    weight_decay: jax.Array
    momentum: jax.Array
    label_smoothing: jax.Array
    ema_decay: jax.Array
    defence: dict[str, jax.Array]


class Trainer(NamedTuple):
    """The pure functions of one model.

    Attributes:
      init: (key, inputs [1, ...]) -> State.
      run: (state, hyperparameters, key, members, steps [n] int32, data) -> State after
        the given steps; cutting `steps` in pieces changes nothing.
    """

    init: Callable[..., State]
    run: Callable[..., State]


def hyperparameters(
    settings: config.TrainSettings, defence: contracts.Defence
) -> Hyperparameters:
    """The numbers of settings and defence as float32 scalars."""
    *names, _ = Hyperparameters._fields
    numbers = [jnp.float32(getattr(settings, name)) for name in names]
    return Hyperparameters(*numbers, jax.tree.map(jnp.float32, defence.hyper))


def schedule(settings: config.TrainSettings, total_steps: int) -> optax.Schedule:
    """The learning rate's factor in [0, 1] at each step: warm-up, then decay."""
    warmup = round(settings.warmup * total_steps)
    decay = max(1, total_steps - warmup)
    after = {
        "cosine": optax.cosine_decay_schedule(1.0, decay),
        "linear": optax.linear_schedule(1.0, 0.0, decay),
        "constant": optax.constant_schedule(1.0),
    }[settings.schedule]
    if not warmup:
        return after
    return optax.join_schedules(
        [optax.linear_schedule(0.0, 1.0, warmup), after], [warmup]
    )


def optimizer(
    settings: config.TrainSettings, hyper: Hyperparameters, total_steps: int
) -> optax.GradientTransformation:
    """AdamW (arXiv:1711.05101) or SGD with momentum and decoupled weight decay."""
    factor = schedule(settings, total_steps)
    if settings.optimizer == "adamw":
        direction = optax.scale_by_adam()
    else:
        direction = optax.trace(decay=hyper.momentum)
    return optax.chain(
        direction,
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale_by_schedule(lambda step: -hyper.learning_rate * factor(step)),
    )


def make(
    model: contracts.Model,
    defence: contracts.Defence,
    settings: config.TrainSettings,
    task: contracts.Task,
) -> Trainer:
    """The pure functions that train one model for `defence.num_steps` steps."""
    uses_average = settings.ema_decay > 0
    total_steps = defence.num_steps

    def init(key: jax.Array, inputs: jax.Array) -> State:
        params = model.init(rng.stream(key, "init"), inputs)
        hyper = hyperparameters(settings, defence)
        state = optimizer(settings, hyper, total_steps).init(params)
        # A copy: a donated buffer must not appear twice in the state.
        average = jax.tree.map(jnp.copy, params) if uses_average else None
        return State(params, state, average, jnp.int32(-1))

    def run(state, hyper, key, members, steps, data) -> State:
        key_gradient = rng.stream(key, "gradient")
        update_fn = optimizer(settings, hyper, total_steps).update

        def loss_fn(params, batch_inputs, batch_labels, key_dropout):
            logits = model.apply(params, batch_inputs, key_dropout)
            smoothing = hyper.label_smoothing
            return losses.cross_entropy(logits, batch_labels, task, smoothing)

        def step_fn(state: State, step: jax.Array) -> tuple[State, None]:
            loss, gradients = defence.gradient_fn(
                loss_fn,
                state.params,
                data,
                members,
                step,
                key_gradient,
                hyper.defence,
            )
            updates, opt_state = update_fn(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            average = _moving_average(state.average, params, hyper.ema_decay)
            is_first = ~jnp.isfinite(loss) & (state.bad_step < 0)
            bad_step = jnp.where(is_first, step, state.bad_step)
            return State(params, opt_state, average, bad_step), None

        return lax.scan(step_fn, state, steps)[0]

    return Trainer(init, run)


def _moving_average(average, params, decay):
    if average is None:
        return None
    return optax.incremental_update(params, average, 1.0 - decay)
