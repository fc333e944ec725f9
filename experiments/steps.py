"""The stages of an audit with their progress, as the binaries string them together."""

import contextlib
import pathlib
import sys
from typing import Any, NamedTuple

import ml_collections
from absl import flags

from experiments import attacks
from mia_jax import config, planner, progress, terminal
from mia_jax.report import build
from mia_jax.stages import attack, plan, report, score, train

TOO_MANY_PROVEN = 3  # exit code


class AttackPlan(NamedTuple):
    """What the attack stage does with predictions.

    Attributes:
      attacks: at least one; the first is the report's.
      risk: how patients are measured.
      seed: of permuted masks and of resampling.
    """

    attacks: tuple[config.Plugin, ...]
    risk: config.RiskSettings
    seed: int


def prepare(given: ml_collections.ConfigDict, flag: flags.FlagValues) -> train.Job:
    """Checks settings and data, prints the plan; nothing is written yet."""
    planner.configure_cpu()
    settings, speed = config.settings(given)
    worker, num_workers = (
        (flag.worker, flag.num_workers) if "worker" in flag else (0, 1)
    )
    folder = pathlib.Path(flag.workdir)
    chosen = (settings.attack,)
    if "attack" in flag:  # a wrong attack is told before anything is trained
        chosen = attacks.chosen(flag, settings.attack)
    job = train.prepare(settings, speed, folder, worker, num_workers)
    print(terminal.render_plan(plan.of(job, chosen)), file=sys.stderr)
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
    to: AttackPlan,
) -> dict[str, Any]:
    """Attacks and measures risk; returns the summary."""
    names = ", ".join(dict.fromkeys(one.name for one in to.attacks))
    with stages.stage("attack", f"{names}; patients, groups, null check"):
        return attack.run(source, folder, to.attacks, to.risk, to.seed)


def run_report(folder: pathlib.Path, stages: progress.Progress) -> pathlib.Path:
    """Draws figures and both reports."""
    with stages.stage("report", "figures, report.html, report_public.html"):
        return report.run(folder)


def show_result(
    summary: dict[str, Any],
    folder: pathlib.Path,
    path: pathlib.Path,
    fail_if_proven: int | None = None,
) -> int | None:
    """Prints the result block to stdout.

    Args:
      summary: what summary.json holds.
      folder: of the run.
      path: of the report.
      fail_if_proven: proven patients that are accepted; None = any number.

    Returns:
      The exit code: `TOO_MANY_PROVEN` or None.
    """
    size = path.stat().st_size / 1e6
    output = terminal.Output(str(folder), str(path), size, str(folder / build.PUBLIC))
    with contextlib.suppress(BrokenPipeError):
        print(terminal.render_result(summary, output))
    if fail_if_proven is None or summary["num_proven"] <= fail_if_proven:
        return None
    print(
        f"{summary['num_proven']} patients are proven recognisable, "
        f"--fail_if_proven={fail_if_proven} allows {fail_if_proven}",
        file=sys.stderr,
    )
    return TOO_MANY_PROVEN
