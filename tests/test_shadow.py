import cohorts
import jax
import numpy as np
import pytest

from mia_jax import (
    config,
    contracts,
    masks,
    rng,
    scores,
    shadow,
    training,
    validate,
)
from mia_jax.data import synthetic


def _engine(dataset, settings, num_devices=1, hyper=None):
    pool = ~dataset.is_test
    mask = np.zeros((settings.train.num_models, dataset.num_patients), bool)
    mask[:, pool] = masks.draw(len(mask), int(pool.sum()), settings.seed, 0)
    devices = jax.local_devices()[:num_devices]
    speed = config.SpeedSettings(record_chunk=32)
    return shadow.Engine(dataset, settings, speed, mask, devices, hyper)


def _hyper(settings):
    defence = settings.defence.call(contracts.Setup(8, 2.0, 100, 40, "patient", 0.5))
    return training.hyperparameters(settings.train, defence)


def _all(engine, settings):
    groups = shadow.groups([settings.train.num_models], settings.train.models_per_group)
    found = {}
    engine.run_all(groups, lambda group, result: found.update({group.id: result}))
    return np.concatenate([found[group.id].statistic for group in groups])


def test_groups_never_cross_blocks_and_number_models_once():
    groups = shadow.groups([6, 4], 4)
    assert [group.model_ids for group in groups] == [(0, 1, 2, 3), (4, 5), (6, 7, 8, 9)]
    assert [group.block for group in groups] == [0, 0, 1]
    assert [group.id for group in groups] == [0, 1, 2]


@pytest.mark.parametrize("num_devices", [2, 4])
def test_any_number_of_devices_gives_the_same_bits(num_devices):
    dataset, settings = cohorts.small(), cohorts.settings(num_models=10)
    one = _all(_engine(dataset, settings), settings)
    several = _all(_engine(dataset, settings, num_devices), settings)
    np.testing.assert_array_equal(one, several)


