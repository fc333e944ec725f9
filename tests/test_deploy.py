"""A model for release: its guarantee, its folder, its predictions."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest

from mia_jax import config, contracts, inference, metrics, store, validate
from mia_jax.data import synthetic
from mia_jax.dp import accounting
from mia_jax.stages import deploy, released

ROOT = pathlib.Path(__file__).parent.parent
SMALL = {
    "data.num_patients": 60,
    "data.num_planted": 0,
    "model.widths": (8,),
    "train.epochs": 2.0,
    "train.batch_size": 16,
    "defence.epsilon": 4.0,
    "defence.delta": 1e-3,
}
PROMISED = [
    "epsilon",
    "delta",
    "unit",
    "adjacency",
    "noise_multiplier",
    "sampling_prob",
    "num_steps",
    "records_per_patient",
    "l2_clip_norm",
    "overflow_delta",
    "accountant",
    "test_metrics",
    "seed",
    "versions",
    "device",
    "code",
]


def _job(folder, has_secret_seed=False, **changes):
    given = config.default(data="synthetic", defence="dp_sgd")
    given.update_from_flattened_dict({**SMALL, **changes})
    settings, speed = config.settings(given)
    return deploy.prepare(settings, speed, folder, has_secret_seed)


def _logits(folder, dataset):
    found = released.load(folder)
    return inference.of_one_model(found.model, 1024, found.params, dataset.inputs)


def _patch(monkeypatch, dataset):
    """Lets the data source return `dataset`, whatever its options."""
    load = functools.wraps(synthetic.load)(lambda **options: dataset)
    monkeypatch.setattr(synthetic, "load", load)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished model, its job and what privacy.json holds."""
    folder = tmp_path_factory.mktemp("deploy") / "model"
    job = _job(folder)
    assert not folder.exists()  # preparing writes nothing
    deploy.execute(job)
    return folder, job, json.loads((folder / "privacy.json").read_text())


class TestGuarantee:
    def test_says_all_that_is_promised(self, finished):
        _, job, promised = finished
        assert set(PROMISED) <= set(promised)
        assert promised["unit"] == "patient"
        assert promised["adjacency"] == "add or remove one patient"
        num_members = int((~job.dataset.is_test).sum())
        assert promised["sampling_prob"] == pytest.approx(16 / num_members)
        assert promised["num_steps"] == round(2.0 * num_members / 16)

    def test_epsilon_is_the_ledgers_and_at_most_what_was_asked(self, finished):
        _, _, promised = finished
        numbers = (promised[name] for name in accounting.Mechanism._fields)
        mechanism = accounting.Mechanism(*numbers)
        assert promised["epsilon"] == accounting.epsilon(mechanism, 1e-3)
        assert 3.9 < promised["epsilon"] <= 4.0
        assert promised["overflow_delta"] <= 0.011 * promised["delta"]

    def test_metrics_are_those_of_test_patients(self, finished):
        folder, job, promised = finished
        chosen = ~job.dataset.is_pool_record
        logits = _logits(folder, job.dataset)[chosen]
        labels = job.dataset.labels[chosen]
        assert promised["test_metrics"]["auroc"] == metrics.auroc(
            logits, labels, "binary"
        )

    def test_a_household_is_named(self, tmp_path, monkeypatch):
        dataset = synthetic.load(num_patients=60, num_planted=0)
        changed = dataset._replace(unit="household")
        _patch(monkeypatch, changed)
        guarantee = _job(tmp_path).defence.guarantee
        assert guarantee["adjacency"] == "add or remove one household"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"defence.epsilon": np.inf}, "no guarantee"),
            ({"defence.epsilon": np.nan}, "no guarantee"),
            ({"defence.epsilon": -1.0}, "no guarantee"),
            ({"defence.delta": 0.01}, "set --delta=1e-03"),
            ({"defence.level": "record"}, "protects single records"),
            ({"train.batch_size": 49}, "train.batch_size=49"),
        ],
    )
    def test_what_promises_nothing_is_refused(self, tmp_path, change, message):
        with pytest.raises(validate.InputError, match=message):
            _job(tmp_path / "new", **change)
        assert not (tmp_path / "new").exists()


