"""Shadow models in groups: vmap inside one program, whole programs across devices.

A group of K models is one single-device program: no mesh, no collective, nothing that
could mix two models. It is dispatched to every device in turn, each with its own group,
and gives the same bits on any number of devices. The last group of a block is padded
with copies of its last model.
"""

import concurrent.futures
import queue
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import config, contracts, inference, rng, training, units, validate


class Group(NamedTuple):
    """The unit of work: some models of one block.

    Attributes:
      id: number of the group in the run.
      model_ids: global ids of its models, at most K.
      block: number of their block.
    """

    id: int
    model_ids: tuple[int, ...]
    block: int


class Predictions(NamedTuple):
    """What a trained group leaves behind, on the host.

    Attributes:
      statistic: [models, records] float32, for every record, test records included;
        of a multilabel task [models, records, labels].
      logits: [models, records, outputs] float32.
    """

    statistic: np.ndarray
    logits: np.ndarray


class Programs(NamedTuple):
    """The three jitted programs of a run; JAX compiles each once per device.

    Attributes:
      start: (root key, model_ids [K], inputs) -> (State, keys), each leaf [K, ...].
      train: (State, hyperparameters, keys, members, steps, data) -> State; the state
        is donated.
      predict: (weights, inputs, labels) -> (logits, statistic).
    """

    start: Callable[..., tuple[training.State, jax.Array]]
    train: Callable[..., training.State]
    predict: Callable[..., tuple[jax.Array, jax.Array]]


def groups(block_sizes: Sequence[int], models_per_group: int) -> list[Group]:
    """Cuts the models of every block into groups; ids of both count on over blocks."""
    found, first = [], 0
    for block, size in enumerate(block_sizes):
        for start in range(first, first + size, models_per_group):
            stop = min(start + models_per_group, first + size)
            found.append(Group(len(found), tuple(range(start, stop)), block))
        first += size
    return found


def setup(
    dataset: contracts.Dataset,
    settings: config.TrainSettings,
    member_share: float = 0.5,
) -> contracts.Setup:
    """The public numbers of a run that its defence is built from."""
    pool = ~dataset.is_test
    return contracts.Setup(
        settings.batch_size,
        settings.epochs,
        int(dataset.is_pool_record.sum()),
        len(np.unique(dataset.unit_of_patient[pool])),
        dataset.unit,
        member_share,
    )


def programs(
    dataset: contracts.Dataset,
    settings: config.RunSettings,
    speed: config.SpeedSettings,
    defence: contracts.Defence,
) -> Programs:
    """Builds the run's programs from its model, defence and training settings."""
    model = settings.model.call(dataset.num_outputs)
    trainer = training.make(model, defence, settings.train, dataset.task)
    share_init = settings.train.same_init

    def start(root, model_ids, inputs):
        def one(model_id):
            key = rng.of_model(root, model_id)
            return trainer.init(root if share_init else key, inputs[:1]), key

        return jax.vmap(one)(model_ids)

    over_models = (0, 0, 0, 0, None, None)
    train = jax.vmap(trainer.run, in_axes=over_models)
    how = dataset.task, speed.record_chunk, jax.default_backend() == "cpu"

    def predict(weights, inputs, labels):
        return inference.predict(model, *how, weights, inputs, labels)

    return Programs(jax.jit(start), jax.jit(train, donate_argnums=0), jax.jit(predict))


