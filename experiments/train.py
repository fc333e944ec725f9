"""Stage 1: trains shadow models; several workers may share one folder.

    python -m experiments.train --config=C --workdir=DIR [--worker=I --num_workers=N]

Worker I takes the groups g with g % N == I. A worker that dies is started again with
any N: finished groups are kept.
"""

from absl import flags

from experiments import cli, steps
from mia_jax import progress

flags.DEFINE_integer("worker", 0, "number of this worker, from 0")
flags.DEFINE_integer("num_workers", 1, "workers that share the folder")


def main(config, flags) -> int | None:
    """Trains what is not on disk."""
    job = steps.prepare(config, flags)
    if flags.dry_run:
        return
    with progress.Progress() as stages:
        steps.run_train(job, stages)


if __name__ == "__main__":
    cli.config_flag()
    cli.run(main)
