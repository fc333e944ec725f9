"""README says what works: its Python runs, its commands are what CI runs."""

import pathlib
import re

import numpy as np
import pytest

from mia_jax import config, predictions, results
from mia_jax.stages import attack

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def test_python_blocks_run(tmp_path, monkeypatch):
    """The export of own predictions, its audit, and reading the result."""
    monkeypatch.chdir(tmp_path)
    load, export = _blocks("python")
    exec(export, {})
    plugin = config.Plugin(kind="attacks", name="lira", options={})
    source = pathlib.Path("export")
    summary = attack.run(source, pathlib.Path("runs/randhie"), (plugin,))
    # The example leaks by one unit of one logit: weakly, but in every record.
    assert summary["num_patients"] == 60 and summary["patient_auc_mean"] > 0.6
    names = {}
    exec(load, names)
    assert len(names["patients"]) == 60
    assert (np.diff(names["patients"]["auc"]) <= 0).all()
    assert predictions.read(source).about["task"] == "multiclass"
    assert results.load("runs/randhie")["summary"]["num_models"] == 32


def test_files_that_are_named_exist():
    for path in re.findall(r"\]\(([\w./]+)\)", TEXT):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"--config=(experiments/[\w/]+\.py)", TEXT):
        assert (ROOT / name).exists(), name


def test_no_placeholder_is_left():
    assert not re.findall(r"@[A-Z_]+@|TODO|TBD", TEXT)


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"--([a-z_]+)[=\s`;]", TEXT))))
def test_flags_that_are_named_exist(flag):
    code = "".join(p.read_text() for p in (ROOT / "experiments").glob("*.py"))
    assert f'"{flag}"' in code