class Engine:
    """Trains groups: programs, masks, and one copy of the data on every device."""

    def __init__(
        self,
        dataset: contracts.Dataset,
        settings: config.RunSettings,
        speed: config.SpeedSettings,
        member_mask: np.ndarray,
        devices: Sequence[jax.Device],
        hyper: training.Hyperparameters | None = None,
    ):
        """Puts the data on every device; compiles nothing yet.

        Args:
          dataset: the cohort.
          settings: what changes the result.
          speed: what does not.
          member_mask: [models, patients] bool over all patients of the data set, False
            for test patients.
          devices: each trains one group at a time.
          hyper: hyper-parameters, each [models] float32; the settings' if None.
        """
        self.defence = settings.defence.call(setup(dataset, settings.train))
        table = units.table(dataset, self.defence.unit)
        self.member_mask = member_mask
        self.patient_of_unit = table.patient
        weight = np.bincount(table.patient, minlength=dataset.num_patients)
        validate_members(
            member_mask @ weight, self.defence.unit, settings.train.batch_size
        )
        self.num_models = settings.train.models_per_group
        self.num_pool_records = int(dataset.is_pool_record.sum())
        self.num_columns = dataset.labels[:1].size  # numbers kept for each record
        self.total_steps = self.defence.num_steps
        self.programs = programs(dataset, settings, speed, self.defence)
        self.root = rng.root(settings.seed)
        one = training.hyperparameters(settings.train, self.defence)
        self.hyper = hyper or _repeat(one, len(member_mask))
        data = contracts.Data(dataset.inputs, dataset.labels, table.units)
        self.data = {device: jax.device_put(data, device) for device in devices}

    def start(self, group: Group, device: jax.Device) -> tuple[Any, ...]:
        """The arguments of `train` for one group, on its device, up to the members."""
        ids = np.array(group.model_ids, np.int32)
        ids = np.pad(ids, (0, self.num_models - len(ids)), mode="edge")
        hyper = jax.tree.map(lambda values: values[ids], self.hyper)
        host = self.root, ids, hyper, self._members(ids)
        root, model_ids, hyper, members = jax.device_put(host, device)
        state, keys = self.programs.start(root, model_ids, self.data[device].inputs)
        return state, hyper, keys, members

    def run(self, group: Group, device: jax.Device) -> Predictions:
        """Trains one group and predicts every record.

        Raises:
          InputError: naming models and step, where a loss is not finite.
        """
        steps = jax.device_put(np.arange(self.total_steps, dtype=np.int32), device)
        arguments = self.start(group, device)
        data = self.data[device]
        state = self.programs.train(*arguments, steps, data)
        logits, statistic = self.programs.predict(
            state.weights, data.inputs, data.labels
        )
        count = len(group.model_ids)
        found = Predictions(np.asarray(statistic)[:count], np.asarray(logits)[:count])
        bad_step = np.asarray(state.bad_step)[:count]
        # The last update comes after the last loss: only predictions show it.
        is_finite = np.isfinite(found.statistic).reshape(count, -1).all(1)
        is_bad = (bad_step < 0) & ~is_finite
        _check_finite(group, np.where(is_bad, self.total_steps, bad_step))
        return found

    def run_all(
        self, todo: Iterable[Group], done_fn: Callable[[Group, Predictions], None]
    ) -> None:
        """Runs groups on all devices, one at a time on each; commits each by `done_fn`.

        `done_fn` is called from several threads. The first error stops the run after
        the groups in flight.
        """
        free: queue.Queue[jax.Device] = queue.Queue()
        for device in self.data:
            free.put(device)

        def work(group: Group) -> None:
            device = free.get()
            try:
                done_fn(group, self.run(group, device))
            finally:
                free.put(device)

        pool = concurrent.futures.ThreadPoolExecutor(len(self.data))
        try:
            futures = [pool.submit(work, group) for group in todo]
            for future in concurrent.futures.as_completed(futures):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _members(self, ids: np.ndarray) -> contracts.Members:
        masks = self.member_mask[ids][:, self.patient_of_unit]
        index = np.zeros(masks.shape, np.int32)
        for row, mask in zip(index, masks, strict=True):
            members = np.flatnonzero(mask)
            row[: len(members)] = members
        return contracts.Members(index, masks.sum(1, dtype=np.int32))


def validate_members(num_members: np.ndarray, unit: str, batch_size: int) -> None:
    """Raises unless every model has at least one full batch of members.

    Args:
      num_members: [models] int.
      unit: that they are counted in, "record" or "patient".
      batch_size: in the same unit.
    """
    smallest = int(num_members.min())
    validate.require(
        smallest >= batch_size,
        f"train.batch_size={batch_size}",
        f"must be at most the members of the smallest model, {smallest} {unit}s",
        f"set --config.train.batch_size={smallest // 2} or lower"
        if smallest > 1
        else "use a cohort with more patients outside the test set",
    )


def _repeat(one: training.Hyperparameters, num_models: int) -> training.Hyperparameters:
    return jax.tree.map(lambda value: np.full(num_models, value), one)


def _check_finite(group: Group, bad_step: np.ndarray) -> None:
    bad = np.flatnonzero(bad_step >= 0)
    if bad.size:
        models = validate.listing(group.model_ids[i] for i in bad)
        raise validate.InputError(
            f"model {models} diverged at step {bad_step[bad].min()}",
            "the training loss must stay finite",
            "lower --config.train.learning_rate, or look for extreme inputs",
        )
