"""The stages of an audit with their progress, as the binaries string them together."""

import contextlib
import pathlib
import sys

import ml_collections
from absl import flags

from mia_jax import config, planner, progress, terminal
from mia_jax.stages import attack, plan, report, score, train


def prepare(given: ml_collections.ConfigDict, flag: flags.FlagValues) -> train.Job:
    """Checks settings and data, prints the plan; nothing is written yet."""
    planner.configure_cpu()
    settings, speed = config.settings(given)
    worker, num_workers = (
        (flag.worker, flag.num_workers) if "worker" in flag else (0, 1)
    )
    folder = pathlib.Path(flag.workdir)
    job = train.prepare(settings, speed, folder, worker, num_workers)
    print(terminal.render_plan(plan.of(job)), file=sys.stderr)
    return job


def run_train(job: train.Job, stages: progress.Progress) -> None:
    """Trains the groups that are not on disk."""
    models = sum(len(group.model_ids) for group in job.groups)
    elsewhere = job.num_mine < len(job.groups)  # other workers' models
    left = sum(len(group.model_ids) for group in job.todo)
    done = 0 if elsewhere else models - left
    with stages.stage("train", "models", total=done + left, done=done) as advance:
        train.execute(job, advance)


def run_score(
    folder: pathlib.Path, stages: progress.Progress, num_models: int = 0
) -> None:
    """Gathers the groups' statistics."""
    with stages.stage("score", "statistics of all models"):
        score.gather(folder, num_models)


def run_attack(
    source: pathlib.Path,
    folder: pathlib.Path,
    stages: progress.Progress,
    plugin: config.Plugin,
    risk: config.RiskSettings,
    seed: int,
) -> dict:
    """Attacks and measures risk; returns the summary."""
    with stages.stage("attack", f"{plugin.name}; patients, groups, null check"):
        return attack.run(source, folder, plugin, risk.fdr, seed)


def run_report(folder: pathlib.Path, stages: progress.Progress) -> pathlib.Path:
    """Draws figures and report."""
    with stages.stage("report", "figures and report.html"):
        return report.run(folder)


def show_result(summary: dict, folder: pathlib.Path, path: pathlib.Path) -> None:
    """Prints the result block to stdout."""
    size = path.stat().st_size / 1e6
    output = terminal.Output(str(folder), str(path), size)
    with contextlib.suppress(BrokenPipeError):
        print(terminal.render_result(summary, output))
