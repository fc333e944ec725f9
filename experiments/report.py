"""Stage 4: draws figures and report again, from the files of the attack stage.

python -m experiments.report --workdir=DIR
"""

import json
import pathlib

from experiments import cli, steps
from mia_jax import progress


def main(config, flags) -> None:
    """Writes DIR/report.html and DIR/figures."""
    del config
    folder = pathlib.Path(flags.workdir)
    with progress.Progress() as stages:
        path = steps.run_report(folder, stages)
    summary = json.loads((folder / "summary.json").read_text())
    steps.show_result(summary, folder, path)


if __name__ == "__main__":
    cli.config_flag(required=False, can_dry_run=False)
    cli.run(main)
