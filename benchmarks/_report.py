"""What both benchmarks print and store: command, device, markdown tables, JSON."""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from mia_jax import provenance


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the flags that both benchmarks have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="small, only to see it run")
    made.add_argument("--rounds", type=int, default=7, help="interleaved rounds")
    made.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    return made


def begin(module: str) -> dict[str, Any]:
    """Prints command, device and versions; returns them for the JSON file."""
    facts = provenance.collect()
    command = " ".join(["python -m", module, *sys.argv[1:]])
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v)
    print(f"command: {command}\ndevice: {facts['device']}\nversions: {versions}")
    return {"command": command, **facts}


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a markdown table."""
    print(f"\n{title}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")


def save(path: pathlib.Path | None, results: dict[str, Any]) -> None:
    """Writes the results as JSON, where a path is given."""
    if path:
        path.write_text(json.dumps(results, indent=1) + "\n")
