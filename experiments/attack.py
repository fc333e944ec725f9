"""Stage 3: attacks predictions and measures the risk of records, patients and groups.

    python -m experiments.attack --workdir=DIR
    python -m experiments.attack --predictions=FOLDER --workdir=DIR --attack=lira,rmia

The first attacks what `experiments.score` gathered, the second models from anywhere.

The folder's layout is one of mia_jax/layouts. Attacks come from --attack and --preset,
else from --config, else it is LiRA.
"""

import pathlib

from absl import flags

from experiments import attacks, cli, steps
from mia_jax import config as settings
from mia_jax import planner, predictions, progress, validate

flags.DEFINE_string("predictions", None, "folder of predictions; DIR/predictions")
flags.DEFINE_integer("seed", None, "of permuted masks; the run's, else 0")


def main(config, flags) -> int | None:
    """Attacks and reports."""
    planner.configure_cpu()
    folder = pathlib.Path(flags.workdir)
    source = _source(flags.predictions, folder)
    plan = _plan(config, flags, source)
    with progress.Progress() as stages:
        summary = steps.run_attack(source, folder, stages, plan)
        path = steps.run_report(folder, stages)
    return steps.show_result(summary, folder, path, flags.fail_if_proven)


def _source(given: str | None, folder: pathlib.Path) -> pathlib.Path:
    source = pathlib.Path(given or folder / "predictions")
    validate.require(
        source.is_dir(),
        f"{source} is no folder",
        "the attack stage reads predictions: models' logits and member masks",
        "give --predictions=FOLDER, or run experiments.score --workdir=DIR first",
    )
    return source


def _plan(config, flags, source: pathlib.Path) -> steps.AttackPlan:
    """Of the config, else of the flags; the seed, else of the run that is attacked."""
    if config is None:
        seed = predictions.seed(source) if flags.seed is None else flags.seed
        return steps.AttackPlan(attacks.chosen(flags), settings.RiskSettings(), seed)
    validate.require(
        not flags["seed"].present,
        "--seed beside --config",
        "the config says it: config.seed",
        "set --config.seed, or leave --config out",
    )
    run, _ = settings.settings(config)
    return steps.AttackPlan(attacks.chosen(flags, run.attack), run.risk, run.seed)


if __name__ == "__main__":
    cli.config_flag(required=False, can_dry_run=False)
    attacks.define()
    cli.run(main)
