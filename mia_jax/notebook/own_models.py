"""Audit of a model's recipe on a notebook's data: trains the shadow models as well."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from mia_jax import config, contracts, planner, progress, terminal, validate
from mia_jax.notebook import _data, _modules, _run, result
from mia_jax.stages import plan as plans
from mia_jax.stages import score, train

_BATCH = 256  # as TrainSettings; smaller for small data
_STEPS = 8  # per epoch at least, where the data are small


@dataclasses.dataclass(frozen=True)
class _Given:
    """Stands where settings name a plug-in: an object of the notebook.

    Attributes:
      name, options: what is stored with the run as its identity.
      make_fn: gives the object.
    """

    name: str
    options: dict[str, Any]
    make_fn: Callable[..., Any]

    def call(self, *args: Any) -> Any:
        return self.make_fn(*args)


def audit(
    model: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    sensitive_features: Any = None,
    num_models: int = 128,
    epochs: float = 30.0,
    *,
    attacks: Iterable[str | Mapping[str, Any]] = ("lira",),
    defence: str | Mapping[str, Any] = "plain",
    workdir: str | pathlib.Path | None = None,
    seed: int = 0,
    fdr: float = 0.05,
    test_share: float = 0.0,
    task: str | None = None,
    title: str = "",
    plan: bool = False,
    speed: config.SpeedSettings | None = None,
    **options: Any,
) -> result.Result | terminal.Plan:
    """Trains shadow models on random halves of the patients and audits them.

    Started again with the same arguments and `workdir`, it continues where it was
    stopped; a larger `num_models` keeps the models there are.

    Args:
      model: name of a file in mia_jax/models, or {"name": ..., option: value}; or a
        Flax Linen module, called as module(inputs) or with one of is_training,
        training, train, deterministic; or a function of `nnx.Rngs` that makes a Flax
        NNX module; or a pair `contracts.Model(init, apply)`. Logits out: one for two
        classes, else one per class or label; no batch statistics.
      X: [records, ...] numbers, scaled as the model needs them; array or DataFrame.
      y: [records] classes, numbers or text; or [records, labels] 0 or 1 (multilabel).
      groups: [records] patient of every record; None = every record is a patient.
      sensitive_features: groups whose risk is compared: one row per patient, with the
        ids as index, or one row per record.
      num_models: even.
      epochs: passes of every model over its members.
      attacks: names, or {"name": ..., option: value}; the first is the report's.
      defence: how gradients are made; as attacks.
      workdir: folder of the run; None = a temporary one that goes with the result.
      seed: root of all randomness.
      fdr: false-discovery rate of proven patients.
      test_share: of the patients, held out from every model and not audited.
      task: "binary", "multiclass" or "multilabel"; None = by the labels.
      title: what the report calls the data.
      plan: True: trains nothing, returns what would be done, how long it would take and
        how precise it would be.
      speed: what changes the speed and nothing else; None = defaults.
      **options: other fields of `config.TrainSettings` (optimizer="adamw" or "sgd",
        learning_rate, weight_decay, batch_size, ...) and of `config.RiskSettings`.
        batch_size is 256, or less for small data, if it is not given.

    Returns:
      The result; with `plan` a `terminal.Plan`, which `terminal.render_plan` prints.

    Raises:
      InputError: before anything is trained; names argument, records or patients.
    """
    _start_cpu()
    chosen = _run.plugins("attacks", attacks)
    dataset = _data.dataset(
        X, y, groups, sensitive_features, task, title, test_share, seed
    )
    training, risk = _settings(options, len(dataset.labels))
    settings = _run_settings(
        dataset,
        model=_network(model, dataset),
        defence=_run.plugin("defences", defence),
        attack=chosen[0],
        train=config.TrainSettings(num_models=num_models, epochs=epochs, **training),
        risk=_run.risk(fdr, risk),
        seed=seed,
    )
    folder = result.workdir(workdir)
    job = train.prepare(settings, speed or config.SpeedSettings(), folder)
    if plan:
        if workdir is None:
            folder.rmdir()
        return plans.of(job, chosen)
    _train(job, num_models)
    return _run.attacked(folder, chosen, settings.risk, seed, workdir is None)


def _train(job: train.Job, num_models: int) -> None:
    left = sum(len(group.model_ids) for group in job.todo)
    with progress.Progress() as stages:
        done = num_models - left
        with stages.stage("train", "models", num_models, done) as advance:
            train.execute(job, advance)
    score.gather(job.folder, num_models)


def _start_cpu() -> None:
    """One XLA device per core, where nobody has chosen and JAX has not started yet."""
    if jax.config.jax_num_cpu_devices != -1:
        return
    try:
        planner.configure_cpu()
    except RuntimeError:  # JAX has started: its devices are what there is
        return


def _settings(options: dict[str, Any], num_records: int) -> tuple[dict, dict]:
    """Options of training and of risk; an unknown one raises."""
    fields = lambda owner: {field.name for field in dataclasses.fields(owner)}
    training = fields(config.TrainSettings) - {"num_models", "epochs"}
    risk = fields(config.RiskSettings) - {"fdr"}
    for name in options:
        validate.one_of("argument", name, training | risk)
    optimizer = options.get("optimizer", "adamw")
    validate.require(
        isinstance(optimizer, str),
        f"optimizer is a {type(optimizer).__name__}",
        "it is stored with the run, so it is named: adamw or sgd",
        'give optimizer="adamw", learning_rate=1e-3, weight_decay=0.01',
    )
    found = {name: options[name] for name in options if name in training}
    found.setdefault("batch_size", max(1, min(_BATCH, num_records // (2 * _STEPS))))
    return found, {name: options[name] for name in options if name in risk}


def _run_settings(dataset: contracts.Dataset, **parts: Any) -> config.RunSettings:
    data = _Given("arrays", {}, lambda: dataset)  # its content is in the fingerprint
    return config.RunSettings(data=data, masks=config.MaskSettings(), **parts)


def _network(model: Any, dataset: contracts.Dataset) -> Any:
    """A plug-in by name, or a network with its identity."""
    if isinstance(model, str | Mapping):
        return _run.plugin("models", model)
    name, pair = _modules.pure(model)
    shape, num_outputs = dataset.inputs.shape[1:], dataset.num_outputs
    program = _modules.identity(pair, name, shape, num_outputs)
    return _Given(name, {"program": program}, lambda outputs: pair)
