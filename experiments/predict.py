"""Predicts all records of a cohort with a model of experiments.train_private.

    python -m experiments.predict --config=experiments/configs/randhie.py \
        --workdir=DIR --out=predictions.csv

DIR is the model's folder. The table has record_id, patient_id, is_test, and the
probability p_<name> of every class or label. is_test is True for patients whom a model
trained on this cohort has never seen.
"""

import pathlib
import sys

from absl import flags

from experiments import cli
from mia_jax import cohort, planner, results
from mia_jax import config as configs
from mia_jax.stages import released

flags.DEFINE_string("out", None, "table to write; default: predictions.csv in DIR")


def main(config, flags) -> None:
    """Writes the table and prints its path."""
    planner.configure_cpu()
    settings, speed = configs.settings(config)
    folder = pathlib.Path(flags.workdir)
    found = released.load(folder)
    dataset = settings.data.call()
    table = released.predict(found, dataset, speed.record_chunk)
    trained_on = found.about["settings"]["data_fingerprint"]
    if cohort.fingerprint(dataset) != trained_on:
        print(
            "not the cohort that the model was trained on: its inputs must be scaled "
            "as there,\nand is_test does not tell whom the model has seen",
            file=sys.stderr,
        )
    path = pathlib.Path(flags.out or folder / "predictions.csv")
    results.write_csv(path, table)
    print(f"{path}: {len(table):,} records of {dataset.num_patients:,} patients")


if __name__ == "__main__":
    cli.config_flag(can_dry_run=False)
    cli.run(main)
