"""Many gradients of one defence at a time, right ones and those of planted bugs."""

import functools

import cohorts
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax import config, contracts, losses, shadow, units
from mia_jax.defences import dp_sgd
from mia_jax.dp import clipping, noise, sampling

FAMILIES = {"mlp": {"widths": (8,)}, "tabresnet": {"width": 8, "num_blocks": 1}}
BATCH = 12
LANES = 64  # gradients of one call of the compiled program
_QUICK = {"xla_backend_optimization_level": 0}  # to compile: six times; runs as well

BUGS = (
    "none",
    "2/3 of the noise",
    "3/2 of the noise",
    "no noise on the first leaf",
    "no noise on the last leaf",
    "noise divided twice",
    "same noise at every step",
    "same noise for every leaf",
    "no clip",
    "clip of each record",
    "divided by the realised batch",
    "padding is a patient",
    "padding is a member",
    "a neighbour's record",
    "fixed-size batch",
    "same coins for all models",
)


class Cohort:
    """60 patients, 48 of them in the pool, 24 expected in a model; 1 to 6 records."""

    def __init__(self, per_household=1):
        small = cohorts.small(num_patients=60, num_records=170)
        number = (small.unit_of_patient // per_household).astype(np.int32)
        unit = "patient" if per_household == 1 else "household"
        self.dataset = small._replace(unit_of_patient=number, unit=unit)
        settings = config.TrainSettings(batch_size=BATCH, epochs=5.0)
        if per_household > 1:
            settings = config.TrainSettings(batch_size=BATCH // 2, epochs=5.0)
        self.setup = shadow.setup(self.dataset, settings)


class Step:
    """Gradients of one model family under one defence, of any members and keys."""

    def __init__(self, family="mlp", has_bugs=False, cohort=None, **options):
        cohort = cohort or Cohort()
        self.dataset, self.batch = cohort.dataset, cohort.setup.batch_size
        options = {"noise_multiplier": 1.0, "delta": 1e-3, **options}
        self.defence = dp_sgd.build(cohort.setup, **options)
        table = units.table(self.dataset, self.defence.unit)
        self.units, self.num_units = table.units, len(table.patient)
        self.patient = table.patient
        model = config.plugin("models", family, **FAMILIES[family]).call(1)
        inputs = jnp.asarray(self.dataset.inputs[:1])
        self.params = model.init(jax.random.key(0), inputs)
        self.loss_fn = lambda params, inputs, labels, key: losses.cross_entropy(
            model.apply(params, inputs), labels, "binary"
        )
        lane = _buggy(self.lane, cohort.setup) if has_bugs else self.lane
        lanes = jax.vmap(lane, (None, 0, 0, 0, 0, 0, 0))
        self._run = jax.jit(lanes, compiler_options=_QUICK)

    def lane(self, data, members, step, key, hyper, scale, bug):
        """One gradient; `scale` multiplies the loss, and with it every gradient."""
        del bug
        loss_fn = lambda *given: scale * self.loss_fn(*given)
        gradient_fn = self.defence.gradient_fn
        key = jax.random.key(key)
        return gradient_fn(loss_fn, self.params, data, members, step, key, hyper)[1]

    def arguments(
        self, members, key=0, step=0, scale=1.0, bug="none", dataset=None, fill=0
    ):
        """Data, and [lanes] of all else that `lane` takes but `hyper`."""
        is_one = len(members) == 0 or np.ndim(members[0]) == 0
        lists = [members] if is_one else list(members)
        num = max(len(lists), np.size(key), np.size(step))
        lists *= num // len(lists)
        index = np.full((num, self.num_units), fill, np.int32)
        for row, numbers in zip(index, lists, strict=True):
            row[: len(numbers)] = np.sort(numbers)
        members = contracts.Members(index, np.array([*map(len, lists)], np.int32))
        dataset = dataset or self.dataset
        data = contracts.Data(dataset.inputs, dataset.labels, self.units)
        full = lambda v, dtype: np.broadcast_to(np.asarray(v, dtype), num)
        step, bug = full(step, np.int32), full(BUGS.index(bug), np.int32)
        return data, members, step, full(key, np.uint32), full(scale, np.float32), bug

    def __call__(self, members, bug="none", hyper=None, **given):
        """Gradients [lanes, weights] float64 in units of clipping norms over batch.

        Args:
          members: unit numbers of all lanes, or a list of them for each lane.
          bug: of BUGS.
          hyper: replaces the defence's numbers, each for all lanes or for each.
          **given: key, step and scale, each for all lanes or for each; dataset; fill,
            the padding of the members.
        """
        data, *lanes = self.arguments(members, bug=bug, **given)
        num = len(lanes[1])
        full = lambda v: np.broadcast_to(np.asarray(v, np.float32), num)
        hyper = jax.tree.map(full, {**self.defence.hyper, **(hyper or {})})
        lanes.insert(3, hyper)
        found = []
        for start in range(0, num, LANES):
            chosen = np.minimum(np.arange(start, start + LANES), num - 1)
            part = jax.tree.map(lambda v, c=chosen: v[c], lanes)
            tree = self._run(*jax.device_put((data, *part)))
            found.append(flat(tree, LANES)[: num - start])
        return np.concatenate(found)

    def leaves(self, gradients):
        """Cuts [lanes, weights] into a list of [lanes, size], one for each leaf."""
        sizes = [v.size for v in jax.tree.leaves(self.params)]
        return np.split(gradients, np.cumsum(sizes)[:-1], axis=1)

    @functools.cached_property
    def of_records(self):
        """[records, weights] float64, the gradient of every record's loss."""
        one = lambda x, y: jax.grad(
            lambda params: self.loss_fn(params, x[None], y[None], None)[0]
        )(self.params)
        given = jax.device_put((self.dataset.inputs, self.dataset.labels))
        found = jax.jit(jax.vmap(one), compiler_options=_QUICK)(*given)
        return flat(found, len(self.dataset.labels))

    def records_of(self, unit):
        """Record numbers of a unit."""
        start, count = self.units.start[unit], self.units.count[unit]
        return self.units.records[start : start + count]

    def drawn(self, key, among):
        """Units of a step's batch, seen from outside: alone, they have a gradient."""
        alone = self([[u] for u in among], key=key, hyper={"noise_multiplier": 0.0})
        return np.asarray(among)[alone.any(1)]


@functools.cache
def step(family="mlp", has_bugs=False) -> Step:
    """Compiled once for all tests of a file."""
    return Step(family, has_bugs)


def flat(tree, num):
    """[num, weights] float64 of a tree with a leading axis."""
    leaves = [np.asarray(v, float).reshape(num, -1) for v in jax.tree.leaves(tree)]
    return np.concatenate(leaves, axis=1)


def _buggy(lane, setup):
    """`lane` with the bug of its last argument, a place in BUGS that may be traced."""

    def run(*given):
        has = lambda name: given[-1] == BUGS.index(name)
        with pytest.MonkeyPatch.context() as patch:  # while it is traced
            patch.setattr(noise, "add", functools.partial(_add, has))
            clipped = functools.partial(_clipped_sum, clipping.clipped_sum, has)
            patch.setattr(clipping, "clipped_sum", clipped)
            drawn = functools.partial(_poisson, sampling.poisson, has)
            patch.setattr(sampling, "poisson", drawn)
            records = functools.partial(_records, sampling.records, has, setup)
            patch.setattr(sampling, "records", records)
            return lane(*given)

    return run


def _add(has, key, tree, scale):
    leaves, structure = jax.tree.flatten(tree)
    constant = jax.random.key(0)
    key = _where_key(has("same noise at every step"), constant, key)
    keys = jax.random.split(key, len(leaves))
    factor = jnp.where(has("2/3 of the noise"), 2 / 3, 1.0)
    factor = jnp.where(has("3/2 of the noise"), 3 / 2, factor)
    factor = jnp.where(has("noise divided twice"), 1 / BATCH, factor)
    noisy = []
    for i, leaf in enumerate(leaves):
        own = _where_key(has("same noise for every leaf"), key, keys[i])
        is_without = (i == 0) & has("no noise on the first leaf")
        is_without |= (i == len(leaves) - 1) & has("no noise on the last leaf")
        deviation = scale * jnp.where(is_without, 0.0, factor)
        noisy.append(leaf + deviation * jax.random.normal(own, leaf.shape))
    return jax.tree.unflatten(structure, noisy)


def _where_key(condition, a, b):
    data = jnp.where(condition, jax.random.key_data(a), jax.random.key_data(b))
    return jax.random.wrap_key_data(data)


def _clipped_sum(right, has, loss_fn, params, inputs, labels, weights, key, **options):
    norm = options.pop("clip_norm")
    clip_norm = jnp.where(has("no clip"), jnp.inf, norm)
    given = loss_fn, params, inputs, labels, weights, key
    values, total = right(*given, clip_norm=clip_norm, **options)
    alone = lambda v: v.reshape(-1, 1, *v.shape[2:])
    is_used = (weights > 0).astype(jnp.float32)
    given = loss_fn, params, *map(alone, (inputs, labels, is_used)), key
    _, of_records = right(*given, clip_norm=norm, **options)
    realised = jnp.maximum((weights.sum(1) > 0).sum(), 1)
    factor = jnp.where(has("divided by the realised batch"), BATCH / realised, 1.0)
    swap = lambda a, b: factor * jnp.where(has("clip of each record"), b, a)
    return values, jax.tree.map(swap, total, of_records)


def _poisson(right, has, key, members, num_units, sampling_prob, padded):
    key = _where_key(has("same coins for all models"), jax.random.key(0), key)
    everything = len(members.index)
    count = jnp.where(has("padding is a member"), everything, members.count)
    drawn = right(key, members._replace(count=count), num_units, sampling_prob, padded)
    is_included = drawn.is_included | has("padding is a patient")
    # The members with the lowest coins, always BATCH of them.
    coins = jax.random.uniform(key, (num_units,))[members.index]
    coins = jnp.where(jnp.arange(everything) < members.count, coins, 2.0)
    lowest = members.index[jnp.argsort(coins)[:padded]]
    is_lowest = jnp.arange(padded) < jnp.minimum(BATCH, members.count)
    is_fixed = has("fixed-size batch")
    unit = jnp.where(is_fixed, lowest, drawn.unit)
    is_included = jnp.where(is_fixed, is_lowest, is_included)
    return sampling.Patients(unit, is_included, drawn.num_included)


def _records(right, has, setup, key, table, patients, most):
    record, weight = right(key, table, patients, most)
    neighbour = (record + 1) % setup.num_records
    return jnp.where(has("a neighbour's record"), neighbour, record), weight
