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
from mia_jax import planner, progress, validate

flags.DEFINE_string("predictions", None, "folder of predictions; DIR/predictions")
flags.DEFINE_string("attack", "lira", "attack by name, where no --config is given")
flags.DEFINE_integer("seed", 0, "of permuted masks and resampling, without --config")


def main(config, flags) -> int | None:
    """Attacks and reports."""
    planner.configure_cpu()
    plugin, risk, seed = _settings(config, flags)
    folder = pathlib.Path(flags.workdir)
    source = _source(flags.predictions, folder)
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


def _settings(config, flags):
    if config is None:
        plugin = settings.Plugin(kind="attacks", name=flags.attack, options={})
        return plugin, settings.RiskSettings(), flags.seed
    run, _ = settings.settings(config)
    return run.attack, run.risk, run.seed


if __name__ == "__main__":
    cli.config_flag(required=False)
    cli.run(main)
