"""Patient-level DP-SGD step by step: each test also catches the bug it is made for."""

import functools
import json

import cohorts
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax import config, contracts, losses, units, validate
from mia_jax.defences import dp_sgd
from mia_jax.dp import clipping, noise, sampling

FAMILIES = {
    "mlp": {"widths": (8,)},
    "tabresnet": {"width": 8, "num_blocks": 1},
}
BATCH = 12
BOTH = pytest.mark.parametrize(
    "family", ["mlp", pytest.param("tabresnet", marks=pytest.mark.slow)]
)


def _setup(dataset, share=0.5, batch=BATCH, epochs=5.0):
    pool = ~dataset.is_test
    num_units = len(np.unique(dataset.unit_of_patient[pool]))
    numbers = int(dataset.is_pool_record.sum()), num_units, dataset.unit, share
    return contracts.Setup(batch, epochs, *numbers)


class Step:
    """One model's gradient on a small cohort, of any members and any key."""

    def __init__(self, family="mlp", dataset=None, scale=1.0, **options):
        self.dataset = dataset or cohorts.small(num_patients=60, num_records=170)
        options = {"epsilon": 8.0, "delta": 1e-3, **options}
        self.defence = dp_sgd.build(_setup(self.dataset), **options)
        self.table = units.table(self.dataset, self.defence.unit)
        model = config.plugin("models", family, **FAMILIES[family]).call(1)
        self.params = model.init(
            jax.random.key(0), jnp.asarray(self.dataset.inputs[:1])
        )
        self.hyper = jax.tree.map(jnp.float32, self.defence.hyper)

        def loss_fn(params, inputs, labels, key):
            logits = model.apply(params, inputs)
            return scale * losses.cross_entropy(logits, labels, "binary")

        self.loss_fn = loss_fn
        self._run = jax.jit(functools.partial(self.defence.gradient_fn, loss_fn))

    def members(self, numbers):
        index = np.zeros(len(self.table.patient), np.int32)
        index[: len(numbers)] = np.sort(numbers)
        return contracts.Members(index, np.int32(len(numbers)))

    def __call__(self, numbers, key=0, step=0, dataset=None, **hyper):
        data = dataset or self.dataset
        given = contracts.Data(data.inputs, data.labels, self.table.units)
        hyper = self.hyper | {k: jnp.float32(v) for k, v in hyper.items()}
        members = self.members(numbers)
        given = jax.device_put((given, members, np.int32(step)))
        return self._run(self.params, *given, jax.random.key(key), hyper)[1]


def _flat(tree):
    return np.concatenate([np.ravel(v) for v in jax.tree.leaves(tree)]).astype(float)


def _of_each_leaf(step, draws):
    """[leaves] standardised noise of an empty batch, each [draws * size]."""
    keys = jax.random.split(jax.random.key(5), draws)
    given = contracts.Data(step.dataset.inputs, step.dataset.labels, step.table.units)
    given = jax.device_put((given, step.members([]), np.int32(0)))
    one = lambda key: step.defence.gradient_fn(
        step.loss_fn, step.params, *given, key, step.hyper
    )[1]
    found = jax.jit(jax.vmap(one))(keys)
    unit = BATCH / step.defence.hyper["noise_multiplier"]
    return [np.asarray(v).reshape(draws, -1) * unit for v in jax.tree.leaves(found)]


def _deviations(step):
    """Standard errors by which each leaf's noise misses its deviation."""
    leaves = _of_each_leaf(step, 400)
    return [abs(v.std() - 1) * np.sqrt(2 * v.size) for v in leaves]


@BOTH
def test_d1_every_leaf_has_the_noise_that_is_accounted_for(family):
    assert max(_deviations(Step(family))) < 5


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["a leaf", "twice", "2/3", "3/2"])
def test_d1_catches(bug, monkeypatch):
    right = noise.add

    def wrong(key, tree, scale):
        if bug == "a leaf":
            noisy, place = right(key, tree, scale), "Dense_1"
            return noisy | {place: tree[place]}
        factor = {"twice": 1 / BATCH, "2/3": 2 / 3, "3/2": 3 / 2}[bug]
        return right(key, tree, scale * factor)

    monkeypatch.setattr(dp_sgd.noise, "add", wrong)
    assert max(_deviations(Step())) > 5


def _largest_move(step):
    """The most that one more patient moves the sum, in clipping norms."""
    everybody = np.arange(40)
    moves = []
    for key in range(6):
        whole = _flat(step(everybody, key))
        less = [_flat(step(np.delete(everybody, p), key)) for p in range(0, 40, 5)]
        moves += [np.linalg.norm(whole - one) * BATCH for one in less]
    return max(moves)


