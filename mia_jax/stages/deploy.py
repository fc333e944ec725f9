"""A model for release: trained once, under a guarantee for patients, and kept.

    DIR/weights/        the weights, an Orbax checkpoint
    DIR/privacy.json    what is promised, how it is kept, usefulness on test patients
    DIR/model.json      what the network is built from; written last: now it is finished

All patients but the test patients are members. The randomness behind a promise must be
unknown to whoever attacks: with the seed, coins and noise can be drawn again. So a
model that leaves the house is trained with a secret seed, which nobody keeps.
"""

import json
import math
import pathlib
import secrets
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import (
    _files,
    _manifests,
    cohort,
    config,
    contracts,
    inference,
    provenance,
    results,
    rng,
    shadow,
    store,
    training,
    units,
    usefulness,
    validate,
)
from mia_jax.stages import protection, released

# Settings of shadow models that a single model has no use for.
_UNUSED = ("models_per_group", "keep_logits", "keep_inputs")
_NOT_COVERED = (
    "settings that were chosen by looking at results on these patients",
    "scaling of the inputs by statistics of the cohort",
    "the check that tells a trained from a diverged model",
    "test patients, whose records made the test metrics",
)


class Job(NamedTuple):
    """A model that is checked and ready to train; nothing of it is written yet.

    Attributes:
      folder: of the model.
      identity: everything that the weights depend on.
      dataset: the cohort.
      settings: what changes the result.
      speed: what does not.
      defence: with the guarantee, its noise calibrated.
      has_secret_seed: True = coins and noise from the system's entropy.
      is_finished: True = the folder holds this model.
    """

    folder: pathlib.Path
    identity: dict[str, Any]
    dataset: contracts.Dataset
    settings: config.RunSettings
    speed: config.SpeedSettings
    defence: contracts.Defence
    has_secret_seed: bool
    is_finished: bool


def with_budget(
    defence: config.Plugin, epsilon: float | None, delta: float | None
) -> config.Plugin:
    """The defence dp_sgd with a budget.

    Args:
      defence: its options are kept if it is dp_sgd; another is replaced by dp_sgd with
        its defaults.
      epsilon: instead of the defence's; None = the defence's own.
      delta: the same.

    Raises:
      InputError: no epsilon is given anywhere, or a noise multiplier beside it.
    """
    is_private = defence.name == "dp_sgd"
    validate.require(
        is_private or epsilon is not None,
        f"--epsilon is missing, and defence.name={defence.name} has none",
        "a model is trained under a guarantee, or not here",
        "add --epsilon=8; smaller protects more",
    )
    options = dict((defence if is_private else _dp_sgd()).options)
    validate.require(
        epsilon is None or not options.get("noise_multiplier"),
        f"--epsilon={epsilon} and defence.noise_multiplier="
        f"{options.get('noise_multiplier')}",
        "one follows from the other",
        "leave out --epsilon, or set --config.defence.noise_multiplier=0.0",
    )
    given = {"epsilon": epsilon, "delta": delta}
    options |= {name: value for name, value in given.items() if value is not None}
    return config.Plugin(kind="defences", name="dp_sgd", options=options)


def _dp_sgd() -> config.Plugin:
    return config.plugin("defences", "dp_sgd")


def prepare(
    settings: config.RunSettings,
    speed: config.SpeedSettings,
    folder: pathlib.Path,
    has_secret_seed: bool = False,
) -> Job:
    """Loads the cohort, calibrates the noise, checks the folder; trains nothing.

    Args:
      settings: what changes the result; the defence is `with_budget`'s.
      speed: what does not.
      folder: of the model; `execute` makes it if absent.
      has_secret_seed: True = coins, noise and first weights come from the system's
        entropy and cannot be drawn again; False = from the settings' seed.

    Raises:
      InputError: bad settings or data, no guarantee for patients, a folder of shadow
        models or of another model.
    """
    dataset = settings.data.call()
    setup = shadow.setup(dataset, settings.train, member_share=1.0)
    _check_promise(settings.defence, setup)
    size = settings.train.batch_size
    shadow.validate_members(np.array([setup.num_units]), setup.unit, size)
    defence = settings.defence.call(setup)
    identity = _identity(settings, dataset, has_secret_seed)
    is_finished = _is_finished(folder, identity)
    return Job(
        folder,
        identity,
        dataset,
        settings,
        speed,
        defence,
        has_secret_seed,
        is_finished,
    )


