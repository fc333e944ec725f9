"""The whole audit: trains shadow models, attacks them, measures risk, writes a report.

    python -m experiments.audit --config=experiments/configs/randhie.py --workdir=DIR

Started again with the same command, it continues where it was killed. A larger
`--config.train.num_models` keeps the models there are and adds a block.
"""

from experiments import cli, steps
from mia_jax import progress


def main(config, flags) -> int | None:
    """Runs all stages one after the other."""
    job = steps.prepare(config, flags)
    if flags.dry_run:
        return
    settings, folder = job.settings, job.folder
    with progress.Progress() as stages:
        steps.run_train(job, stages)
        steps.run_score(folder, stages, settings.train.num_models)
        source = folder / "predictions"
        about = settings.attack, settings.risk, settings.seed
        summary = steps.run_attack(source, folder, stages, *about)
        path = steps.run_report(folder, stages)
    steps.show_result(summary, folder, path)


if __name__ == "__main__":
    cli.config_flag()
    cli.run(main)