@BOTH
def test_d2_a_patient_moves_the_sum_by_the_clipping_norm_at_most(family):
    move = _largest_move(Step(family, scale=1e4))
    assert 0.99 < move < 1 + 1e-3


@pytest.mark.parametrize("bug", ["no clip", "each record"])
def test_d2_catches(bug, monkeypatch):
    right = clipping.clipped_sum

    def wrong(loss_fn, params, inputs, labels, weights, key, **options):
        if bug == "no clip":
            options["clip_norm"] = jnp.inf
        else:
            alone = lambda v: v.reshape(-1, 1, *v.shape[2:])
            is_used = (weights > 0).astype(jnp.float32)
            inputs, labels, weights = map(alone, (inputs, labels, is_used))
        return right(loss_fn, params, inputs, labels, weights, key, **options)

    monkeypatch.setattr(dp_sgd.clipping, "clipped_sum", wrong)
    assert _largest_move(Step(scale=1e4)) > 1.2


def _correlation_of_steps(step):
    first, second = (_flat(step([], key=3, step=s)) for s in (0, 1))
    return np.corrcoef(first, second)[0, 1] * np.sqrt(len(first))


def test_d3_steps_share_no_noise(monkeypatch):
    assert abs(_correlation_of_steps(Step())) < 5
    right = noise.add
    same = lambda key, tree, scale: right(jax.random.key(0), tree, scale)
    monkeypatch.setattr(dp_sgd.noise, "add", same)
    assert _correlation_of_steps(Step()) > 5


def _correlation_of_leaves(step):
    leaves = _of_each_leaf(step, 300)
    width = min(v.shape[1] for v in leaves)
    parts = np.stack([v[:, :width].ravel() for v in leaves])
    return abs(np.corrcoef(parts) - np.eye(len(parts))).max() * np.sqrt(parts.shape[1])


def test_d4_leaves_share_no_noise(monkeypatch):
    assert _correlation_of_leaves(Step("tabresnet")) < 5

    def one_key(key, tree, scale):
        add = lambda v: v + scale * jax.random.normal(key, v.shape)
        return jax.tree.map(add, tree)

    monkeypatch.setattr(dp_sgd.noise, "add", one_key)
    assert _correlation_of_leaves(Step("tabresnet")) > 5


def _additivity(step):
    """Relative size of out(A + B) + out(nobody) - out(A) - out(B)."""
    a, b = np.arange(0, 20), np.arange(20, 40)
    both, none, first, second = (
        _flat(step(numbers, key=2)) for numbers in (np.r_[a, b], [], a, b)
    )
    return np.linalg.norm(both + none - first - second) / np.linalg.norm(both)


@BOTH
def test_d5_patients_add_up_over_a_fixed_number(family):
    assert _additivity(Step(family)) < 1e-5


def test_d5_catches_division_by_the_realised_batch(monkeypatch):
    right = clipping.clipped_sum

    def wrong(loss_fn, params, inputs, labels, weights, *rest, **options):
        values, total = right(
            loss_fn, params, inputs, labels, weights, *rest, **options
        )
        realised = jnp.maximum((weights.sum(1) > 0).sum(), 1)
        return values, jax.tree.map(lambda v: v * BATCH / realised, total)

    monkeypatch.setattr(dp_sgd.clipping, "clipped_sum", wrong)
    assert _additivity(Step()) > 0.05


@BOTH
def test_d6_what_is_not_a_members_changes_no_bit(family):
    step, members = Step(family), np.arange(0, 40, 2)
    used = np.isin(step.dataset.patient_of_record, step.table.patient[members])
    poisoned = step.dataset._replace(
        inputs=np.where(used[:, None], step.dataset.inputs, np.float32(np.nan)),
        labels=np.where(used, step.dataset.labels, 1 - step.dataset.labels),
    )
    for key in range(5):
        clean, other = (_flat(step(members, key, dataset=d)) for d in (None, poisoned))
        np.testing.assert_array_equal(clean, other)
    first = np.flatnonzero(used)[0]
    inputs = step.dataset.inputs.copy()
    inputs[first] = 100.0
    changed = [
        _flat(step(members, key, dataset=step.dataset._replace(inputs=inputs)))
        for key in range(12)
    ]
    before = [_flat(step(members, key)) for key in range(12)]
    assert any((a != b).any() for a, b in zip(changed, before, strict=True))


