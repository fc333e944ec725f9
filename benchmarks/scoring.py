"""Scoring: leave-one-out LiRA and leave-pair-out patient risk, beside a SciPy loop.

    python -m benchmarks.scoring --out=scoring.json

The statistic is drawn at random: 256 models, 200,000 records, three a patient. Both
engines are warmed up on a slice and then timed on all of it. The SciPy loop does the
leave-one-out work only: it refits both normal laws for every target of a record, calls
`scipy.stats.norm.logpdf` once a record, runs on a slice and is extrapolated linearly.
"""

import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from benchmarks import _report
from mia_jax import leave_one_out, masks, planner
from mia_jax.attacks import lira
from mia_jax.risk import leave_pair_out, patients

_RECORDS_PER_PATIENT = 3
_LEAK = 0.5  # standard deviations that membership adds


class Cohort(NamedTuple):
    """What is scored: statistic [models, records], mask [models, patients], index."""

    statistic: np.ndarray
    member_mask: np.ndarray
    patient_of_record: np.ndarray

    def first(self, num_patients: int) -> "Cohort":
        """The same of some patients only."""
        num_records = num_patients * _RECORDS_PER_PATIENT
        return Cohort(
            np.ascontiguousarray(self.statistic[:, :num_records]),
            self.member_mask[:, :num_patients],
            self.patient_of_record[:num_records],
        )


class Cost(NamedTuple):
    """Seconds by the clock and of all threads, and growth of the peak memory in MB."""

    wall: float
    cpu: float
    megabytes: float


def main() -> None:
    """Times both engines and the loop, and prints a table."""
    args = _report.parser(__doc__.splitlines()[0]).parse_args()
    planner.configure_cpu()
    results = _report.begin("benchmarks.scoring")
    num_models, num_records = (32, 6_000) if args.quick else (256, 200_000)
    cohort = draw(num_models, num_records)
    print(f"baseline: refitting by scipy.stats.norm; {num_models} x {num_records:,}")
    costs = measure(cohort, 2 if args.quick else args.rounds)
    results["costs"] = {name: cost._asdict() for name, cost in costs.items()}
    show(costs)
    _report.save(args.out, results)


def draw(num_models: int, num_records: int) -> Cohort:
    """A cohort in which every record leaks a little."""
    patient_of_record = np.arange(num_records) // _RECORDS_PER_PATIENT
    mask = masks.draw(num_models, int(patient_of_record[-1]) + 1, 0, 0)
    generator = np.random.default_rng(1)
    statistic = generator.standard_normal((num_models, num_records), np.float32)
    statistic += _LEAK * mask[:, patient_of_record]
    return Cohort(statistic, mask, patient_of_record)


def measure(cohort: Cohort, rounds: int) -> dict[str, Cost]:
    """Median cost over rounds of each contender, in turns; peak memory of the first."""
    small = cohort.first(1000)
    # Contender and baseline agree before they are timed.
    few = cohort.first(4)
    expected = scipy_loop(few)
    np.testing.assert_allclose(
        leave_one_out_scores(few), expected, rtol=1e-3, atol=1e-3
    )
    for function in (one_pass, leave_one_out_scores, leave_pair_out_aucs):
        function(small)
    contenders: dict[str, Callable[[], Any]] = {
        "read, mask and write once": lambda: one_pass(cohort),
        "leave-one-out LiRA": lambda: leave_one_out_scores(cohort),
        "leave-pair-out, z included": lambda: leave_pair_out_aucs(cohort),
        "SciPy loop (extrapolated)": lambda: scipy_loop(cohort.first(4)),
    }
    found: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(time_of(run))
    scale = cohort.statistic.shape[1] / (4 * _RECORDS_PER_PATIENT)
    medians = {name: _median(costs) for name, costs in found.items()}
    loop = medians["SciPy loop (extrapolated)"]
    scaled = Cost(loop.wall * scale, loop.cpu * scale, loop.megabytes)
    return {**medians, "SciPy loop (extrapolated)": scaled}


def one_pass(cohort: Cohort) -> np.ndarray:
    """The least that any scoring does, in chunks that stay in the cache."""
    out = np.empty_like(cohort.statistic)
    step = leave_one_out.RECORD_CHUNK
    for start in range(0, out.shape[1], step):
        columns = slice(start, start + step)
        mask = cohort.member_mask[:, cohort.patient_of_record[columns]]
        np.multiply(cohort.statistic[:, columns], mask, out=out[:, columns])
    return out


def leave_one_out_scores(cohort: Cohort) -> np.ndarray:
    """Ours: closed form, every model as the target."""
    return leave_one_out.scores(lira, *cohort, variance="record")


def leave_pair_out_aucs(cohort: Cohort) -> np.ndarray:
    """Ours: the joint score of every patient over all pairs of models."""
    z = patients.standardise(cohort.statistic)
    block = np.zeros(len(z), np.int32)
    return leave_pair_out.auc(z, cohort.member_mask, cohort.patient_of_record, block)


def scipy_loop(cohort: Cohort) -> np.ndarray:
    """Refits both normal laws for every target; densities of a record in one call."""
    x = cohort.statistic.astype(np.float64)
    member = cohort.member_mask[:, cohort.patient_of_record]
    out = np.empty_like(x)
    for r in range(x.shape[1]):
        fits = np.empty((2, 2, len(x)))  # side, mean or sd, target
        for i in range(len(x)):
            rest = np.arange(len(x)) != i
            for side, chosen in enumerate((rest & member[:, r], rest & ~member[:, r])):
                values = x[chosen, r]
                fits[side, :, i] = values.mean(), values.std()
        inside, outside = (scipy.stats.norm.logpdf(x[:, r], *fit) for fit in fits)
        out[:, r] = inside - outside
    return out


def time_of(run: Callable[[], Any]) -> Cost:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Cost(wall, cpu, grown / 1024)


def _median(costs: list[Cost]) -> Cost:
    wall, cpu = (float(np.median([cost[i] for cost in costs])) for i in (0, 1))
    return Cost(wall, cpu, max(cost.megabytes for cost in costs))


def show(costs: dict[str, Cost]) -> None:
    """Prints the table."""
    once = costs["read, mask and write once"]
    loop = costs["SciPy loop (extrapolated)"]
    header = ["what", "wall s", "CPU s", "passes", "SciPy loop / this", "memory MB"]
    rows = [
        [
            name,
            f"{cost.wall:,.2f}",
            f"{cost.cpu:,.2f}",
            f"{cost.cpu / once.cpu:,.1f}",
            f"{loop.cpu / cost.cpu:,.0f}",
            f"+{cost.megabytes:,.0f}",
        ]
        for name, cost in costs.items()
    ]
    _report.table(
        "Medians over the rounds; CPU seconds count all threads", header, rows
    )


if __name__ == "__main__":
    main()