def execute(job: Job) -> dict[str, Any]:
    """Trains, measures and writes the model, unless it is there.

    Returns:
      What privacy.json holds.

    Raises:
      InputError: the model diverged.
    """
    if job.is_finished:
        return _files.read_json(job.folder / protection.FILE)
    params = _train(job)
    model = job.settings.model.call(job.dataset.num_outputs)
    logits = inference.of_one_model(
        model, job.speed.record_chunk, params, job.dataset.inputs
    )
    sets = {"test": ~job.dataset.is_pool_record}
    labels, task = job.dataset.labels, job.dataset.task
    metrics = usefulness.of_model(logits, labels, task, sets).get("test", {})
    released.save_weights(job.folder / released.WEIGHTS, params)
    about = _about(job, params)
    promised = {
        **job.defence.guarantee,
        "test_metrics": metrics,
        "not_covered": list(_NOT_COVERED),
        "seed": None if job.has_secret_seed else job.settings.seed,
        "seed_is_secret": job.has_secret_seed,
        "weights_sha256": about["weights_sha256"],
        **provenance.collect(),
    }
    results.write_json(job.folder / protection.FILE, promised)
    results.write_json(job.folder / released.MODEL, about)
    return promised


def _check_promise(defence: config.Plugin, setup: contracts.Setup) -> None:
    """Raises unless patients are promised something that means something."""
    epsilon, delta = defence.options["epsilon"], defence.options["delta"]
    validate.require(
        bool(defence.options.get("noise_multiplier")) or 0 < epsilon < math.inf,
        f"epsilon={epsilon}",
        "no guarantee: must be above 0 and finite",
        "set --epsilon=8; smaller protects more",
    )
    validate.require(
        defence.options.get("level", "patient") == "patient",
        f"defence.level={defence.options.get('level')}",
        "protects single records, and nobody who has two",
        "set --config.defence.level=patient",
    )
    highest = 1 / (10 * setup.num_units)
    validate.require(
        0 < delta <= highest,
        f"delta={delta:g}",
        f"must be above 0 and at most 1 / (10 {setup.unit}s) = {highest:.2g}",
        f"set --delta={10 ** math.floor(math.log10(highest)):.0e}",
    )


def _identity(settings, dataset, has_secret_seed: bool) -> dict[str, Any]:
    """What the weights depend on, as JSON gives it back."""
    found = settings.training_dict()
    del found["masks"]
    for name in _UNUSED:
        del found["train"][name]
    found["secret_seed"] = has_secret_seed
    found["data_fingerprint"] = cohort.fingerprint(dataset)
    return json.loads(_files.to_json(found, "settings"))


def _is_finished(folder: pathlib.Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds this model; raises if it holds something else."""
    validate.require(
        not (folder / store.FOLDER / "run.json").exists(),
        f"{folder} holds shadow models",
        "a model for release has a folder of its own",
        "use another --workdir",
    )
    if not (folder / released.MODEL).exists():
        return False
    stored = _files.read_json(folder / released.MODEL).get("settings")
    if stored != identity:
        raise _manifests.other_settings(folder / released.MODEL, stored, identity)
    return True


def _train(job: Job) -> contracts.Params:
    """The weights of one model, its members all units outside the test set."""
    programs = shadow.programs(job.dataset, job.settings, job.speed, job.defence)
    root = _secret_key() if job.has_secret_seed else rng.root(job.settings.seed)
    table = units.table(job.dataset, job.defence.unit)
    num_units = len(table.patient)
    index = np.arange(num_units, dtype=np.int32)[None]
    members = contracts.Members(index, np.array([num_units], np.int32))
    one = training.hyperparameters(job.settings.train, job.defence)
    hyper = jax.tree.map(lambda value: np.full(1, value), one)
    data = contracts.Data(job.dataset.inputs, job.dataset.labels, table.units)
    steps = np.arange(job.defence.num_steps, dtype=np.int32)
    state, keys = programs.start(root, np.zeros(1, np.int32), data.inputs)
    state = programs.train(state, hyper, keys, members, steps, data)
    params = jax.tree.map(lambda leaf: np.asarray(leaf[0]), state.weights)
    is_finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    validate.require(
        int(state.bad_step[0]) < 0 and is_finite,
        "the model diverged",
        "loss and weights must stay finite",
        "lower --config.train.learning_rate, or look for extreme inputs",
    )
    return params


def _secret_key() -> jax.Array:
    """A root key that nobody knows: 64 bits, all that threefry takes."""
    words = np.frombuffer(secrets.token_bytes(8), np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _about(job: Job, params: contracts.Params) -> dict[str, Any]:
    """What model.json holds."""
    model, dataset = job.settings.model, job.dataset
    return {
        "schema": released.SCHEMA,
        "model": {"name": model.name, "options": dict(model.options)},
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "num_outputs": dataset.num_outputs,
        "input_shape": list(dataset.inputs.shape[1:]),
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "weights_sha256": released.digest(params),
        "cohort": dataset.title,
        "settings": job.identity,
    }
