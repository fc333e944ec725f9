"""Power of the patient test on planted cohorts: which score, and how many are proven.

    python -m benchmarks.power                # both parts, under 4 minutes on 2 cores
    python -m benchmarks.power --part=joint 4000 --records 1 10
    python -m benchmarks.power --part=discovery --models 64 128 --cohorts 40
    python -m benchmarks.power --predictions=runs/randhie/predictions

"joint" compares the scores that join a patient's records, on one patient at a time
(`_joint.py`); "discovery" tests many patients as an audit does (`_discovery.py`).
"""

import argparse
import pathlib

from benchmarks import _discovery, _joint, _report
from mia_jax import planner, predictions

_PARTS = {"joint": _joint.planted, "discovery": _discovery.planted}


def main() -> None:
    """Prints the tables of one part or of both, or the one of a folder."""
    args = _arguments()
    planner.configure_cpu()
    results = _report.begin("benchmarks.power")
    if args.predictions:
        results["predictions"] = _joint.measured(predictions.read(args.predictions))
    else:
        for part in [args.part] if args.part else _PARTS:
            results[part] = _PARTS[part](args)
    _report.save(args.out, results)


def _arguments() -> argparse.Namespace:
    parser = _report.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "patients", type=int, nargs="?", help="of a cohort; 2000 (joint), 3000"
    )
    parser.add_argument("--part", choices=_PARTS, help="joint or discovery; both")
    parser.add_argument("--records", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument(
        "--models",
        type=int,
        nargs="+",
        default=[16, 32, 64, 128, 256],
        help="discovery",
    )
    parser.add_argument(
        "--cohorts", type=int, default=10, help="discovery: of every kind"
    )
    parser.add_argument("--predictions", type=pathlib.Path, help="folder of a run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