def test_a_padded_group_equals_one_without_padding():
    """Models 4 and 5 in a group of 4 and two copies, and in a group of 2."""
    dataset = cohorts.small()
    padded = _all(_engine(dataset, cohorts.settings()), cohorts.settings())
    settings = cohorts.settings(models_per_group=2)
    # Another group size changes rounding, which training amplifies (1e-6 here).
    np.testing.assert_allclose(
        padded, _all(_engine(dataset, settings), settings), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model", ["mlp", "tabresnet"])
def test_vmapped_group_equals_training_one_model_at_a_time(model):
    dataset = cohorts.small(num_classes=3)
    options = {"widths": (8,)} if model == "mlp" else {"width": 8, "num_blocks": 1}
    settings = cohorts.settings(model, options)
    engine = _engine(dataset, settings)
    together = _all(engine, settings)
    parts = settings.model.call(3), engine.defence
    trainer = training.make(*parts, settings.train, dataset.task)
    for model_id in range(6):
        alone = _one(trainer, engine, settings, dataset, model_id)
        np.testing.assert_allclose(together[model_id], alone, rtol=1e-4, atol=1e-4)


def _one(trainer, engine, settings, dataset, model_id):
    key = rng.of_model(rng.root(settings.seed), model_id)
    records = np.flatnonzero(engine.member_mask[model_id][dataset.patient_of_record])
    members = contracts.Members(records.astype(np.int32), np.int32(len(records)))
    state = trainer.init(key, dataset.inputs[:1])
    steps = np.arange(engine.total_steps, dtype=np.int32)
    hyper = training.hyperparameters(settings.train, engine.defence)
    data = cohorts.data(dataset)
    members = jax.device_put(members)
    state = jax.jit(trainer.run)(state, hyper, key, members, steps, data)
    logits = settings.model.call(3).apply(state.params, data.inputs)
    return scores.statistic(logits, data.labels, dataset.task)


class TestMultilabel:
    """Three findings: the statistic of every label, from one program."""

    DATASET = synthetic.load(num_patients=40, task="multilabel", num_labels=3)

    def _settings(self, **options):
        return cohorts.settings(**options)

    def test_statistic_is_each_labels_logit_with_its_right_sign(self):
        settings = self._settings()
        engine = _engine(self.DATASET, settings)
        group = shadow.groups([6], 4)[1]  # two models and two copies
        found = engine.run(group, jax.local_devices()[0])
        shape = (2, self.DATASET.num_records, 3)
        assert found.statistic.shape == found.logits.shape == shape
        assert found.statistic.dtype == np.float32
        signs = 2 * self.DATASET.labels - 1
        np.testing.assert_array_equal(found.statistic, signs * found.logits)

    def test_any_number_of_devices_gives_the_same_bits(self):
        settings = self._settings(num_models=10)
        one = _all(_engine(self.DATASET, settings), settings)
        several = _all(_engine(self.DATASET, settings, 4), settings)
        np.testing.assert_array_equal(one, several)

    def test_a_record_chunk_changes_no_label(self):
        settings = self._settings()
        engine = _engine(self.DATASET, settings)
        group, device = shadow.groups([6], 4)[0], jax.local_devices()[0]
        state = engine.start(group, device)[0]
        model = settings.model.call(3)
        whole = model.apply(
            jax.tree.map(lambda w: w[0], state.params), self.DATASET.inputs
        )
        logits, statistic = engine.programs.predict(
            state.params, *engine.data[device][:2]
        )
        np.testing.assert_allclose(logits[0], whole, rtol=1e-5, atol=1e-5)
        expected = scores.statistic(whole, self.DATASET.labels, "multilabel")
        # Logits of a fresh model are small; chunks of another size round differently.
        np.testing.assert_allclose(
            scores.joint(statistic[0]), expected, rtol=1e-4, atol=1e-4
        )

    def test_training_raises_the_joint_probability_of_members(self):
        settings = self._settings(epochs=40.0, learning_rate=0.01)
        engine = _engine(self.DATASET, settings)
        joint = np.asarray(scores.joint(_all(engine, settings)))
        member = engine.member_mask[:, self.DATASET.patient_of_record]
        pool = self.DATASET.is_pool_record
        inside, outside = joint[member].mean(), joint[~member & pool].mean()
        assert inside > outside and inside > 0

    def test_a_diverging_model_is_named(self):
        base = _hyper(self._settings())
        hyper = jax.tree.map(lambda value: np.full(6, value), base)
        rates = np.array([1e-3, 1e-3, 1e-3, 1e-3, np.inf, 1e-3], np.float32)
        hyper = hyper._replace(learning_rate=rates)
        engine = _engine(self.DATASET, self._settings(), hyper=hyper)
        with pytest.raises(validate.InputError, match=r"model 4 diverged at step \d"):
            _all(engine, self._settings())


def test_models_differ_also_in_their_start_unless_asked():
    dataset = cohorts.small()

    def first_layer(**options):
        settings = cohorts.settings(**options)
        engine = _engine(dataset, settings)
        group = shadow.groups([6], 4)[0]
        state, *_ = engine.start(group, jax.local_devices()[0])
        return np.asarray(jax.tree.leaves(state.params)[1])

    assert (first_layer()[0] != first_layer()[1]).any()
    shared = first_layer(same_init=True)
    np.testing.assert_array_equal(shared[0], shared[1])


def test_hyperparameters_along_the_model_axis_equal_separate_runs():
    dataset = cohorts.small()
    rates = np.array([1e-3, 1e-3, 1e-2, 1e-2, 1e-3, 1e-2], np.float32)
    settings = cohorts.settings()
    base = _hyper(settings)
    hyper = jax.tree.map(lambda value: np.full(6, value), base)
    mixed = _all(
        _engine(dataset, settings, hyper=hyper._replace(learning_rate=rates)), settings
    )
    for rate in np.unique(rates):
        alone = cohorts.settings(learning_rate=float(rate))
        expected = _all(_engine(dataset, alone), alone)
        chosen = rates == rate
        np.testing.assert_array_equal(mixed[chosen], expected[chosen])


def test_one_trace_for_all_groups_and_devices(monkeypatch):
    dataset, settings = cohorts.small(), cohorts.settings(num_models=12)
    engine = _engine(dataset, settings, num_devices=2)
    _all(engine, settings)
    programs = engine.programs
    sizes = [program._cache_size() for program in programs]
    _all(engine, settings)
    assert [program._cache_size() for program in programs] == sizes
    assert all(size <= 2 for size in sizes)  # one entry a device


def test_no_collective_in_the_compiled_program():
    dataset, settings = cohorts.small(), cohorts.settings()
    engine = _engine(dataset, settings)
    device = jax.local_devices()[0]
    start = engine.start(shadow.groups([6], 4)[0], device)
    steps = np.arange(3, dtype=np.int32)
    arguments = (*start, steps, engine.data[device])
    text = engine.programs.train.lower(*arguments).compile().as_text()
    for word in ("all-reduce", "all-gather", "collective-permute", "all-to-all"):
        assert word not in text


def test_a_diverging_model_is_named():
    dataset = cohorts.small()
    settings = cohorts.settings(learning_rate=1e6, optimizer="sgd", epochs=30.0)
    hyper = jax.tree.map(lambda value: np.full(6, value), _hyper(settings))
    rates = np.array([1e-3, np.inf, 1e-3, 1e-3, 1e-3, 1e-3], np.float32)
    engine = _engine(dataset, settings, hyper=hyper._replace(learning_rate=rates))
    with pytest.raises(validate.InputError, match=r"model 1 diverged at step \d"):
        _all(engine, settings)


def test_a_batch_larger_than_the_members_is_refused():
    with pytest.raises(validate.InputError, match="batch_size=5000"):
        _engine(cohorts.small(), cohorts.settings(batch_size=5000))


def test_training_never_sees_a_record_that_is_not_a_member():
    """Poisoned inputs of non-members and test patients change no trained weight."""
    dataset, settings = cohorts.small(), cohorts.settings()
    engine = _engine(dataset, settings)
    group, device = shadow.groups([6], 4)[1], jax.local_devices()[0]
    used = engine.member_mask[4] | engine.member_mask[5]
    unused = ~used[dataset.patient_of_record]
    assert unused.any()
    poisoned = dataset._replace(
        inputs=np.where(unused[:, None], np.float32(np.nan), dataset.inputs)
    )
    steps = np.arange(engine.total_steps, dtype=np.int32)

    def weights(data):
        other = _engine(data, settings)
        state, hyper, keys, members = other.start(group, device)
        state = engine.start(group, device)[0]
        arguments = (state, hyper, keys, members, steps, other.data[device])
        return other.programs.train(*arguments).params

    for a, b in zip(
        jax.tree.leaves(weights(dataset)),
        jax.tree.leaves(weights(poisoned)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
