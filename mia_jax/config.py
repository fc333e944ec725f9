"""Settings, and plug-ins found by name.

What changes the result (`RunSettings`) and what changes only the speed
(`SpeedSettings`) are two dataclasses; the run's fingerprint is made of the first, less
the number of models, which may grow. A plug-in's options are the keyword arguments of
its function, so a new plug-in needs no change here.
"""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
from types import ModuleType
from typing import Any

import ml_collections

from mia_jax import validate

# The function that a plug-in file of each kind offers (contracts.py).
FUNCTIONS = {
    "data": "load",
    "models": "build",
    "defences": "build",
    "attacks": "scores",
}
# The section of a config that names a plug-in, and the plug-in's kind.
SECTIONS = {
    "data": "data",
    "model": "models",
    "defence": "defences",
    "attack": "attacks",
}


def _field(default: Any, doc: str) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How every shadow model is trained."""

    num_models: int = _field(512, "shadow models; a larger number later adds a block")
    epochs: float = _field(10.0, "passes over a model's members")
    batch_size: int = _field(256, "records per step; dp_sgd: patients expected")
    optimizer: str = _field("adamw", "adamw or sgd")
    learning_rate: float = _field(1e-3, "peak learning rate")
    weight_decay: float = _field(0.01, "decoupled weight decay")
    momentum: float = _field(0.9, "momentum of sgd")
    schedule: str = _field("cosine", "cosine, linear (both to 0) or constant")
    warmup: float = _field(0.05, "share of the steps that warm up linearly from 0")
    label_smoothing: float = _field(0.0, "0 = off; share spread over the classes")
    ema_decay: float = _field(0.0, "0 = off; predict with averaged weights")
    same_init: bool = _field(False, "all models start from one set of weights")
    models_per_group: int = _field(
        0, "models per program, part of the rounding; 0 = 2 on a CPU, 32 elsewhere"
    )
    keep_logits: bool = _field(False, "store logits beside the statistic")
    keep_inputs: bool = _field(False, "store inputs, for attacks that regress on them")

    def __post_init__(self):
        _check_range("train", self, "num_models", 4, 1e6)
        _check_range("train", self, "epochs", 1e-3, 1e6)
        _check_range("train", self, "batch_size", 1, 1e7)
        _check_range("train", self, "learning_rate", 0.0, 1e6, above=True)
        _check_range("train", self, "weight_decay", 0.0, 1e6)
        _check_range("train", self, "momentum", 0.0, 0.99999)
        _check_range("train", self, "warmup", 0.0, 0.9)
        _check_range("train", self, "label_smoothing", 0.0, 0.99)
        _check_range("train", self, "ema_decay", 0.0, 0.999999)
        _check_range("train", self, "models_per_group", 0, 4096)
        validate.one_of("train.optimizer", self.optimizer, ("adamw", "sgd"))
        validate.one_of(
            "train.schedule", self.schedule, ("cosine", "linear", "constant")
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """How members are drawn."""

    design: str = _field("balanced", "balanced: exactly half the models; or bernoulli")

    def __post_init__(self):
        validate.one_of("masks.design", self.design, ("balanced", "bernoulli"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RiskSettings:
    """How patients are measured, and what "proven" means."""

    fdr: float = _field(0.05, "false-discovery rate of proven patients")
    joint: str = _field("llr", "joint score of a patient's records: llr, sum or lda")
    model_mean: str = _field("removed", "a model's mean over patients: removed or kept")
    labels: str = _field(
        "each", "several labels: each, or softmax_multi_hot (as published)"
    )
    intersections: bool = _field(True, "groups of two attributes at a time, too")
    min_cell: int = _field(10, "patients below which an intersection is left out")

    def __post_init__(self):
        _check_range("risk", self, "fdr", 0.0, 0.5, above=True)
        _check_range("risk", self, "min_cell", 2, 1e9)
        validate.one_of("risk.joint", self.joint, ("llr", "sum", "lda"))
        validate.one_of("risk.labels", self.labels, ("each", "softmax_multi_hot"))
        validate.one_of("risk.model_mean", self.model_mean, ("removed", "kept"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """What changes the speed and nothing else."""

    num_devices: int = _field(0, "devices to use; 0 = all (on a CPU: one a core)")
    record_chunk: int = _field(1024, "records per step of inference")

    def __post_init__(self):
        _check_range("speed", self, "num_devices", 0, 1e6)
        _check_range("speed", self, "record_chunk", 1, 1e7)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in's name and options, checked against its function's signature."""

    kind: str
    name: str
    options: dict[str, Any]

    def __post_init__(self):
        known = _parameters(self.kind, self.name)
        section = next(s for s, kind in SECTIONS.items() if kind == self.kind)
        for option in self.options:
            validate.one_of(f"option of {section}.name={self.name}", option, known)

    @property
    def label(self) -> str:
        """The name with the options that are not the defaults: "lira (offline)"."""
        defaults = _parameters(self.kind, self.name)
        changed = [
            str(value) if isinstance(value, str) else f"{option} {value}"
            for option, value in self.options.items()
            if value != defaults[option]
        ]
        return f"{self.name} ({', '.join(changed)})" if changed else self.name

    def call(self, *args: Any) -> Any:
        """Calls the plug-in's function with `args` and the options."""
        function = getattr(find(self.kind, self.name), FUNCTIONS[self.kind])
        return function(*args, **self.options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that changes the result."""

    seed: int
    data: Plugin
    masks: MaskSettings
    model: Plugin
    train: TrainSettings
    defence: Plugin
    attack: Plugin
    risk: RiskSettings

    def training_dict(self) -> dict[str, Any]:
        """What the trained groups depend on: all but attack, risk and `num_models`."""
        train = dataclasses.asdict(self.train)
        del train["num_models"]
        plugins = {
            section: {"name": plugin.name, **_plain(plugin.options)}
            for section in ("data", "model", "defence")
            for plugin in [getattr(self, section)]
        }
        # Where a file lies changes nothing: its content is in the data fingerprint.
        plugins["data"].pop("path", None)
        masks = dataclasses.asdict(self.masks)
        return {"seed": self.seed, "masks": masks, "train": train, **plugins}


def plugin(kind: str, name: str, **options: Any) -> Plugin:
    """A plug-in with some options given and all others at their defaults."""
    checked = Plugin(kind=kind, name=name, options=options)
    defaults = _parameters(kind, name)
    return dataclasses.replace(checked, options={**defaults, **options})


def find(kind: str, name: str) -> ModuleType:
    """The plug-in module `mia_jax.<kind>.<name>`.

    Raises:
      InputError: if there is no such file; the message lists the known names.
    """
    validate.one_of(f"{kind} plug-in", name, names(kind))
    return importlib.import_module(f"mia_jax.{kind}.{name}")


def names(kind: str) -> list[str]:
    """The plug-ins of a kind: the files of its folder that do not start with "_"."""
    package = importlib.import_module(f"mia_jax.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def default(**plugins: str) -> ml_collections.ConfigDict:
    """A config with every field at its default, for a file in experiments/configs.

    Args:
      **plugins: name of the plug-in of each section: data, model, defence, attack.
    """
    chosen = {"model": "mlp", "defence": "plain", "attack": "lira", **plugins}
    config = ml_collections.ConfigDict({"seed": 0})
    for section, kind in SECTIONS.items():
        options = _parameters(kind, chosen[section])
        config[section] = {"name": chosen[section], **options}
    config.masks = dataclasses.asdict(MaskSettings())
    config.train = dataclasses.asdict(TrainSettings())
    config.risk = dataclasses.asdict(RiskSettings())
    config.speed = dataclasses.asdict(SpeedSettings())
    return config


def settings(config: ml_collections.ConfigDict) -> tuple[RunSettings, SpeedSettings]:
    """The checked settings of a config, before any compute is spent."""
    plugins = {}
    for section, kind in SECTIONS.items():
        options = config[section].to_dict()
        name = options.pop("name")
        plugins[section] = Plugin(kind=kind, name=name, options=options)
    run = RunSettings(
        seed=config.seed,
        masks=MaskSettings(**config.masks),
        train=TrainSettings(**config.train),
        risk=RiskSettings(**config.risk),
        **plugins,
    )
    return run, SpeedSettings(**config.speed)


def describe(config: ml_collections.ConfigDict) -> list[tuple[str, Any, str]]:
    """(dotted name, value, comment) of every field of a config, in its order."""
    rows = [("seed", config.seed, "root of all randomness")]
    for section in config:
        if section == "seed":
            continue
        for field, value in config[section].items():
            comment = _comments(section, config).get(field, "")
            rows.append((f"{section}.{field}", value, comment))
    return rows


def _comments(section: str, config: ml_collections.ConfigDict) -> dict[str, str]:
    classes = {
        "train": TrainSettings,
        "masks": MaskSettings,
        "risk": RiskSettings,
        "speed": SpeedSettings,
    }
    if section in classes:
        fields = dataclasses.fields(classes[section])
        return {field.name: field.metadata["doc"] for field in fields}
    kind = SECTIONS[section]
    function = getattr(find(kind, config[section].name), FUNCTIONS[kind])
    known = f"one of {', '.join(names(kind))}"
    return {"name": known, **argument_docs(function)}


def argument_docs(function: Any) -> dict[str, str]:
    """The comments in a docstring's "Args:" section (Google style), one per name."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    if not section:
        return {}
    entries = re.split(r"^  (?=\S)", section.group(1), flags=re.M)
    pairs = (entry.partition(":") for entry in entries if entry.strip())
    return {name.strip(): " ".join(doc.split()) for name, _, doc in pairs}


def _parameters(kind: str, name: str) -> dict[str, Any]:
    """The keyword options of a plug-in's function and their defaults."""
    function = getattr(find(kind, name), FUNCTIONS[kind])
    parameters = inspect.signature(function).parameters.values()
    # None marks an argument that callers compute, not an option.
    is_option = lambda p: p.default is not p.empty and p.default is not None
    return {p.name: p.default for p in parameters if is_option(p)}


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON shows them, so that a stored and a given run compare equal."""
    return {key: _plain_value(value) for key, value in options.items()}


def _plain_value(value: Any) -> Any:
    """JSON has no tuple and no infinity."""
    if isinstance(value, tuple):
        return list(value)
    is_endless = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_endless else value


def _check_range(
    section: str, owner: Any, name: str, low: float, high: float, above: bool = False
) -> None:
    value = getattr(owner, name)
    right = (low < value if above else low <= value) and value <= high
    bound = f"above {low:g}" if above else f"at least {low:g}"
    validate.require(
        right,
        f"{section}.{name}={value}",
        f"must be {bound} and at most {high:g}",
        f"set --config.{section}.{name}=...",
    )


def preset(presets: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """One of a config file's presets, by the text after the colon of `--config`."""
    validate.one_of("preset", name, presets)
    return presets[name]