class TestBudget:
    def test_plain_becomes_dp_sgd_with_its_defaults(self):
        found = deploy.with_budget(config.plugin("defences", "plain"), 2.0, None)
        assert found == config.plugin("defences", "dp_sgd", epsilon=2.0)

    def test_options_of_dp_sgd_are_kept(self):
        given = config.plugin("defences", "dp_sgd", l2_clip_norm=0.5, epsilon=3.0)
        assert deploy.with_budget(given, None, None) == given
        found = deploy.with_budget(given, 1.0, 1e-6).options
        assert found == {**given.options, "epsilon": 1.0, "delta": 1e-6}

    @pytest.mark.parametrize(
        ("given", "epsilon", "message"),
        [
            (config.plugin("defences", "plain"), None, "--epsilon is missing"),
            (
                config.plugin("defences", "dp_sgd", noise_multiplier=1.0),
                8.0,
                "one follows from the other",
            ),
        ],
    )
    def test_none_or_two_are_refused(self, given, epsilon, message):
        with pytest.raises(validate.InputError, match=message):
            deploy.with_budget(given, epsilon, None)


class TestTraining:
    def test_again_gives_the_same_bits(self, finished, tmp_path):
        again = deploy.execute(_job(tmp_path))
        assert again["weights_sha256"] == finished[2]["weights_sha256"]
        for name in ("privacy.json", "model.json"):
            assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes()

    def test_a_secret_seed_is_kept_nowhere_and_never_the_same(self, tmp_path):
        found = [deploy.execute(_job(tmp_path / name, True)) for name in "ab"]
        assert found[0]["weights_sha256"] != found[1]["weights_sha256"]
        assert found[0]["seed"] is None and found[0]["seed_is_secret"]

    def test_reads_all_patients_of_the_pool_and_no_other(self, tmp_path, monkeypatch):
        """Every patient in every step, so that each one's labels reach the weights."""
        dataset = synthetic.load(num_patients=60, num_planted=0)
        pool, test = np.flatnonzero(~dataset.is_test), np.flatnonzero(dataset.is_test)
        changes = {"train.batch_size": len(pool), "train.epochs": 1.0}

        def weights(patients):
            is_theirs = np.isin(dataset.patient_of_record, patients)
            labels = np.where(is_theirs, 1 - dataset.labels, dataset.labels)
            changed = dataset._replace(labels=labels.astype(np.int32))
            _patch(monkeypatch, changed)
            return released.digest(deploy._train(_job(tmp_path, **changes)))

        before = weights([])
        assert weights(test) == before
        assert weights(pool[:1]) != before and weights(pool[-1:]) != before

    def test_a_diverged_model_is_not_kept(self, tmp_path):
        job = _job(tmp_path / "new", **{"train.learning_rate": 1e6})
        inputs = np.where(job.dataset.inputs > 0, np.float32(1e38), -1e38)
        job = job._replace(dataset=job.dataset._replace(inputs=inputs))
        with pytest.raises(validate.InputError, match="diverged"):
            deploy.execute(job)
        assert not (tmp_path / "new").exists()