def test_d7_patients_are_drawn_with_the_probability_that_is_accounted_for():
    """Each patient's presence, seen in the gradient: additive, so others cancel."""
    step = Step(epsilon=np.inf)
    alone = [np.any(_flat(step([7], key=0, step=s)) != 0) for s in range(400)]
    q = BATCH / (0.5 * len(step.table.patient))
    assert abs(np.mean(alone) - q) < 5 * np.sqrt(q * (1 - q) / 400)


@BOTH
def test_without_clip_and_noise_it_is_sgd_over_patients(family):
    step, members = Step(family, epsilon=np.inf, l2_clip_norm=np.inf), np.arange(30)
    found = step(members, key=4)
    batch_key = jax.random.split(jax.random.fold_in(jax.random.key(4), 0), 4)[0]
    probability = sampling.realisable(BATCH / (0.5 * len(step.table.patient)))
    drawn = sampling.poisson(
        batch_key,
        jax.device_put(step.members(members)),
        len(step.table.patient),
        probability,
        48,
    )
    numbers = np.asarray(drawn.unit)[np.asarray(drawn.is_included)]
    assert len(numbers) > 3

    def loss(params):
        total = 0.0
        for unit in numbers:
            start, count = (int(v[unit]) for v in step.table.units[1:])
            assert count <= 5 or pytest.fail("a patient with a random subset")
            records = step.table.units.records[start : start + count]
            data = step.dataset.inputs[records], step.dataset.labels[records]
            total += step.loss_fn(params, *data, None).mean()
        return total / BATCH

    expected = jax.grad(loss)(step.params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_noise_and_norm_may_differ_along_the_model_axis():
    step = Step()
    given = contracts.Data(step.dataset.inputs, step.dataset.labels, step.table.units)
    given = jax.device_put((given, step.members(np.arange(30)), np.int32(3)))
    hyper = {
        "noise_multiplier": jnp.array([0.0, 1.0, 2.0]),
        "l2_clip_norm": jnp.array([jnp.inf, 0.1, 0.5]),
    }
    one = lambda key, hyper: step.defence.gradient_fn(
        step.loss_fn, step.params, *given, key, hyper
    )[1]
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(one))(keys, hyper)
    for m in range(3):
        alone = jax.jit(one)(keys[m], {name: v[m] for name, v in hyper.items()})
        rows = jax.tree.map(lambda v, m=m: v[m], together)
        np.testing.assert_allclose(_flat(rows), _flat(alone), rtol=1e-4, atol=1e-6)


class TestGuarantee:
    def test_it_says_what_was_done(self):
        defence = Step(epsilon=2.0, records_per_patient=3).defence
        found = defence.guarantee
        assert json.loads(json.dumps(found)) == found
        assert found["unit"] == "patient" and 1.9 < found["epsilon"] <= 2.0
        assert found["epsilon_rdp"] > found["epsilon"]
        assert found["num_steps"] == defence.num_steps == 10
        assert found["sampling_prob"] == pytest.approx(BATCH / 24)
        assert found["overflow_delta"] == pytest.approx(1e-5)
        assert found["padded_batch"] <= 48 and found["records_per_patient"] == 3

    def test_a_record_is_called_a_record(self):
        step = Step(level="record")
        assert step.defence.unit == step.defence.guarantee["unit"] == "record"
        assert (step.table.units.count == 1).all()
        assert step.defence.guarantee["records_per_patient"] == 1

    def test_households(self):
        small = cohorts.small(num_patients=60, num_records=170)
        dataset = small._replace(
            unit_of_patient=(small.unit_of_patient // 2).astype(np.int32),
            unit="household",
        )
        step = Step(dataset=dataset, delta=1e-3)
        assert step.defence.guarantee["unit"] == "household"
        assert len(step.table.patient) == 24

    def test_given_noise_says_its_epsilon(self):
        found = Step(noise_multiplier=3.0).defence.guarantee
        assert found["noise_multiplier"] == 3.0 and found["epsilon"] < 8

    def test_nothing_is_promised_without_noise(self):
        assert Step(epsilon=np.inf).defence.guarantee is None

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"delta": 0.1}, r"1 / \(10 members\)"),
            ({"epsilon": 0.0}, "epsilon=0"),
            ({"l2_clip_norm": np.inf}, "finite clipping norm"),
            ({"l2_clip_norm": 0.0}, "l2_clip_norm=0"),
            ({"level": "person"}, "level"),
            ({"clipping_rule": "none"}, "clipping_rule"),
            ({"records_per_patient": 0}, "records_per_patient=0"),
        ],
    )
    def test_settings_that_promise_nothing_are_refused(self, options, words):
        with pytest.raises(validate.InputError, match=words):
            Step(**options)
