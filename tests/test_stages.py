"""Runs survive kills, workers, devices and growth without changing a bit."""

import hashlib
import json
import math
import os
import pathlib
import pickle
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pytest

from mia_jax import config, metrics, predictions, results, scores, store, validate
from mia_jax.data import synthetic
from mia_jax.stages import attack, score, train


def _config(**changes):
    given = config.default(data="synthetic")
    given.data.num_patients = 60
    given.data.num_planted = 4
    given.model.widths = (8,)
    given.train.num_models = 8
    given.train.models_per_group = 2
    given.train.epochs = 2.0
    given.train.batch_size = 16
    given.update_from_flattened_dict(changes)
    return given


def _train(folder, worker=0, num_workers=1, **changes):
    settings, speed = config.settings(_config(**changes))
    job = train.prepare(settings, speed, folder, worker, num_workers)
    train.execute(job)
    return job


def _hashes(folder):
    """Hash of every group's statistic, by group."""
    run = store.reopen(folder / store.FOLDER)
    return {g: run.manifest(g)["files"]["statistic"]["sha256"] for g in run.committed()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run on one device."""
    folder = tmp_path_factory.mktemp("whole")
    _train(folder, **{"speed.num_devices": 1})
    return folder


@pytest.mark.parametrize("num_devices", [2, 4])
def test_devices_change_no_bit(whole, tmp_path, num_devices):
    _train(tmp_path, **{"speed.num_devices": num_devices})
    assert _hashes(tmp_path) == _hashes(whole)


@pytest.mark.parametrize("num_workers", [2, 3])
def test_workers_change_no_bit(whole, tmp_path, num_workers):
    for worker in reversed(range(num_workers)):
        _train(tmp_path, worker, num_workers)
    assert _hashes(tmp_path) == _hashes(whole)


def test_a_second_start_trains_nothing(whole):
    before = _hashes(whole)
    job = _train(whole)
    assert not job.todo and _hashes(whole) == before


def test_a_missing_group_alone_is_trained_again(whole, tmp_path):
    _train(tmp_path)
    run = store.reopen(tmp_path / store.FOLDER)
    run.discard(2)
    settings, speed = config.settings(_config())
    assert [g.id for g in train.prepare(settings, speed, tmp_path).todo] == [2]
    _train(tmp_path)
    assert _hashes(tmp_path) == _hashes(whole)


def test_more_models_keep_the_first_and_form_a_block(whole, tmp_path):
    _train(tmp_path)
    _train(tmp_path, **{"train.num_models": 14})
    first = _hashes(whole)
    grown = _hashes(tmp_path)
    assert {g: grown[g] for g in first} == first and len(grown) == 7
    found = predictions.read(score.gather(tmp_path))
    np.testing.assert_array_equal(found.block_of_model, [0] * 8 + [1] * 6)
    for block, size in ((0, 8), (1, 6)):
        members = found.member_mask[found.block_of_model == block].sum(0)
        np.testing.assert_array_equal(members, size // 2)
    again = predictions.read(score.gather(tmp_path, num_models=8))
    np.testing.assert_array_equal(again.statistic, found.statistic[:8])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.epochs": 3.0}, "train.epochs: 2.0 in the run, 3.0 now"),
        ({"seed": 1}, "seed: 0 in the run, 1 now"),
        ({"data.num_planted": 5}, "data.num_planted"),
        ({"train.num_models": 4}, r"in blocks of \[8\]"),
        ({"train.num_models": 9}, "1 new models"),
        ({"attack.mode": "onlin"}, "attack.mode='onlin' is unknown"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(whole, change, message):
    with pytest.raises(validate.InputError, match=message):
        _train(whole, **change)


def test_a_damaged_file_is_named(tmp_path):
    _train(tmp_path)
    run = store.reopen(tmp_path / store.FOLDER)
    file = run.folder / run.manifest(1)["files"]["statistic"]["file"]
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(validate.InputError, match=file.name):
        score.gather(tmp_path)
    file.unlink()
    with pytest.raises(validate.InputError, match="groups 1 are missing"):
        score.gather(tmp_path)
    _train(tmp_path)
    score.gather(tmp_path)


def test_preparing_writes_nothing(tmp_path):
    settings, speed = config.settings(_config())
    folder = tmp_path / "new"
    job = train.prepare(settings, speed, folder)
    assert len(job.todo) == 4 and not folder.exists()


def test_too_few_models_are_refused_before_training(tmp_path):
    with pytest.raises(validate.InputError, match=r"is in \(or out of\) 2 of 4 models"):
        _train(tmp_path / "new", **{"train.num_models": 4})
    assert not (tmp_path / "new").exists()


def test_a_moved_table_is_the_same_run(tmp_path):
    frame = pd.DataFrame({"patient": np.arange(60) // 2, "record": np.arange(60)})
    frame = frame.assign(x=np.sin(np.arange(60)), label=np.arange(60) % 2)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False)
    for name in ("a.csv", "b.csv"):
        given = config.default(data="table", model="mlp")
        given.data.path = str(tmp_path / name)
        given.train.num_models, given.train.batch_size = 8, 8
        settings, speed = config.settings(given)
        job = train.prepare(settings, speed, tmp_path / "run")
        train.execute(job)
    assert not job.todo
    assert str(tmp_path) not in (tmp_path / "run/groups/run.json").read_text()


def test_masks_that_cannot_be_drawn_again_are_refused(tmp_path):
    _train(tmp_path)
    block = tmp_path / store.FOLDER / "block_000.json"
    changed = {**json.loads(block.read_text()), "mask_sha256": "0" * 64}
    block.write_text(json.dumps(changed))
    with pytest.raises(validate.InputError, match="mask of block 0"):
        score.gather(tmp_path)


def test_kept_logits_give_the_statistic(tmp_path):
    job = _train(tmp_path, **{"train.keep_logits": True})
    run = store.reopen(tmp_path / store.FOLDER)
    logits = run.read(0, name="logits")
    label = job.dataset.labels == 1
    expected = np.where(label, logits[..., 0], -logits[..., 0])
    np.testing.assert_array_equal(run.read(0), expected)


def test_kept_inputs_are_features_of_the_pool(tmp_path):
    job = _train(tmp_path, **{"train.keep_inputs": True})
    features = np.load(score.gather(tmp_path) / "features.npy")
    pool = job.dataset.is_pool_record
    np.testing.assert_array_equal(features, job.dataset.inputs[pool])


FINDINGS = {
    "data.task": "multilabel",
    "data.num_labels": 3,
    "train.keep_logits": True,
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """An uninterrupted multilabel run on one device, and its data set."""
    folder = tmp_path_factory.mktemp("findings")
    job = _train(folder, **FINDINGS, **{"speed.num_devices": 1})
    return folder, job.dataset


class TestMultilabel:
    def test_workers_and_a_resume_change_no_bit(self, findings, tmp_path):
        for worker in (1, 0):
            _train(tmp_path, worker, 2, **FINDINGS)
        assert _hashes(tmp_path) == _hashes(findings[0])
        store.reopen(tmp_path / store.FOLDER).discard(1)
        job = _train(tmp_path, **FINDINGS)
        assert [group.id for group in job.todo] == [1]
        assert _hashes(tmp_path) == _hashes(findings[0])

    def test_groups_hold_the_statistic_of_every_label(self, findings):
        folder, dataset = findings
        run = store.reopen(folder / store.FOLDER)
        statistic, logits = run.read(0), run.read(0, name="logits")
        assert statistic.shape == (2, dataset.num_records, 3)
        signs = 2 * dataset.labels - 1
        np.testing.assert_array_equal(statistic, signs * logits)

    def test_usefulness_of_the_models_is_kept(self, findings):
        folder, dataset = findings
        run = store.reopen(folder / store.FOLDER)
        found = run.manifest(0)["metrics"][0]
        assert set(found) == {"members", "left_out", "test"}
        given = run.read(0, name="logits")[0], dataset.labels
        is_test = ~dataset.is_pool_record
        given = given[0][is_test], given[1][is_test], "multilabel"
        assert found["test"]["exact_match"] == metrics.exact_match(*given)
        assert found["test"]["nll"] == pytest.approx(metrics.log_loss(*given))

    def test_gathered_folder_has_labels_and_statistics(self, findings):
        folder, dataset = findings
        source = score.gather(folder)
        statistic = np.load(source / "statistic.npy")
        labels = np.load(source / "labels.npy")
        pool = dataset.is_pool_record
        assert statistic.dtype == np.float32
        assert statistic.shape == (8, pool.sum(), 3)
        run = store.reopen(folder / store.FOLDER)
        for group in range(4):
            expected = run.read(group)[:, pool]
            np.testing.assert_array_equal(statistic[2 * group :][:2], expected)
        np.testing.assert_array_equal(labels, dataset.labels[pool])
        about = json.loads((source / "task.json").read_text())
        assert about["task"] == "multilabel"
        assert about["class_names"] == ["finding 0", "finding 1", "finding 2"]
        stored = json.loads((source / "metrics.json").read_text())
        assert "exact_match" in stored["mean"]["test"]

    def test_is_read_as_one_statistic_and_its_labels(self, findings):
        given = predictions.read(score.gather(findings[0]))
        np.testing.assert_allclose(
            given.statistic, scores.joint(given.channels), rtol=1e-6, atol=1e-6
        )
        assert given.channel_kind == "labels" and given.labels.ndim == 2

    def test_other_labels_are_another_run(self, findings, monkeypatch):
        dataset = findings[1]
        labels = dataset.labels.copy()
        labels[0, 2] ^= 1
        changed = dataset._replace(labels=labels)
        settings, speed = config.settings(_config(**FINDINGS))
        monkeypatch.setattr(synthetic, "load", lambda **options: changed)
        with pytest.raises(validate.InputError, match="data_fingerprint"):
            train.prepare(settings, speed, findings[0])


@pytest.fixture(scope="module")
def attacked(whole):
    source = score.gather(whole)
    plugin = config.settings(_config())[0].attack
    return whole, attack.run(source, whole, [plugin])


class TestAttack:
    def test_summary_has_what_is_promised(self, attacked):
        folder, summary = attacked
        promised = [
            "schema",
            "headline",
            "num_models",
            "num_patients",
            "num_records",
            "num_proven",
            "num_proven_holm",
            "exposed",
            "aggregate_auc",
            "tpr_at_fpr",
            "patient_auc_quantiles",
            "share_of_patients_above",
            "detection_limit",
            "metrics",
            "wall_seconds",
            "device",
            "versions",
            "seed",
            "data_fingerprint",
            "null_check",
        ]
        assert set(promised) <= set(summary)
        stored = json.loads((folder / "summary.json").read_text())
        assert stored == json.loads(json.dumps(summary))
        assert set(stored["metrics"]) == {"members", "left_out", "test"}
        assert stored["num_models"] == 8 and stored["num_patients"] == 48

    def test_tables_agree_as_pickle_csv_and_frame(self, attacked):
        folder, summary = attacked
        for name, columns in {
            "records": ["record", "patient_id", "label", "auc", "auc_se"],
            "patients": ["patient_id", "num_records", "auc", "auc_low", "auc_high"],
            "groups": ["attribute", "value", "num_patients", "num_proven"],
        }.items():
            frame = results.load(folder / f"{name}.pkl")["table"]
            assert set(columns) <= set(frame)
            csv = pd.read_csv(folder / "tables" / f"{name}.csv")
            assert list(csv) == list(frame) and len(csv) == len(frame)
            plain = pickle.loads((folder / f"{name}.pkl").read_bytes())
            assert list(pd.DataFrame(plain["table"]["columns"])) == list(frame)
        patients = results.load(folder)["patients"]
        assert patients["is_proven"].sum() == summary["num_proven"]
        assert {"p_value", "q_value", "auc_max_record", "planted"} <= set(patients)

    def test_scores_are_leave_one_out_scores_of_every_record(self, attacked):
        folder, _ = attacked
        scores = np.load(folder / "scores.npy")
        given = predictions.read(folder / "predictions")
        assert scores.dtype == np.float32 and scores.shape == given.statistic.shape
        assert np.isfinite(scores).all()


def test_models_of_everybody_or_nobody_are_no_targets(tmp_path):
    """Unbalanced masks: two of the models were trained on all patients, or on none."""
    generator = np.random.default_rng(0)
    member = generator.random((14, 30)).argsort(0) < 7
    member[0], member[1] = True, False
    source = tmp_path / "in"
    source.mkdir()
    np.save(source / "member_mask.npy", member)
    np.save(source / "labels.npy", np.arange(30) % 2)
    np.save(source / "statistic.npy", generator.standard_normal((14, 30)))
    plugin = config.settings(_config())[0].attack
    summary = attack.run(source, tmp_path / "out", [plugin])
    assert 0.3 < summary["aggregate_auc"] < 0.7
    assert len(summary["data_fingerprint"]) == 64
    smallest = 1 / math.comb(14, int(np.median(member.sum(0))))
    assert summary["smallest_p_value"] == pytest.approx(smallest)


def _state(folder):
    digest = hashlib.sha256()
    for name in ("predictions/statistic.npy", "predictions/member_mask.npy"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


PROGRAM = """
import pathlib, sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
sys.path.insert(0, {tests!r})
import test_stages
folder = pathlib.Path({folder!r})
test_stages._train(folder)
test_stages.score.gather(folder)
"""


def test_killed_at_any_moment_it_ends_with_the_same_bits(whole, tmp_path):
    """SIGKILL at random times until a start gets through; every start is the same."""
    score.gather(whole)
    tests = pathlib.Path(__file__).parent
    program = PROGRAM.format(tests=str(tests), folder=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(tests.parent)}
    moment = random.Random(0)
    groups, kills = tmp_path / store.FOLDER, 0
    for start in range(20):
        process = subprocess.Popen([sys.executable, "-c", program], env=environment)
        before = len(list(groups.glob("group_*.json")))
        while process.poll() is None and start < 4:
            if len(list(groups.glob("group_*"))) > before or moment.random() < 0.003:
                time.sleep(moment.random() * 0.05)
                process.send_signal(signal.SIGKILL)
            time.sleep(0.002)
        if process.wait() == 0:
            break
        kills += 1
    assert kills >= 2
    assert _state(tmp_path) == _state(whole)


def test_all_devices_of_this_suite_are_there():
    assert len(jax.local_devices()) == 4
