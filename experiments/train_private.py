"""Trains one model for release, under a guarantee for every patient it learns from.

    python -m experiments.train_private --config=experiments/configs/randhie.py \
        --epsilon=8 --workdir=DIR

All patients but the test patients are learnt from. A config whose defence is not dp_sgd
gets dp_sgd with its defaults; with one whose defence is (randhie_dp.py), the other
options are set by --config.defence.l2_clip_norm=0.1 and so on. --epsilon and --delta go
before the config's. --dry_run prints the guarantee and trains nothing.

Coins and noise come from a secret seed that is kept nowhere. --nosecret_seed takes the
config's seed, for the same bits every time: whoever knows it can draw the noise again,
so such a model must not leave the house. experiments.predict uses the model.
"""

import dataclasses
import math
import pathlib
import textwrap
from typing import Any

from absl import flags

from experiments import cli
from mia_jax import config as configs
from mia_jax import planner, progress, terminal
from mia_jax.stages import deploy

flags.DEFINE_float("epsilon", None, "of the guarantee; needed unless the config has it")
flags.DEFINE_float("delta", None, "at most 1 / (10 patients); default: the config's")
flags.DEFINE_bool("secret_seed", True, "coins and noise that cannot be drawn again")


def main(config, flags) -> None:
    """Writes DIR/weights, DIR/privacy.json, DIR/model.json; prints the guarantee."""
    planner.configure_cpu()
    settings, speed = configs.settings(config)
    defence = deploy.with_budget(settings.defence, flags.epsilon, flags.delta)
    settings = dataclasses.replace(settings, defence=defence)
    folder = pathlib.Path(flags.workdir)
    job = deploy.prepare(settings, speed, folder, flags.secret_seed)
    if flags.dry_run:
        print(_text(job.defence.guarantee))
        return
    what = f"one model, {job.defence.num_steps:,} steps"
    what = "nothing: this model is there" if job.is_finished else what
    with progress.Progress() as stages, stages.stage("train", what):
        promised = deploy.execute(job)
    print(_text(promised))
    print(_row("writes", f"{folder}: weights, model.json, privacy.json"))


def _text(promised: dict[str, Any]) -> str:
    """The guarantee, and the test metrics where there are any, as a short block."""
    unit = promised["unit"]
    epsilon = math.ceil(1e4 * promised["epsilon"]) / 1e4  # never less than it is
    rows = [
        (
            "guarantee",
            f"epsilon {epsilon:g}, delta {promised['delta']:g}, for every {unit} "
            f"({promised['adjacency']})",
        ),
        (
            "mechanism",
            f"noise {promised['noise_multiplier']:.4g} x clipping norm "
            f"{promised['l2_clip_norm']:g}; each {unit} in a step with probability "
            f"{promised['sampling_prob']:.3g}, {promised['num_steps']:,} steps, at "
            f"most {promised['records_per_patient']} records of each",
        ),
        (
            "ledger",
            f"{promised['accountant']}; overflow adds at most "
            f"{promised['overflow_delta']:.2g} to delta",
        ),
    ]
    if "test_metrics" in promised:
        rows += [
            ("test", _metrics(promised["test_metrics"])),
            ("seed", _seed(promised)),
        ]
    return "\n".join(_row(*row) for row in rows)


def _metrics(metrics: dict[str, float | None]) -> str:
    named = {"auroc": "AUROC", "nll": "NLL", "exact_match": "exact match"}
    shown = [
        f"{named.get(name, name)} {terminal.number(value, 3)}"
        for name, value in metrics.items()
    ]
    return ", ".join(shown) or "no test patients"


def _seed(promised: dict[str, Any]) -> str:
    if promised["seed_is_secret"]:
        return "secret, kept nowhere"
    return (
        f"{promised['seed']}, known: whoever knows it can draw the noise again; do not "
        "release this model"
    )


def _row(label: str, text: str) -> str:
    """A label and its text, wrapped with a hanging indent."""
    return textwrap.fill(
        text,
        terminal.WIDTH,
        initial_indent=f"{label:<11}",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    cli.config_flag()
    cli.run(main)