class TestFolder:
    def test_reloaded_it_gives_the_same_logits(self, finished):
        folder, job, _ = finished
        params = deploy._train(job)
        found = released.load(folder)
        jax.tree.map(np.testing.assert_array_equal, found.params, params)
        expected = inference.of_one_model(
            job.settings.model.call(1), 1024, params, job.dataset.inputs
        )
        np.testing.assert_array_equal(_logits(folder, job.dataset), expected)

    def test_chunks_of_records_change_little(self, finished):
        """Matrix products of another height may round otherwise: 1e-6."""
        folder, job, _ = finished
        found = released.load(folder)
        logits = inference.of_one_model(
            found.model, 7, found.params, job.dataset.inputs
        )
        np.testing.assert_allclose(logits, _logits(folder, job.dataset), atol=1e-6)

    def test_the_same_settings_train_nothing(self, finished, monkeypatch):
        folder, _, promised = finished
        monkeypatch.delattr(deploy, "_train")
        job = _job(folder)
        assert job.is_finished
        assert deploy.execute(job) == promised

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"defence.epsilon": 3.0}, "defence.epsilon: 4.0 in the run, 3.0 now"),
            ({"seed": 1}, "seed: 0 in the run, 1 now"),
            ({"data.seed": 1}, "data_fingerprint"),
        ],
    )
    def test_another_model_is_refused(self, finished, change, message):
        with pytest.raises(validate.InputError, match=message):
            _job(finished[0], **change)

    def test_shadow_models_are_not_overwritten(self, tmp_path):
        store.open_run(tmp_path / store.FOLDER, {"seed": 0})
        with pytest.raises(validate.InputError, match="holds shadow models"):
            _job(tmp_path)

    def test_a_killed_training_starts_again(self, finished, tmp_path):
        """Whatever it left: only model.json makes a model finished."""
        shutil.copytree(finished[0], tmp_path / "new")
        (tmp_path / "new/model.json").unlink()
        with pytest.raises(validate.InputError, match="must be trained before"):
            released.load(tmp_path / "new")
        job = _job(tmp_path / "new", seed=1)
        assert not job.is_finished
        deploy.execute(job)
        released.load(tmp_path / "new")

    def test_other_weights_or_none_are_refused(self, finished, tmp_path):
        shutil.copytree(finished[0], tmp_path / "new")
        found = released.load(finished[0])
        changed = jax.tree.map(lambda leaf: leaf + np.float32(1), found.params)
        released.save_weights(tmp_path / "new/weights", changed)
        with pytest.raises(validate.InputError, match=r"is not what model\.json"):
            released.load(tmp_path / "new")
        shutil.rmtree(tmp_path / "new/weights")
        with pytest.raises(validate.InputError, match=r"is not what model\.json"):
            released.load(tmp_path / "new")


class TestPredictions:
    def test_of_every_record(self, finished):
        folder, job, _ = finished
        table = released.predict(released.load(folder), job.dataset)
        logits = _logits(folder, job.dataset)[:, 0].astype(np.float64)
        columns = ["record_id", "patient_id", "is_test", "p_class 0", "p_class 1"]
        assert list(table) == columns and len(table) == job.dataset.num_records
        expected = (1 / (1 + np.exp(-logits))).astype(np.float32)
        np.testing.assert_allclose(table["p_class 1"], expected, rtol=1e-6)
        is_test = dict(zip(job.dataset.patient_ids, job.dataset.is_test, strict=True))
        assert (table["is_test"] == table["patient_id"].map(is_test)).all()

    def test_probabilities_of_each_task(self):
        logits = np.array([[0.0, 1.0, -2.0], [4.0, -5.0, 3.0]], np.float32)
        odds = np.exp(logits.astype(np.float64))
        shares = odds / odds.sum(1, keepdims=True)
        found = released._probabilities(logits, "multiclass")
        np.testing.assert_allclose(found, shares, rtol=1e-12)
        found = released._probabilities(logits, "multilabel")
        np.testing.assert_allclose(found, odds / (1 + odds), rtol=1e-12)
        found = released._probabilities(logits[:, 1:2], "binary")
        positive = odds[:, 1] / (1 + odds[:, 1])
        np.testing.assert_allclose(found[:, 1], positive, rtol=1e-12)
        np.testing.assert_allclose(found[:, 0], 1 - positive, rtol=1e-12)

    @pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
    def test_certainty_stays_finite(self, task):
        outputs = 1 if task == "binary" else 3
        logits = np.array([[1e4, -1e4, 0.0]], np.float32)[:, :outputs]
        found = released._probabilities(logits, task)
        assert np.isfinite(found).all() and found.max() == 1.0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_features": 21}, r"the model takes \[20\]"),
            ({"num_classes": 3}, "the model is for task binary, 1 outputs"),
            ({"task": "multilabel"}, "synthetic: task multilabel, 5 outputs"),
        ],
    )
    def test_a_cohort_that_does_not_fit(self, finished, options, message):
        dataset = synthetic.load(num_patients=20, num_planted=0, **options)
        assert isinstance(dataset, contracts.Dataset)
        with pytest.raises(validate.InputError, match=message):
            released.predict(released.load(finished[0]), dataset)


