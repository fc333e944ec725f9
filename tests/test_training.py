import cohorts
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax import config, contracts, rng, shadow, training
from mia_jax.data import synthetic
from mia_jax.defences import plain


def _trainer(dataset, total_steps=12, **train):
    settings = cohorts.settings(**train)
    model = settings.model.call(dataset.num_outputs)
    defence = settings.defence.call(shadow.setup(dataset, settings.train))
    defence = defence._replace(num_steps=total_steps)
    trainer = training.make(model, defence, settings.train, dataset.task)
    return trainer, settings.train, model


def _hyper(settings):
    defence = plain.build(contracts.Setup(8, 2.0, 100, 40, "patient", 0.5))
    return training.hyperparameters(settings, defence)


def _run(trainer, settings, dataset, segments, hyper=None):
    data = cohorts.data(dataset)
    members = contracts.Members(jnp.arange(50, dtype=jnp.int32), jnp.int32(50))
    key = rng.of_model(rng.root(0), 7)
    state = trainer.init(key, data.inputs[:1])
    hyper = hyper or _hyper(settings)
    for steps in segments:
        state = trainer.run(state, hyper, key, members, jnp.asarray(steps), data)
    return state


def _equal(a, b, **tolerance):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, **tolerance)


def test_equals_a_plain_optax_loop():
    """A naive loop that follows optax.adamw with a cosine schedule, batch by batch."""
    dataset = cohorts.small()
    trainer, settings, model = _trainer(dataset, weight_decay=0.1, label_smoothing=0.1)
    found = _run(trainer, settings, dataset, [np.arange(12)])

    key = rng.of_model(rng.root(0), 7)
    params = model.init(rng.stream(key, "init"), jnp.asarray(dataset.inputs[:1]))
    warmup = round(settings.warmup * 12)
    rate = lambda step: (
        settings.learning_rate
        * float(
            min(1.0, step / warmup if warmup else 1.0)
            * (0.5 * (1 + np.cos(np.pi * max(0, step - warmup) / (12 - warmup))))
        )
    )
    state = optax.adamw(1.0).init(params)
    key_batches, _ = jax.random.split(rng.stream(key, "gradient"))
    members = contracts.Members(jnp.arange(50, dtype=jnp.int32), jnp.int32(50))
    from mia_jax import batches

    for step in range(12):
        records = batches.of_step(key_batches, members, jnp.int32(step), 8)
        x, y = dataset.inputs[records], dataset.labels[records]

        def loss(params, x=x, y=y):
            probability = jax.nn.sigmoid(model.apply(params, x)[:, 0])
            target = 0.9 * y + 0.05
            log_likelihood = target * jnp.log(probability)
            return -(log_likelihood + (1 - target) * jnp.log1p(-probability)).mean()

        update = optax.adamw(rate(step), weight_decay=0.1).update
        updates, state = update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    _equal(found.params, params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_cutting_the_steps_changes_no_bit(optimizer):
    dataset = cohorts.small()
    trainer, settings, _ = _trainer(dataset, optimizer=optimizer, ema_decay=0.9)
    whole = _run(trainer, settings, dataset, [np.arange(12)])
    pieces = _run(trainer, settings, dataset, [np.arange(5), np.arange(5, 12)])
    _equal(whole, pieces, rtol=0)


def test_sgd_with_momentum_equals_its_recursion():
    dataset = cohorts.small()
    options = {"optimizer": "sgd", "schedule": "constant", "warmup": 0.0}
    trainer, settings, model = _trainer(dataset, weight_decay=0.0, **options)
    states = [_run(trainer, settings, dataset, [np.arange(n)]) for n in (1, 2, 3)]
    kernel = [np.asarray(jax.tree.leaves(s.params)[-1], np.float64) for s in states]
    velocity = [np.asarray(jax.tree.leaves(s.opt_state)[-2]) for s in states]
    del model
    step = kernel[2] - kernel[1]
    candidates = [
        v for v in jax.tree.leaves(states[2].opt_state) if v.shape == step.shape
    ]
    assert any(
        np.allclose(step, -settings.learning_rate * v, atol=1e-7) for v in candidates
    )
    assert velocity


def test_average_follows_its_recursion():
    dataset = cohorts.small()
    trainer, settings, _ = _trainer(dataset, ema_decay=0.8)
    previous = _run(trainer, settings, dataset, [np.arange(4)])
    current = _run(trainer, settings, dataset, [np.arange(5)])
    expected = jax.tree.map(
        lambda average, new: 0.8 * average + 0.2 * new, previous.average, current.params
    )
    _equal(current.average, expected, rtol=1e-5, atol=1e-7)
    assert current.weights is current.average


def test_first_bad_step_is_kept():
    dataset = cohorts.small()
    trainer, settings, _ = _trainer(dataset)
    hyper = _hyper(settings)._replace(learning_rate=jnp.float32(jnp.inf))
    state = _run(trainer, settings, dataset, [np.arange(12)], hyper)
    assert 0 < int(state.bad_step) < 3
    assert int(_run(trainer, settings, dataset, [np.arange(12)]).bad_step) == -1


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_schedule_warms_up_to_one_and_ends_where_it_says(schedule, warmup):
    settings = config.TrainSettings(schedule=schedule, warmup=warmup)
    factor = training.schedule(settings, 40)
    assert float(factor(0)) == (0.0 if warmup else 1.0)
    assert float(factor(10 if warmup else 0)) == 1.0
    end = {"constant": 1.0}.get(schedule, 0.0)
    np.testing.assert_allclose(factor(40), end, atol=1e-6)


def test_multilabel_training_lowers_its_own_loss():
    """A step of full-batch gradient descent is that of the mean sigmoid loss."""
    dataset = synthetic.load(num_patients=60, task="multilabel", num_labels=3)
    options = {"optimizer": "sgd", "schedule": "constant", "warmup": 0.0}
    numbers = {"momentum": 0.0, "weight_decay": 0.0, "batch_size": 50}
    trainer, settings, model = _trainer(dataset, **options, **numbers)
    before = _run(trainer, settings, dataset, [np.arange(0)])
    after = _run(trainer, settings, dataset, [np.arange(1)])
    records = cohorts.data(dataset).units.records[:50]
    inputs, labels = dataset.inputs[records], dataset.labels[records]

    def loss(params):
        p = jax.nn.sigmoid(model.apply(params, inputs))
        return -jnp.where(labels == 1, jnp.log(p), jnp.log1p(-p)).mean()

    gradient = jax.grad(loss)(before.params)
    expected = jax.tree.map(
        lambda w, g: w - settings.learning_rate * g, before.params, gradient
    )
    _equal(after.params, expected, rtol=1e-4, atol=1e-6)
    trained = _run(trainer, settings, dataset, [np.arange(200)])
    assert loss(trained.params) < 0.9 * loss(before.params)
