"""The benchmarks run; what they measure is no test."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def _quick(module, out):
    command = [sys.executable, "-m", module, "--quick", f"--out={out}"]
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