@pytest.mark.slow
def test_several_labels(tmp_path):
    job = _job(tmp_path, **{"data.task": "multilabel", "data.num_labels": 3})
    promised = deploy.execute(job)
    assert "exact_match" in promised["test_metrics"]
    table = released.predict(released.load(tmp_path), job.dataset)
    assert [name for name in table if name.startswith("p_")] == [
        "p_finding 0",
        "p_finding 1",
        "p_finding 2",
    ]


SHORT = [
    f"--config={ROOT / 'experiments/configs/synthetic.py'}:null",
    "--config.data.num_patients=60",
    "--config.model.widths=8,",
]
PRIVATE = [*SHORT, "--config.train.batch_size=16", "--config.train.epochs=2"]


def _run(binary, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{binary}", *arguments],
        env={**os.environ, "PYTHONPATH": f"{ROOT}", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def _fails(binary, *arguments):
    """The three lines of a user's error."""
    done = _run(binary, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    return lines


class TestCommandLine:
    def test_from_a_plain_config_to_a_table(self, tmp_path):
        folder, out = tmp_path / "model", tmp_path / "tables/p.csv"
        budget = ["--epsilon=4", "--delta=1e-3", f"--workdir={folder}"]
        trained = _run("train_private", *PRIVATE, *budget)
        assert trained.returncode == 0, trained
        assert trained.stdout.startswith("guarantee  epsilon 3.99")
        assert "AUROC" in trained.stdout and "secret, kept nowhere" in trained.stdout
        assert "orbax" not in trained.stderr
        given = [*PRIVATE, f"--workdir={folder}", f"--out={out}"]
        done = _run("predict", *given)
        assert done.returncode == 0 and done.stderr == "", done
        table = pd.read_csv(out)
        assert done.stdout == f"{out}: {len(table)} records of 60 patients\n"
        chance = table.filter(like="p_")
        np.testing.assert_allclose(chance.sum(axis=1), 1.0, rtol=1e-6)
        lines = _fails("train_private", *PRIVATE, *budget, "--config.seed=7")
        assert lines[0] == "seed: 0 in the run, 7 now"

    @pytest.mark.slow
    def test_another_cohort_is_told(self, finished, tmp_path):
        given = [f"--workdir={finished[0]}", f"--out={tmp_path / 'p.csv'}"]
        done = _run("predict", *SHORT, *given, "--config.data.seed=1")
        assert done.returncode == 0
        assert "not the cohort that the model was trained on" in done.stderr

    def test_options_of_a_private_config(self, tmp_path):
        done = _run(
            "train_private",
            f"--config={ROOT / 'experiments/configs/randhie_dp.py'}",
            "--config.defence.noise_multiplier=2.0",
            "--config.defence.records_per_patient=3",
            "--dry_run",
            f"--workdir={tmp_path / 'model'}",
        )
        assert done.returncode == 0 and not (tmp_path / "model").exists()
        assert "noise 2 x clipping norm 0.1" in done.stdout, done
        assert "at most 3 records of each" in " ".join(done.stdout.split())

    def test_mistakes_get_three_lines(self, tmp_path):
        workdir = f"--workdir={tmp_path}"
        lines = _fails("train_private", *SHORT, workdir, "--epsilon=inf")
        assert "no guarantee" in lines[1]
        lines = _fails("predict", *SHORT, workdir)
        assert lines[0].endswith("model.json is missing")
