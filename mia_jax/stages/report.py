"""Stage 4: what a person reads, from the files of the attack stage alone."""

import json
import pathlib
import time

from mia_jax import results, validate
from mia_jax.report import build


def run(folder: pathlib.Path) -> pathlib.Path:
    """Writes figures and both reports; adds the time it took to summary.json.

    Args:
      folder: of an attacked run.

    Returns:
      Path of the confidential report; the public one is `build.PUBLIC` beside it.

    Raises:
      InputError: if the attack stage has not been run there.
    """
    path = folder / "summary.json"
    validate.require(
        path.exists(),
        f"{path} is missing",
        "a report is made from the files of the attack stage",
        "run: python -m experiments.attack --workdir=... first",
    )
    begin = time.perf_counter()
    report = build.write(folder)
    summary = json.loads(path.read_text())
    summary["wall_seconds"]["report"] = round(time.perf_counter() - begin, 2)
    results.write_json(path, summary)
    return report
