"""Stage 1: trains shadow models in groups and commits each group's statistics."""

import datetime
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import (
    cohort,
    config,
    contracts,
    planner,
    predictions,
    provenance,
    results,
    rng,
    shadow,
    store,
    usefulness,
    validate,
)
from mia_jax.stages import protection, released


class Job(NamedTuple):
    """A run that is checked and ready to train; nothing of it is written yet.

    Attributes:
      folder: of the run.
      identity: everything that the trained groups depend on.
      dataset: the cohort.
      settings: what changes the result.
      blocks: description of every block of models.
      groups: all groups.
      todo: those that this worker still has to train.
      num_mine: groups of this worker, trained or not.
      engine: programs and data on the devices.
    """

    folder: pathlib.Path
    identity: dict[str, Any]
    dataset: contracts.Dataset
    settings: config.RunSettings
    blocks: list[dict[str, Any]]
    groups: list[shadow.Group]
    todo: list[shadow.Group]
    num_mine: int
    engine: shadow.Engine


def prepare(
    settings: config.RunSettings,
    speed: config.SpeedSettings,
    folder: pathlib.Path,
    worker: int = 0,
    num_workers: int = 1,
) -> Job:
    """Loads the cohort and checks it against what is in the run's folder.

    Args:
      settings: what changes the result.
      speed: what does not.
      folder: of the run; `execute` makes it if absent.
      worker: takes the groups g with g % num_workers == worker.
      num_workers: of this run, all with the same command.

    Raises:
      InputError: bad settings or data, or a folder of another run.
    """
    validate.require(
        0 <= worker < num_workers,
        f"worker={worker}, num_workers={num_workers}",
        "workers are numbered from 0 to num_workers - 1",
        "set --worker and --num_workers",
    )
    validate.require(
        not (folder / released.MODEL).exists(),
        f"{folder} holds a model that was trained for release",
        "its privacy.json must stay what it is",
        "set another --workdir",
    )
    settings = planner.with_group_size(settings)
    devices = planner.devices(speed.num_devices)
    dataset = settings.data.call()
    fingerprint = cohort.fingerprint(dataset)
    identity = {**settings.training_dict(), "data_fingerprint": fingerprint}
    path = folder / store.FOLDER
    run = store.open_run(path, identity) if (path / "run.json").exists() else None
    blocks = _blocks(settings, dataset, run)
    sizes = [block["num_models"] for block in blocks]
    mask = cohort.member_mask(dataset, settings.seed, blocks)
    groups = shadow.groups(sizes, settings.train.models_per_group)
    mine = groups[worker::num_workers]
    todo = [g for g in mine if run is None or not run.is_committed(g.id)]
    _check_attack(settings.attack, mask[:, ~dataset.is_test])
    engine = shadow.Engine(dataset, settings, speed, mask, devices)
    return Job(
        folder, identity, dataset, settings, blocks, groups, todo, len(mine), engine
    )


def _check_attack(attack: config.Plugin, mask: np.ndarray) -> None:
    """Raises where the attack stage would: unknown options, too few models a side."""
    module = config.find("attacks", attack.name)
    statistic = rng.host(0, "check").standard_normal((8, 32)).astype(np.float32)
    member = np.arange(8)[:, None] % 2 == np.arange(32) % 2
    tune_fn = getattr(module, "tune", lambda *_, **options: None)
    tuned = tune_fn(statistic, member, **attack.options)
    options = attack.options if tuned is None else {**attack.options, "tuned": tuned}
    scores_fn = functools.partial(module.scores, **options)
    jax.eval_shape(scores_fn, statistic, member)
    fewest = int(min(mask.sum(0).min(), (~mask).sum(0).min()))
    validate.require(
        fewest >= predictions.FEWEST_MODELS,
        f"a patient is in (or out of) {fewest} of {len(mask)} models",
        f"must be at least {predictions.FEWEST_MODELS}: the target and two of its side",
        "train more models, e.g. --config.train.num_models=64",
    )


def _blocks(settings, dataset, run: store.Run | None) -> list[dict[str, Any]]:
    """The blocks that are there, and a new one where more models are wanted."""
    stored, design = run.blocks() if run else [], settings.masks.design
    sizes = cohort.block_sizes(stored, settings.train.num_models, design)
    return cohort.planned_blocks(dataset, settings.seed, stored, sizes, design)


def _start(job: Job) -> store.Run:
    """Makes the run's folder with its settings and blocks, unless they are there."""
    run = store.open_run(job.folder / store.FOLDER, job.identity)
    for number, block in enumerate(job.blocks):
        stored = run.add_block(number, block)
        validate.require(
            stored == block,
            f"block {number}: {block['num_models']} models planned",
            f"another worker has just planned {stored['num_models']}",
            "start all workers with the same --config.train.num_models",
        )
    cohort.save(job.folder, job.dataset, job.settings.train.keep_inputs)
    if (guarantee := job.engine.defence.guarantee) is not None:
        results.write_json(job.folder / protection.FILE, guarantee)
    return run


def execute(job: Job, on_models_fn: Callable[[int], None] = lambda count: None) -> None:
    """Trains what is left to do; safe to kill at any moment and to start again.

    Args:
      job: from `prepare`.
      on_models_fn: called with the number of models of each group that is committed.
    """
    run = _start(job)
    facts = provenance.collect()
    clock = _Clock()

    def commit(group: shadow.Group, predictions: shadow.Predictions) -> None:
        arrays = {"statistic": predictions.statistic}
        if job.settings.train.keep_logits:
            arrays["logits"] = predictions.logits
        run.commit(
            group.id,
            arrays,
            model_ids=list(group.model_ids),
            block=group.block,
            metrics=_usefulness(job, group, predictions.logits),
            seconds=clock.lap(),
            code=facts["code"],
            device=facts["device"],
            finished=datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        )
        on_models_fn(len(group.model_ids))

    job.engine.run_all(job.todo, commit)
    run.clean()


def _usefulness(job: Job, group: shadow.Group, logits: np.ndarray) -> list[dict]:
    """Usefulness of each model of a group on members, left-out and test records."""
    dataset, found = job.dataset, []
    pool = dataset.is_pool_record
    for model_id, values in zip(group.model_ids, logits, strict=True):
        member = job.engine.member_mask[model_id, dataset.patient_of_record]
        sets = {"members": member, "left_out": pool & ~member, "test": ~pool}
        found.append(usefulness.of_model(values, dataset.labels, dataset.task, sets))
    return found


class _Clock:
    """Wall seconds since the last lap, so that the laps of a run add to its time."""

    def __init__(self):
        self.last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        return round(seconds, 3)
