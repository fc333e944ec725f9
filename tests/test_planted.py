"""The tool finds what is there, and nothing where nothing is."""

import pytest

from experiments.configs import synthetic
from mia_jax import config, results
from mia_jax.stages import attack, score, train


def _audit(folder, preset):
    settings, speed = config.settings(synthetic.get_config(preset))
    train.execute(train.prepare(settings, speed, folder))
    summary = attack.run(score.gather(folder), folder, (settings.attack,))
    return summary, results.load(folder)["patients"]


@pytest.mark.slow
def test_planted_patients_are_found(tmp_path):
    summary, patients = _audit(tmp_path, "default")
    is_planted = patients["planted"] == "planted"
    assert is_planted.sum() == 20
    assert patients["is_proven"][is_planted].mean() >= 0.9
    assert patients["auc"][is_planted].mean() > 0.9
    # Others may leak a little too (their labels are noisy), but few are proven.
    assert patients["is_proven"][~is_planted].mean() < 0.05
    assert summary["null_check"]["num_proven"] == 0
    assert summary["metrics"]["test"]["auroc"] > 0.8


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is(tmp_path):
    """False alarm of "nothing proven": the false-discovery rate, 5 % of seeds."""
    summary, patients = _audit(tmp_path, "null")
    assert summary["num_proven"] == 0
    assert abs(patients["auc"].mean() - 0.5) < 0.01
    # Nobody is planted, but training on somebody leaves a trace (.015 on average).
    assert abs(patients["auc_mask_free"].mean() - 0.5) < 0.02
    assert summary["null_check"]["num_proven"] == 0
