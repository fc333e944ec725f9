"""The benchmarks run; what they measure is no test."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def _quick(module, out, *flags):
    command = [sys.executable, "-m", module, "--quick", f"--out={out}", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


@pytest.mark.slow
def test_scoring(tmp_path):
    text, found = _quick("benchmarks.scoring", tmp_path / "out.json")
    assert "| leave-one-out LiRA |" in text and "| SciPy loop" in text
    assert all(cost["wall"] > 0 for cost in found["costs"].values())


@pytest.mark.slow
def test_training(tmp_path):
    pytest.importorskip("torch")
    text, found = _quick("benchmarks.training", tmp_path / "out.json")
    for name in ("PyTorch eager", "PyTorch stacked", "JAX loop", "mia_jax"):
        assert f"| {name}" in text
    assert found["rand"]["rows"] and found["wide"]["peak_flops"] > 0


@pytest.mark.slow
def test_power_of_joint_scores(tmp_path):
    text, found = _quick("benchmarks.power", tmp_path / "out.json", "--part=joint")
    assert "| llr, shrunk (default) |" in text and "| exact test |" in text
    numbers = [n for kind in found["joint"]["3"].values() for n in kind.values()]
    assert len(numbers) == 7 * 7
    assert all(0 <= value <= 1 for one in numbers for value in one.values())


@pytest.mark.slow
def test_power_of_discovery(tmp_path):
    text, found = _quick("benchmarks.power", tmp_path / "out.json", "--part=discovery")
    assert "| 64 | 10 | 1 sd |" in text and "Error rates over all rows" in text
    rows = found["discovery"]["rows"]
    assert len(rows) == 3 * 2
    assert all(len(row["bh_false"]) == len(row["bh_null"]) == 2 for row in rows)
    assert all("kept_found" in row for row in rows if row["shock"] == "1 sd")
