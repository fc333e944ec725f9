"""The whole audit: trains shadow models, attacks them, measures risk, writes a report.

    python -m experiments.audit --config=experiments/configs/randhie.py --workdir=DIR

Started again with the same command, it continues where it was killed. A larger
`--config.train.num_models` keeps the models there are and adds a block.
"""

from experiments import attacks, cli, steps
from mia_jax import progress


def main(config, flags) -> int | None:
    """Runs all stages one after the other."""
    job = steps.prepare(config, flags)
    if flags.dry_run:
        return None
    settings, folder = job.settings, job.folder
    chosen = attacks.chosen(flags, settings.attack)
    plan = steps.AttackPlan(chosen, settings.risk, settings.seed)
    with progress.Progress() as stages:
        steps.run_train(job, stages)
        steps.run_score(folder, stages, settings.train.num_models)
        summary = steps.run_attack(folder / "predictions", folder, stages, plan)
        path = steps.run_report(folder, stages)
    return steps.show_result(summary, folder, path, flags.fail_if_proven)


if __name__ == "__main__":
    cli.config_flag()
    attacks.define()
    cli.run(main)
