"""Stage 2: gathers the statistics of all models into DIR/predictions.

python -m experiments.score --workdir=DIR [--num_models=N]
"""

import pathlib

from absl import flags

from experiments import cli, steps
from mia_jax import progress

flags.DEFINE_integer("num_models", 0, "the first so many, whole blocks; 0 = all")


def main(config, flags) -> None:
    """Checks every group and writes the folder."""
    del config
    with progress.Progress() as stages:
        steps.run_score(pathlib.Path(flags.workdir), stages, flags.num_models)


if __name__ == "__main__":
    cli.config_flag(required=False, can_dry_run=False)
    cli.run(main)
