"""Every attack and the patient test over 256 models and 400,000 records, in one run.

    python -m benchmarks.attacks --out=attacks.json

The statistic is drawn at random, three records a patient, ten random features a record
for the attack that uses some. Scores go to one array that is used again. Every
contender runs once on a slice, to compile, and then on everything. "Passes" are
multiples of the least that any scoring does: reading, masking and writing the statistic
once.
"""

import functools
import resource
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import _report, scoring
from mia_jax import config, contracts, leave_one_out, planner
from mia_jax.risk import leave_pair_out, patients

# Attacks by name with options; the authors' own settings refit and are left out.
CONTENDERS = {
    "lira, own variance": ("lira", {"variance": "record"}),
    "lira, fixed variance": ("lira", {"variance": "fixed"}),
    "lira, empirical Bayes": ("lira", {"variance": "bayes"}),
    "lira, offline": ("lira", {"mode": "offline", "variance": "record"}),
    "rmia, online": ("rmia", {}),
    "rmia, offline": ("rmia", {"mode": "offline"}),
    "base": ("base", {}),
    "loss": ("loss", {}),
    "reference": ("reference", {}),
    "quantile": ("quantile", {}),
}


def main() -> None:
    """Times everything and prints a table."""
    args = _report.parser(__doc__.splitlines()[0]).parse_args()
    planner.configure_cpu()
    results = _report.begin("benchmarks.attacks")
    num_models, num_records = (32, 6_000) if args.quick else (256, 400_000)
    cohort = scoring.draw(num_models, num_records)
    costs = measure(cohort)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results |= {"costs": {k: c._asdict() for k, c in costs.items()}, "peak_mb": peak}
    show(costs, f"{num_models} x {num_records:,}")
    print(f"\npeak memory of the process: {peak:,.0f} MB")
    _report.save(args.out, results)


def measure(cohort: scoring.Cohort) -> dict[str, scoring.Cost]:
    """Cost of every contender, once; attacks first, they share the array of scores."""
    costs = _attack_costs(cohort)
    small = cohort.first(1000)
    for name, run in _patient_parts().items():
        run(small)
        costs[name] = scoring.time_of(functools.partial(run, cohort))
    return costs


def _attack_costs(cohort: scoring.Cohort) -> dict[str, scoring.Cost]:
    small, out = cohort.first(1000), np.empty_like(cohort.statistic)
    once = scoring.time_of(functools.partial(_pass, cohort, out))
    costs = {"read, mask and write once": once}
    for name, (attack, options) in CONTENDERS.items():
        plugin = config.plugin("attacks", attack, **options)
        _attack(plugin, small, np.empty_like(small.statistic))
        costs[name] = scoring.time_of(functools.partial(_attack, plugin, cohort, out))
    return costs


def _pass(cohort: scoring.Cohort, out: np.ndarray) -> None:
    step = leave_one_out.RECORD_CHUNK
    for start in range(0, out.shape[1], step):
        columns = slice(start, start + step)
        mask = cohort.member_mask[:, cohort.patient_of_record[columns]]
        np.multiply(cohort.statistic[:, columns], mask, out=out[:, columns])


def _attack(plugin: config.Plugin, cohort: scoring.Cohort, out: np.ndarray) -> None:
    """All scores of one attack."""
    generator = np.random.default_rng(2)
    num_records = cohort.statistic.shape[1]
    context = contracts.Context(
        labels=generator.integers(0, 2, num_records),
        patient_of_record=cohort.patient_of_record,
        features=generator.standard_normal((num_records, 10), np.float32),
    )
    attack = config.find("attacks", plugin.name)
    leave_one_out.scores(attack, *cohort, out=out, context=context, **plugin.options)


def _patient_parts() -> dict[str, Callable[[scoring.Cohort], Any]]:
    """The two halves of the patient test, from the statistic on."""
    block = lambda cohort: np.zeros(len(cohort.statistic), np.int32)

    def z(cohort: scoring.Cohort) -> np.ndarray:
        return patients.scores(
            cohort.statistic, cohort.patient_of_record, block(cohort)
        )

    def exact(cohort: scoring.Cohort) -> Any:
        return patients.test(z(cohort), *cohort[1:], block(cohort))

    def pairs(cohort: scoring.Cohort) -> Any:
        return leave_pair_out.auc(z(cohort), *cohort[1:], block(cohort))

    return {"exact test of every patient": exact, "leave-pair-out": pairs}


def show(costs: dict[str, scoring.Cost], size: str) -> None:
    """Prints the table."""
    once = costs["read, mask and write once"]
    header = ["what", "wall s", "CPU s", "passes"]
    rows = [
        [name, f"{c.wall:,.2f}", f"{c.cpu:,.2f}", f"{c.cpu / once.cpu:,.1f}"]
        for name, c in costs.items()
    ]
    _report.table(f"{size}; CPU seconds count all threads", header, rows)


if __name__ == "__main__":
    main()
