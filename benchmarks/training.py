"""Shadow training: model-steps per second of ours, PyTorch and a plain JAX loop.

    python -m benchmarks.training --out=training.json

All contenders train the same networks on the same records with AdamW in float32, on
all cores, in one process, in turns: every round times each of them once, in another
order. So a slow minute of the machine hits all alike.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import _jax, _report, _shapes, _torch
from mia_jax import planner

_OURS = "mia_jax"
_PEAK = "sgemm"


class Contender(NamedTuple):
    """Something that is timed.

    Attributes:
      name: in the table.
      run: does all the work of a round, and returns when it is done.
      work: how much that is, in model-steps or FLOPs.
    """

    name: str
    run: Callable[[], Any]
    work: int


def main() -> None:
    """Runs the benchmark for both networks and prints a table for each."""
    parser = _report.parser(__doc__.splitlines()[0])
    parser.add_argument("--models_per_group", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    planner.configure_cpu()
    torch.set_num_threads(planner.num_cores())
    results = _report.begin("benchmarks.training")
    results |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(f"baseline: PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    for shape in _shapes.shapes(args.quick):
        field = contenders(shape, args.models_per_group) + peaks(args.quick)
        rates = measure(field, 2 if args.quick else args.rounds)
        results[shape.name] = summarise(shape, rates)
        show(shape, results[shape.name])
    _report.save(args.out, results)


def contenders(shape: _shapes.Shape, models_per_group: list[int]) -> list[Contender]:
    """PyTorch one at a time and stacked, a JAX loop, and ours for some group sizes."""
    devices = planner.devices(0)
    runs = {
        "PyTorch eager": _torch.eager(shape, fused=False),
        "PyTorch eager, fused AdamW": _torch.eager(shape, fused=True),
        f"PyTorch stacked, {_torch.STACKED_MODELS} models": _torch.stacked(shape),
        "JAX loop, jitted step": _jax.python_loop(shape),
    }
    for size in models_per_group:
        name = f"{_OURS}, {len(devices)} devices x {size}"
        runs[name] = _jax.engine(shape, size, devices)
    return [Contender(name, run, shape.model_steps) for name, run in runs.items()]


def peaks(quick: bool) -> list[Contender]:
    """Large float32 matrix products on all cores, by NumPy and by PyTorch."""
    size = 512 if quick else 2048
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    numpy_fn = functools.partial(np.matmul, a, b)
    torch_fn = functools.partial(torch.matmul, torch.from_numpy(a), torch.from_numpy(b))
    flops = 2 * size**3
    return [
        Contender(f"{_PEAK} NumPy", numpy_fn, flops),
        Contender(f"{_PEAK} PyTorch", torch_fn, flops),
    ]


def measure(field: list[Contender], rounds: int) -> dict[str, list[float]]:
    """Work per second of every contender in every round, after a warm-up of each."""
    for contender in field:
        contender.run()
    rates: dict[str, list[float]] = {contender.name: [] for contender in field}
    for turn in range(rounds):
        first = turn % len(field)
        for contender in field[first:] + field[:first]:
            begin = time.perf_counter()
            contender.run()
            seconds = time.perf_counter() - begin
            rates[contender.name].append(contender.work / seconds)
    return rates


def summarise(shape: _shapes.Shape, rates: dict[str, list[float]]) -> dict[str, Any]:
    """FLOPs, peak and, by contender, rates, median and share of the peak."""
    peak = max(max(rates[name]) for name in rates if name.startswith(_PEAK))
    rows = {}
    for name, values in rates.items():
        if name.startswith(_PEAK):
            continue
        median = float(np.median(values))
        share = median * shape.flops / peak
        rows[name] = {"rates": values, "median": median, "share_of_peak": share}
    best = max(
        (n for n in rows if n.startswith(_OURS)), key=lambda n: rows[n]["median"]
    )
    for row in rows.values():
        # Round by round: what slows the machine down slows both.
        ratio = np.divide(rates[best], row["rates"])
        row["ours_over_this"] = float(np.median(ratio))
    return {"flops": shape.flops, "peak_flops": peak, "best": best, "rows": rows}


def show(shape: _shapes.Shape, result: dict[str, Any]) -> None:
    """Prints the table of one network."""
    layers = "-".join(map(str, shape.widths))
    title = (
        f"**{shape.name}** ({layers}, batch {_shapes.BATCH_SIZE}): "
        f"{result['flops'] / 1e6:.1f} MFLOP a model-step, "
        f"sgemm peak {result['peak_flops'] / 1e9:.0f} GFLOP/s"
    )
    header = ["contender", "model-steps/s", "min-max", "ours / this", "share of peak"]
    rows = [
        [
            name,
            f"{row['median']:,.0f}",
            f"{min(row['rates']):,.0f}-{max(row['rates']):,.0f}",
            f"{row['ours_over_this']:.2f}",
            f"{row['share_of_peak']:.0%}",
        ]
        for name, row in result["rows"].items()
    ]
    _report.table(title, header, rows)


if __name__ == "__main__":
    main()
