import json
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics

from mia_jax import metrics, results, validate
from mia_jax.risk import bootstrap
from mia_jax.stages import quick_look

ROOT = pathlib.Path(__file__).parent.parent


def _write(folder, num_patients=600, leak=1.0, num_models=2, seed=0, mask=None):
    """Two models of other patients; records of unlike difficulty."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(num_patients), 1 + np.arange(num_patients) % 3)
    member = generator.random((num_models, num_patients)) < 0.5
    member = member if mask is None else mask
    statistic = 2 * generator.standard_normal(len(owner))
    statistic = statistic + generator.standard_normal((num_models, len(owner)))
    statistic += leak * member[:, owner]
    np.save(folder / "statistic.npy", statistic.astype(np.float32))
    np.save(folder / "member_mask.npy", member[:, owner])
    np.save(folder / "labels.npy", generator.integers(0, 2, len(owner)))
    ids = pd.DataFrame({"record": np.arange(len(owner)), "patient_id": owner})
    ids.to_csv(folder / "records.csv", index=False)
    return statistic.astype(np.float32), member, owner


class TestBootstrap:
    def _scores(self, seed=0, num_patients=300):
        generator = np.random.default_rng(seed)
        is_member = generator.random(num_patients) < 0.5
        values = np.round(generator.standard_normal(num_patients) + is_member, 1)
        return values, is_member

    def test_counts_are_those_of_the_plain_measures(self):
        values, is_member = self._scores()
        rank = np.unique(values, return_inverse=True)[1]
        counts = [np.bincount(rank[side], minlength=rank.max() + 1)
                  for side in (is_member, ~is_member)]  # fmt: skip
        found = bootstrap._measures(*counts, (0.1, 0.01))
        assert found[0] == pytest.approx(
            sklearn.metrics.roc_auc_score(is_member, values)
        )
        for fpr, tpr in zip((0.1, 0.01), found[1:], strict=True):
            assert tpr == pytest.approx(metrics.tpr_at_fpr(values, is_member, fpr))

    def test_interval_is_that_of_scipy(self):
        values, is_member = self._scores()
        auc, _ = bootstrap.estimates(values, is_member, (), num_resamples=4000)
        sides = values[is_member], values[~is_member]

        def area(a, b):
            labels = np.r_[np.ones(len(a), bool), np.zeros(len(b), bool)]
            return metrics.auc(np.r_[a, b], labels)

        expected = scipy.stats.bootstrap(
            sides, area, vectorized=False, method="percentile", n_resamples=3000, rng=1
        ).confidence_interval
        # A 2.5 % quantile of n draws has an error of 2.7 sd / sqrt(n); the sd is .026.
        np.testing.assert_allclose((auc.low, auc.high), expected, atol=0.006)

    def test_is_the_same_by_the_same_seed(self):
        values, is_member = self._scores()
        first = bootstrap.estimates(values, is_member, (0.1,), 3, 50)
        assert first == bootstrap.estimates(values, is_member, (0.1,), 3, 50)
        assert first != bootstrap.estimates(values, is_member, (0.1,), 4, 50)


def test_record_scores_equal_their_definitions(tmp_path):
    statistic, member, owner = _write(tmp_path, 60)
    quick_look.run(tmp_path, tmp_path / "out", a=0.4)
    table = results.load(tmp_path / "out" / "quick_look.pkl")["tables"]["records"]
    kept = ~member[1, owner]
    np.testing.assert_array_equal(table["record"].astype(int), np.flatnonzero(kept))
    own, other = statistic[:, kept].astype(np.float64)
    is_member, owner = member[0, owner[kept]], owner[kept]
    p, p_out = 1 / (1 + np.exp(-own)), 1 / (1 + np.exp(-other))
    ratio = p / ((1.4 * p_out + 0.6) / 2)
    for x in range(len(own)):
        z = ~is_member & (owner != owner[x])
        assert table["rmia"][x] == pytest.approx((ratio[z] < ratio[x]).mean(), abs=1e-6)
    gap = (own - other) / np.sqrt(2)
    scale = scipy.stats.median_abs_deviation(gap, scale="normal")
    expected = -scipy.stats.norm.logsf((gap - np.median(gap)) / scale)
    np.testing.assert_allclose(table["lira"], expected, rtol=1e-9)


def test_patients_are_sums_over_their_records(tmp_path):
    _write(tmp_path, 60)
    content = quick_look.run(tmp_path, tmp_path)
    tables = results.load(tmp_path / "quick_look.pkl")["tables"]
    records, patients = tables["records"], tables["patients"]
    for row in patients.to_dict("records"):
        own = records[records["patient_id"] == row["patient_id"]]
        assert row["num_records"] == len(own)
        assert row["lira"] == pytest.approx((own["lira"] - 1.0).sum())
        assert row["rmia"] == pytest.approx((own["rmia"] - 0.5).sum(), abs=1e-5)
    for attack in content["attacks"]:
        assert attack["auc"]["value"] == pytest.approx(
            sklearn.metrics.roc_auc_score(
                patients["is_member"], patients[attack["name"]]
            )
        )


def test_a_leak_is_seen_and_none_is_not(tmp_path):
    for leak, is_seen in ((1.0, True), (0.0, False)):
        folder = tmp_path / str(leak)
        folder.mkdir()
        _write(folder, 3000, leak)
        content = quick_look.run(folder, folder)
        for attack in content["attacks"]:
            assert (attack["auc"]["low"] > 0.5) == is_seen, attack
            tpr = attack["tpr_at_fpr"]["0.1"]
            assert tpr["low"] <= tpr["value"] <= tpr["high"]
            assert (tpr["low"] > 0.1) == is_seen
        assert json.loads((folder / "quick_look.json").read_text()) == content
        assert "cannot prove" in content["note"]
        with open(folder / "quick_look.pkl", "rb") as file:
            pickle.load(file)


def test_several_references_use_those_that_did_not_see_a_record(tmp_path):
    statistic, member, owner = _write(tmp_path, 200, num_models=4)
    quick_look.run(tmp_path, tmp_path, target=2, references=(0, 3))
    table = results.load(tmp_path / "quick_look.pkl")["tables"]["records"]
    is_out = ~member[[0, 3]][:, owner]
    kept = is_out.any(0)
    np.testing.assert_array_equal(table["num_references"], is_out.sum(0)[kept])
    rest = np.ma.array(statistic[[0, 3]].astype(np.float64), mask=~is_out).mean(0)
    rest = rest.filled(0.0)[kept]
    gap = (statistic[2, kept] - rest) / np.sqrt(1 + 1 / is_out.sum(0)[kept])
    scale = scipy.stats.median_abs_deviation(gap, scale="normal")
    expected = -scipy.stats.norm.logsf((gap - np.median(gap)) / scale)
    np.testing.assert_allclose(table["lira"], expected, rtol=1e-6)


def test_own_membership_enters_no_score(tmp_path):
    _, member, owner = _write(tmp_path, 60)
    quick_look.run(tmp_path, tmp_path)
    before = results.load(tmp_path / "quick_look.pkl")["tables"]["records"]
    patient = np.flatnonzero(~member[1])[5]
    member[0, patient] ^= True
    np.save(tmp_path / "member_mask.npy", member[:, owner])
    quick_look.run(tmp_path, tmp_path)
    after = results.load(tmp_path / "quick_look.pkl")["tables"]["records"]
    own = before["patient_id"] == str(patient)
    assert own.any()
    for name in ("rmia", "lira"):
        np.testing.assert_allclose(after[name][own], before[name][own], atol=1e-7)


def test_saturated_models_give_finite_scores():
    statistic = np.full((2, 50), 1e4, np.float32)
    out = np.ones((1, 50), bool)
    assert np.isfinite(quick_look.lira_by_difference(statistic, out)).all()
    statistic[0, :5] = -1e4
    assert np.isfinite(quick_look.lira_by_difference(statistic, out)).all()


class TestRefusals:
    def test_few_non_members(self, tmp_path):
        mask = np.zeros((2, 60), bool)
        mask[0, 3:] = True
        _write(tmp_path, 60, mask=mask)
        with pytest.raises(validate.InputError, match="3 others are unseen"):
            quick_look.run(tmp_path, tmp_path)

    def test_rates_that_need_more_patients_say_how_many(self, tmp_path):
        _write(tmp_path, 400)
        attack = quick_look.run(tmp_path, tmp_path)["attacks"][0]
        assert attack["tpr_at_fpr"]["0.01"] is None
        assert "1,000 non-member patients" in attack["refused"]["0.01"]

    @pytest.mark.parametrize(
        "target, references, match",
        [(7, (), "model 7"), (0, (0,), "different"), (0, (1, 1), "different")],
    )
    def test_models_that_are_not_there(self, tmp_path, target, references, match):
        _write(tmp_path, 60)
        with pytest.raises(validate.InputError, match=match):
            quick_look.run(tmp_path, tmp_path, target, references)

    def test_a_coefficient_out_of_range(self, tmp_path):
        with pytest.raises(validate.InputError, match="above 0"):
            quick_look.run(tmp_path, tmp_path, a=0.0)


class TestBinary:
    def _run(self, *arguments):
        command = [sys.executable, "-m", "experiments.quick_look", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    def test_prints_and_writes_the_result(self, tmp_path):
        _write(tmp_path, 400)
        done = self._run(f"--predictions={tmp_path}", f"--workdir={tmp_path / 'run'}")
        assert done.returncode == 0, done.stderr
        assert "AUC 0." in done.stdout and "not told: needs 1,000" in done.stdout
        assert "cannot prove" in done.stdout
        assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
        content = json.loads((tmp_path / "run" / "quick_look.json").read_text())
        assert content["schema"] == "mia_jax.quick_look/1"

    def test_wrong_input_takes_three_lines(self, tmp_path):
        done = self._run(
            f"--workdir={tmp_path}", f"--predictions={tmp_path}", "--references=one"
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 3
