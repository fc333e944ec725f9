"""Stage 3: attacks predictions and measures the risk of records, patients and groups.

    python -m experiments.attack --workdir=DIR
    python -m experiments.attack --predictions=FOLDER --workdir=DIR

The first attacks what `experiments.score` gathered, the second models from anywhere.

The layout of the folder is described in mia_jax/predictions.py. Attack options come
from --config, if given.
"""

import pathlib

from absl import flags

from experiments import cli, steps
from mia_jax import config as settings
from mia_jax import planner, predictions, progress, validate

flags.DEFINE_string("predictions", None, "folder of predictions; DIR/predictions")
flags.DEFINE_string("attack", "lira", "attack by name, where no --config is given")
flags.DEFINE_integer("seed", None, "of permuted masks; the run's, else 0")


def main(config, flags) -> int | None:
    """Attacks and reports."""
    planner.configure_cpu()
    folder = pathlib.Path(flags.workdir)
    source = _source(flags.predictions, folder)
    plugin, risk, seed = _settings(config, flags, source)
    with progress.Progress() as stages:
        summary = steps.run_attack(source, folder, stages, plugin, risk, seed)
        path = steps.run_report(folder, stages)
    steps.show_result(summary, folder, path)


def _source(given: str | None, folder: pathlib.Path) -> pathlib.Path:
    source = pathlib.Path(given or folder / "predictions")
    validate.require(
        source.is_dir(),
        f"{source} is no folder",
        "the attack stage reads predictions: models' logits and member masks",
        "give --predictions=FOLDER, or run experiments.score --workdir=DIR first",
    )
    return source


def _settings(config, flags, source: pathlib.Path):
    """Of the config, else of the flags; the seed, else of the run that is attacked."""
    if config is None:
        plugin = settings.Plugin(kind="attacks", name=flags.attack, options={})
        seed = predictions.seed(source) if flags.seed is None else flags.seed
        return plugin, settings.RiskSettings(), seed
    given = [name for name in ("attack", "seed") if flags[name].present]
    validate.require(
        not given,
        f"--{' and --'.join(given)} beside --config",
        "the config says both: config.attack, config.seed",
        "set --config.attack.... and --config.seed, or leave --config out",
    )
    run, _ = settings.settings(config)
    return run.attack, run.risk, run.seed


if __name__ == "__main__":
    cli.config_flag(required=False, can_dry_run=False)
    cli.run(main)
